/**
 * Rotation: a new key takes the place of the app vault's or the primary key's, with all that was sealed to the old one
 * sealed anew (docs/repository-api.md). It may be killed at any point: until the last request the old key is in force
 * and complete; a rotation that is run again goes on where the other one stopped, or clears it away.
 */
import { GatewayError } from '../../base/errors.ts'
import type { Secret } from '../../base/secret.ts'
import type { KeyKind, VaultKey } from '../../engine/seal/vault-key.ts'
import { publicOf } from '../../engine/seal/vault-key.ts'
import { idAt, type JsonObject, objectsAt, optionalObject, optionalOctets, textAt } from './answer.ts'
import { toBase64 } from './item-answer.ts'
import type { VaultSession } from './vault-session.ts'

export interface RotationOptions {
  readonly kind: KeyKind
  /** VESkey of the new key. */
  readonly veskey: Secret<Buffer>
  /** Rounds of PBKDF2; null = the default for random VESkeys. */
  readonly rounds: number | null
  /** Go on although some entries do not open: they are carried over as they are. */
  readonly keepUnreadable: boolean
  /** Called after each page. */
  readonly progress?: (entries: number) => void
  /** Called once, when all is ready and before the new key takes the old one's place. */
  readonly beforeCommit?: () => void
}

export interface Rotated {
  readonly oldKeyId: number
  readonly newKeyId: number
  /** Sealed anew in this run. */
  readonly entries: number
  /** Goes on with what an interrupted rotation had done. */
  readonly resumed: boolean
  readonly unreadable: number
}

/** Entries per request: 100 of P-521 are half a second of one thread. */
const PAGE = 100
/** Mail comes in while we work: so often the rest is looked at again before we give up. */
const MAX_ROUNDS = 20

/** @throws GatewayError VES_INCORRECT where entries do not open and are not to be kept; VES_* */
export async function rotateKey(session: VaultSession, options: RotationOptions): Promise<Rotated> {
  const type = await typeOf(session)
  const { keyId: newKeyId, key, resumed } = await pendingKey(session, options, type)
  const to = publicOf(key)
  let entries = 0
  let unreadable = 0
  let done = resumed ? await itemsOn(session, newKeyId) : new Set<number>()
  for (let round = 0; ; round++) {
    for await (const page of pages(session, session.keyId)) {
      const open = page.filter(({ itemId }) => !done.has(itemId))
      if (open.length === 0) continue
      const moved = await reseal(session, to, open)
      const broken = moved.filter(({ readable }) => !readable)
      if (broken.length > 0 && !options.keepUnreadable) {
        const items = broken.map(({ itemId }) => itemId).join(' ')
        throw new GatewayError('VES_INCORRECT', { text: 'entries that do not open with this key', items })
      }
      const vaultEntries = moved.map(({ itemId, encData }) => ({ encData, vaultItem: { id: itemId } }))
      await session.request({ path: 'vaultKeys', body: { id: newKeyId, vaultEntries }, repeatable: true })
      for (const { itemId } of moved) done.add(itemId)
      entries += moved.length
      unreadable += broken.length
      options.progress?.(entries)
    }
    if (round === 0) options.beforeCommit?.()
    if (await commit(session, newKeyId, type, round)) break
    // Something came or was written anew since, and an item that is replaced loses the entry that we had made.
    done = await itemsOn(session, newKeyId)
  }
  session.forgetRecipients([session.own])
  return { oldKeyId: session.keyId, newKeyId, entries, resumed, unreadable }
}

/** @returns false where entries came meanwhile, and another round is due */
async function commit(session: VaultSession, newKeyId: number, type: string, round: number): Promise<boolean> {
  const body = { id: newKeyId, type, replaces: { id: session.keyId } }
  try {
    await session.request({ path: 'vaultKeys', body })
    return true
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    if (error.code === 'VES_DENIED' && error.detail.status === 403 && round < MAX_ROUNDS) return false
    // The answer may have been lost after it was done: the old key then is no more.
    if (error.code === 'VES_CONNECTION' && (await isReplaced(session, newKeyId, type))) return true
    throw error
  }
}

