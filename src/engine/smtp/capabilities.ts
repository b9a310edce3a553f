/**
 * What EHLO says (RFC 5321 §4.1.1.1): reading a provider's list, and our own (smtp.md §1). Before AUTH ours is fixed,
 * since the provider is not known yet; after it, an EHLO is answered with what both know.
 */
import type { Reply } from './reply.ts'

/** What a provider offers; unknown keywords are not remembered, so that they cannot be relied upon. */
export interface Capabilities {
  readonly pipelining: boolean
  readonly eightBitMime: boolean
  readonly enhancedStatusCodes: boolean
  readonly dsn: boolean
  readonly smtpUtf8: boolean
  readonly startTls: boolean
  /** Without AUTH: null. */
  readonly auth: readonly string[] | null
  /** Without SIZE: null; `SIZE` and `SIZE 0` (no fixed limit): 0. Octets. */
  readonly size: number | null
  /** Another VESmail gateway: a loop. */
  readonly xves: boolean
}

export const NO_CAPABILITIES: Capabilities = {
  pipelining: false,
  eightBitMime: false,
  enhancedStatusCodes: false,
  dsn: false,
  smtpUtf8: false,
  startTls: false,
  auth: null,
  size: null,
  xves: false,
}

/** ehlo-line = ehlo-keyword *( SP ehlo-param ) */
export function parseCapabilities(reply: Reply): Capabilities {
  const lines = new Map<string, string[]>()
  for (const line of reply.lines.slice(1)) {
    const [keyword = '', ...params] = line.trim().split(/[ \t]+/)
    // QUIRK: old servers write `AUTH=LOGIN PLAIN` beside or instead of `AUTH LOGIN PLAIN`.
    const auth = /^AUTH=(.*)$/i.exec(keyword)
    const name = auth === null ? keyword.toUpperCase() : 'AUTH'
    const added = auth === null || auth[1] === '' ? params : [auth[1]!, ...params]
    const known = lines.get(name)
    if (known === undefined) lines.set(name, added)
    else for (const param of added) known.push(param)
  }
  const size = lines.get('SIZE')
  return {
    pipelining: lines.has('PIPELINING'),
    eightBitMime: lines.has('8BITMIME'),
    enhancedStatusCodes: lines.has('ENHANCEDSTATUSCODES'),
    dsn: lines.has('DSN'),
    smtpUtf8: lines.has('SMTPUTF8'),
    startTls: lines.has('STARTTLS'),
    auth: lines.get('AUTH') ?? null,
    size: size === undefined ? null : /^[0-9]{1,15}$/.test(size[0] ?? '') ? Number(size[0]) : 0,
    xves: lines.has('XVES'),
  }
}

export interface OwnOffer {
  readonly host: string
  readonly startTls: boolean
  /** Empty: AUTH is not offered. */
  readonly auth: readonly string[]
  /** Octets of a plain message; null = no limit configured. */
  readonly sizeLimit: number | null
  /** The provider's, once known. */
  readonly provider: Capabilities | null
}

/** Lines of our EHLO reply. */
export function ownLines(offer: OwnOffer): string[] {
  const { provider } = offer
  const lines = [offer.host]
  if (provider === null || provider.eightBitMime) lines.push('8BITMIME')
  if (provider === null || provider.pipelining) lines.push('PIPELINING')
  if (provider === null || provider.enhancedStatusCodes) lines.push('ENHANCEDSTATUSCODES')
  if (provider === null || provider.dsn) lines.push('DSN')
  if (provider === null || provider.smtpUtf8) lines.push('SMTPUTF8')
  if (provider === null || provider.size !== null) lines.push(sizeLine(offer.sizeLimit, provider))
  if (offer.startTls) lines.push('STARTTLS')
  if (offer.auth.length > 0) lines.push(`AUTH ${offer.auth.join(' ')}`)
  lines.push('HELP', 'XVES')
  return lines
}

function sizeLine(own: number | null, provider: Capabilities | null): string {
  const theirs = provider?.size ?? 0
  const limits = [own, theirs > 0 ? plainOctets(theirs) : null].filter((limit) => limit !== null)
  return limits.length === 0 ? 'SIZE' : `SIZE ${Math.min(...limits)}`
}

/** Headers, markers and banners that sealing adds whatever the size. */
const SEAL_FIXED_OCTETS = 8 * 1024
/** base64 lines of the ciphertext, tags included: 4/3 · 78/76 · 1040/1024 = 1.39. */
const SEAL_FACTOR = 1.4

/** What a message may become when it is sealed (imap-extensions.md: (limit − 8 KiB) / 1.4). Octets. */
export function sealedOctets(plain: number): number {
  return Math.ceil(plain * SEAL_FACTOR) + SEAL_FIXED_OCTETS
}

/** The largest plain message whose sealed form fits into `limit`. Octets. */
export function plainOctets(limit: number): number {
  return Math.max(1, Math.floor((limit - SEAL_FIXED_OCTETS) / SEAL_FACTOR))
}
