/** The administrator's requests: accounts, their sessions, the audit log (docs/repository-api.md). */
import type { Reader } from '../body.ts'
import { type Call, needAdmin, note } from '../call.ts'
import { denied, invalid, notFound } from '../refuse.ts'
import { accountCounts, entryCounts, removeAccount } from '../store/accounts.ts'
import { auditAfter, verifyAudit } from '../store/audit.ts'
import { externalsOfKeys, keysOfUsers } from '../store/keys.ts'
import type { UserRow } from '../store/schema.ts'
import { liveSessions, revokeSession, revokeSessions, sessionById } from '../store/sessions.ts'
import { updateUser, userByEmail, usersAfter } from '../store/users.ts'
import { type View, viewExternals } from '../views/keys.ts'

const MAX_PAGE = 1000

export interface Page {
  readonly after: number
  readonly limit: number
}

export async function listAccounts(call: Call, page: Page): Promise<View> {
  needAdmin(call)
  const limit = Math.max(1, Math.min(page.limit, MAX_PAGE))
  const rows = await usersAfter(call.db, page.after, limit + 1)
  const view: View = { accounts: rows.slice(0, limit).map(viewAccount) }
  if (rows.length > limit) view.next = rows[limit - 1]!.id
  return view
}

export async function showAccount(call: Call, email: string): Promise<View> {
  const user = await knownUser(call, email)
  const keys = await keysOfUsers(call.db, [user.id], MAX_PAGE)
  const ids = keys.map((key) => key.id)
  const externals = await externalsOfKeys(call.db, ids)
  const entries = await entryCounts(call.db, ids)
  return {
    ...viewAccount(user),
    vaultKeys: keys.map((key) => ({
      id: key.id,
      type: key.type,
      algo: key.algo,
      externals: viewExternals(externals.get(key.id) ?? [], null),
      createdMs: key.created_ms,
      entries: entries.get(key.id) ?? 0,
    })),
    ...(await accountCounts(call.db, user.id, call.nowMs)),
  }
}

export interface AccountChange {
  readonly op: 'delete' | null
  readonly locked: boolean | null
}

export function accountChange(reader: Reader): AccountChange {
  const change = { op: reader.oneOf('$op', ['delete'] as const), locked: reader.flag('locked') }
  reader.done()
  if ((change.op === null) === (change.locked === null)) throw invalid('body: either locked or $op expected')
  return change
}

export async function changeAccount(call: Call, email: string, change: AccountChange): Promise<View> {
  const user = await knownUser(call, email)
  if (change.op === 'delete') {
    if (user.account === 0) throw denied('no account to delete')
    const keys = await removeAccount(call.db, call.store, user.id)
    note(call, 'account.delete', `user:${user.id}`, keys, user.id)
    return { id: user.id }
  }
  await updateUser(call.db, user.id, { locked: change.locked ? 1 : 0 })
  // A token made before the lock is none after it is lifted.
  if (change.locked) await revokeSessions(call.db, user.id, null, call.nowMs)
  note(call, change.locked ? 'account.lock' : 'account.unlock', `user:${user.id}`, [], user.id)
  return viewAccount({ ...user, locked: change.locked ? 1 : 0 })
}

export async function listSessions(call: Call, email: string): Promise<View> {
  const user = await knownUser(call, email)
  const rows = await liveSessions(call.db, user.id, call.nowMs)
  return {
    sessions: rows.map((row) => ({
      id: row.id,
      vaultKey: { id: row.key_id },
      createdMs: row.created_ms,
      usedMs: row.used_ms,
      expiresMs: row.expires_ms,
    })),
  }
}

export function sessionEnd(reader: Reader): { readonly id: number | null } {
  const op = reader.oneOf('$op', ['delete'] as const)
  const id = reader.id('id')
  reader.done()
  if (op === null) throw invalid('$op: delete expected')
  return { id }
}

export async function endSessions(call: Call, email: string, end: { readonly id: number | null }): Promise<View> {
  const user = await knownUser(call, email)
  if (end.id === null) {
    await revokeSessions(call.db, user.id, null, call.nowMs)
    note(call, 'session.end-all', `user:${user.id}`, [], user.id)
    return { id: user.id }
  }
  const row = await sessionById(call.db, end.id)
  if (row === null || row.user_id !== user.id) throw notFound('session')
  await revokeSession(call.db, row.id)
  note(call, 'session.end', `session:${row.id}`, [row.key_id], user.id)
  return { id: row.id }
}

export async function listAudit(call: Call, page: Page, userId: number | null): Promise<View> {
  needAdmin(call)
  const limit = Math.max(1, Math.min(page.limit, MAX_PAGE))
  const rows = await auditAfter(call.db, page.after, limit + 1, userId)
  const view: View = {
    audit: rows.slice(0, limit).map((row) => ({
      seq: row.seq,
      atMs: row.at_ms,
      actor: row.actor,
      action: row.action,
      subject: row.subject,
      keys: JSON.parse(row.keys) as number[],
      hash: row.hash,
    })),
  }
  if (rows.length > limit) view.next = rows[limit - 1]!.seq
  return view
}

export async function checkAudit(call: Call): Promise<View> {
  needAdmin(call)
  return { ...(await verifyAudit(call.db)) }
}

export async function knownUser(call: Call, email: string): Promise<UserRow> {
  needAdmin(call)
  const user = await userByEmail(call.db, email.toLowerCase())
  if (user === null) throw notFound('user')
  return user
}

function viewAccount(user: UserRow): View {
  const view: View = {
    id: user.id,
    email: user.email,
    account: user.account === 1,
    locked: user.locked === 1,
    createdMs: user.created_ms,
  }
  if (user.first_name !== null) view.firstName = user.first_name
  if (user.last_name !== null) view.lastName = user.last_name
  return view
}
