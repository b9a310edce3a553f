/** Sessions that were used at least once, by the hash of their token. */
import { prepared } from './prepared.ts'
import type { Db, KeyType, SessionRow } from './schema.ts'

/** A session with what decides whether it still counts. */
export interface SessionState extends SessionRow {
  readonly key_type: KeyType
  readonly tokens_after_ms: number
  readonly email: string
  readonly locked: number
}

const sessionOfHash = prepared((db, tokenHash: string) =>
  db
    .selectFrom('sessions as s')
    .innerJoin('vault_keys as k', 'k.id', 's.key_id')
    .innerJoin('users as u', 'u.id', 's.user_id')
    .selectAll('s')
    .select(['k.type as key_type', 'k.tokens_after_ms', 'u.email', 'u.locked'])
    .where('s.token_hash', '=', tokenHash),
)

export async function sessionByHash(db: Db, tokenHash: string): Promise<SessionState | null> {
  return (await sessionOfHash(db, tokenHash))[0] ?? null
}

export async function sessionById(db: Db, id: number): Promise<SessionRow | null> {
  return (await db.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst()) ?? null
}

export async function insertSession(
  db: Db,
  session: { tokenHash: string; keyId: number; userId: number; expiresMs: number; section: boolean },
  nowMs: number,
): Promise<number> {
  const row = await db
    .insertInto('sessions')
    .values({
      token_hash: session.tokenHash,
      key_id: session.keyId,
      user_id: session.userId,
      created_ms: nowMs,
      used_ms: nowMs,
      expires_ms: session.expiresMs,
      revoked: 0,
      section: session.section ? 1 : 0,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  return row.id
}

export async function touchSession(db: Db, id: number, nowMs: number): Promise<void> {
  await db.updateTable('sessions').set({ used_ms: nowMs }).where('id', '=', id).execute()
}

/** Forgets what expired, and of a key's sessions the least used beyond `keep`: their tokens begin anew if used again. */
export async function pruneSessions(db: Db, keyId: number, keep: number, nowMs: number): Promise<void> {
  await db.deleteFrom('sessions').where('expires_ms', '<', nowMs).execute()
  const surplus = db
    .selectFrom('sessions')
    .select('id')
    .where('key_id', '=', keyId)
    .where('revoked', '=', 0)
    .orderBy('used_ms', 'desc')
    .orderBy('id', 'desc')
    .limit(1_000_000)
    .offset(keep)
  await db.deleteFrom('sessions').where('id', 'in', surplus).execute()
}

export async function liveSessions(db: Db, userId: number, nowMs: number): Promise<SessionRow[]> {
  return db
    .selectFrom('sessions')
    .selectAll()
    .where('user_id', '=', userId)
    .where('revoked', '=', 0)
    .where('expires_ms', '>', nowMs)
    .orderBy('id', 'desc')
    .limit(1000)
    .execute()
}

export async function revokeSession(db: Db, id: number): Promise<void> {
  await db.updateTable('sessions').set({ revoked: 1 }).where('id', '=', id).execute()
}

/** Ends all sessions of a user but one, and voids the tokens made so far that nobody has used yet. */
export async function revokeSessions(db: Db, userId: number, butId: number | null, nowMs: number): Promise<void> {
  let query = db.updateTable('sessions').set({ revoked: 1 }).where('user_id', '=', userId)
  if (butId !== null) query = query.where('id', '!=', butId)
  await query.execute()
  await db.updateTable('vault_keys').set({ tokens_after_ms: nowMs }).where('user_id', '=', userId).execute()
}
