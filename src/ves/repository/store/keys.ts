/** Vault keys and their names: rows and nothing else. */
import { groupBy } from './group.ts'
import type { StoreKind } from './migrations.ts'
import { prepared } from './prepared.ts'
import type { Db, KeyAlgo, KeyExternalRow, KeyRow, KeyType } from './schema.ts'

/** Keys of these types log in and read: the primary ones and the app vaults. */
export const WORKING_TYPES = ['current', 'shadow', 'secondary'] as const

const keysOfIds = prepared((db, ...ids: number[]) => db.selectFrom('vault_keys').selectAll().where('id', 'in', ids))
/** In one order always, so that no two wait for each other. */
const heldKeysOfIds = prepared((db, ...ids: number[]) =>
  db.selectFrom('vault_keys').selectAll().where('id', 'in', ids).orderBy('id').forKeyShare(),
)

export async function keyById(db: Db, id: number): Promise<KeyRow | null> {
  return (await keysOfIds(db, id))[0] ?? null
}

/**
 * @param use for keys that are about to get entries: where transactions overlap, nobody takes such a key away before
 *   this one has ended, and one that is being taken away is waited for and then seen as it is
 */
export async function keysByIds(
  db: Db,
  ids: readonly number[],
  use: StoreKind | null = null,
): Promise<Map<number, KeyRow>> {
  if (ids.length === 0) return new Map()
  const rows = await (use === 'postgresql' ? heldKeysOfIds : keysOfIds)(db, ...new Set(ids))
  return new Map(rows.map((row) => [row.id, row]))
}

/** Before a key is taken away: whoever is adding an entry to it comes first, and the next one finds it gone. */
export async function lockKey(db: Db, kind: StoreKind, id: number): Promise<void> {
  if (kind === 'postgresql') await db.selectFrom('vault_keys').select('id').where('id', '=', id).forUpdate().execute()
}

export interface KeyName {
  readonly domain: string
  readonly externalId: string
}

/** The one vault of that name. */
export async function workingKeyNamed(db: Db, name: KeyName): Promise<KeyRow | null> {
  return (await workingKeyOfName(db, name.externalId, name.domain))[0] ?? null
}

const workingKeyOfName = prepared((db, externalId: string, domain: string) =>
  db
    .selectFrom('key_externals as x')
    .innerJoin('vault_keys as k', 'k.id', 'x.key_id')
    .selectAll('k')
    .where('x.external_id', '=', externalId)
    .where('x.domain', '=', domain)
    .where('x.working', '=', 1),
)

/** Temp keys that stand for that name and were made by that user, oldest first. */
export async function tempKeysNamed(db: Db, name: KeyName, creatorId: number): Promise<KeyRow[]> {
  return db
    .selectFrom('key_externals as x')
    .innerJoin('vault_keys as k', 'k.id', 'x.key_id')
    .selectAll('k')
    .where('x.external_id', '=', name.externalId)
    .where('x.domain', '=', name.domain)
    .where('x.working', 'is', null)
    .where('k.creator_id', '=', creatorId)
    .where('k.type', '=', 'temp')
    .orderBy('k.id')
    .execute()
}

export async function keysOfUsers(db: Db, userIds: readonly number[], limit: number): Promise<KeyRow[]> {
  if (userIds.length === 0) return []
  return db
    .selectFrom('vault_keys')
    .selectAll()
    .where('user_id', 'in', [...new Set(userIds)])
    .where('type', '!=', 'deleted')
    .orderBy('id')
    .limit(limit)
    .execute()
}

export async function countKeys(db: Db, where: { userId: number } | { tempCreatorId: number }): Promise<number> {
  const query = db.selectFrom('vault_keys').select((e) => e.fn.countAll<number | string>().as('n'))
  const row = await ('userId' in where
    ? query.where('user_id', '=', where.userId).where('type', 'not in', ['deleted', 'temp'])
    : query.where('creator_id', '=', where.tempCreatorId).where('type', '=', 'temp')
  ).executeTakeFirstOrThrow()
  return Number(row.n)
}

