/** Recovery by friends: plans, and recoveries under way. */

import type { Selectable } from 'kysely'
import { insertItem, removeItem, upsertEntries } from './items.ts'
import { WORKING_TYPES } from './keys.ts'
import type { StoreKind } from './migrations.ts'
import type { Db, KeyAlgo, Schema } from './schema.ts'

export type PlanRow = Selectable<Schema['recovery_plans']>
export type RunRow = Selectable<Schema['recovery_runs']>

export interface Share {
  readonly friendId: number
  readonly keyId: number
  readonly encData: string
}

export async function replacePlan(
  db: Db,
  kind: StoreKind,
  plan: { userId: number; threshold: number; delaySeconds: number; shares: readonly Share[] },
  nowMs: number,
): Promise<void> {
  await removePlan(db, kind, plan.userId)
  await db
    .insertInto('recovery_plans')
    .values({ user_id: plan.userId, threshold: plan.threshold, delay_seconds: plan.delaySeconds, created_ms: nowMs })
    .execute()
  for (const { friendId, keyId, encData } of plan.shares) {
    const item = { type: 'secret', meta: null, creatorId: plan.userId, keyId: null, file: null } as const
    const { id: itemId } = await insertItem(db, item, nowMs)
    await upsertEntries(db, [{ itemId, keyId, encData }])
    await db
      .insertInto('recovery_shares')
      .values({ user_id: plan.userId, friend_id: friendId, item_id: itemId })
      .execute()
  }
}

export async function removePlan(db: Db, kind: StoreKind, userId: number): Promise<void> {
  const shares = await db.deleteFrom('recovery_shares').where('user_id', '=', userId).returning('item_id').execute()
  for (const { item_id } of shares) await removeItem(db, kind, item_id)
  await db.deleteFrom('recovery_plans').where('user_id', '=', userId).execute()
}

export async function planOf(db: Db, userId: number): Promise<PlanRow | null> {
  return (await db.selectFrom('recovery_plans').selectAll().where('user_id', '=', userId).executeTakeFirst()) ?? null
}

/** Shares that a friend can open, with the key that they are sealed to now. */
export async function sharesOf(db: Db, userId: number): Promise<{ key_id: number; friend_id: number }[]> {
  return openShares(db).select(['e.key_id', 's.friend_id']).where('s.user_id', '=', userId).orderBy('s.id').execute()
}

function openShares(db: Db) {
  return db
    .selectFrom('recovery_shares as s')
    .innerJoin('vault_entries as e', 'e.item_id', 's.item_id')
    .innerJoin('vault_keys as k', (join) => join.onRef('k.id', '=', 'e.key_id').onRef('k.user_id', '=', 's.friend_id'))
    .where('k.type', 'in', WORKING_TYPES)
}

export async function insertRun(
  db: Db,
  run: { userId: number; algo: KeyAlgo; publicKey: string; tokenHash: string; readyMs: number },
  nowMs: number,
): Promise<number> {
  const row = await db
    .insertInto('recovery_runs')
    .values({
      user_id: run.userId,
      algo: run.algo,
      public_key: run.publicKey,
      token_hash: run.tokenHash,
      started_ms: nowMs,
      ready_ms: run.readyMs,
      state: 'running',
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  return row.id
}

/** @returns how many there were */
export async function cancelRuns(db: Db, userId: number): Promise<number> {
  const rows = await db
    .updateTable('recovery_runs')
    .set({ state: 'cancelled' })
    .where('user_id', '=', userId)
    .where('state', '=', 'running')
    .returning('id')
    .execute()
  return rows.length
}

export async function runById(db: Db, id: number): Promise<RunRow | null> {
  return (await db.selectFrom('recovery_runs').selectAll().where('id', '=', id).executeTakeFirst()) ?? null
}

export async function runOf(db: Db, userId: number): Promise<RunRow | null> {
  const row = await db
    .selectFrom('recovery_runs')
    .selectAll()
    .where('user_id', '=', userId)
    .where('state', '=', 'running')
    .executeTakeFirst()
  return row ?? null
}

/** Recoveries under way that a friend holds a share for and has not given it to. */
export async function runsAsking(db: Db, friendId: number, limit: number) {
  return openShares(db)
    .innerJoin('recovery_runs as r', 'r.user_id', 's.user_id')
    .innerJoin('users as u', 'u.id', 'r.user_id')
    .leftJoin('recovery_given as g', (join) => join.onRef('g.run_id', '=', 'r.id').on('g.friend_id', '=', friendId))
    .select(['r.id', 'r.user_id', 'u.email', 'r.public_key', 'r.algo', 'r.started_ms', 'e.key_id', 'e.enc_data'])
    .where('r.state', '=', 'running')
    .where('s.friend_id', '=', friendId)
    .where('g.run_id', 'is', null)
    .orderBy('r.id')
    .limit(limit)
    .execute()
}

export async function giveShare(db: Db, runId: number, friendId: number, encData: string): Promise<void> {
  await db
    .insertInto('recovery_given')
    .values({ run_id: runId, friend_id: friendId, enc_data: encData })
    .onConflict((conflict) => conflict.columns(['run_id', 'friend_id']).doUpdateSet({ enc_data: encData }))
    .execute()
}

export async function givenShares(db: Db, runId: number): Promise<string[]> {
  const rows = await db
    .selectFrom('recovery_given')
    .select('enc_data')
    .where('run_id', '=', runId)
    .orderBy('friend_id')
    .execute()
  return rows.map((row) => row.enc_data)
}
