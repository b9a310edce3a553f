/** Items, their names and their entries: rows and nothing else. */
import { groupBy } from './group.ts'
import type { StoreKind } from './migrations.ts'
import { prepared } from './prepared.ts'
import type { Db, EntryRow, ItemExternalRow, ItemRow, ItemType, KeyType } from './schema.ts'

export interface ItemName {
  readonly domain: string
  readonly externalId: string
}

/** @param lock for a change: on PostgreSQL a concurrent change of the same item waits */
export async function itemById(db: Db, id: number, lock: StoreKind | null = null): Promise<ItemRow | null> {
  return (await (lock === 'postgresql' ? lockedItemOfId : itemOfId)(db, id))[0] ?? null
}

const itemOfId = prepared((db, id: number) =>
  db.selectFrom('vault_items').selectAll().where('id', '=', id).where('deleted', '=', 0),
)
const lockedItemOfId = prepared((db, id: number) =>
  db.selectFrom('vault_items').selectAll().where('id', '=', id).where('deleted', '=', 0).forUpdate(),
)

/** @param use for items that are about to get entries: none is deleted meanwhile */
export async function itemsByIds(
  db: Db,
  ids: readonly number[],
  use: StoreKind | null = null,
): Promise<Map<number, ItemRow>> {
  if (ids.length === 0) return new Map()
  let query = db
    .selectFrom('vault_items')
    .selectAll()
    .where('id', 'in', [...new Set(ids)])
    .where('deleted', '=', 0)
  if (use === 'postgresql') query = query.orderBy('id').forKeyShare()
  const rows = await query.execute()
  return new Map(rows.map((row) => [row.id, row]))
}

export async function itemNamed(db: Db, name: ItemName, lock: StoreKind | null = null): Promise<ItemRow | null> {
  const [row] = await itemIdOfName(db, name.externalId, name.domain)
  return row === undefined ? null : itemById(db, row.item_id, lock)
}

const itemIdOfName = prepared((db, externalId: string, domain: string) =>
  db.selectFrom('item_externals').select('item_id').where('external_id', '=', externalId).where('domain', '=', domain),
)

export async function passwordItemsOfKeys(db: Db, keyIds: readonly number[]): Promise<ItemRow[]> {
  if (keyIds.length === 0) return []
  return db
    .selectFrom('vault_items')
    .selectAll()
    .where('key_id', 'in', [...new Set(keyIds)])
    .where('deleted', '=', 0)
    .orderBy('id')
    .execute()
}

export interface NewItem {
  readonly type: ItemType
  /** JSON text. */
  readonly meta: string | null
  readonly creatorId: number
  readonly keyId: number | null
  readonly file: { readonly name: string | null; readonly mime: string | null; readonly path: string | null } | null
}

export async function insertItem(db: Db, item: NewItem, nowMs: number): Promise<ItemRow> {
  const { type, meta, creatorId, keyId, file } = item
  const of = file ?? { name: null, mime: null, path: null }
  const rows = await newItem(db, type, meta, creatorId, keyId, file === null ? 0 : 1, of.name, of.mime, of.path, nowMs)
  return rows[0]!
}

const newItem = prepared(
  (
    db,
    type: ItemType,
    meta: string | null,
    creator_id: number,
    key_id: number | null,
    file: number,
    file_name: string | null,
    file_mime: string | null,
    file_path: string | null,
    created_ms: number,
  ) =>
    db
      .insertInto('vault_items')
      .values({ type, meta, creator_id, key_id, file, file_name, file_mime, file_path, deleted: 0, created_ms })
      .returningAll(),
)

export async function updateItem(
  db: Db,
  id: number,
  change: Partial<Pick<ItemRow, 'type' | 'meta' | 'file_name' | 'file_mime' | 'file_path'>>,
): Promise<void> {
  if (Object.keys(change).length > 0) await db.updateTable('vault_items').set(change).where('id', '=', id).execute()
}

/** The row stays, its names are free again, its value is gone. Whoever is adding an entry comes first, or finds it gone. */
export async function removeItem(db: Db, kind: StoreKind, id: number): Promise<void> {
  if (kind === 'postgresql') await db.selectFrom('vault_items').select('id').where('id', '=', id).forUpdate().execute()
  await db.deleteFrom('item_externals').where('item_id', '=', id).execute()
  await db.deleteFrom('vault_entries').where('item_id', '=', id).execute()
  await db.updateTable('vault_items').set({ deleted: 1, meta: null }).where('id', '=', id).execute()
}

