/**
 * A profile's override: a URL that answers with settings for this user (daemon.md §1, `overrides`). Its answer may set
 * `audit`, `bcc`, `now-url` and `banner-content`; the request proves who asks by the profile item's verify token.
 */
import { z } from 'zod'
import { asGatewayError, GatewayError } from '../base/errors.ts'
import { silentLog } from '../base/log.ts'
import type { MailSettings } from '../engine/settings.ts'
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

/** @throws {GatewayError} OVERRIDE */
export async function override({ url, tenant, session, profileItemId }: OverrideRequest): Promise<MailSettings> {
  if (!/^https?:\/\//i.test(url)) throw failed('not a web address')
  const token = await session.verifyToken(profileItemId)
  let text: string
  try {
    const answer = await fetch(url, {
      headers: { accept: 'application/json', 'x-ves-authorization': `vaultItem.${profileItemId}.${token.expose()}` },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      // Elsewhere the token is nobody's business.
      redirect: 'error',
    })
    if (answer.status !== 200) throw failed(`[${answer.status}]`)
    text = await boundedText(answer)
  } catch (error) {
    if (error instanceof GatewayError) throw error
    throw failed(error instanceof Error && error.name === 'TimeoutError' ? 'timeout' : 'cannot be reached', error)
  }
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

async function boundedText(answer: Response): Promise<string> {
  const parts: Uint8Array[] = []
  let octets = 0
  for await (const part of answer.body ?? []) {
    octets += part.length
    if (octets > MAX_ANSWER_OCTETS) throw failed('answer too large')
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
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
