/** From configuration options to what the sessions know of them (`engine/settings.ts`). */
import type { Config } from '../base/config/options.ts'
import type { MailSettings } from '../engine/settings.ts'

export function mailSettings(config: Config, banners: readonly Buffer[]): MailSettings {
  return Object.freeze({
    subject: config.subject,
    banners,
    viewerUrl: config['now.url'],
    verifyHeader: config['now.url'] !== null && config['now.dir'] === null && config['now.s3.bucket'] === null,
    maxbufOctets: config.maxbuf,
    sizes: config.sizes,
    sizeBudgetOctets: config['size-budget'],
    audit: config.audit ?? [],
    bcc: config.bcc ?? [],
    bccPlain: config['bcc-plain'],
  })
}