/** @returns false where one of the names is taken, also by a transaction that ended meanwhile */
export async function insertItemExternals(db: Db, itemId: number, names: readonly ItemName[]): Promise<boolean> {
  if (names.length === 0) return true
  const values = names.flatMap((name) => [name.domain, name.externalId])
  return (await newNames(db, itemId, ...values)).length === names.length
}

const newNames = prepared((db, item_id: number, ...names: string[]) =>
  db
    .insertInto('item_externals')
    .values(rowsOf(2, names).map(([domain, external_id]) => ({ domain: domain!, external_id: external_id!, item_id })))
    .onConflict((conflict) => conflict.doNothing())
    .returning('id'),
)

/** What was laid side by side for a statement, by rows again. */
function rowsOf<T>(columns: number, values: readonly T[]): T[][] {
  return Array.from({ length: values.length / columns }, (_, row) => values.slice(row * columns, (row + 1) * columns))
}

export async function externalsOfItems(db: Db, ids: readonly number[]): Promise<Map<number, ItemExternalRow[]>> {
  if (ids.length === 0) return new Map()
  const rows = await db
    .selectFrom('item_externals')
    .selectAll()
    .where('item_id', 'in', [...new Set(ids)])
    .orderBy('id')
    .execute()
  return groupBy(rows, (row) => row.item_id)
}

/** Items that others gave a name of this address's own (`jane@x.org!…`, `jane@x.org#…`), in any domain. */
export async function itemsInNameOf(db: Db, address: string, userId: number): Promise<number[]> {
  const rows = await db
    .selectFrom('item_externals as x')
    .innerJoin('vault_items as i', 'i.id', 'x.item_id')
    .select('i.id')
    .distinct()
    .where('i.creator_id', '!=', userId)
    .where((e) =>
      // The marks, and what follows them in ASCII.
      e.or([
        e.and([e('x.external_id', '>=', `${address}!`), e('x.external_id', '<', `${address}"`)]),
        e.and([e('x.external_id', '>=', `${address}#`), e('x.external_id', '<', `${address}$`)]),
      ]),
    )
    .orderBy('i.id')
    .execute()
  return rows.map((row) => row.id)
}

/** Items that the user made whose name begins with `prefix`, by id. */
export async function itemsWithPrefix(
  db: Db,
  of: { creatorId: number; domain: string; prefix: string; after: number; limit: number },
): Promise<ItemRow[]> {
  let query = db
    .selectFrom('item_externals as x')
    .innerJoin('vault_items as i', 'i.id', 'x.item_id')
    .selectAll('i')
    .where('x.domain', '=', of.domain)
    .where('i.creator_id', '=', of.creatorId)
    .where('i.id', '>', of.after)
  if (of.prefix !== '') {
    // The last code point: no name that begins with the prefix sorts behind it.
    query = query.where('x.external_id', '>=', of.prefix).where('x.external_id', '<', `${of.prefix}\u{10ffff}`)
  }
  return query.orderBy('i.id').limit(of.limit).execute()
}

/** An entry with what the rules ask of its key. */
export interface EntryOfItem extends EntryRow {
  readonly key_user_id: number
  readonly key_type: KeyType
}

export async function entriesOfItems(
  db: Db,
  itemIds: readonly number[],
  bounds: Bounds,
): Promise<Map<number, EntryOfItem[]>> {
  if (itemIds.length === 0) return new Map()
  const ids = [...new Set(itemIds)]
  const rows = await within(bounds, 0, (after, limit) =>
    db
      .selectFrom('vault_entries as e')
      .innerJoin('vault_keys as k', 'k.id', 'e.key_id')
      .selectAll('e')
      .select(['k.user_id as key_user_id', 'k.type as key_type'])
      .where('e.item_id', 'in', ids)
      .where('e.id', '>', after)
      .orderBy('e.id')
      .limit(limit)
      .execute(),
  )
  return groupBy(rows, (row) => row.item_id)
}

/** What may be loaded at once: an entry is 65,535 characters at most, and anybody may make large ones for anybody. */
export interface Bounds {
  readonly rows: number
  /** Of encData. Once they are reached no more rows come. */
  readonly octets: number
}

/** Rows between two looks at the octets. */
const STEP = 250

