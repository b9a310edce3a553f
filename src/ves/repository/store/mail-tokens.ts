/** One-time tokens that went out by mail, by hash, and how many mails an address got. */
import type { Db } from './schema.ts'

export async function insertMailToken(
  db: Db,
  token: { hash: string; email: string; expiresMs: number },
): Promise<void> {
  await db
    .insertInto('mail_tokens')
    .values({ token_hash: token.hash, email: token.email, expires_ms: token.expiresMs, used: 0 })
    .execute()
}

/** @returns the address that it proves, or null; works once */
export async function takeMailToken(db: Db, hash: string, nowMs: number): Promise<string | null> {
  const row = await db
    .updateTable('mail_tokens')
    .set({ used: 1 })
    .where('token_hash', '=', hash)
    .where('used', '=', 0)
    .where('expires_ms', '>', nowMs)
    .returning('email')
    .executeTakeFirst()
  return row?.email ?? null
}

export async function countMails(db: Db, email: string, kind: string, sinceMs: number): Promise<number> {
  const row = await db
    .selectFrom('mail_sent')
    .select((e) => e.fn.countAll<number | string>().as('n'))
    .where('email', '=', email)
    .where('kind', '=', kind)
    .where('sent_ms', '>', sinceMs)
    .executeTakeFirstOrThrow()
  return Number(row.n)
}

/** Notes a mail and forgets the old ones. */
export async function noteMail(db: Db, mail: { email: string; kind: string }, nowMs: number): Promise<void> {
  await db.insertInto('mail_sent').values({ email: mail.email, kind: mail.kind, sent_ms: nowMs }).execute()
  const weekAgo = nowMs - 7 * 86_400_000
  await db.deleteFrom('mail_sent').where('email', '=', mail.email).where('sent_ms', '<', weekAgo).execute()
  await db.deleteFrom('mail_tokens').where('email', '=', mail.email).where('expires_ms', '<', weekAgo).execute()
}

/** Takes back what {@link noteMail} noted at that time: the mail did not go out. */
export async function unnoteMail(
  db: Db,
  { email, kind }: { email: string; kind: string },
  nowMs: number,
): Promise<void> {
  const ofThat = db.deleteFrom('mail_sent').where('email', '=', email).where('kind', '=', kind)
  await ofThat.where('sent_ms', '=', nowMs).execute()
}
