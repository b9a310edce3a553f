/** `users`, `me` and `sessions`. */
import type { UserBody } from '../body.ts'
import { type Call, needSession, note } from '../call.ts'
import { type Fields, fieldsOf } from '../fields.ts'
import { denied, invalid, notFound } from '../refuse.ts'
import { keyById } from '../store/keys.ts'
import { revokeSession, revokeSessions, sessionById } from '../store/sessions.ts'
import { updateUser, userByEmail, userById } from '../store/users.ts'
import { isOwner, type View } from '../views/keys.ts'
import { viewSession, viewUser } from '../views/users.ts'
import { addEntriesToOwnKey } from './entries.ts'
import { newRefs } from './key-create.ts'
import { needWriter } from './vault-keys.ts'

export async function getUser(call: Call, id: number, fields: Fields | null): Promise<View> {
  checkAsker(call)
  const user = await userById(call.db, id)
  if (user === null) throw notFound('user')
  return viewUser(call, user, fields, true)
}

/** The holder of one item's token has no business with users. */
function checkAsker(call: Call): void {
  if (call.caller.kind === 'item') throw denied('a session of the user is needed')
}

export async function getMe(call: Call, fields: Fields | null): Promise<View> {
  return getUser(call, needSession(call).userId, fields)
}

export async function postUser(call: Call, body: UserBody, fields: Fields | null): Promise<View> {
  if (body.op === 'fetch') {
    checkAsker(call)
    if (body.id === null && body.email === null) throw invalid('user: id or email expected')
    const user = body.id !== null ? await userById(call.db, body.id) : await userByEmail(call.db, body.email!)
    if (user === null) throw notFound('user')
    return viewUser(call, user, fields, true)
  }
  const session = needWriter(call)
  if (body.op !== null) throw denied('users are made with their account')
  if (body.id !== session.userId) throw denied('not you')
  if (body.email !== null && body.email !== session.email) throw denied('the address stays')
  for (const key of body.vaultKeys ?? []) {
    if (key.op === 'ignore') continue
    const row = key.id === null ? null : await keyById(call.db, key.id)
    if (row === null || !isOwner(call, row) || row.type === 'deleted') throw notFound('vaultKey')
    await addEntriesToOwnKey(call, session, row.id, key.vaultEntries ?? [], newRefs())
  }
  const change: Parameters<typeof updateUser>[2] = {}
  if (body.firstName !== null) change.first_name = body.firstName
  if (body.lastName !== null) change.last_name = body.lastName
  await updateUser(call.db, session.userId, change)
  if (Object.keys(change).length > 0) note(call, 'user.change', `user:${session.userId}`)
  return viewUser(call, (await userById(call.db, session.userId))!, fields ?? fieldsOf('id'))
}

export async function getSession(call: Call, id: number, fields: Fields | null): Promise<View> {
  const session = needSession(call)
  const row = await sessionById(call.db, id)
  if (row === null || row.user_id !== session.userId || row.revoked !== 0) throw notFound('session')
  return viewSession(call, row, fields)
}

/** @param id null: all of the user's but the asking one */
export async function deleteSession(call: Call, id: number | null): Promise<View> {
  const session = needWriter(call)
  if (id === null) {
    await revokeSessions(call.db, session.userId, session.sessionId, call.nowMs)
    note(call, 'session.end-others', `user:${session.userId}`)
    return {}
  }
  const row = await sessionById(call.db, id)
  if (row === null || row.user_id !== session.userId) throw notFound('session')
  await revokeSession(call.db, id)
  note(call, 'session.end', `session:${id}`, [row.key_id])
  return { id }
}
