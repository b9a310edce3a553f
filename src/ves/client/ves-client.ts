/**
 * The key repository as the gateway uses it: unlock a vault, read and write items, find recipients' public keys,
 * make and open message keys (key-repository.md §4). Here: the contract, and logging in.
 */
import { GatewayError } from '../../base/errors.ts'
import { type Log, silentLog } from '../../base/log.ts'
import type { Secret } from '../../base/secret.ts'
import { inlineKeyOperations, type KeyOperations } from '../../engine/seal/key-job.ts'
import type { CipherAlgo, MessageKey } from '../../engine/seal/message-key.ts'
import type { KeyAlgo, KeyKind, VaultKey } from '../../engine/seal/vault-key.ts'
import { makeVaultKey, makeVeskey } from '../../engine/seal/vault-key-make.ts'
import { parseVesUri, printVesUri, type VesUri } from '../uri.ts'
import { idAt, type JsonObject, objectAt, optionalOctets, optionalText, textAt } from './answer.ts'
import { ApiConnection, delay } from './api-connection.ts'
import { BoundedCache } from './bounded-cache.ts'
import { readToken } from './item-answer.ts'
import { RecipientDirectory } from './recipient-directory.ts'
import { VaultSession } from './vault-session.ts'

/** What new keys are: ML-KEM-768, or ECDH P-521 which every client reads (key-repository.md §2). */
export type NewKeys = 'post-quantum' | 'compatible'

export interface VesClientOptions {
  /** Base URL of the API, e.g. `http://127.0.0.1:8080/v1/`. */
  readonly api: string
  /** Domain of vaults and items. Default `vesmail`. */
  readonly domain?: string
  /** Default: what suits every client, `compatible`, at the hosted service; `post-quantum` elsewhere. */
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
  readonly recipientCacheOctets?: number
  readonly recipientCacheMs?: number
  /** Opened message keys kept by one session. */
  readonly messageKeyCacheEntries?: number
  /** Opened items (profiles) are believed so long: enough for the connections that a mail client opens at a time. Default 500. */
  readonly itemCacheMs?: number
  /** PEM of the CAs to trust for the API instead of the built-in ones. */
  readonly ca?: string
  /** Who runs key operations. Default: in place. */
  readonly keys?: KeyOperations
  /** Encrypted private key that is unlocked in vain for vaults that don't exist. Default: one is made, on OpenSSL. */
  readonly decoy?: string
  /** No failed login is told sooner, so that its time does not say why. Default 250. */
  readonly failedUnlockMs?: number
}

/** A recipient's vault with its public key, ready to share with. */
export interface VaultRef {
  readonly keyId: number
  /** `ves://vesmail/bob@example.org/` */
  readonly uri: string
  readonly algo: KeyAlgo
  readonly key: VaultKey
  /** A temp key stands for someone who has no vault yet. */
  readonly temp: boolean
}

/** Someone for whom a temp key will be made with the first item that is shared with them. */
export interface PlannedVault {
  readonly planned: true
  /** Lower-cased. */
  readonly address: string
  readonly name: string | null
  readonly uri: string
}

export type Recipient = VaultRef | PlannedVault

/**
 * Who may be written to. `vault`: only who has a vault; `account`: also who has an account but no vault yet (they get a
 * temp key; mode REJECT); `anyone`: modes XCHG and HIGH, and the command line.
 */
export type RecipientRule = 'vault' | 'account' | 'anyone'

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

export interface CreateMessageKeyOptions {
  /** Put the temp keys' VESkeys into {@link CreatedMessageKey.xchg} (mode XCHG, command line). */
  readonly xchg?: boolean
  /** The message's viewer URL, told to those who get a temp key. */
  readonly viewerUrl?: string | null
}

export interface CreatedMessageKey {
  readonly key: MessageKey
  /** `ves://vesmail/<message id>` */
  readonly uri: string
  readonly itemId: number
  /** Keys that hold an entry now, for the log. */
  readonly keyIds: readonly number[]
  /** Value of X-VESmail-Xchg, or null. */
  readonly xchg: string | null
}

export interface VesSession {
  readonly user: { readonly id: number; readonly email: string }
  readonly vaultUri: string
  readonly keyId: number