export interface NewKey {
  readonly type: KeyType
  readonly algo: KeyAlgo
  readonly publicKey: string
  readonly privateKey: string | null
  readonly userId: number
  readonly creatorId: number
  readonly appUrl: string | null
}

export async function insertKey(db: Db, kind: StoreKind, key: NewKey, nowMs: number): Promise<number> {
  // A temp key and its owner's first own key at the same time: one of the two has to see the other.
  if (kind === 'postgresql') {
    await db.selectFrom('users').select('id').where('id', '=', key.userId).forNoKeyUpdate().execute()
  }
  const row = await db
    .insertInto('vault_keys')
    .values({
      type: key.type,
      algo: key.algo,
      public_key: key.publicKey,
      private_key: key.privateKey,
      user_id: key.userId,
      creator_id: key.creatorId,
      app_url: key.appUrl,
      created_ms: nowMs,
      tokens_after_ms: 0,
      due: key.type === 'temp' && (await hasWorkingKey(db, key.userId)) ? 1 : 0,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  // Their makers have to share the VESkeys of waiting temp keys with it.
  if (isWorking(key.type)) await markDue(db, key.userId)
  return row.id
}

function isWorking(type: KeyType): boolean {
  return (WORKING_TYPES as readonly KeyType[]).includes(type)
}

async function hasWorkingKey(db: Db, userId: number): Promise<boolean> {
  const query = db
    .selectFrom('vault_keys')
    .select('id')
    .where('user_id', '=', userId)
    .where('type', 'in', WORKING_TYPES)
  return (await query.limit(1).executeTakeFirst()) !== undefined
}

async function markDue(db: Db, userId: number): Promise<void> {
  await db.updateTable('vault_keys').set({ due: 1 }).where('user_id', '=', userId).where('type', '=', 'temp').execute()
}

export async function insertKeyExternals(
  db: Db,
  keyId: number,
  names: readonly KeyName[],
  working: boolean,
): Promise<void> {
  if (names.length === 0) return
  const rows = names.map((name) => ({
    domain: name.domain,
    external_id: name.externalId,
    key_id: keyId,
    working: working ? 1 : null,
  }))
  await db.insertInto('key_externals').values(rows).execute()
}

export async function externalsOfKeys(db: Db, keyIds: readonly number[]): Promise<Map<number, KeyExternalRow[]>> {
  if (keyIds.length === 0) return new Map()
  const rows = await db
    .selectFrom('key_externals')
    .selectAll()
    .where('key_id', 'in', [...new Set(keyIds)])
    .orderBy('id')
    .execute()
  return groupBy(rows, (row) => row.key_id)
}

export async function moveKeyExternals(db: Db, fromKeyId: number, toKeyId: number): Promise<void> {
  await db.updateTable('key_externals').set({ key_id: toKeyId }).where('key_id', '=', fromKeyId).execute()
}

export async function updateKey(
  db: Db,
  id: number,
  change: Partial<Pick<KeyRow, 'type' | 'app_url' | 'tokens_after_ms'>>,
): Promise<void> {
  await db.updateTable('vault_keys').set(change).where('id', '=', id).execute()
  if (change.type === undefined || !isWorking(change.type)) return
  const key = await keyById(db, id)
  if (key !== null) await markDue(db, key.user_id)
}

/** Nothing is left of the key but its row, by which its id stays taken, and who made it. */
export async function removeKey(db: Db, id: number): Promise<void> {
  await db.deleteFrom('key_externals').where('key_id', '=', id).execute()
  await db.deleteFrom('vault_entries').where('key_id', '=', id).execute()
  // First the items, which a change of their entries has locked: what it adds is then there to be deleted.
  await db.updateTable('vault_items').set({ deleted: 1 }).where('key_id', '=', id).execute()
  const items = db.selectFrom('vault_items').select('id').where('key_id', '=', id)
  await db.deleteFrom('vault_entries').where('item_id', 'in', items).execute()
  await db.updateTable('sessions').set({ revoked: 1 }).where('key_id', '=', id).execute()
  await db.updateTable('vault_keys').set({ type: 'deleted', private_key: null }).where('id', '=', id).execute()
}
