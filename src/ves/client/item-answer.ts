/**
 * Items and entries as the repository writes them (key-repository.md §2, §3): which value is whose, which cipher it
 * belongs to, what tokens may look like. Pure functions; nothing is asked for here.
 */
import { GatewayError } from '../../base/errors.ts'
import { Secret } from '../../base/secret.ts'
import type { CipherAlgo } from '../../engine/seal/message-key.ts'
import { parseVesUri } from '../uri.ts'
import { idAt, type JsonObject, objectsAt, optionalObject, optionalOctets } from './answer.ts'
import type { External } from './recipient-directory.ts'
import type { ItemType, VaultRef } from './ves-client.ts'

export const ITEM_FIELDS = 'id,type,meta,file(creator(id)),vaultEntries(encData,vaultKey(id,type,user(id),externals))'
const ITEM_TYPES: ReadonlySet<unknown> = new Set<ItemType>(['string', 'file', 'password', 'secret'])
const CIPHERS: ReadonlySet<unknown> = new Set<CipherAlgo>(['AES256GCM1K', 'AES256GCMp', 'AES256CFB', 'NULL'])

/** The sealed value that a vault key holds of an item; null where the session may not see it or there is none. */
export function entryOf(item: JsonObject, keyId: number): Buffer | null {
  for (const entry of objectsAt(item, 'vaultEntries')) {
    const vaultKey = optionalObject(entry, 'vaultKey')
    if (vaultKey !== null && idAt(vaultKey) === keyId) return optionalOctets(entry, 'encData')
  }
  return null
}

/** Each key once, in order of first appearance. */
export function uniqueKeys(refs: readonly VaultRef[]): VaultRef[] {
  return [...new Map(refs.map((ref) => [ref.keyId, ref])).values()]
}

export function itemExternal(uri: string, domain: string): External {
  const parsed = parseVesUri(uri, domain)
  if (parsed.kind !== 'item') throw new GatewayError('VES_PARAMETER', { text: `not an item: ${uri}` })
  return { domain: parsed.domain, externalId: parsed.externalId }
}

/** `Jane van Doe` → Jane van, Doe, as libVES does. */
export function splitName(name: string | null): { readonly firstName?: string; readonly lastName?: string } {
  const words = name?.trim().split(/\s+/) ?? []
  const [first, last] = [words.slice(0, -1).join(' '), words.at(-1) ?? '']
  if (last === '') return {}
  return first === '' ? { firstName: last } : { firstName: first, lastName: last }
}

export function readToken(octets: Uint8Array): Secret<string> {
  return checkToken(Buffer.from(octets).toString('latin1'))
}

/** Tokens become part of headers: nothing else may slip in (key-repository.md §2). */
export function checkToken(token: string): Secret<string> {
  if (!/^[\x21-\x7e]{1,79}$/.test(token) || /[,;]/.test(token)) {
    throw new GatewayError('VES_PARSE', { text: 'answer of the key repository: bad token' })
  }
  return new Secret(token)
}

export function toBase64(octets: Uint8Array): string {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength).toString('base64')
}

export function itemType(item: JsonObject): ItemType {
  if (!ITEM_TYPES.has(item.type))
    throw new GatewayError('VES_PARSE', { text: 'answer of the key repository: bad type' })
  return item.type as ItemType
}

export function cipherOf(type: ItemType, meta: JsonObject | null): CipherAlgo | null {
  const algo = meta?.a
  if (algo === undefined || algo === null) return type === 'file' ? 'AES256CFB' : null
  if (!CIPHERS.has(algo))
    throw new GatewayError('VES_UNSUPPORTED', { text: `unknown cipher ${String(algo).slice(0, 40)}` })
  return algo as CipherAlgo
}
