/** What belongs to an account as a whole. */
import { lockKey, removeKey } from './keys.ts'
import type { StoreKind } from './migrations.ts'
import { removePlan } from './recovery.ts'
import type { Db } from './schema.ts'

/** Counting stops here: an administrator wants to know whether it is ten or many. */
const COUNT_TO = 1_000_000

export async function accountCounts(
  db: Db,
  userId: number,
  nowMs: number,
): Promise<{ items: number; sessions: number }> {
  const items = db
    .selectFrom('vault_items')
    .select('id')
    .where('creator_id', '=', userId)
    .where('file', '=', 1)
    .where('deleted', '=', 0)
  const sessions = db
    .selectFrom('sessions')
    .select('id')
    .where('user_id', '=', userId)
    .where('revoked', '=', 0)
    .where('expires_ms', '>', nowMs)
  const row = await db
    .selectNoFrom((e) => [
      e
        .selectFrom(items.limit(COUNT_TO).as('i'))
        .select((f) => f.fn.countAll<number | string>().as('n'))
        .as('items'),
      e
        .selectFrom(sessions.limit(COUNT_TO).as('s'))
        .select((f) => f.fn.countAll<number | string>().as('n'))
        .as('sessions'),
    ])
    .executeTakeFirstOrThrow()
  return { items: Number(row.items), sessions: Number(row.sessions) }
}

export async function entryCounts(db: Db, keyIds: readonly number[]): Promise<Map<number, number>> {
  if (keyIds.length === 0) return new Map()
  const rows = await db
    .selectFrom('vault_entries')
    .select((e) => ['key_id', e.fn.countAll<number | string>().as('n')])
    .where('key_id', 'in', [...keyIds])
    .groupBy('key_id')
    .execute()
  return new Map(rows.map((row) => [row.key_id, Number(row.n)]))
}

/**
 * Keys, entries and sessions of the account are gone; the items that it made stay, for those they are shared with. The
 * address may make a new account, which cannot read what this one could.
 * @returns ids of the keys
 */
export async function removeAccount(db: Db, kind: StoreKind, userId: number): Promise<number[]> {
  const keys = await db
    .selectFrom('vault_keys')
    .select('id')
    .where('user_id', '=', userId)
    .where('type', '!=', 'deleted')
    .execute()
  for (const { id } of keys) {
    await lockKey(db, kind, id)
    await removeKey(db, id)
  }
  await removePlan(db, kind, userId)
  await db.updateTable('recovery_runs').set({ state: 'cancelled' }).where('user_id', '=', userId).execute()
  await db.updateTable('users').set({ account: 0, locked: 0 }).where('id', '=', userId).execute()
  return keys.map((key) => key.id)
}
