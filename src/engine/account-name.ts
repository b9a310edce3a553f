/**
 * The account name that a client logs in with, and what it names: a vault to unlock and the item with the mail
 * profile (daemon.md §3). Not an e-mail address parser: whether such a vault exists, the repository says.
 *
 *   jane@x.org, jane@x.org!   vault of jane@x.org, profile jane@x.org!
 *   jane@x.org!work           same vault, profile jane@x.org!work
 *   jane@x.org#work           same vault, profile jane@x.org#work
 *   jane@x.org##work          same vault, profile work
 *   ves://domain/id/##work    that vault, profile work of its domain; without ## there is no profile
 */
import { GatewayError } from '../base/errors.ts'

export interface AccountName {
  /** `ves://vesmail/jane@x.org/` */
  readonly vaultUri: string
  /** URI of the item that holds the profile; null: a vault URI without `##`, which names none (PROFILE_INVALID). */
  readonly profileUri: string | null
}

/** Longer than any address (RFC 5321 §4.5.3.1.3: 256) with any section name. Octets. */
const MAX_OCTETS = 1024

/** @throws GatewayError BAD_CREDENTIALS for what can name no vault */
export function parseAccountName(name: string, domain: string = 'vesmail'): AccountName {
  if (name === '' || Buffer.byteLength(name) > MAX_OCTETS || /[\x00-\x20\x7f]/.test(name)) {
    throw new GatewayError('BAD_CREDENTIALS', { reason: 'account name' })
  }
  const at = name.search(/[!#]/)
  const base = at < 0 ? name : name.slice(0, at)
  const rest = at < 0 ? '' : name.slice(at)
  const named = rest.startsWith('##') && rest.length > 2 ? rest.slice(2) : null
  if (base.includes('/')) return ofVaultUri(base, named, domain)
  if (base === '') throw new GatewayError('BAD_CREDENTIALS', { reason: 'account name' })
  // Vaults are found by lower-cased addresses when mail is sent to them; so they are here.
  const address = base.toLowerCase()
  const profile = named ?? `${address}${rest === '' || rest === '#' || rest === '##' ? '!' : rest}`
  return { vaultUri: `${vesUri(domain, address)}/`, profileUri: vesUri(domain, profile) }
}

/** `ves://domain/id`, the id percent-encoded as key-repository.md §1 says. */
export function vesUri(domain: string, externalId: string): string {
  return `ves://${domain}/${encodeExternalId(externalId)}`
}

function ofVaultUri(uri: string, named: string | null, domain: string): AccountName {
  const absolute = uri.startsWith('//') ? `ves:${uri}` : uri
  const form = /^ves:\/\/([^/]*)\/[^/]/i.exec(absolute)
  if (form === null && !/^ves:\/\/\/\d+\/?$/i.test(absolute) && !/^ves:\/\/\/\/./i.test(absolute)) {
    throw new GatewayError('BAD_CREDENTIALS', { reason: 'vault uri' })
  }
  const vaultUri = /^ves:\/\/[^/]*\/[^/]+$/i.test(absolute) ? `${absolute}/` : absolute
  const own = form?.[1] === undefined || form[1] === '' ? domain : form[1]
  return { vaultUri, profileUri: named === null ? null : vesUri(own, named) }
}

/** Letters, digits, `,-.:;@^_` + "`" + `{|}~` and octets from 0x80 stand for themselves. */
function encodeExternalId(id: string): string {
  return id.replace(
    /[^A-Za-z0-9,\-.:;@^_`{|}~\u0080-\u{10ffff}]/gu,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
}
