/**
 * A vault key in the browser: what stands in `VaultKey.key` in place of Node's KeyObject. Elliptic curves and RSA are
 * the browser's keys (a private one cannot be taken out of it); ML-KEM, which browsers do not have yet, are octets.
 */
import type { KeyKind } from '../engine/seal/vault-key.ts'

type WebCryptoKey = Awaited<ReturnType<typeof globalThis.crypto.subtle.importKey>>

export class WebKey {
  readonly kind: KeyKind
  readonly publicKey: WebCryptoKey | Uint8Array
  /** null in a public key. */
  readonly privateKey: WebCryptoKey | Uint8Array | null

  constructor(kind: KeyKind, publicKey: WebKey['publicKey'], privateKey: WebKey['privateKey']) {
    this.kind = kind
    this.publicKey = publicKey
    this.privateKey = privateKey
  }

  /** As KeyObject has it: by this a session knows whether it can open anything. */
  get type(): 'private' | 'public' {
    return this.privateKey === null ? 'public' : 'private'
  }

  get publicHalf(): WebKey {
    return new WebKey(this.kind, this.publicKey, null)
  }
}

export type { WebCryptoKey }

export function isWebKey(key: unknown): key is WebKey {
  return key instanceof WebKey
}
