/**
 * One unlocked vault and its session: the token and its renewal, items, recipients. The keys of messages are made in
 * `message-keys.ts`; what the repository asks for in passing (`attn`) is done by `key-exchange.ts`.
 */
import { GatewayError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import { Secret } from '../../base/secret.ts'
import type { MessageKey } from '../../engine/seal/message-key.ts'
import { publicOf, type VaultKey } from '../../engine/seal/vault-key.ts'
import { parseVesUri, printVesUri, type VesUri } from '../uri.ts'
import { idAt, type JsonObject, objectsAt, optionalObject, textAt } from './answer.ts'
import type { ApiAnswer, ApiRequest } from './api-connection.ts'
import { BoundedCache } from './bounded-cache.ts'
import {
  checkToken,
  cipherOf,
  entryOf,
  ITEM_FIELDS,
  itemExternal,
  itemType,
  splitName,
  toBase64,
  uniqueKeys,
} from './item-answer.ts'
import { KeyExchange } from './key-exchange.ts'
import { MessageKeys } from './message-keys.ts'
import { type External, KEY_FIELDS, orNull } from './recipient-directory.ts'
import { RestingKey } from './resting-key.ts'
import { SessionToken } from './session-token.ts'
import type {
  CreatedMessageKey,
  CreateMessageKeyOptions,
  PutItem,
  Recipient,
  RecipientRule,
  VaultRef,
  VesClient,
  VesItem,
  VesSession,
} from './ves-client.ts'

export interface VaultSessionStart {
  readonly client: VesClient
  readonly log: Log
  readonly nowMs: () => number
  readonly user: { readonly id: number; readonly email: string }
  readonly vaultUri: string
  readonly keyId: number
  /** A public key where there is no more: the session has a token that came from elsewhere, and opens nothing. */
  readonly key: VaultKey
  readonly token: Secret<string>
  readonly messageKeyCacheEntries: number
}

/** How often a session asks for pending matters, at most: each question costs the repository a query. */
const ATTN_EVERY_MS = 60_000
/** P-521 takes 2 ms a key, and 2 more for the ephemeral one that a job's keys share. */
const KEYS_PER_JOB = 16
/** A sender's own primary keys and temp keys change seldom. */
const OWN_KEYS_TTL_MS = 60_000
export class VaultSession implements VesSession {
  readonly client: VesClient
  readonly log: Log
  user: { readonly id: number; readonly email: string }
  readonly vaultUri: string
  readonly keyId: number
  readonly #nowMs: () => number
  /** The private key opens what is sealed to the vault; with a token alone one can only seal and share. */
  readonly canOpen: boolean
  readonly #key: RestingKey
  readonly #token: SessionToken
  #attnAfterMs = 0
  readonly #exchange: KeyExchange
  readonly #messageKeys: MessageKeys
  readonly #ownKeys: BoundedCache<readonly VaultRef[]>
  readonly #tempKeys: BoundedCache<VaultRef>

  constructor(start: VaultSessionStart) {
    this.client = start.client
    this.log = start.log
    this.user = start.user
    this.vaultUri = start.vaultUri
    this.keyId = start.keyId
    this.canOpen = start.key.key.type === 'private'
    this.#key = new RestingKey(start.key)
    this.#nowMs = start.nowMs
    const { client, keyId } = start
    this.#token = new SessionToken(client, keyId, () => this.privateKey, start.token, start.nowMs)
    this.#exchange = new KeyExchange(this)
    this.#messageKeys = new MessageKeys(this, start.messageKeyCacheEntries, start.nowMs)
    const cache = { maxOctets: 8 * 1024 * 1024, ttlMs: OWN_KEYS_TTL_MS, nowMs: start.nowMs, octetsOf: () => 8192 }
    this.#ownKeys = new BoundedCache({ ...cache, maxEntries: 16 })
    this.#tempKeys = new BoundedCache({ ...cache, maxEntries: 1000 })
  }

  /** Not to be kept: it is large, and loaded when it is needed. @throws GatewayError VES_DENIED with a token alone */
  get privateKey(): VaultKey {
    if (!this.canOpen) throw new GatewayError('VES_DENIED', { text: 'a session token opens no keys: give the VESkey' })
    return this.#key.get()
  }

  /** The session's own vault as a recipient: the first entry of whatever it makes. */
  get own(): VaultRef {
    const { keyId, vaultUri } = this
    const key = this.#key.get()
    return { keyId, uri: vaultUri, algo: key.algo, key: this.canOpen ? publicOf(key) : key, temp: false }
  }

  /** The user's address, from the repository; pending matters come along. */
  async learnEmail(): Promise<void> {
    const { result } = await this.request({ path: 'me?fields=id,email' })
    if (idAt(result) !== this.user.id) throw new GatewayError('VES_INCORRECT', { reason: 'session of another user' })
    this.user = { id: this.user.id, email: textAt(result, 'email') }
  }

  async item(uri: string, { fresh = false }: { readonly fresh?: boolean } = {}): Promise<VesItem> {
    const parsed = parseVesUri(uri, this.client.domain)
    if (fresh) this.client.items.delete(this.#itemKey(parsed))
    const item = await this.client.items.get(this.#itemKey(parsed), () => this.#readItem(parsed))
    if (item === null) throw new GatewayError('VES_DENIED', { reason: 'not shared with this vault' })
    // Whoever gets it may wipe it.
    return { ...item, value: new Secret(Buffer.from(item.value.expose())) }
  }

  async putItem(uri: string, item: PutItem): Promise<{ readonly id: number }> {
    const targets = uniqueKeys([this.own, ...(item.shareWith ?? [])])
    const body = {
      type: item.type,
      file: { externals: [itemExternal(uri, this.client.domain)] },
      ...(item.meta === null ? {} : { meta: item.meta }),
      vaultEntries: await this.sealEntries(targets, item.value.expose()),
    }
    // The same item put twice is the same item: it replaces itself.
    const { result } = await this.request({ path: 'vaultItems', body, repeatable: true })
    this.client.items.delete(this.#itemKey(parseVesUri(uri, this.client.domain)))
    return { id: idAt(result) }
  }

  async holders(uri: string): Promise<readonly VaultRef[]> {
    const item = await this.fetchItem(parseVesUri(uri, this.client.domain), `id,vaultEntries(vaultKey(${KEY_FIELDS}))`)
    const entries = objectsAt(item, 'vaultEntries')
    // Who may not see them is told that there are none.
    if (entries.length === 0) throw new GatewayError('VES_DENIED', { reason: 'not shared with this vault' })
    return Promise.all(
      entries.map((entry) => this.client.recipients.readKey(optionalObject(entry, 'vaultKey') ?? {}, uri)),
    )
  }

  async itemExists(uri: string): Promise<boolean> {
    const item = await orNull(this.fetchItem(parseVesUri(uri, this.client.domain), 'id'))
    // An object without an id is no item.
    return item !== null && idAt(item) >= 0
  }

  async hasAccess(uri: string): Promise<boolean> {
    const item = await this.fetchItem(parseVesUri(uri, this.client.domain), 'id,vaultEntries(encData,vaultKey(id))')
    return entryOf(item, this.keyId) !== null
  }

  async recipientVault(address: string): Promise<VaultRef | null> {
    return this.client.recipients.vault(this.#external(address.toLowerCase()))
  }

  async recipient(address: string, rule: RecipientRule, name: string | null = null): Promise<Recipient | null> {
    const lower = address.toLowerCase()
    const vault = await this.recipientVault(lower)
    if (vault !== null || rule === 'vault') return vault
    if (rule === 'account' && (await this.activeKeys({ email: lower })).length === 0) return null
    const external = this.#external(lower)
    const temp = await this.#tempKeys.get(lower, () => this.#tempKey(external, name))
    return (
      temp ?? { planned: true, address: lower, name, uri: printVesUri({ kind: 'vault', ...external, owner: null }) }
    )
  }

  async vault(nameOrUri: string): Promise<VaultRef> {
    const isUri = nameOrUri.includes('/')
    const uri = isUri ? parseVesUri(nameOrUri, this.client.domain) : null
    if (uri !== null && uri.kind !== 'vault')
      throw new GatewayError('VES_PARAMETER', { text: `not a vault: ${nameOrUri}` })
    const external = uri ?? this.#external(nameOrUri.toLowerCase())
    const { domain, externalId } = external
    const vault = await this.client.recipients.vault({ domain, externalId })
    if (vault === null) throw new GatewayError('VES_NOT_FOUND', { text: `vault ${nameOrUri}` })
    return vault
  }

  createMessageKey(
    messageId: string,
    recipients: readonly Recipient[],
    options: CreateMessageKeyOptions = {},
  ): Promise<CreatedMessageKey> {
    return this.#messageKeys.create(messageId, recipients, options)
  }

  messageKey(messageId: string, xchg: string | null = null): Promise<MessageKey> {
    return this.#messageKeys.open(messageId, xchg)
  }

  async verifyToken(itemId: number): Promise<Secret<string>> {
    const { result } = await this.request({ path: `files/${itemId}?fields=verifyToken` })
    return checkToken(textAt(result, 'verifyToken'))
  }

  /** The session's token, for others that ask the repository with it (the spool). */
  bearer(): Promise<Secret<string>> {
    return this.#token.get()
  }

  /** Matters of key exchange are being worked on. */
  get exchanging(): boolean {
    return this.#exchange.busy
  }

  settled(): Promise<void> {
    return this.#exchange.settled()
  }

  /** Works temp keys' entries over to this vault, with a VESkey from X-VESmail-Xchg. */
  rekeyWith(tempKeyId: number, veskey: Secret<Buffer>): Promise<void> {
    return this.#exchange.rekeyWith(tempKeyId, veskey)
  }

  /** A user's active primary keys; empty for someone without an account. Kept for a minute. */
  async activeKeys(who: { readonly id: number } | { readonly email: string }): Promise<readonly VaultRef[]> {
    const label = 'id' in who ? `ves:///user/${who.id}` : printVesUri({ kind: 'primary', user: who.email })
    const keys = await this.#ownKeys.get(label, async () => {
      const path = `users?fields=activeVaultKeys(${KEY_FIELDS})`
      const found = await orNull(this.request({ path, body: { ...who, $op: 'fetch' } }))
      const keys = found === null ? [] : await this.client.recipients.readKeys(found.result, 'activeVaultKeys', label)
      return keys.length === 0 ? null : keys
    })
    return keys ?? []
  }

  forgetRecipients(recipients: readonly Recipient[]): void {
    for (const { uri } of recipients) {
      const parsed = parseVesUri(uri, this.client.domain)
      if (parsed.kind !== 'vault') continue
      this.client.recipients.forget({ domain: parsed.domain, externalId: parsed.externalId })
      this.#tempKeys.delete(parsed.externalId)
    }
    this.#ownKeys.clear()
  }

  async fetchItem(uri: VesUri, fields: string): Promise<JsonObject> {
    if (uri.kind !== 'item' && uri.kind !== 'item-id') throw new GatewayError('VES_PARAMETER', { text: 'not an item' })
    const which =
      uri.kind === 'item-id'
        ? { id: uri.id }
        : { file: { externals: [{ domain: uri.domain, externalId: uri.externalId }] }, $op: 'fetch' }
    return (await this.request({ path: `vaultItems?fields=${fields}`, body: which, repeatable: true })).result
  }

  /** The value of an item, by this vault's entry; null where it has none. */
  async openEntry(item: JsonObject): Promise<Buffer | null> {
    const sealed = entryOf(item, this.keyId)
    if (sealed === null) return null
    const { values } = await this.client.keys.run('open', { key: this.privateKey, sealed: [sealed] })
    return Buffer.from(values[0]!)
  }

  /** One value for many keys, in their order: in pieces, so that no thread is held for long and all may help. */
  async sealFor(keys: readonly VaultKey[], value: Uint8Array): Promise<Uint8Array[]> {
    const pieces: Promise<{ readonly sealed: readonly Uint8Array[] }>[] = []
    for (let at = 0; at < keys.length; at += KEYS_PER_JOB) {
      pieces.push(this.client.keys.run('seal', { keys: keys.slice(at, at + KEYS_PER_JOB), value }))
    }
    return (await Promise.all(pieces)).flatMap(({ sealed }) => sealed)
  }

  /** Entries of one value for these keys, as the repository wants them. */
  async sealEntries(targets: readonly VaultRef[], value: Uint8Array): Promise<JsonObject[]> {
    const sealed = await this.sealFor(
      targets.map((target) => target.key),
      value,
    )
    return targets.map((target, i) => ({ vaultKey: { id: target.keyId }, encData: toBase64(sealed[i]!) }))
  }

  /**
   * A request with this session's token, which is renewed when it is old, and once more when the repository no longer
   * takes it. Asks along for pending matters from time to time.
   */
  async request(request: Omit<ApiRequest, 'bearer'>, withAttn = true): Promise<ApiAnswer> {
    // Pending matters are for who can open keys; whoever asks is told of them once.
    const due = withAttn && this.canOpen && this.#nowMs() >= this.#attnAfterMs
    if (due) this.#attnAfterMs = this.#nowMs() + ATTN_EVERY_MS
    const asked = due ? { ...request, path: `${request.path}${request.path.includes('?') ? '&' : '?'}attn=*` } : request
    const bearer = await this.#token.get()
    let answer: ApiAnswer
    try {
      answer = await this.client.api.request({ ...asked, bearer })
    } catch (error) {
      // Errors bring nothing along: the next request asks again.
      if (due) this.#attnAfterMs = 0
      if (!isExpired(error) || !this.canOpen) throw error
      // 401: the repository has not even looked at what we want, so asking again is safe.
      answer = await this.client.api.request({ ...asked, bearer: await this.#token.get(bearer) })
    }
    if (answer.attn !== null) this.#exchange.take(answer.attn)
    return answer
  }

  async #readItem(uri: VesUri): Promise<VesItem | null> {
    const result = await this.fetchItem(uri, ITEM_FIELDS)
    const value = await this.openEntry(result)
    if (value === null) return null
    const type = itemType(result)
    const meta = optionalObject(result, 'meta')
    return { id: idAt(result), type, meta, algo: cipherOf(type, meta), value: new Secret(value) }
  }

  #itemKey(uri: VesUri): string {
    return `${this.keyId}\n${printVesUri(uri)}`
  }

  #external(externalId: string): External {
    return { domain: this.client.domain, externalId }
  }

  /** The temp key that this user made for someone earlier. */
  async #tempKey(external: External, name: string | null): Promise<VaultRef | null> {
    const user = { email: external.externalId, ...splitName(name), $op: 'fetch' }
    const body = { externals: [external], creator: { id: this.user.id }, user, $op: 'fetch' }
    const found = await orNull(this.request({ path: `vaultKeys?fields=${KEY_FIELDS},externals`, body }))
    return found === null ? null : this.client.recipients.readVault(found.result, external)
  }
}

function isExpired(error: unknown): boolean {
  return error instanceof GatewayError && error.code === 'VES_DENIED' && error.detail.status === 401
}
