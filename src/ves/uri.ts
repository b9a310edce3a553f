/**
 * VES URIs: how items, vaults and users' primary vaults are named (key-repository.md §1).
 *
 * `ves://domain/externalId` is an item, `ves://domain/externalId/` a vault, optionally followed by its owner;
 * `ves:////jane@x.org` a user's primary vault; `ves:///123` and `ves:///123/` name an item or a vault by number.
 * The scheme may be left out, and then the domain too. Not here: what an external id means (section, profile).
 */
import { GatewayError } from '../base/errors.ts'

export type VesUri =
  | { readonly kind: 'item'; readonly domain: string; readonly externalId: string }
  | { readonly kind: 'vault'; readonly domain: string; readonly externalId: string; readonly owner: string | null }
  | { readonly kind: 'primary'; readonly user: string }
  | { readonly kind: 'item-id'; readonly id: number }
  | { readonly kind: 'vault-id'; readonly id: number }

/** Octets of a URI: what names a thing is far shorter, and some of these come out of mail headers. */
const MAX_OCTETS = 4096

/**
 * Octets that stand for themselves in the path: letters, digits, 2C–2E `,-.`, 3A `:`, 3B `;`, 40 `@`, 5E–60, 7B–7E and
 * all from 80 up. Every other is percent-encoded, so `!` is `%21`, `#` is `%23`, `/` is `%2F`.
 */
const ESCAPED = /[^A-Za-z0-9,\-.:;@^_`{|}~\u0080-\u{10ffff}]/gu

/** @returns the URI with its scheme */
export function printVesUri(uri: VesUri): string {
  switch (uri.kind) {
    case 'item':
      return `ves://${encodeVesPath(uri.domain)}/${encodeVesPath(uri.externalId)}`
    case 'vault': {
      const owner = uri.owner === null ? '' : encodeOwner(uri.owner)
      return `ves://${encodeVesPath(uri.domain)}/${encodeVesPath(uri.externalId)}/${owner}`
    }
    case 'primary':
      return `ves:////${encodeVesPath(uri.user)}`
    case 'item-id':
      return `ves:///${uri.id}`
    case 'vault-id':
      return `ves:///${uri.id}/`
  }
}

/**
 * @param defaultDomain the session's own domain, for a name without one
 * @throws GatewayError VES_PARAMETER
 */
export function parseVesUri(text: string, defaultDomain = 'vesmail'): VesUri {
  if (Buffer.byteLength(text) > MAX_OCTETS) throw bad('longer than 4096 octets')
  const rest = /^ves:/i.test(text) ? text.slice(4) : text
  if (!rest.startsWith('//')) {
    // A bare name: only the domain's own path, which may begin with one slash.
    return named(defaultDomain, rest.startsWith('/') ? rest.slice(1) : rest)
  }
  const slash = rest.indexOf('/', 2)
  if (slash < 0) throw bad('no path')
  const domain = rest.slice(2, slash)
  const path = rest.slice(slash + 1)
  if (domain !== '') return named(decodeVesPath(domain), path)
  if (path.startsWith('/')) {
    const user = decodeVesPath(path.slice(1))
    if (user === '') throw bad('no user')
    return { kind: 'primary', user }
  }
  const digits = /^([1-9][0-9]{0,15})(\/?)$/.exec(path)
  const id = Number(digits?.[1])
  if (digits === null || !Number.isSafeInteger(id)) throw bad('a URI without domain needs a number or a user')
  return { kind: digits[2] === '' ? 'item-id' : 'vault-id', id }
}

/** Percent-encodes one path element. @throws GatewayError VES_PARAMETER for a string that is not well-formed Unicode */
export function encodeVesPath(text: string): string {
  if (!text.isWellFormed()) throw bad('not well-formed Unicode')
  return text.replace(ESCAPED, escapeOctet)
}

/** @throws GatewayError VES_PARAMETER for a broken escape, invalid UTF-8 or a NUL */
export function decodeVesPath(text: string): string {
  let decoded: string
  try {
    decoded = decodeURIComponent(text)
  } catch (error) {
    throw new GatewayError('VES_PARAMETER', { reason: 'broken percent-encoding' }, error)
  }
  if (decoded.includes('\0') || !decoded.isWellFormed()) throw bad('unusable characters')
  return decoded
}

function named(domain: string, path: string): VesUri {
  const slash = path.indexOf('/')
  const externalId = decodeVesPath(slash < 0 ? path : path.slice(0, slash))
  if (externalId === '' || domain === '') throw bad('empty name')
  if (slash < 0) return { kind: 'item', domain, externalId }
  const owner = decodeVesPath(path.slice(slash + 1))
  return { kind: 'vault', domain, externalId, owner: owner === '' ? null : owner }
}

/** The owner is for people, `Jane Doe <jane@x.org>`: only what would break the URI or a line is escaped. */
function encodeOwner(text: string): string {
  if (!text.isWellFormed()) throw bad('not well-formed Unicode')
  return text.replace(/[%\x00-\x1f\x7f]/g, escapeOctet)
}

function escapeOctet(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
}

function bad(reason: string): GatewayError {
  return new GatewayError('VES_PARAMETER', { reason })
}
