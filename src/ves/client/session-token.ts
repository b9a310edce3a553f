/**
 * The bearer token of a session and its renewal (key-repository.md §2): the repository gives a sealed token to whoever
 * asks, and opening it with the vault's private key is the proof.
 */
import { GatewayError } from '../../base/errors.ts'
import type { Secret } from '../../base/secret.ts'
import type { VaultKey } from '../../engine/seal/vault-key.ts'
import { optionalOctets } from './answer.ts'
import { readToken } from './item-answer.ts'
import type { VesClient } from './ves-client.ts'

/** Tokens live 9 h, and C renews them after 8. */
const RENEW_AFTER_MS = 8 * 3600_000

export class SessionToken {
  readonly #client: VesClient
  readonly #keyId: number
  readonly #privateKey: () => VaultKey
  readonly #nowMs: () => number
  #token: Secret<string>
  #sinceMs: number
  #renewal: Promise<void> | null = null

  constructor(
    client: VesClient,
    keyId: number,
    privateKey: () => VaultKey,
    token: Secret<string>,
    nowMs: () => number,
  ) {
    this.#client = client
    this.#keyId = keyId
    this.#privateKey = privateKey
    this.#nowMs = nowMs
    this.#token = token
    this.#sinceMs = nowMs()
  }

  /** @param refused the token that the repository no longer takes: another one comes */
  async get(refused: Secret<string> | null = null): Promise<Secret<string>> {
    const isOld = this.#nowMs() - this.#sinceMs >= RENEW_AFTER_MS
    if (isOld || this.#token === refused) await this.#renew()
    return this.#token
  }

  /** One renewal for all requests that need it. @throws GatewayError ACCESS_DENIED */
  #renew(): Promise<void> {
    this.#renewal ??= this.#fetch().finally(() => {
      this.#renewal = null
    })
    return this.#renewal
  }

  async #fetch(): Promise<void> {
    const { result } = await this.#client.api.request({ path: `vaultKeys/${this.#keyId}?fields=encSessionToken` })
    const sealed = optionalOctets(result, 'encSessionToken')
    // Locked, or replaced by a rotation: the session is over.
    if (sealed === null) throw new GatewayError('ACCESS_DENIED', { reason: 'no session token', keyId: this.#keyId })
    const { values } = await this.#client.keys.run('open', { key: this.#privateKey(), sealed: [sealed] })
    this.#token = readToken(values[0]!)
    this.#sinceMs = this.#nowMs()
  }
}
