/**
 * The header X-VESmail-Xchg: VESkeys of temp keys that travel with the message, so that a recipient who has an account
 * by now can read it without waiting for the sender (message-format.md §4, key-repository.md §4).
 *
 * `[[user id, vault key id,"VESkey"],…]`, JSON, entries separated by `,CRLF TAB`.
 */
import { Secret } from '../../base/secret.ts'

export interface XchgEntry {
  readonly userId: number
  readonly keyId: number
  readonly veskey: Secret<Buffer>
}

/** The value comes in a header block of at most 1 MiB; a real one has an entry per recipient. */
const MAX_OCTETS = 256 * 1024

/** @returns the header's value, or null where there is nothing to say */
export function printXchg(entries: readonly XchgEntry[]): string | null {
  if (entries.length === 0) return null
  const printed = entries.map(({ userId, keyId, veskey }) => {
    // VESkeys of temp keys are ours and ASCII; escaping keeps a foreign one from breaking the header's lines.
    const text = JSON.stringify(veskey.expose().toString('utf8')).replace(
      /[^\x20-\x7e]/g,
      (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    return `[${userId},${keyId},${text}]`
  })
  return `[${printed.join(',\r\n\t')}]`
}

/** @returns what it could make sense of: the header is a hint, never a reason to refuse a message */
export function parseXchg(value: string): XchgEntry[] {
  if (value.length > MAX_OCTETS) return []
  let list: unknown
  try {
    list = JSON.parse(value)
  } catch (error) {
    if (error instanceof SyntaxError) return []
    throw error
  }
  if (!Array.isArray(list)) return []
  const entries: XchgEntry[] = []
  for (const entry of list as unknown[]) {
    if (!Array.isArray(entry)) continue
    const [userId, keyId, veskey] = entry as unknown[]
    if (!Number.isSafeInteger(userId) || !Number.isSafeInteger(keyId) || typeof veskey !== 'string') continue
    entries.push({ userId: userId as number, keyId: keyId as number, veskey: new Secret(Buffer.from(veskey, 'utf8')) })
  }
  return entries
}