  /** @throws GatewayError VES_NOT_FOUND, VES_DENIED (exists, not shared with this vault) */
  item(uri: string, options?: { /** As it is now, not as it was kept. */ readonly fresh?: boolean }): Promise<VesItem>
  /** Creates, or replaces by a new version, which is shared with nobody but whom it names: {@link holders} keep nothing by themselves. */
  putItem(uri: string, item: PutItem): Promise<{ readonly id: number }>
  /** The keys that the item is shared with, this vault's own among them. @throws GatewayError VES_NOT_FOUND, VES_DENIED */
  holders(uri: string): Promise<readonly VaultRef[]>
  /** Is there such an item, readable or not? (FALLBACK asks for `<address>!plain`.) */
  itemExists(uri: string): Promise<boolean>
  /** Is the item shared with this vault? (the ACL) @throws GatewayError VES_NOT_FOUND where there is none */
  hasAccess(uri: string): Promise<boolean>
  /** Address in any case; null = no vault (temp keys don't count). Public keys come from a bounded cache. @throws GatewayError VES_UNSUPPORTED naming an unknown algorithm */
  recipientVault(address: string): Promise<VaultRef | null>
  /** As {@link recipientVault}, but with who has none as the rule says; null = may not be written to. */
  recipient(address: string, rule: RecipientRule, name?: string | null): Promise<Recipient | null>
  /** The vault of an account name or a vault URI, for `audit`. @throws GatewayError VES_NOT_FOUND */
  vault(nameOrUri: string): Promise<VaultRef>
  /** Makes the item and shares it; where it exists already (creation race), the winner's key is shared instead. */
  createMessageKey(
    messageId: string,
    recipients: readonly Recipient[],
    options?: CreateMessageKeyOptions,
  ): Promise<CreatedMessageKey>
  /**
   * @param xchg value of X-VESmail-Xchg, if the message has one
   * @throws GatewayError ITEM_UNAVAILABLE where there is none, or none shared with this vault
   */
  messageKey(messageId: string, xchg?: string | null): Promise<MessageKey>
  /** Proof towards third parties that its bearer has access to the item. */
  verifyToken(itemId: number): Promise<Secret<string>>
  /** Resolves when the key exchange that the repository asked for in passing is done; for programs that are about to end. */
  settled(): Promise<void>
}

export const DEFAULT_DOMAIN = 'vesmail'
export const HOSTED_API = 'https://api.ves.host/v1/'
const VAULT_FIELDS = 'id,type,algo,publicKey,privateKey,user(id,email,firstName,lastName),externals,encSessionToken'

export class VesClient {
  readonly options: VesClientOptions
  readonly api: ApiConnection
  readonly keys: KeyOperations
  readonly domain: string
  /** Kind of new keys. */
  readonly newKind: KeyKind
  readonly recipients: RecipientDirectory
  /** Items as vaults opened them, by key id and URI. */
  readonly items: BoundedCache<VesItem>
  readonly #log: Log
  readonly #nowMs: () => number
  /** Unlocked in vain for vaults that don't exist: the time must not tell them from a wrong VESkey. */
  readonly #decoy: string

  constructor(options: VesClientOptions) {
    this.options = options
    this.#nowMs = options.nowMs ?? Date.now
    this.#log = options.log ?? silentLog
    this.keys = options.keys ?? inlineKeyOperations
    this.domain = options.domain ?? DEFAULT_DOMAIN
    const newKeys = options.newKeys ?? (options.api.startsWith(HOSTED_API) ? 'compatible' : 'post-quantum')
    this.newKind = newKeys === 'compatible' ? 'P-521' : 'ML-KEM-768'
    this.api = new ApiConnection({
      api: options.api,
      connections: options.connections ?? 16,
      connectTimeoutMs: options.connectTimeoutMs ?? 5000,
      requestTimeoutMs: options.requestTimeoutMs ?? 15_000,
      ca: options.ca ?? null,
      userAgent: 'vesmail',
      nowMs: this.#nowMs,
    })
    this.recipients = new RecipientDirectory(this.api, this.keys, {
      maxEntries: options.recipientCacheEntries ?? 10_000,
      maxOctets: options.recipientCacheOctets ?? 32 * 1024 * 1024,
      ttlMs: options.recipientCacheMs ?? 300_000,
      nowMs: this.#nowMs,
    })
    this.items = new BoundedCache({
      maxEntries: 1000,
      maxOctets: 4 * 1024 * 1024,
      ttlMs: options.itemCacheMs ?? 500,
      nowMs: this.#nowMs,
      octetsOf: ({ value }) => value.expose().length + 512,
    })
    this.#decoy = options.decoy ?? makeVaultKey('P-256', makeVeskey()).privateKey
  }

  /** @throws GatewayError BAD_CREDENTIALS for a wrong VESkey and for no such vault, in about the same time; ACCESS_DENIED for a locked account; VES_* otherwise */
  async unlock(vaultUri: string, veskey: Secret<Buffer>): Promise<VaultSession> {
    const startedMs = this.#nowMs()
    try {
      return await this.#unlock(parseName(vaultUri, this.domain), veskey)
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'BAD_CREDENTIALS') {
        const leftMs = (this.options.failedUnlockMs ?? 250) - (this.#nowMs() - startedMs)
        if (leftMs > 0) await delay(leftMs)
      }
      throw error
    }
  }

