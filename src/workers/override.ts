/**
 * A profile's override: a URL that answers with settings for this user (daemon.md §1, `overrides`). Its answer may set
 * `audit`, `bcc`, `now-url` and `banner-content`; the request proves who asks by the profile item's verify token.
 */
import { z } from 'zod'
import { asGatewayError, GatewayError } from '../base/errors.ts'
import { silentLog } from '../base/log.ts'
import type { MailSettings } from '../engine/settings.ts'
import type { UpstreamOptions } from '../net/upstream.ts'
import { webRequest } from '../net/web-request.ts'
import { bannersOf, loadBanners } from './banners.ts'
import type { OverrideRequest } from './login.ts'
import { mailSettings } from './mail-settings.ts'

const TIMEOUT_MS = 10_000
const MAX_ANSWER_OCTETS = 256 * 1024

const Line = z
  .string()
  .max(4096)
  .regex(/^[^\r\n\0]*$/)
const Names = z.union([Line.transform((one) => [one]), z.array(Line).max(1000)])
const Answer = z.looseObject({
  audit: Names.nullish(),
  bcc: Names.nullish(),
  'now-url': Line.nullish(),
  'banner-content': z
    .union([
      z
        .string()
        .max(65_536)
        .transform((one) => [one]),
      z.array(z.string().max(65_536)).max(16),
    ])
    .nullish(),
})

/** @param upstream the URL is the user's: it is reached like a provider. @throws {GatewayError} OVERRIDE */
export async function override(
  { url, tenant, session, profileItemId }: OverrideRequest,
  upstream: UpstreamOptions,
): Promise<MailSettings> {
  const address = URL.parse(url)
  if (address === null || !/^https?:$/.test(address.protocol) || address.username !== '')
    throw failed('not a web address')
  const token = await session.verifyToken(profileItemId)
  const headers = { accept: 'application/json', 'x-ves-authorization': `vaultItem.${profileItemId}.${token.expose()}` }
  const ask = { url: address, headers, body: null, maxOctets: MAX_ANSWER_OCTETS, timeoutMs: TIMEOUT_MS }
  const answer = await webRequest(ask, upstream).catch((error: unknown) => {
    const { code, detail } = asGatewayError(error)
    if (code === 'UPSTREAM_UNEXPECTED') throw failed('answer too large', error)
    throw failed(`cannot be reached (${String(detail.reason ?? code)})`, error)
  })
  if (answer.status !== 200) throw failed(`[${answer.status}]`)
  const { text } = answer
  const given = Answer.safeParse(jsonOf(text))
  if (!given.success) throw failed('unusable answer')
  const { audit, bcc, 'now-url': viewerUrl, 'banner-content': contents } = given.data
  const config = {
    ...tenant.config,
    ...(audit == null ? {} : { audit }),
    ...(bcc == null ? {} : { bcc }),
    ...(viewerUrl == null ? {} : { 'now.url': viewerUrl }),
    banner: null,
  }
  // Without banner-content the built-in ones speak: the site's own may name another viewer.
  return mailSettings(config, contents == null ? loadBanners(config, silentLog) : bannersOf(contents))
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw failed('no JSON', asGatewayError(error))
  }
}

function failed(text: string, cause?: unknown): GatewayError {
  return new GatewayError('OVERRIDE', { text }, cause)
}
