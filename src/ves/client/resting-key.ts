/**
 * A vault's private key while nothing is opened with it, which is nearly always: OpenSSL expands an ML-KEM key to 9 KiB,
 * for each of ten thousand idle sessions, and makes it again from its 64 octets in 70 µs. Other keys stay as they are:
 * they are small.
 *
 * The seed is kept as a secret key of OpenSSL's, which wipes it when it is collected. In the browser, where keys are not
 * Node's, the key stays, too.
 */
import { createPrivateKey, createSecretKey, type KeyObject } from 'node:crypto'
import type { VaultKey } from '../../engine/seal/vault-key.ts'

/** Node 24 knows the format; its types do not yet. */
interface SeedOptions {
  readonly format: 'raw-seed'
}
type SeedExport = (options: SeedOptions) => Buffer
type SeedImport = (options: SeedOptions & { readonly key: Buffer; readonly asymmetricKeyType: string }) => KeyObject

export class RestingKey {
  readonly #seed: KeyObject | null
  /** The loaded key as long as somebody works with it; for good where there is no seed. */
  #loaded: VaultKey | WeakRef<VaultKey>
  readonly #traits: Omit<VaultKey, 'key'>

  constructor(key: VaultKey) {
    this.#seed = seedOf(key)
    this.#loaded = this.#seed === null ? key : new WeakRef(key)
    this.#traits = { algo: key.algo, kind: key.kind }
  }

  get(): VaultKey {
    const loaded = this.#loaded instanceof WeakRef ? this.#loaded.deref() : this.#loaded
    return loaded ?? this.#load()
  }

  #load(): VaultKey {
    const { algo, kind } = this.#traits
    const seed = this.#seed!.export()
    const load = createPrivateKey as unknown as SeedImport
    const key = { algo, kind, key: load({ key: seed, format: 'raw-seed', asymmetricKeyType: kind.toLowerCase() }) }
    seed.fill(0)
    this.#loaded = new WeakRef<VaultKey>(key)
    return key
  }
}

/** null: not ML-KEM, not Node's, or made of the expanded form alone. */
function seedOf({ algo, key }: VaultKey): KeyObject | null {
  if (algo !== 'OQS' || typeof key.export !== 'function') return null
  try {
    const seed = (key.export as unknown as SeedExport).call(key, { format: 'raw-seed' })
    const kept = createSecretKey(seed)
    seed.fill(0)
    return kept
  } catch (error) {
    // RFC 9935 §6 allows private keys without their seed.
    if (error instanceof Error && 'code' in error) return null
    throw error
  }
}
