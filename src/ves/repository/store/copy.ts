/**
 * A whole repository from one store into another, empty one: how a PostgreSQL repository is backed up into a file, and
 * how a file becomes a PostgreSQL repository. What lives for hours only (sessions, mailed tokens) is not copied.
 */
import { type Kysely, sql } from 'kysely'
import type { StoreKind } from './migrations.ts'
import type { Db } from './schema.ts'

/** In the order in which they refer to each other, with the column that pages go by. */
const TABLES = [
  ['users', 'id'],
  ['vault_keys', 'id'],
  ['key_externals', 'id'],
  ['vault_items', 'id'],
  ['item_externals', 'id'],
  ['vault_entries', 'id'],
  ['audit_log', 'seq'],
  ['audit_pending', 'id'],
  ['recovery_plans', 'user_id'],
  ['recovery_shares', 'id'],
  ['recovery_runs', 'id'],
  ['recovery_given', 'run_id'],
] as const

const PAGE = 500
/** Tables of which one page value may have many rows, but few enough to take whole. */
const WHOLE: readonly string[] = ['recovery_given']

type Rows = Kysely<Record<string, Record<string, never>>>

/** @param to an empty store's transaction @returns rows copied */
export async function copyRepository(from: Db, to: Db, toKind: StoreKind): Promise<number> {
  let copied = 0
  for (const [table, column] of TABLES) {
    for (let after = 0; ; ) {
      let query = (from as unknown as Rows).selectFrom(table).selectAll().orderBy(column)
      if (!WHOLE.includes(table)) query = query.where(column, '>', after as never).limit(PAGE)
      const rows = await query.execute()
      for (let at = 0; at < rows.length; at += PAGE) {
        await (to as unknown as Rows)
          .insertInto(table)
          .values(rows.slice(at, at + PAGE))
          .execute()
      }
      copied += rows.length
      if (WHOLE.includes(table) || rows.length < PAGE) break
      after = Number(rows.at(-1)![column])
    }
    if (toKind === 'postgresql' && column === 'id') {
      // The next number after those that came along.
      const max = sql`(select coalesce(max(id), 0) + 1 from ${sql.table(table)})`
      await sql`select setval(pg_get_serial_sequence(${table}, 'id'), ${max}, false)`.execute(to)
    }
  }
  const head = await from.selectFrom('audit_head').selectAll().where('id', '=', 1).executeTakeFirstOrThrow()
  await to.updateTable('audit_head').set({ seq: head.seq, hash: head.hash }).where('id', '=', 1).execute()
  return copied
}

export async function isEmpty(db: Db): Promise<boolean> {
  const user = await db.selectFrom('users').select('id').limit(1).executeTakeFirst()
  const entry = await db.selectFrom('audit_log').select('seq').limit(1).executeTakeFirst()
  const pending = await db.selectFrom('audit_pending').select('id').limit(1).executeTakeFirst()
  return user === undefined && entry === undefined && pending === undefined
}

/** After a restore no token of before may be good: some had been ended since the backup was made. */
export async function voidTokens(db: Db, nowMs: number): Promise<void> {
  await db.deleteFrom('session_attn').execute()
  await db.deleteFrom('sessions').execute()
  await db.deleteFrom('mail_tokens').execute()
  await db.updateTable('vault_keys').set({ tokens_after_ms: nowMs }).execute()
}
