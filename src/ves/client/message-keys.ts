/**
 * Keys of messages: one item per message, made with all its entries in one request, the sender's own vault first
 * (key-repository.md §4). Also the race of two processes that seal the same message at the same time.
 */
import { randomBytes } from 'node:crypto'
import { GatewayError } from '../../base/errors.ts'
import type { Secret } from '../../base/secret.ts'
import { NEW_KEY_OCTETS, parseItemValue } from '../../engine/seal/ciphers.ts'
import type { MessageKey } from '../../engine/seal/message-key.ts'
import { printVesUri, type VesUri } from '../uri.ts'
import { idAt, type JsonObject, objectsAt, optionalObject } from './answer.ts'
import { BoundedCache } from './bounded-cache.ts'
import { cipherOf, ITEM_FIELDS, toBase64, uniqueKeys } from './item-answer.ts'
import { orNull } from './recipient-directory.ts'
import { type MadeTempKey, makeTempKey, tempVeskey } from './temp-key.ts'
import type { VaultSession } from './vault-session.ts'
import type { CreatedMessageKey, CreateMessageKeyOptions, PlannedVault, Recipient, VaultRef } from './ves-client.ts'
import { parseXchg, printXchg, type XchgEntry } from './xchg.ts'

const NEW_ALGO = 'AES256GCM1K'
const ENTRY_FIELDS = 'id,vaultEntries(vaultKey(id,type,user(id),externals))'
const KEPT_MS = 3600_000
/** More would let the header make us unlock keys by the thousand; a user has one temp key per sender. */
const MAX_XCHG_TRIES = 3

interface Shares {
  readonly entries: readonly JsonObject[]
  readonly made: readonly MadeTempKey[]
  /** All keys of the item; null where the answer has to tell: what is there already, and temp keys' numbers. */
  readonly keyIds: readonly number[] | null
}

export class MessageKeys {
  readonly #session: VaultSession
  readonly #cache: BoundedCache<MessageKey>
  /** VESkeys of temp keys, by key id: they are asked for with each message in XCHG mode. */
  readonly #veskeys: BoundedCache<Secret<Buffer>>

  constructor(session: VaultSession, maxEntries: number, nowMs: () => number) {
    this.#session = session
    const bounds = { maxEntries, maxOctets: maxEntries * 512, ttlMs: KEPT_MS, nowMs, octetsOf: () => 512 }
    this.#cache = new BoundedCache(bounds)
    this.#veskeys = new BoundedCache({ ...bounds, octetsOf: () => 512 })
  }

  async create(
    messageId: string,
    recipients: readonly Recipient[],
    options: CreateMessageKeyOptions,
  ): Promise<CreatedMessageKey> {
    const uri = this.#uriOf(messageId)
    try {
      return await this.#createOrJoin(uri, recipients, options)
    } catch (error) {
      if (!(error instanceof GatewayError) || error.code !== 'VES_NOT_FOUND') throw error
      // A key that we kept was replaced meanwhile: look again, once.
      return this.#createOrJoin(uri, await this.#lookAgain(recipients), options)
    }
  }

