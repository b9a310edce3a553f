/**
 * Public keys of vaults and users, for everybody who writes to them: looked up without a session, since they are
 * public, and so shared by all sessions of a process. Bounded by count, octets and time; equal lookups at the same time
 * are one request. Not here: temp keys, which only their maker may see (`vault-session.ts`).
 */
import { GatewayError } from '../../base/errors.ts'
import type { KeyOperations } from '../../engine/seal/key-job.ts'
import { printVesUri } from '../uri.ts'
import { idAt, type JsonObject, objectsAt, optionalText, textAt } from './answer.ts'
import type { ApiConnection } from './api-connection.ts'
import { BoundedCache } from './bounded-cache.ts'
import type { VaultRef } from './ves-client.ts'

export interface RecipientDirectoryOptions {
  readonly maxEntries: number
  readonly maxOctets: number
  readonly ttlMs: number
  readonly nowMs: () => number
}

export interface External {
  readonly domain: string
  readonly externalId: string
}

export const KEY_FIELDS = 'id,type,algo,publicKey'
/** A key's PEM, its parsed form inside OpenSSL, and the objects around them; an ML-KEM-768 key is 1.2 KiB, an RSA key less. */
const OCTETS_PER_KEY = 4096

export class RecipientDirectory {
  readonly #api: ApiConnection
  readonly #keys: KeyOperations
  readonly #cache: BoundedCache<VaultRef>

  constructor(api: ApiConnection, keys: KeyOperations, options: RecipientDirectoryOptions) {
    this.#api = api
    this.#keys = keys
    this.#cache = new BoundedCache({ ...options, octetsOf: () => OCTETS_PER_KEY })
  }

  /** Entries kept, for metrics. */
  get size(): number {
    return this.#cache.size
  }

  /** null = there is no such vault. @throws GatewayError VES_UNSUPPORTED naming an unknown algorithm */
  vault(external: External): Promise<VaultRef | null> {
    return this.#cache.get(cacheKey(external), async () => {
      const body = { externals: [external], type: 'secondary', $op: 'fetch' }
      const found = await orNull(this.#api.request({ path: `vaultKeys?fields=${KEY_FIELDS}`, body }))
      // An answer without a type says nothing, least of all that there is no vault.
      if (found === null || textAt(found.result, 'type') !== 'secondary') return null
      return this.readVault(found.result, external)
    })
  }

  /** What is kept of it may be out of date: the next lookup asks. */
  forget(external: External): void {
    this.#cache.delete(cacheKey(external))
  }

  async readVault(vaultKey: JsonObject, external: External): Promise<VaultRef> {
    const uri = printVesUri({ kind: 'vault', ...external, owner: null })
    return this.readKey(vaultKey, uri)
  }

  /** @throws GatewayError VES_UNSUPPORTED naming the algorithm and the vault */
  async readKey(vaultKey: JsonObject, uri: string): Promise<VaultRef> {
    const keyId = idAt(vaultKey)
    try {
      const key = await this.#keys.run('read', { publicKey: textAt(vaultKey, 'publicKey') })
      return { keyId, uri, algo: key.algo, key, temp: vaultKey.type === 'temp' }
    } catch (error) {
      if (!(error instanceof GatewayError) || error.code !== 'VES_UNSUPPORTED') throw error
      const algo = optionalText(vaultKey, 'algo') ?? '?'
      throw new GatewayError(error.code, { text: `${error.detail.text} (${algo}) of ${uri}`, keyId }, error)
    }
  }

  /** Keys in the list `name` of a user, e.g. `activeVaultKeys`. */
  readKeys(user: JsonObject, name: string, uri: string): Promise<VaultRef[]> {
    return Promise.all(objectsAt(user, name).map((vaultKey) => this.readKey(vaultKey, uri)))
  }
}

/** The answer, or null for "not found". */
export async function orNull<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'VES_NOT_FOUND') return null
    throw error
  }
}

function cacheKey({ domain, externalId }: External): string {
  return `${domain}\n${externalId}`
}
