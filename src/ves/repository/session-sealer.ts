/**
 * Seals fresh session tokens to vault keys. On the large curves a seal costs milliseconds, and anyone may ask: so a
 * token for such a key that nobody has used yet is given out again for a minute. Whoever opens it holds the VESkey.
 */
import type { Log } from '../../base/log.ts'
import { readPublicKey, sealToVaultKey, type VaultKey } from '../../engine/seal/vault-key.ts'
import type { Tokens } from './tokens.ts'

const REUSE_MS = 60_000
const MAX_UNUSED = 10_000
const MAX_KEYS = 20_000

export class SessionSealer {
  readonly #tokens: Tokens
  readonly #log: Log
  readonly #unused = new Map<number, { sealed: string; atMs: number }>()
  readonly #keys = new Map<number, VaultKey | null>()

  constructor(tokens: Tokens, log: Log) {
    this.#tokens = tokens
    this.#log = log
  }

  /** @returns base64, or null for a key that OpenSSL does not know: its holder cannot log in with it */
  seal(keyId: number, publicKey: string, nowMs: number): string | null {
    const unused = this.#unused.get(keyId)
    if (unused !== undefined && nowMs >= unused.atMs && nowMs < unused.atMs + REUSE_MS) return unused.sealed
    const key = this.#key(keyId, publicKey)
    if (key === null) return null
    const sealed = sealToVaultKey(key, Buffer.from(this.#tokens.session(keyId, nowMs))).toString('base64')
    if (key.algo === 'ECDH') remember(this.#unused, keyId, { sealed, atMs: nowMs }, MAX_UNUSED)
    return sealed
  }

  /** A session of that key was begun: the next who asks gets a token of their own. */
  used(keyId: number): void {
    this.#unused.delete(keyId)
  }

  /** Public keys never change, so a parsed one stays good. */
  #key(keyId: number, publicKey: string): VaultKey | null {
    const known = this.#keys.get(keyId)
    if (known !== undefined) return known
    let key: VaultKey | null = null
    try {
      key = readPublicKey(publicKey)
    } catch (error) {
      this.#log.write('warn', 'vault-key-unknown', { keyId, error: String(error) })
    }
    remember(this.#keys, keyId, key, MAX_KEYS)
    return key
  }
}

function remember<K, V>(map: Map<K, V>, key: K, value: V, max: number): void {
  map.delete(key)
  if (map.size >= max) map.delete(map.keys().next().value!)
  map.set(key, value)
}