async function isReplaced(session: VaultSession, newKeyId: number, type: string): Promise<boolean> {
  const { result } = await session.client.api.request({ path: `vaultKeys/${newKeyId}?fields=id,type` })
  return result.type === type
}

/** What the session's key is: an app vault or the primary key. */
async function typeOf(session: VaultSession): Promise<'secondary' | 'current'> {
  const { result } = await session.request({ path: `vaultKeys/${session.keyId}?fields=id,type` })
  if (result.type === 'secondary' || result.type === 'current') return result.type
  throw new GatewayError('VES_UNSUPPORTED', { text: `a key of type ${String(result.type)} is not rotated` })
}

/** The key of an interrupted rotation if our VESkey opens it, else a new one; others that are in the way are deleted. */
async function pendingKey(
  session: VaultSession,
  options: RotationOptions,
  type: 'secondary' | 'current',
): Promise<{ readonly keyId: number; readonly key: VaultKey; readonly resumed: boolean }> {
  const { result } = await session.request({ path: 'me?fields=id,vaultKeys(id,type,publicKey,privateKey)' })
  for (const pending of objectsAt(result, 'vaultKeys').filter((key) => key.type === 'pending')) {
    const key = await tryUnlock(session, pending, options)
    if (key !== null && key.kind === options.kind) return { keyId: idAt(pending), key, resumed: true }
    await session.request({ path: `vaultKeys/${idAt(pending)}`, body: { $op: 'delete' }, repeatable: true })
  }
  const veskey = options.veskey.expose()
  const made = await session.client.keys.run('make', { kind: options.kind, veskey, rounds: options.rounds })
  // Before anything depends on it: what was written opens again.
  const { key } = await session.client.keys.run('unlock', { privateKey: made.privateKey, veskey, sealed: [] })
  const holders = await session.activeKeys({ id: session.user.id })
  const password = { type: 'password', vaultEntries: await session.sealEntries(holders, veskey) }
  // The primary key's VESkey is told once and kept nowhere.
  const vaultItems = type === 'secondary' && holders.length > 0 ? { vaultItems: [password] } : {}
  const created = await session.request({ path: 'vaultKeys', body: { type: 'pending', ...made, ...vaultItems } })
  return { keyId: idAt(created.result), key, resumed: false }
}

async function tryUnlock(
  session: VaultSession,
  pending: JsonObject,
  options: RotationOptions,
): Promise<VaultKey | null> {
  try {
    const job = { privateKey: textAt(pending, 'privateKey'), veskey: options.veskey.expose(), sealed: [] }
    return (await session.client.keys.run('unlock', job)).key
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'VES_UNLOCK') return null
    throw error
  }
}

interface SealedEntry {
  readonly itemId: number
  readonly encData: Buffer
}

async function* pages(session: VaultSession, keyId: number): AsyncGenerator<readonly SealedEntry[]> {
  for (let after = 0; ; ) {
    const path = `vaultKeys/${keyId}?fields=vaultEntries(id,encData,vaultItem(id))[${after}+${PAGE}]`
    const entries = objectsAt((await session.request({ path })).result, 'vaultEntries')
    if (entries.length === 0) return
    after = Math.max(...entries.map((entry) => idAt(entry)))
    yield entries.flatMap((entry) => {
      const item = optionalObject(entry, 'vaultItem')
      const encData = optionalOctets(entry, 'encData')
      return item === null || encData === null ? [] : [{ itemId: idAt(item), encData }]
    })
  }
}

async function itemsOn(session: VaultSession, keyId: number): Promise<Set<number>> {
  const items = new Set<number>()
  for await (const page of pages(session, keyId)) for (const { itemId } of page) items.add(itemId)
  return items
}

async function reseal(
  session: VaultSession,
  to: VaultKey,
  page: readonly SealedEntry[],
): Promise<{ readonly itemId: number; readonly encData: string; readonly readable: boolean }[]> {
  const sealed = page.map(({ encData }) => encData)
  const job = { from: session.privateKey, to, sealed }
  const anew = (await session.client.keys.run('reseal', job)).sealed
  return page.map(({ itemId, encData }, i) => {
    const one = anew[i] ?? null
    return { itemId, encData: toBase64(one ?? encData), readable: one !== null }
  })
}
