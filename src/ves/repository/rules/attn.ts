/** Matters that wait for the user, each told once per session: C's own requests while handling one ask again. */
import { type Call, needSession } from '../call.ts'
import { type Fields, fieldsOf } from '../fields.ts'
import { markTold, recipientMatters, senderMatters } from '../store/attn.ts'
import { keysByIds } from '../store/keys.ts'
import { type View, viewKeys } from '../views/keys.ts'

/** Told in one answer; the others in the next. */
const MAX_MATTERS = 100

const FIELDS: Fields = new Map([
  ...fieldsOf('id', 'type', 'algo', 'externals'),
  ['user', { fields: fieldsOf('id'), range: null }],
])

/** @returns null where nothing waits */
export async function pendingMatters(call: Call): Promise<View | null> {
  const session = needSession(call)
  const sent = await senderMatters(call.db, session.userId, session.sessionId, MAX_MATTERS)
  const received = await recipientMatters(call.db, session, MAX_MATTERS)
  const ids = [...new Set([...received, ...sent])].slice(0, MAX_MATTERS)
  if (ids.length === 0) return null
  await markTold(call.db, session.sessionId, ids)
  const keys = await keysByIds(call.db, ids)
  const rows = ids.flatMap((id) => keys.get(id) ?? [])
  return { vaultKeys: await viewKeys(call, rows, FIELDS) }
}
