/** Recovery by friends: plans, and recoveries under way. */

import type { Selectable } from 'kysely'
import type { Db, KeyAlgo, Schema } from './schema.ts'

export type PlanRow = Selectable<Schema['recovery_plans']>
export type RunRow = Selectable<Schema['recovery_runs']>

export interface Share {
  readonly keyId: number
  readonly encData: string
}

export async function replacePlan(
  db: Db,
  plan: { userId: number; threshold: number; delaySeconds: number; shares: readonly Share[] },
  nowMs: number,
): Promise<void> {
  await removePlan(db, plan.userId)
  await db
    .insertInto('recovery_plans')
    .values({ user_id: plan.userId, threshold: plan.threshold, delay_seconds: plan.delaySeconds, created_ms: nowMs })
    .execute()
  const rows = plan.shares.map((share) => ({ user_id: plan.userId, key_id: share.keyId, enc_data: share.encData }))
  await db.insertInto('recovery_shares').values(rows).execute()
}

export async function removePlan(db: Db, userId: number): Promise<void> {
  await db.deleteFrom('recovery_shares').where('user_id', '=', userId).execute()
  await db.deleteFrom('recovery_plans').where('user_id', '=', userId).execute()
}

export async function planOf(db: Db, userId: number): Promise<PlanRow | null> {
  return (await db.selectFrom('recovery_plans').selectAll().where('user_id', '=', userId).executeTakeFirst()) ?? null
}

/** With the friend whose key each share is for. */
export async function sharesOf(
  db: Db,
  userId: number,
): Promise<{ key_id: number; enc_data: string; friend_id: number }[]> {
  return db
    .selectFrom('recovery_shares as s')
    .innerJoin('vault_keys as k', 'k.id', 's.key_id')
    .select(['s.key_id', 's.enc_data', 'k.user_id as friend_id'])
    .where('s.user_id', '=', userId)
    .orderBy('s.id')
    .execute()
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
  return db
    .selectFrom('recovery_runs as r')
    .innerJoin('recovery_shares as s', 's.user_id', 'r.user_id')
    .innerJoin('vault_keys as k', 'k.id', 's.key_id')
    .innerJoin('users as u', 'u.id', 'r.user_id')
    .leftJoin('recovery_given as g', (join) => join.onRef('g.run_id', '=', 'r.id').on('g.friend_id', '=', friendId))
    .select(['r.id', 'r.user_id', 'u.email', 'r.public_key', 'r.algo', 'r.started_ms', 's.key_id', 's.enc_data'])
    .where('r.state', '=', 'running')
    .where('k.user_id', '=', friendId)
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
