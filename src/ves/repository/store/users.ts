/** Users: rows and nothing else; who may see or change them is for the rules. */
import { prepared } from './prepared.ts'
import type { Db, UserRow } from './schema.ts'

const userOfId = prepared((db, id: number) => db.selectFrom('users').selectAll().where('id', '=', id))

export async function userById(db: Db, id: number): Promise<UserRow | null> {
  return (await userOfId(db, id))[0] ?? null
}

/** @param email lower case */
export async function userByEmail(db: Db, email: string): Promise<UserRow | null> {
  return (await db.selectFrom('users').selectAll().where('email', '=', email).executeTakeFirst()) ?? null
}

export async function usersByIds(db: Db, ids: readonly number[]): Promise<Map<number, UserRow>> {
  if (ids.length === 0) return new Map()
  const rows = await db
    .selectFrom('users')
    .selectAll()
    .where('id', 'in', [...new Set(ids)])
    .execute()
  return new Map(rows.map((row) => [row.id, row]))
}

export interface NewUser {
  readonly email: string
  readonly firstName: string | null
  readonly lastName: string | null
  readonly account: boolean
}

export async function insertUser(db: Db, user: NewUser, nowMs: number): Promise<UserRow> {
  return db
    .insertInto('users')
    .values({
      email: user.email,
      first_name: user.firstName,
      last_name: user.lastName,
      account: user.account ? 1 : 0,
      locked: 0,
      created_ms: nowMs,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
}

export async function updateUser(
  db: Db,
  id: number,
  change: Partial<Pick<UserRow, 'first_name' | 'last_name' | 'account' | 'locked'>>,
): Promise<void> {
  if (Object.keys(change).length > 0) await db.updateTable('users').set(change).where('id', '=', id).execute()
}

/** A page of all users, by id. */
export async function usersAfter(db: Db, after: number, limit: number): Promise<UserRow[]> {
  return db.selectFrom('users').selectAll().where('id', '>', after).orderBy('id').limit(limit).execute()
}
