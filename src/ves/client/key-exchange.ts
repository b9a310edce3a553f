/**
 * What the repository asks a client to do in passing (`attn`, key-repository.md §3, §4): a sender hands the VESkey of a
 * temp key on to keys that its owner has by now (*propagate*); the owner works the temp key's entries over to their
 * vault (*rekey*). Runs beside the session's own requests, one matter at a time; what fails is logged, and comes again
 * in another session.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Secret } from '../../base/secret.ts'
import type { VaultKey } from '../../engine/seal/vault-key.ts'
import { idAt, type JsonObject, objectAt, objectsAt, optionalObject, optionalOctets, textAt } from './answer.ts'
import { entryOf, toBase64, uniqueKeys } from './item-answer.ts'
import { type External, KEY_FIELDS, orNull } from './recipient-directory.ts'
import type { VaultSession } from './vault-session.ts'
import type { VaultRef } from './ves-client.ts'

/** Matters held at once: the repository gives each out once per session, and a new session gets what is left over. */
const MAX_PENDING = 100
/** Entries worked over per request: 16 of P-521 hold a thread for a tenth of a second. */
const ENTRIES_PER_REQUEST = 16
/** Rounds of some thousand entries: what is left after that comes again. */
const MAX_ROUNDS = 20
const TEMP_FIELDS =
  'type,algo,privateKey,vaultItems(id,type,vaultEntries(vaultKey(id),encData)),user(id,email,firstName,lastName)'

export class KeyExchange {
  readonly #session: VaultSession
  readonly #pending: JsonObject[] = []
  #running: Promise<void> | null = null

  constructor(session: VaultSession) {
    this.#session = session
  }

  /** @param attn the field of an answer; malformed = ignored, since nobody asked for it */
  take(attn: JsonObject): void {
    const matters = Array.isArray(attn.vaultKeys) ? objectsAt(attn, 'vaultKeys') : []
    for (const matter of matters) {
      if (this.#pending.length >= MAX_PENDING) break
      this.#pending.push(matter)
    }
    if (this.#pending.length > 0) this.#running ??= this.#run()
  }

  get busy(): boolean {
    return this.#running !== null
  }

  async settled(): Promise<void> {
    while (this.#running !== null) await this.#running
  }

  /** @throws GatewayError VES_UNLOCK for a wrong VESkey, VES_NOT_FOUND, VES_DENIED */
  async rekeyWith(tempKeyId: number, veskey: Secret<Buffer>): Promise<void> {
    const { result: matter } = await this.#session.request({
      path: `vaultKeys?fields=${KEY_FIELDS},externals,user(id)`,
      body: { id: tempKeyId, creator: { id: this.#session.user.id }, $op: 'fetch' },
    })
    const temp = await this.#fetchTemp(tempKeyId)
    const { key } = await this.#unlock(temp, veskey)
    await this.#moveEntries(tempKeyId, key, await this.#workingKey(matter))
  }

  async #run(): Promise<void> {
    for (let matter = this.#pending.shift(); matter !== undefined; matter = this.#pending.shift()) {
      try {
        await this.#handle(matter)
      } catch (thrown) {
        const { code, detail } = asGatewayError(thrown)
        const fields = { code, user: this.#session.user.email, status: detail.status, reason: detail.reason }
        this.#session.log.write('warn', 'key-exchange-failed', fields)
      }
    }
    this.#running = null
  }

  async #handle(matter: JsonObject): Promise<void> {
    if (matter.type !== 'temp') return
    const keyId = idAt(matter)
    const owner = objectAt(matter, 'user')
    const temp = await this.#fetchTemp(keyId)
    const veskey = await this.#veskeyOf(temp)
    if (veskey === null) throw new GatewayError('VES_DENIED', { reason: 'temp key not ours to open', keyId })
    if (idAt(owner) !== this.#session.user.id) return this.#propagate(matter, temp, veskey.itemId, veskey.value)
    const { key } = await this.#unlock(temp, veskey.value)
    await this.#moveEntries(keyId, key, await this.#workingKey(matter))
  }

  /** Shares the temp key's VESkey with every key of its owner and its maker that has no entry yet. */
  async #propagate(matter: JsonObject, temp: JsonObject, itemId: number, veskey: Buffer): Promise<void> {
    const session = this.#session
    const { client, user } = session
    const targets: VaultRef[] = [...(await session.activeKeys({ id: idAt(objectAt(matter, 'user')) }))]
    targets.push(...(await session.activeKeys({ id: user.id })))
    for (const external of externalsOf(matter)) {
      // Not what is kept: the vault was made only now, which is why we are asked.
      client.recipients.forget(external)
      const vault = await client.recipients.vault(external)
      if (vault !== null) targets.push(vault)
    }
    const item = objectsAt(temp, 'vaultItems').find((one) => idAt(one) === itemId)!
    const there = new Set(objectsAt(item, 'vaultEntries').map((entry) => idAt(optionalObject(entry, 'vaultKey') ?? {})))
    const missing = uniqueKeys(targets).filter(({ keyId }) => !there.has(keyId))
    if (missing.length === 0) return
    const body = { id: itemId, type: 'password', vaultEntries: await session.sealEntries(missing, veskey) }
    await session.request({ path: 'vaultItems', body, repeatable: true })
    this.#log('key-propagated', idAt(matter), missing.length)
  }

  /** Seals every entry of the temp key anew to the working key; the repository deletes a temp key that has none left. */
  async #moveEntries(tempKeyId: number, key: VaultKey, working: VaultRef): Promise<void> {
    const session = this.#session
    let moved = 0
    const seen = new Set<number>()
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const path = `vaultKeys/${tempKeyId}?fields=vaultEntries(encData,vaultItem(id))`
      const found = await orNull(session.request({ path }))
      // A repository that lists the moved ones too would keep us here, and so would what does not open.
      const entries = (found === null ? [] : sealedEntries(found.result)).filter(({ itemId }) => !seen.has(itemId))
      if (entries.length === 0) break
      for (const { itemId } of entries) seen.add(itemId)
      for (let at = 0; at < entries.length; at += ENTRIES_PER_REQUEST) {
        const some = entries.slice(at, at + ENTRIES_PER_REQUEST)
        const job = { from: key, to: working.key, sealed: some.map(({ encData }) => encData) }
        const { sealed } = await session.client.keys.run('reseal', job)
        // What does not open was sealed wrong, by whoever made the temp key: it stays where it is.
        const vaultEntries = some.flatMap(({ itemId }, i) => {
          const anew = sealed[i]
          return anew === null || anew === undefined ? [] : [{ encData: toBase64(anew), vaultItem: { id: itemId } }]
        })
        if (vaultEntries.length === 0) continue
        await session.request({ path: 'vaultKeys', body: { id: working.keyId, vaultEntries }, repeatable: true })
        moved += vaultEntries.length
      }
    }
    this.#log('key-rekeyed', tempKeyId, moved)
  }