async function within<T extends { readonly id: number; readonly enc_data: string }>(
  bounds: Bounds,
  after: number,
  load: (after: number, limit: number) => Promise<readonly T[]>,
): Promise<T[]> {
  const rows: T[] = []
  for (let octets = 0; rows.length < bounds.rows && octets < bounds.octets; ) {
    const limit = Math.min(STEP, bounds.rows - rows.length)
    const more = await load(rows.at(-1)?.id ?? after, limit)
    for (const row of more) {
      if (octets >= bounds.octets) break
      octets += row.enc_data.length
      rows.push(row)
    }
    if (more.length < limit) break
  }
  return rows
}

export async function entryKeyIds(db: Db, itemId: number): Promise<Set<number>> {
  const rows = await db.selectFrom('vault_entries').select('key_id').where('item_id', '=', itemId).execute()
  return new Set(rows.map((row) => row.key_id))
}

/** A page of a key's entries, by id; none only where there are none. `unmoved`: only those whose item the key's owner has no working entry of. */
export async function entriesOfKey(
  db: Db,
  of: { keyId: number; after: number; bounds: Bounds; unmovedOfUser: number | null },
): Promise<EntryRow[]> {
  const owner = of.unmovedOfUser
  return within(of.bounds, of.after, (after, limit) => {
    let query = db
      .selectFrom('vault_entries as e')
      .innerJoin('vault_items as i', 'i.id', 'e.item_id')
      .selectAll('e')
      .where('e.key_id', '=', of.keyId)
      .where('e.id', '>', after)
      .where('i.deleted', '=', 0)
    if (owner !== null) query = query.where(({ not, exists }) => not(exists(workingEntry(db, owner))))
    return query.orderBy('e.id').limit(limit).execute()
  })
}

/** An entry of the same item as `e` that one of the user's working keys holds. */
function workingEntry(db: Db, userId: number) {
  return db
    .selectFrom('vault_entries as w')
    .innerJoin('vault_keys as wk', 'wk.id', 'w.key_id')
    .select('w.id')
    .whereRef('w.item_id', '=', 'e.item_id' as never)
    .where('wk.user_id', '=', userId)
    .where('wk.type', 'in', ['current', 'shadow', 'secondary'])
}

/** Which of these items the user's keys hold an entry of, or, with `domain`, keys of that domain. */
export async function itemsHeldBy(
  db: Db,
  itemIds: readonly number[],
  userId: number,
  domain: string | null,
): Promise<Set<number>> {
  if (itemIds.length === 0) return new Set()
  let query = db
    .selectFrom('vault_entries as e')
    .innerJoin('vault_keys as k', 'k.id', 'e.key_id')
    .select('e.item_id')
    .where('e.item_id', 'in', [...new Set(itemIds)])
    .where('k.user_id', '=', userId)
  if (domain !== null) {
    query = query
      .innerJoin('key_externals as x', 'x.key_id', 'k.id')
      .where('x.domain', '=', domain)
      .where('x.working', '=', 1)
  }
  return new Set((await query.execute()).map((row) => row.item_id))
}

/** Rows in one statement: both databases bound the parameters of one. */
const CHUNK = 1000

export async function upsertEntries(
  db: Db,
  entries: readonly { readonly itemId: number; readonly keyId: number; readonly encData: string }[],
): Promise<void> {
  for (let at = 0; at < entries.length; at += CHUNK) {
    const rows = entries.slice(at, at + CHUNK)
    await setEntries(db, ...rows.flatMap((entry) => [entry.itemId, entry.keyId, entry.encData]))
  }
}

const setEntries = prepared((db, ...values: (number | string)[]) =>
  db
    .insertInto('vault_entries')
    .values(
      rowsOf(3, values).map(([itemId, keyId, encData]) => ({
        item_id: itemId as number,
        key_id: keyId as number,
        enc_data: encData as string,
      })),
    )
    .onConflict((conflict) =>
      conflict.columns(['item_id', 'key_id']).doUpdateSet((e) => ({ enc_data: e.ref('excluded.enc_data') })),
    ),
)

export async function deleteEntries(db: Db, itemId: number, keyIds: readonly number[]): Promise<void> {
  if (keyIds.length === 0) return
  await db
    .deleteFrom('vault_entries')
    .where('item_id', '=', itemId)
    .where('key_id', 'in', [...keyIds])
    .execute()
}