  /**
   * A session whose token came from elsewhere: it seals and shares, and opens nothing.
   * @throws GatewayError VES_NOT_FOUND, VES_DENIED for a token that is no longer good, VES_INCORRECT for another user's
   */
  async withToken(vaultUri: string, token: Secret<string>): Promise<VaultSession> {
    const uri = parseVesUri(vaultUri, this.domain)
    const vaultKey = await this.#fetchVault(uri, 'id,type,algo,publicKey,user(id)')
    if (vaultKey === null) throw new GatewayError('VES_NOT_FOUND', { text: `vault ${vaultUri}` })
    const { key } = await this.recipients.readKey(vaultKey, printVesUri(uri))
    const session = this.#session(uri, vaultKey, key, token)
    await session.learnEmail()
    return session
  }

  async close(): Promise<void> {
    await this.api.close()
  }

  #session(uri: VesUri, vaultKey: JsonObject, key: VaultKey, token: Secret<string>): VaultSession {
    const user = objectAt(vaultKey, 'user')
    return new VaultSession({
      client: this,
      log: this.#log,
      nowMs: this.#nowMs,
      user: { id: idAt(user), email: optionalText(user, 'email') ?? addressIn(uri, this.domain) },
      vaultUri: printVesUri(uri),
      keyId: idAt(vaultKey),
      key,
      token,
      messageKeyCacheEntries: this.options.messageKeyCacheEntries ?? 1000,
    })
  }

  async #unlock(uri: VesUri | null, veskey: Secret<Buffer>): Promise<VaultSession> {
    const vaultKey = uri === null ? null : await this.#fetchVault(uri)
    if (uri === null || vaultKey === null) {
      const wrong = await this.#tryUnlock(this.#decoy, veskey, null)
      throw new GatewayError('BAD_CREDENTIALS', { reason: 'no such vault' }, wrong)
    }
    const sealedToken = optionalOctets(vaultKey, 'encSessionToken')
    const unlocked = await this.#tryUnlock(textAt(vaultKey, 'privateKey'), veskey, sealedToken)
    if (unlocked instanceof GatewayError) {
      throw new GatewayError('BAD_CREDENTIALS', { reason: 'wrong VESkey', keyId: idAt(vaultKey) }, unlocked)
    }
    const [token] = unlocked.values
    // The key is right, and still there is no session to be had: a locked account.
    if (token === undefined)
      throw new GatewayError('ACCESS_DENIED', { reason: 'no session token', keyId: idAt(vaultKey) })
    const session = this.#session(uri, vaultKey, unlocked.key, readToken(token))
    // Without a session a user's address is nobody's business.
    if (session.user.email === '') await session.learnEmail()
    return session
  }

  /** @returns the error of a wrong VESkey, so that both failures take the same way */
  async #tryUnlock(
    privateKey: string,
    veskey: Secret<Buffer>,
    sealedToken: Buffer | null,
  ): Promise<{ readonly key: VaultKey; readonly values: readonly Uint8Array[] } | GatewayError> {
    try {
      const sealed = sealedToken === null ? [] : [sealedToken]
      return await this.keys.run('unlock', { privateKey, veskey: veskey.expose(), sealed })
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'VES_UNLOCK') return error
      throw error
    }
  }

  async #fetchVault(uri: VesUri, fields = VAULT_FIELDS): Promise<JsonObject | null> {
    try {
      if (uri.kind === 'primary') {
        const path = `users?fields=id,email,currentVaultKey(${fields})`
        const { result } = await this.api.request({ path, body: { email: uri.user, $op: 'fetch' } })
        return { user: { id: idAt(result), email: uri.user }, ...objectAt(result, 'currentVaultKey') }
      }
      if (uri.kind === 'vault-id') {
        return (await this.api.request({ path: `vaultKeys/${uri.id}?fields=${fields}` })).result
      }
      if (uri.kind !== 'vault') return null
      const externals = [{ domain: uri.domain, externalId: uri.externalId }]
      const path = `vaultKeys?fields=${fields}`
      return (await this.api.request({ path, body: { externals, $op: 'fetch' } })).result
    } catch (error) {
      if (error instanceof GatewayError && error.code === 'VES_NOT_FOUND') return null
      throw error
    }
  }
}

/** In the session's domain a vault is named by its user's address, or that and a section (key-repository.md §1); '' = it is not. */
function addressIn(uri: VesUri, domain: string): string {
  if (uri.kind === 'primary') return uri.user
  if (uri.kind !== 'vault' || uri.domain !== domain) return ''
  return /^[^@!\s]+@[^@!\s]+/.exec(uri.externalId)?.[0] ?? ''
}

/** null = a name that no vault can have; telling so would be telling more than a wrong password does. */
function parseName(vaultUri: string, domain: string): VesUri | null {
  try {
    return parseVesUri(vaultUri, domain)
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'VES_PARAMETER') return null
    throw error
  }
}
