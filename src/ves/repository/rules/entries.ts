/** Entries: whose keys an item's value is encrypted to, as a request lists them. */
import type { EntryBody, KeyBody } from '../body.ts'
import { type Call, note, userIdOf } from '../call.ts'
import { denied, invalid, notFound, quota } from '../refuse.ts'
import { tempKeysHolding } from '../store/attn.ts'
import {
  deleteEntries,
  entriesOfKey,
  entryKeyIds,
  itemNamed,
  itemsByIds,
  itemsHeldBy,
  upsertEntries,
} from '../store/items.ts'
import { keysByIds, lockKey, removeKey, tempKeysNamed, workingKeyNamed } from '../store/keys.ts'
import type { KeyRow } from '../store/schema.ts'
import { maySee } from '../views/keys.ts'
import { isItemWriter } from './item-access.ts'
import type { Actor, Name } from './names.ts'

/** What `$ref` may name: objects of this very request that got their ids on the way. */
export interface Refs {
  /** `#/` */
  root: { readonly kind: 'key' | 'item'; readonly id: number } | null
  /** `#/vaultKeys/N` */
  readonly keys: number[]
  /** Makes a key that an entry brings along (key-create.ts; handed in, for it needs entries itself). */
  readonly createKey: (call: Call, actor: Actor, body: KeyBody, refs: Refs) => Promise<number>
}

/** The keys that the entries name by their ids: looked up beside other things, before {@link applyEntries}. */
export function keysOfEntries(call: Call, bodies: readonly EntryBody[]): Promise<ReadonlyMap<number, KeyRow>> {
  return keysByIds(
    call.db,
    bodies.flatMap((body) => body.vaultKey?.id ?? []),
    call.store,
  )
}

/**
 * @param mode `exactly`: the item has these entries and no others afterwards; `merge`: the others stay
 * @returns ids of the keys that were touched
 */
export async function applyEntries(
  call: Call,
  actor: Actor,
  item: { readonly id: number; readonly isNew: boolean },
  bodies: readonly EntryBody[],
  mode: 'exactly' | 'merge',
  refs: Refs,
  looked: Promise<ReadonlyMap<number, KeyRow>> = keysOfEntries(call, bodies),
): Promise<number[]> {
  const [known, existing] = await Promise.all([looked, item.isNew ? new Set<number>() : entryKeyIds(call.db, item.id)])
  const kept = new Set<number>()
  const removed = new Set<number>()
  const set = new Map<number, string>()
  for (const body of bodies) {
    if (body.vaultKey === null) throw invalid('vaultEntries: vaultKey expected')
    const keyId = await resolveKey(call, actor, body.vaultKey, known, existing, refs, body.op)
    if (set.has(keyId) || removed.has(keyId)) throw invalid('vaultEntries: the same key twice')
    if (body.op === 'ignore') kept.add(keyId)
    else if (body.op === 'delete') removed.add(keyId)
    else if (body.encData === null) throw invalid('vaultEntries: encData expected')
    else set.set(keyId, body.encData)
  }
  if (mode === 'exactly') {
    for (const keyId of existing) if (!set.has(keyId) && !kept.has(keyId)) removed.add(keyId)
  }
  let total = existing.size
  for (const keyId of set.keys()) if (!existing.has(keyId)) total++
  for (const keyId of removed) if (existing.has(keyId)) total--
  if (total > call.settings.maxEntriesPerItem)
    throw quota(`more than ${call.settings.maxEntriesPerItem} entries of one item`)
  await deleteEntries(call.db, item.id, [...removed])
  await upsertEntries(
    call.db,
    [...set].map(([keyId, encData]) => ({ itemId: item.id, keyId, encData })),
  )
  return [...set.keys(), ...removed]
}

async function resolveKey(
  call: Call,
  actor: Actor,
  body: KeyBody,
  known: ReadonlyMap<number, KeyRow>,
  existing: ReadonlySet<number>,
  refs: Refs,
  op: EntryBody['op'],
): Promise<number> {
  if (body.ref !== null) return resolveRef(body.ref, refs)
  if (body.id !== null) {
    const row = known.get(body.id)
    if (row !== undefined && mayShareWith(call, actor, row, existing)) return row.id
    // Taking away what is not there is no failure: the entry may have gone with its key.
    if (op === 'delete' || op === 'ignore') return body.id
    throw notFound('vaultKey')
  }
  if (body.publicKey !== null) return refs.createKey(call, actor, body, refs)
  for (const name of body.externals ?? []) {
    const found = await keyNamed(call, name)
    const row = found === null ? undefined : (await keysByIds(call.db, [found.id], call.store)).get(found.id)
    if (row !== undefined && mayShareWith(call, actor, row, existing)) return row.id
  }
  throw body.externals === null ? invalid('vaultKey: id, externals or a new key expected') : notFound('vaultKey')
}