  async #createOrJoin(
    uri: VesUri & { kind: 'item' },
    recipients: readonly Recipient[],
    options: CreateMessageKeyOptions,
  ): Promise<CreatedMessageKey> {
    try {
      return await this.#create(uri, recipients, options)
    } catch (error) {
      if (!(error instanceof GatewayError) || error.code !== 'VES_DENIED') throw error
      const joined = await this.#joinWinner(uri, recipients, options, error)
      if (joined !== null) return joined
      // No such item: it may be a temp key that another process made by now. Without one it was denied for good.
      if (!recipients.some((recipient) => 'planned' in recipient)) throw error
      return this.#create(uri, await this.#lookAgain(recipients), options)
    }
  }

  async open(messageId: string, xchg: string | null): Promise<MessageKey> {
    const key = await this.#cache.get(messageId, async () => {
      const uri = this.#uriOf(messageId)
      const key = await this.#fetch(uri)
      if (key !== null) return key
      // The exchange that came with the login may be bringing it just now.
      const busy = this.#session.exchanging
      if (busy) await this.#session.settled()
      const exchanged = xchg !== null && (await this.#exchange(xchg))
      return busy || exchanged ? this.#fetch(uri) : null
    })
    if (key === null) throw new GatewayError('ITEM_UNAVAILABLE', { messageId })
    return key
  }

  async #create(
    uri: VesUri & { kind: 'item' },
    recipients: readonly Recipient[],
    options: CreateMessageKeyOptions,
  ): Promise<CreatedMessageKey> {
    const keyString = randomBytes(NEW_KEY_OCTETS)
    const shares = await this.#share(keyString, recipients, options, new Set())
    const body = {
      type: 'file',
      file: { externals: [{ domain: uri.domain, externalId: uri.externalId }] },
      meta: { a: NEW_ALGO },
      vaultEntries: shares.entries,
      $op: 'create',
    }
    // Repeatable: if the first try did make it, the second one is denied, and then joins the "winner", itself.
    const { result } = await this.#session.request({
      path: `vaultItems?fields=${shares.keyIds === null ? ENTRY_FIELDS : 'id'}`,
      body,
      repeatable: true,
    })
    return this.#created(uri, { algo: NEW_ALGO, keyString }, result, shares, options)
  }

  /**
   * Another process of the same user made the item first, e.g. an APPEND beside the SMTP send: use its key, add who is
   * missing. @returns null where there is no such item
   */
  async #joinWinner(
    uri: VesUri & { kind: 'item' },
    recipients: readonly Recipient[],
    options: CreateMessageKeyOptions,
    denied: GatewayError,
  ): Promise<CreatedMessageKey | null> {
    const session = this.#session
    const item = await orNull(session.fetchItem(uri, ITEM_FIELDS))
    if (item === null) return null
    // Someone else's item of the same name would hand them our message: whoever made the item knows its key.
    const creator = optionalObject(optionalObject(item, 'file') ?? {}, 'creator')
    if (creator === null || idAt(creator) !== session.user.id) {
      throw new GatewayError(
        'VES_DENIED',
        { reason: 'the message id belongs to someone else', itemId: idAt(item) },
        denied,
      )
    }
    const key = await this.#keyOf(item)
    if (key === null)
      throw new GatewayError('VES_DENIED', { reason: 'not shared with this vault', itemId: idAt(item) }, denied)
    const there = new Set(objectsAt(item, 'vaultEntries').map((entry) => idAt(optionalObject(entry, 'vaultKey') ?? {})))
    const fresh = recipients.some((recipient) => 'planned' in recipient)
      ? await this.#lookAgain(recipients)
      : recipients
    const shares = await this.#share(key.keyString, fresh, options, there)
    if (shares.entries.length === 0) return this.#created(uri, key, item, shares, options)
    const body = { id: idAt(item), type: 'file', vaultEntries: shares.entries }
    const { result } = await session.request({ path: `vaultItems?fields=${ENTRY_FIELDS}`, body })
    return this.#created(uri, key, result, shares, options)
  }

  /** Entries for the own vault, the recipients' keys and new temp keys, but for the keys that have one. */
  async #share(
    keyString: Buffer,
    recipients: readonly Recipient[],
    options: CreateMessageKeyOptions,
    there: ReadonlySet<number>,
  ): Promise<Shares> {
    const session = this.#session
    const refs = recipients.filter((recipient): recipient is VaultRef => !('planned' in recipient))
    const planned = new Map<string, PlannedVault>()
    for (const recipient of recipients) if ('planned' in recipient) planned.set(recipient.address, recipient)
    const made: MadeTempKey[] = []
    // One after the other: the lookups they need are the same for all but the recipient's own keys.
    for (const plan of planned.values()) made.push(await makeTempKey(session, plan, options.viewerUrl ?? null))
    const targets = uniqueKeys([session.own, ...refs]).filter((ref) => !there.has(ref.keyId))
    if (targets.length + made.length === 0) return { entries: [], made, keyIds: null }
    const plain = made.length === 0 && there.size === 0 && targets.every(({ temp }) => !temp)
    const keys = [...targets, ...made].map((target) => target.key)
    const sealed = await session.sealFor(keys, keyString)
    const vaultKeys = [...targets.map((target) => ({ id: target.keyId })), ...made.map((temp) => temp.vaultKey)]
    return {
      entries: vaultKeys.map((vaultKey, i) => ({ vaultKey, encData: toBase64(sealed[i]!) })),
      made,
      keyIds: plain ? targets.map(({ keyId }) => keyId) : null,
    }
  }

  async #created(
    uri: VesUri & { kind: 'item' },
    key: MessageKey,
    result: JsonObject,
    { made, keyIds }: Shares,
    options: CreateMessageKeyOptions,
  ): Promise<CreatedMessageKey> {
    this.#cache.set(uri.externalId, key)
    const created = { key, uri: printVesUri(uri), itemId: idAt(result) }
    if (keyIds !== null) return { ...created, keyIds, xchg: null }
    const vaultKeys = objectsAt(result, 'vaultEntries').map((entry) => optionalObject(entry, 'vaultKey') ?? {})
    const temps = vaultKeys.filter((vaultKey) => vaultKey.type === 'temp')
    for (const temp of temps) {
      const address = objectsAt(temp, 'externals').find(
        ({ domain }) => domain === this.#session.client.domain,
      )?.externalId
      const mine = made.find((one) => one.address === address)
      if (mine !== undefined) this.#veskeys.set(String(idAt(temp)), mine.veskey)
    }
    return {
      ...created,
      keyIds: vaultKeys.map((vaultKey) => idAt(vaultKey)),
      xchg: options.xchg === true ? printXchg(await this.#xchgOf(temps)) : null,
    }
  }

  /** An entry for each temp key whose VESkey the sender can open. */
  async #xchgOf(temps: readonly JsonObject[]): Promise<XchgEntry[]> {
    const entries: XchgEntry[] = []
    for (const temp of temps) {
      const user = optionalObject(temp, 'user')
      const keyId = idAt(temp)
      const veskey = await this.#veskeys.get(String(keyId), () => tempVeskey(this.#session, keyId))
      if (user !== null && veskey !== null) entries.push({ userId: idAt(user), keyId, veskey })
    }
    return entries
  }

  async #fetch(uri: VesUri): Promise<MessageKey | null> {
    try {
      return await this.#keyOf(await this.#session.fetchItem(uri, ITEM_FIELDS))
    } catch (error) {
      // Denied: deleted or never ours. For the reader it is the same: no key.
      if (error instanceof GatewayError && (error.code === 'VES_NOT_FOUND' || error.code === 'VES_DENIED')) return null
      throw error
    }
  }

  async #keyOf(item: JsonObject): Promise<MessageKey | null> {
    const algo = cipherOf('file', optionalObject(item, 'meta'))!
    const value = await this.#session.openEntry(item)
    if (value === null) return null
    return parseItemValue(algo, value).key
  }

  /** @returns whether the header had something for this user, so that another look is worth it */
  async #exchange(xchg: string): Promise<boolean> {
    const mine = parseXchg(xchg).filter(({ userId }) => userId === this.#session.user.id)
    let done = false
    for (const { keyId, veskey } of mine.slice(0, MAX_XCHG_TRIES)) {
      try {
        await this.#session.rekeyWith(keyId, veskey)
        done = true
      } catch (error) {
        // Anyone may write anything into the header; but trouble with the repository is trouble.
        if (!(error instanceof GatewayError) || error.fault.retry) throw error
        this.#session.log.write('info', 'xchg-unusable', { keyId, code: error.code, user: this.#session.user.email })
      }
    }
    return done
  }

  async #lookAgain(recipients: readonly Recipient[]): Promise<Recipient[]> {
    this.#session.forgetRecipients(recipients)
    const found: Recipient[] = []
    for (const recipient of recipients) {
      if ('planned' in recipient) {
        found.push((await this.#session.recipient(recipient.address, 'anyone', recipient.name)) ?? recipient)
      } else if (recipient.temp) {
        found.push(recipient)
      } else {
        found.push(await this.#session.vault(recipient.uri))
      }
    }
    return found
  }

  #uriOf(messageId: string): VesUri & { kind: 'item' } {
    return { kind: 'item', domain: this.#session.client.domain, externalId: messageId }
  }
}
