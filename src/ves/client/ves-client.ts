/**
 * The key repository as the gateway uses it: unlock a vault, read and write items, find recipients' public keys,
 * make and open message keys (key-repository.md §4).
 */
import { GatewayError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { Secret } from '../../base/secret.ts'
import type { CipherAlgo, MessageKey } from '../../engine/seal/message-key.ts'

/** What new keys are: ML-KEM-768, or ECDH P-521 which every client reads (key-repository.md §2). */
export type NewKeys = 'post-quantum' | 'compatible'

export interface VesClientOptions {
  /** Base URL of the API, e.g. `http://127.0.0.1:8080/v1/`. */
  readonly api: string
  /** Domain of vaults and items. Default `vesmail`. */
  readonly domain?: string
  readonly newKeys?: NewKeys
  readonly log?: Log
  /** Wall clock, milliseconds. */
  readonly nowMs?: () => number
  /** Connections to the repository; requests wait for one. */
  readonly connections?: number
  readonly connectTimeoutMs?: number
  /** From request to complete answer. */
  readonly requestTimeoutMs?: number
  /** Public keys of recipients kept, and for how long. */
  readonly recipientCacheEntries?: number
  readonly recipientCacheMs?: number
  /** Opened message keys kept by one session. */
  readonly messageKeyCacheEntries?: number
}

/** A recipient's vault with its public key, ready to share with. */
export interface VaultRef {
  readonly keyId: number
  /** `ves://vesmail/bob@example.org/` */
  readonly uri: string
  readonly algo: 'RSA' | 'ECDH' | 'OQS'
}

export type ItemType = 'string' | 'file' | 'password' | 'secret'

export interface VesItem {
  readonly id: number
  readonly type: ItemType
  readonly meta: Readonly<Record<string, unknown>> | null
  /** `meta.a`; AES256CFB where a file has none; null for what is no file. */
  readonly algo: CipherAlgo | null
  readonly value: Secret<Buffer>
}

export interface PutItem {
  readonly type: ItemType
  readonly meta: Readonly<Record<string, unknown>> | null
  /** Borrowed until return. */
  readonly value: Secret<Buffer>
  /** Besides the session's own vault. */
  readonly shareWith?: readonly VaultRef[]
}

export interface CreatedMessageKey {
  readonly key: MessageKey
  /** `ves://vesmail/<message id>` */
  readonly uri: string
  readonly itemId: number
  /** Keys that hold an entry now, for the log. */
  readonly keyIds: readonly number[]
}

export class VesClient {
  readonly options: VesClientOptions

  constructor(options: VesClientOptions) {
    this.options = options
  }

  /** @throws GatewayError BAD_CREDENTIALS for a wrong VESkey and for no such vault, in about the same time; VES_* otherwise */
  unlock(_vaultUri: string, _veskey: Secret<Buffer>): Promise<VesSession> {
    return Promise.reject(new GatewayError('VES_UNSUPPORTED'))
  }

  async close(): Promise<void> {}
}

export interface VesSession {
  readonly user: { readonly id: number; readonly email: string }
  readonly vaultUri: string
  readonly keyId: number

  /** @throws GatewayError VES_NOT_FOUND, VES_DENIED (exists, not shared with this vault) */
  item(uri: string): Promise<VesItem>
  /** Creates, or replaces by a new version. */
  putItem(uri: string, item: PutItem): Promise<{ readonly id: number }>
  /** Address in any case; null = no vault. Public keys come from a bounded cache. @throws GatewayError VES_UNSUPPORTED naming an unknown algorithm */
  recipientVault(address: string): Promise<VaultRef | null>
  /** Makes the item and shares it; where it exists already (creation race), the winner's key is shared instead. */
  createMessageKey(messageId: string, recipients: readonly VaultRef[]): Promise<CreatedMessageKey>
  /** @throws GatewayError ITEM_UNAVAILABLE where there is none, or none shared with this vault */
  messageKey(messageId: string): Promise<MessageKey>
  /** Proof towards third parties that its bearer has access to the item. */
  verifyToken(itemId: number): Promise<Secret<string>>
}