/** Never with a deleted key, also one's own: nobody could read it. */
function mayShareWith(call: Call, actor: Actor, key: KeyRow, existing: ReadonlySet<number>): boolean {
  if (key.type === 'deleted') return false
  return existing.has(key.id) || maySee(call, key) || key.user_id === actor.userId
}

export function resolveRef(ref: string, refs: Refs): number {
  if (ref === '#/' && refs.root?.kind === 'key') return refs.root.id
  const n = /^#\/vaultKeys\/(\d{1,2})$/.exec(ref)?.[1]
  const id = n === undefined ? undefined : refs.keys[Number(n)]
  if (id === undefined) throw invalid('$ref: names no key of this request')
  return id
}

/** The vault of that name: the working one, else the oldest temp key that the asker made for it, else null. */
export async function keyNamed(call: Call, name: Name): Promise<KeyRow | null> {
  const working = await workingKeyNamed(call.db, name)
  if (working !== null) {
    // What goes to a propagation key reaches all that its owner can reach: only the owner has business with it.
    return name.domain === '.propagate' && working.user_id !== userIdOf(call) ? null : working
  }
  return ownTempKeyNamed(call, name)
}

export async function ownTempKeyNamed(call: Call, name: Name): Promise<KeyRow | null> {
  const me = userIdOf(call)
  return me === 0 ? null : ((await tempKeysNamed(call.db, name, me))[0] ?? null)
}

/**
 * Entries for a key of the actor's own: of items that another of their keys holds already, or that are theirs to write.
 * Temp keys whose entries have all been moved are gone afterwards.
 */
export async function addEntriesToOwnKey(
  call: Call,
  actor: Actor,
  keyId: number,
  bodies: readonly EntryBody[],
  refs: Refs,
): Promise<void> {
  const key = (await keysByIds(call.db, [keyId], call.store)).get(keyId)
  if (key === undefined || key.type === 'deleted') throw notFound('vaultKey')
  const set = new Map<number, string>()
  for (const body of bodies) {
    if (body.op === 'ignore') continue
    if (body.op === 'delete') throw denied('entries are deleted at their item')
    if (body.encData === null) throw invalid('vaultEntries: encData expected')
    set.set(await resolveItem(call, body, refs), body.encData)
  }
  const ids = [...set.keys()]
  const items = await itemsByIds(call.db, ids, call.store)
  const held = await itemsHeldBy(call.db, ids, actor.userId, null)
  for (const id of ids) {
    const item = items.get(id)
    if (item === undefined) throw notFound('vaultItem')
    if (!held.has(id) && !(await isItemWriter(call, actor, item))) throw denied('none of your keys holds this item')
  }
  await upsertEntries(
    call.db,
    ids.map((itemId) => ({ itemId, keyId, encData: set.get(itemId)! })),
  )
  if (ids.length > 0) note(call, 'key.entries', `key:${keyId}`, [keyId])
  await retireMovedKeys(call, actor.userId, ids)
}

async function resolveItem(call: Call, body: EntryBody, refs: Refs): Promise<number> {
  const item = body.vaultItem
  if (item?.id != null) return item.id
  if (item?.ref === '#/' && refs.root?.kind === 'item') return refs.root.id
  for (const name of item?.file?.externals ?? []) {
    const row = await itemNamed(call.db, name)
    if (row !== null) return row.id
  }
  throw item?.file == null ? invalid('vaultEntries: vaultItem expected') : notFound('vaultItem')
}

async function retireMovedKeys(call: Call, userId: number, itemIds: readonly number[]): Promise<void> {
  for (const id of await tempKeysHolding(call.db, userId, itemIds)) {
    await lockKey(call.db, call.store, id)
    const unmoved = await entriesOfKey(call.db, {
      keyId: id,
      after: 0,
      bounds: { rows: 1, octets: 1 },
      unmovedOfUser: userId,
    })
    if (unmoved.length > 0) continue
    await removeKey(call.db, id)
    note(call, 'key.moved', `key:${id}`, [id])
  }
}
