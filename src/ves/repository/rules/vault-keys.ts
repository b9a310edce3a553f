/** `vaultKeys`: look up, make, rekey, rotate, delete. */
import type { KeyBody } from '../body.ts'
import { type Call, needSession, note, type SessionCaller } from '../call.ts'
import type { Fields } from '../fields.ts'
import { fieldsOf } from '../fields.ts'
import { denied, invalid, notFound } from '../refuse.ts'
import { passwordItemsOfKeys } from '../store/items.ts'
import { keyById, keysByIds, lockKey, moveKeyExternals, removeKey, updateKey } from '../store/keys.ts'
import { cancelRuns, planOf, removePlan } from '../store/recovery.ts'
import { entriesMissingOn } from '../store/rotation.ts'
import type { KeyRow } from '../store/schema.ts'
import { isOwner, isOwnerOrMaker, maySee, type View, viewKey } from '../views/keys.ts'
import { addEntriesToOwnKey, applyEntries, keyNamed, ownTempKeyNamed, type Refs } from './entries.ts'
import { createKey, newRefs } from './key-create.ts'

export async function getVaultKey(call: Call, id: number, fields: Fields | null): Promise<View> {
  const key = await keyById(call.db, id)
  if (key === null || !maySee(call, key)) throw notFound('vaultKey')
  return viewKey(call, key, fields, true)
}

export async function postVaultKey(call: Call, body: KeyBody, fields: Fields | null): Promise<View> {
  if (body.op === 'fetch') return fetchKey(call, body, fields)
  const session = needWriter(call)
  if (body.op === 'ignore') throw invalid('$op: nothing to ignore here')
  if (body.id === null) {
    if (body.op === 'delete') throw invalid('vaultKey: id expected')
    const id = await createKey(call, session, body, newRefs())
    return fields === null ? { id } : viewKey(call, (await keyById(call.db, id))!, fields)
  }
  if (body.op === 'create') throw denied('this key exists')
  const key = await keyById(call.db, body.id)
  if (key === null || !maySee(call, key)) throw notFound('vaultKey')
  if (body.op === 'delete') return deleteKey(call, key)
  return changeKey(call, session, key, body, fields)
}

/** A session that may change something: a section's only reads. */
export function needWriter(call: Call): SessionCaller {
  const session = needSession(call)
  if (session.section) throw denied('a section only reads')
  return session
}

async function fetchKey(call: Call, body: KeyBody, fields: Fields | null): Promise<View> {
  // `creator` names the asker and `user` is a hint: neither is a filter.
  const key = body.id !== null ? await keyById(call.db, body.id) : await firstNamed(call, body)
  if (key === null || !maySee(call, key)) throw notFound('vaultKey')
  if (body.type !== null && body.type !== key.type) throw notFound('vaultKey')
  return viewKey(call, key, fields, true)
}

async function firstNamed(call: Call, body: KeyBody): Promise<KeyRow | null> {
  if (body.externals === null) throw invalid('vaultKey: id or externals expected')
  for (const name of body.externals) {
    const key = body.type === 'temp' ? await ownTempKeyNamed(call, name) : await keyNamed(call, name)
    if (key !== null) return key
  }
  return null
}

async function deleteKey(call: Call, key: KeyRow): Promise<View> {
  if (!isOwner(call, key)) throw denied('not your key')
  if (key.type === 'current') throw denied('the primary key goes with the account, or by rotation')
  await lockKey(call.db, call.store, key.id)
  await removeKey(call.db, key.id)
  note(call, 'key.delete', `key:${key.id}`, [key.id])
  return { id: key.id }
}

async function changeKey(
  call: Call,
  session: SessionCaller,
  key: KeyRow,
  body: KeyBody,
  fields: Fields | null,
): Promise<View> {
  const refs = newRefs({ kind: 'key', id: key.id })
  if (body.publicKey !== null || body.privateKey !== null || (body.algo !== null && body.algo !== key.algo)) {
    throw denied('a key is not changed but replaced')
  }
  if (body.vaultEntries !== null) {
    if (!isOwner(call, key)) throw denied('not your key')
    await addEntriesToOwnKey(call, session, key.id, body.vaultEntries, refs)
  }
  if (body.vaultItems !== null) await sharePassword(call, session, key, body, refs)
  if (body.appUrl !== null && body.appUrl !== key.app_url) {
    if (!isOwnerOrMaker(call, key)) throw denied('not your key')
    await updateKey(call.db, key.id, { app_url: body.appUrl })
    note(call, 'key.app-url', `key:${key.id}`, [key.id])
  }
  if (body.replaces !== null) await replaceKey(call, key, body)
  else if (body.type !== null && body.type !== key.type) throw denied('the type changes only by replacing another key')
  const after = (await keyById(call.db, key.id))!
  // Moving the last entry of a temp key ends it.
  return after.type === 'deleted' ? { id: key.id } : viewKey(call, after, fields ?? fieldsOf('id'))
}

/** The key's own VESkey for more keys: by its owner, and by whoever made it. */
async function sharePassword(
  call: Call,
  session: SessionCaller,
  key: KeyRow,
  body: KeyBody,
  refs: Refs,
): Promise<void> {
  if (!isOwnerOrMaker(call, key)) throw denied('not your key')
  // Whoever takes the key away, and its password item with it, comes before or after.
  const held = (await keysByIds(call.db, [key.id], call.store)).get(key.id)
  if (held === undefined || held.type === 'deleted') throw notFound('vaultKey')
  const known = await passwordItemsOfKeys(call.db, [key.id])
  for (const item of body.vaultItems ?? []) {
    const row = item.id === null ? known[0] : known.find((one) => one.id === item.id)
    if (row === undefined) throw notFound('vaultItem')
    if (item.op === 'ignore') continue
    if (item.op === 'delete' || item.op === 'create') throw denied('a key has one password item')
    const keys = await applyEntries(call, session, { id: row.id, isNew: false }, item.vaultEntries ?? [], 'merge', refs)
    if (keys.length > 0) note(call, 'item.share', `item:${row.id}`, keys)
  }
}

/** Rotation's last step: the new key takes the old one's place, once it holds all that the old one held. */
async function replaceKey(call: Call, key: KeyRow, body: KeyBody): Promise<void> {
  const old = await keyById(call.db, body.replaces!)
  if (old === null || !isOwner(call, old) || old.type === 'deleted') throw notFound('vaultKey')
  if (!isOwner(call, key) || key.type !== 'pending') throw denied('only a pending key of yours replaces another')
  if (body.type !== old.type || (old.type !== 'secondary' && old.type !== 'current')) {
    throw denied('type: that of the key to be replaced expected')
  }
  await lockKey(call.db, call.store, old.id)
  const missing = await entriesMissingOn(call.db, { oldKeyId: old.id, newKeyId: key.id })
  if (missing > 0) throw denied(`${missing} entries of the old key are missing on the new one`)
  await moveKeyExternals(call.db, old.id, key.id)
  await removeKey(call.db, old.id)
  await updateKey(call.db, key.id, { type: old.type })
  note(call, 'key.rotate', `key:${old.id}`, [old.id, key.id])
  // Friends hold shares of the old primary key's VESkey: a plan that would recover nothing must not look like one.
  if (old.type === 'current' && (await planOf(call.db, key.user_id)) !== null) {
    await cancelRuns(call.db, key.user_id)
    await removePlan(call.db, call.store, key.user_id)
    note(call, 'recovery.plan-void', `user:${key.user_id}`)
  }
}
