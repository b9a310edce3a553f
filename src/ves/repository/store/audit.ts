/**
 * The audit log: who changed what, with which keys, never content. Each entry's hash covers the one before it, so that
 * a changed, removed or inserted line shows; the head row tells where the log ends, so that a cut end shows too.
 *
 * The end of the chain is one place that every change would wait for, through the sync of the one before it. Where
 * transactions run beside each other (PostgreSQL) a change therefore leaves its entries in `audit_pending`, in its own
 * transaction, and they are moved to the chain a moment later, many at a time: what was done first stands first.
 */
import { hash } from 'node:crypto'
import type { CompiledQuery } from 'kysely'
import type { StoreKind } from './migrations.ts'
import { prepared } from './prepared.ts'
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
/** Entries that are moved to the chain in one transaction. */
const CHAIN = 500

type Said = Omit<AuditRow, 'seq' | 'hash'>

function saidOf(entry: AuditEntry, nowMs: number): Said {
  const { actor, userId, action, subject, keys } = entry
  return { at_ms: nowMs, actor, user_id: userId, action, subject, keys: JSON.stringify(keys) }
}

/** Puts the entries at the end of the chain. */
export async function appendAudit(
  db: Db,
  kind: StoreKind,
  entries: readonly AuditEntry[],
  nowMs: number,
): Promise<void> {
  if (entries.length === 0) return
  await chain(db, kind, async () => entries.map((entry) => saidOf(entry, nowMs)))
}

/** The statement that leaves the entries to {@link chainPending}. */
export function leaveAudit(db: Db, entries: readonly AuditEntry[], nowMs: number): CompiledQuery {
  return db
    .insertInto('audit_pending')
    .values(entries.map((entry) => saidOf(entry, nowMs)))
    .compile()
}

/** @returns whether there may be more */
export async function chainPending(db: Db, kind: StoreKind): Promise<boolean> {
  let ids: number[] = []
  await chain(db, kind, async () => {
    const rows = await db.selectFrom('audit_pending').selectAll().orderBy('id').limit(CHAIN).execute()
    ids = rows.map((row) => row.id)
    return rows.map(({ id: _, ...said }) => said)
  })
  if (ids.length > 0) await db.deleteFrom('audit_pending').where('id', 'in', ids).execute()
  return ids.length === CHAIN
}

/** @param more asked for when no other transaction can reach the end of the chain any more */
async function chain(db: Db, kind: StoreKind, more: () => Promise<readonly Said[]>): Promise<void> {
  const [head] = await (kind === 'postgresql' ? lockedHead : chainHead)(db)
  const { seq, hash: newest } = head!
  const rows: AuditRow[] = []
  let before = newest
  for (const said of await more()) {
    const row = { seq: seq + rows.length + 1, ...said }
    before = hashOf(row, before)
    rows.push({ ...row, hash: before })
  }
  if (rows.length === 0) return
  if (rows.length === 1) await newAuditRow(db, ...valuesOf(rows[0]!))
  else await db.insertInto('audit_log').values(rows).execute()
  await setHead(db, seq + rows.length, before)
}

const chainHead = prepared((db) => db.selectFrom('audit_head').selectAll().where('id', '=', 1))
const lockedHead = prepared((db) => db.selectFrom('audit_head').selectAll().where('id', '=', 1).forUpdate())
const setHead = prepared((db, seq: number, hash: string) =>
  db.updateTable('audit_head').set({ seq, hash }).where('id', '=', 1),
)

type RowValues = [
  seq: number,
  at_ms: number,
  actor: string,
  user_id: number | null,
  action: string,
  subject: string,
  keys: string,
  hash: string,
]

const newAuditRow = prepared((db, ...[seq, at_ms, actor, user_id, action, subject, keys, hash]: RowValues) =>
  db.insertInto('audit_log').values({ seq, at_ms, actor, user_id, action, subject, keys, hash }),
)

function valuesOf({ seq, at_ms, actor, user_id, action, subject, keys, hash }: AuditRow): RowValues {
  return [seq, at_ms, actor, user_id, action, subject, keys, hash]
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
