/** What waits for a user: temp keys they made or that stand for them (key-repository.md §3 "attn"). */
import { sql } from 'kysely'
import type { Db } from './schema.ts'

/**
 * A sender's: temp keys they made whose owner now has a primary key, or the vault that the temp key stands for, without
 * an entry of the temp key's password item.
 */
export async function senderMatters(db: Db, userId: number, sessionId: number, limit: number): Promise<number[]> {
  const { rows } = await sql<{ id: number }>`
    select t.id from vault_keys t
    where t.creator_id = ${userId} and t.type = 'temp' and t.due = 1
      and not exists (select 1 from session_attn a where a.session_id = ${sessionId} and a.key_id = t.id)
      and exists (
        select 1 from vault_keys k
        where k.user_id = t.user_id
          and (k.type in ('current', 'shadow')
            or (k.type = 'secondary' and exists (
              select 1 from key_externals x join key_externals tx on tx.domain = x.domain and tx.external_id = x.external_id
              where x.key_id = k.id and tx.key_id = t.id)))
          and not exists (
            select 1 from vault_items p join vault_entries e on e.item_id = p.id
            where p.key_id = t.id and p.deleted = 0 and e.key_id = k.id))
    order by t.id limit ${limit}`.execute(db)
  return rows.map((row) => row.id)
}

/**
 * A recipient's: their temp keys with something left to move, whose password item the session's key opens, itself or
 * through a key whose password it holds.
 */
export async function recipientMatters(
  db: Db,
  session: { userId: number; keyId: number; sessionId: number },
  limit: number,
): Promise<number[]> {
  const { rows } = await sql<{ id: number }>`
    select t.id from vault_keys t
    where t.user_id = ${session.userId} and t.type = 'temp'
      and not exists (select 1 from session_attn a where a.session_id = ${session.sessionId} and a.key_id = t.id)
      and exists (
        select 1 from vault_items p join vault_entries e on e.item_id = p.id
        where p.key_id = t.id and p.deleted = 0
          and (e.key_id = ${session.keyId} or exists (
            select 1 from vault_items kp join vault_entries ke on ke.item_id = kp.id
            where kp.key_id = e.key_id and kp.deleted = 0 and ke.key_id = ${session.keyId})))
      and exists (
        select 1 from vault_entries te join vault_items ti on ti.id = te.item_id
        where te.key_id = t.id and ti.deleted = 0
          and not exists (
            select 1 from vault_entries w join vault_keys wk on wk.id = w.key_id
            where w.item_id = te.item_id and wk.user_id = ${session.userId}
              and wk.type in ('current', 'shadow', 'secondary')))
    order by t.id limit ${limit}`.execute(db)
  return rows.map((row) => row.id)
}

/** These are told now; the session is not told of them again. */
export async function markTold(db: Db, sessionId: number, keyIds: readonly number[]): Promise<void> {
  if (keyIds.length === 0) return
  const rows = keyIds.map((keyId) => ({ session_id: sessionId, key_id: keyId }))
  await db
    .insertInto('session_attn')
    .values(rows)
    .onConflict((conflict) => conflict.doNothing())
    .execute()
}

/** Temp keys of the user that hold an entry of one of these items. */
export async function tempKeysHolding(db: Db, userId: number, itemIds: readonly number[]): Promise<number[]> {
  if (itemIds.length === 0) return []
  const rows = await db
    .selectFrom('vault_entries as e')
    .innerJoin('vault_keys as k', 'k.id', 'e.key_id')
    .select('k.id')
    .distinct()
    .where('e.item_id', 'in', [...itemIds])
    .where('k.type', '=', 'temp')
    .where('k.user_id', '=', userId)
    .execute()
  return rows.map((row) => row.id)
}
