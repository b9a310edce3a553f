/** Users as the asker may see them. */
import { type Call, spend, userIdOf } from '../call.ts'
import { type Fields, fieldsOf } from '../fields.ts'
import { keysOfUsers } from '../store/keys.ts'
import type { KeyRow, KeyType, UserRow } from '../store/schema.ts'
import { liveSessions } from '../store/sessions.ts'
import { maySee, type View, viewKeys } from './keys.ts'

const DEFAULT = fieldsOf('id', 'email', 'firstName', 'lastName')

/** The lists of a user's keys, and the types that are in each. */
const KEY_LISTS: Readonly<Record<string, readonly KeyType[] | null>> = {
  activeVaultKeys: ['current', 'shadow'],
  currentVaultKey: ['current'],
  vaultKeys: null,
}

export async function viewUser(call: Call, row: UserRow, fields: Fields | null, canLogIn = false): Promise<View> {
  return (await viewUsers(call, [row], fields, canLogIn))[0]!
}

export async function viewUsers(
  call: Call,
  rows: readonly UserRow[],
  asked: Fields | null,
  canLogIn = false,
): Promise<View[]> {
  spend(call, rows.length)
  const fields = asked ?? DEFAULT
  const known = call.caller.kind !== 'nobody'
  const views = rows.map((row): View => {
    const view: View = { id: row.id }
    if (!known) return view
    if (fields.has('email')) view.email = row.email
    if (fields.has('firstName') && row.first_name !== null) view.firstName = row.first_name
    if (fields.has('lastName') && row.last_name !== null) view.lastName = row.last_name
    return view
  })
  // Strangers see what logging in and recovering need: the primary keys.
  const lists = Object.keys(KEY_LISTS).filter((name) => fields.has(name) && (known || name !== 'vaultKeys'))
  if (lists.length > 0 && rows.length > 0) {
    const keys = await keysOfUsers(
      call.db,
      rows.map((row) => row.id),
      call.budget.rows + 1,
    )
    for (const name of lists) await addKeys(call, name, keys, rows, views, fields.get(name)!.fields, canLogIn)
  }
  const sessions = fields.get('sessions')
  if (sessions !== undefined) {
    for (const [n, row] of rows.entries()) {
      if (row.id === userIdOf(call)) views[n]!.sessions = await viewSessionsOf(call, row.id, sessions.fields)
    }
  }
  return views
}

async function addKeys(
  call: Call,
  name: string,
  keys: readonly KeyRow[],
  rows: readonly UserRow[],
  views: View[],
  fields: Fields | null,
  canLogIn: boolean,
): Promise<void> {
  const types = KEY_LISTS[name] ?? null
  const list = keys.filter((key) => (types === null || types.includes(key.type)) && maySee(call, key))
  const keyViews = await viewKeys(call, list, fields, canLogIn && name === 'currentVaultKey')
  rows.forEach((row, n) => {
    const own = keyViews.filter((_, at) => list[at]!.user_id === row.id)
    if (name !== 'currentVaultKey') views[n]![name] = own
    else if (own[0] !== undefined) views[n]![name] = own[0]
  })
}

const SESSION_DEFAULT = fieldsOf('id', 'createdMs', 'usedMs', 'expiresMs', 'current', 'vaultKey')

async function viewSessionsOf(call: Call, userId: number, fields: Fields | null): Promise<View[]> {
  const rows = await liveSessions(call.db, userId, call.nowMs)
  return rows.map((row) => viewSession(call, row, fields))
}

export function viewSession(
  call: Call,
  row: { id: number; key_id: number; user_id: number; created_ms: number; used_ms: number; expires_ms: number },
  asked: Fields | null,
): View {
  const fields = asked ?? SESSION_DEFAULT
  const view: View = { id: row.id }
  if (fields.has('createdMs')) view.createdMs = row.created_ms
  if (fields.has('usedMs')) view.usedMs = row.used_ms
  if (fields.has('expiresMs')) view.expiresMs = row.expires_ms
  if (fields.has('current')) view.current = call.caller.kind === 'session' && call.caller.sessionId === row.id
  if (fields.has('vaultKey')) view.vaultKey = { id: row.key_id }
  if (fields.has('user')) view.user = { id: row.user_id }
  return view
}
