/**
 * The audit log: who changed what, with which keys, never content. Each entry's hash covers the one before it, so that
 * a changed, removed or inserted line shows; the head row tells where the log ends, so that a cut end shows too.
 */
import { hash } from 'node:crypto'
import type { StoreKind } from './migrations.ts'
import type { AuditRow, Db } from './schema.ts'

export interface AuditEntry {
  /** `user:12`, `admin`, `mail-token`. */
  readonly actor: string
  /** Whom it concerns, to search by. */
  readonly userId: number | null
  /** `item.create`, … */
  readonly action: string
  readonly subject: string
  readonly keys: readonly number[]
}

/** Entries of one page of a check. */
const PAGE = 2000

export async function appendAudit(
  db: Db,
  kind: StoreKind,
  entries: readonly AuditEntry[],
  nowMs: number,
): Promise<void> {
  if (entries.length === 0) return
  let head = db.selectFrom('audit_head').selectAll().where('id', '=', 1)
  // Held to the end of the transaction: entries are in commit order.
  if (kind === 'postgresql') head = head.forUpdate()
  const { seq, hash: newest } = await head.executeTakeFirstOrThrow()
  const rows: AuditRow[] = []
  let before = newest
  for (const entry of entries) {
    const row = {
      seq: seq + rows.length + 1,
      at_ms: nowMs,
      actor: entry.actor,
      user_id: entry.userId,
      action: entry.action,
      subject: entry.subject,
      keys: JSON.stringify(entry.keys),
    }
    before = hashOf(row, before)
    rows.push({ ...row, hash: before })
  }
  const next = { seq: seq + rows.length, hash: before }
  // Sent together where the database takes more than one at a time.
  await Promise.all([
    db.insertInto('audit_log').values(rows).execute(),
    db.updateTable('audit_head').set(next).where('id', '=', 1).execute(),
  ])
}

function hashOf(row: Omit<AuditRow, 'hash'>, before: string): string {
  const said = [before, row.seq, row.at_ms, row.actor, row.user_id, row.action, row.subject, row.keys]
  return hash('sha256', JSON.stringify(said), 'base64url')
}

export async function auditAfter(db: Db, after: number, limit: number, userId: number | null): Promise<AuditRow[]> {
  let query = db.selectFrom('audit_log').selectAll().where('seq', '>', after)
  if (userId !== null) query = query.where('user_id', '=', userId)
  return query.orderBy('seq').limit(limit).execute()
}

export type AuditCheck = { readonly ok: true; readonly entries: number } | { readonly ok: false; readonly seq: number }

/** Follows the chain from its first entry. @returns `seq` of the first entry that is not as it was written */
export async function verifyAudit(db: Db): Promise<AuditCheck> {
  let seq = 0
  let last = ''
  for (;;) {
    const rows = await auditAfter(db, seq, PAGE, null)
    for (const row of rows) {
      if (row.seq !== seq + 1 || row.hash !== hashOf(row, last)) return { ok: false, seq: seq + 1 }
      seq = row.seq
      last = row.hash
    }
    if (rows.length < PAGE) break
  }
  const head = await db.selectFrom('audit_head').selectAll().where('id', '=', 1).executeTakeFirstOrThrow()
  return head.seq === seq && head.hash === last ? { ok: true, entries: seq } : { ok: false, seq: seq + 1 }
}