  /** The owner's vault that the temp key stood for; the session's own where that is the one, or there is none. */
  async #workingKey(matter: JsonObject): Promise<VaultRef> {
    const session = this.#session
    for (const external of externalsOf(matter)) {
      session.client.recipients.forget(external)
      const vault = await session.client.recipients.vault(external)
      if (vault !== null) return vault.keyId === session.keyId ? session.own : vault
    }
    return session.own
  }

  async #fetchTemp(keyId: number): Promise<JsonObject> {
    return (await this.#session.request({ path: `vaultKeys/${keyId}?fields=${TEMP_FIELDS}` })).result
  }

  async #veskeyOf(temp: JsonObject): Promise<{ readonly itemId: number; readonly value: Buffer } | null> {
    for (const item of objectsAt(temp, 'vaultItems')) {
      if (item.type !== 'password' || entryOf(item, this.#session.keyId) === null) continue
      const value = await this.#session.openEntry(item)
      if (value !== null) return { itemId: idAt(item), value }
    }
    return null
  }

  #unlock(temp: JsonObject, veskey: Secret<Buffer> | Buffer): Promise<{ readonly key: VaultKey }> {
    const octets = Buffer.isBuffer(veskey) ? veskey : veskey.expose()
    return this.#session.client.keys.run('unlock', {
      privateKey: textAt(temp, 'privateKey'),
      veskey: octets,
      sealed: [],
    })
  }

  #log(event: string, keyId: number, entries: number): void {
    this.#session.log.write('info', event, { user: this.#session.user.email, keyId, entries })
  }
}

function externalsOf(matter: JsonObject): External[] {
  return objectsAt(matter, 'externals').map((external) => ({
    domain: textAt(external, 'domain'),
    externalId: textAt(external, 'externalId'),
  }))
}

/** Entries that the session may see; the others are not its to move. */
function sealedEntries(vaultKey: JsonObject): { readonly itemId: number; readonly encData: Buffer }[] {
  return objectsAt(vaultKey, 'vaultEntries').flatMap((entry) => {
    const item = optionalObject(entry, 'vaultItem')
    const encData = optionalOctets(entry, 'encData')
    return item === null || encData === null ? [] : [{ itemId: idAt(item), encData }]
  })
}
