/** `vaultItems` and `files`: read, create, replace, share, unshare, delete. */
import type { ItemBody } from '../body.ts'
import { type Call, needSession, note, type SessionCaller } from '../call.ts'
import type { Fields } from '../fields.ts'
import { denied, invalid, noSession, notFound } from '../refuse.ts'
import {
  insertItem,
  insertItemExternals,
  itemById,
  itemNamed,
  itemsHeldBy,
  itemsWithPrefix,
  passwordItemsOfKeys,
  removeItem,
  updateItem,
} from '../store/items.ts'
import { keyById } from '../store/keys.ts'
import type { ItemRow } from '../store/schema.ts'
import { accessible, viewFiles, viewItem, viewItems } from '../views/items.ts'
import { isOwnerOrMaker, type View } from '../views/keys.ts'
import { applyEntries, keysOfEntries } from './entries.ts'
import { isItemWriter } from './item-access.ts'
import { newRefs } from './key-create.ts'
import { checkItemName, type Name } from './names.ts'
import { needWriter } from './vault-keys.ts'

const MAX_PAGE = 200

export async function getVaultItem(call: Call, id: number, fields: Fields | null): Promise<View> {
  const item = await itemById(call.db, id)
  await checkReader(call, id, item)
  if (item === null) throw notFound('vaultItem')
  return viewItem(call, item, fields)
}

/** A file is its item by the same number. */
export async function getFile(call: Call, id: number, fields: Fields | null): Promise<View> {
  const item = await itemById(call.db, id)
  await checkReader(call, id, item)
  if (item === null || item.file !== 1) throw notFound('file')
  const view = (await viewFiles(call, [item], fields))[0]!
  if (fields?.has('verifyToken')) {
    const session = needSession(call)
    if ((await accessible(call, [item], new Map())).has(id)) {
      view.verifyToken = call.tokens.verify(id, session.userId, call.nowMs)
    }
  }
  return view
}

/** A session, or the verify token of that very item, which proves nothing once its user has no access any more. */
async function checkReader(call: Call, id: number, item: ItemRow | null): Promise<void> {
  const { caller } = call
  if (caller.kind === 'nobody') throw noSession()
  if (caller.kind === 'admin') throw denied('a session of the user is needed')
  if (caller.kind !== 'item') return
  if (caller.itemId !== id) throw denied('the token is for another item')
  if (item === null || item.creator_id === caller.userId) return
  const key = item.key_id === null ? null : await keyById(call.db, item.key_id)
  if (key !== null && (key.user_id === caller.userId || key.creator_id === caller.userId)) return
  const held = await itemsHeldBy(call.db, [id], caller.userId, null)
  if (!held.has(id)) throw denied('the user of the token has no access any more')
}

/** The user's own items by name. */
export async function listItems(
  call: Call,
  query: { domain: string; prefix: string; after: number; limit: number },
  fields: Fields | null,
): Promise<View> {
  const session = needSession(call)
  const limit = Math.min(query.limit, MAX_PAGE)
  const rows = await itemsWithPrefix(call.db, { ...query, creatorId: session.userId, limit: limit + 1 })
  const page = rows.slice(0, limit)
  const view: View = { vaultItems: await viewItems(call, page, fields) }
  if (rows.length > limit) view.next = page.at(-1)!.id
  return view
}

export async function postVaultItem(call: Call, body: ItemBody, fields: Fields | null): Promise<View> {
  if (body.op === 'fetch' || isBareId(body)) return fetchItem(call, body, fields)
  const session = needWriter(call)
  if (body.op === 'ignore') throw invalid('$op: nothing to ignore here')
  const names = body.file?.externals ?? []
  // Whether the name of what may only be new is taken shows when it is made.
  const mustBeNew = body.op === 'create' && body.id === null
  const known =
    body.id !== null ? await itemById(call.db, body.id, call.store) : mustBeNew ? null : await firstNamed(call, names)
  if (body.id !== null && known === null) throw notFound('vaultItem')
  if (body.op === 'delete') return deleteItem(call, session, known)
  if (known === null) return createItem(call, session, body, fields)
  if (body.op === 'create') throw denied('this item exists')
  if (!(await isItemWriter(call, session, known))) throw denied('not your item')
  const id = known.id
  if (body.id !== null) await mergeItem(call, session, known, body, names)
  else await replaceItem(call, session, known, body)
  return fields === null ? { id } : viewItem(call, (await itemById(call.db, id))!, fields)
}

/** An id and nothing else only reads. */
export function isBareId(body: ItemBody): boolean {
  return (
    body.id !== null &&
    body.op === null &&
    body.type === null &&
    body.meta === undefined &&
    body.file === null &&
    body.vaultEntries === null
  )
}

async function firstNamed(call: Call, names: readonly Name[], lock = true): Promise<ItemRow | null> {
  for (const name of names) {
    const item = await itemNamed(call.db, name, lock ? call.store : null)
    if (item !== null) return item
  }
  return null
}

async function fetchItem(call: Call, body: ItemBody, fields: Fields | null): Promise<View> {
  if (call.caller.kind === 'nobody') throw noSession()
  const names = body.file?.externals ?? null
  if (body.id === null && names === null) throw invalid('vaultItem: id or file.externals expected')
  const item = body.id !== null ? await itemById(call.db, body.id) : await firstNamed(call, names!, false)
  if (item === null) throw notFound('vaultItem')
  await checkReader(call, item.id, item)
  return viewItem(call, item, fields)
}

async function deleteItem(call: Call, session: SessionCaller, item: ItemRow | null): Promise<View> {
  if (item === null) throw notFound('vaultItem')
  if (item.key_id !== null) throw denied('a password item goes with its key')
  if (!(await isItemWriter(call, session, item))) throw denied('not your item')
  await removeItem(call.db, call.store, item.id)
  note(call, 'item.delete', `item:${item.id}`)
  return { id: item.id }
}

async function createItem(call: Call, session: SessionCaller, body: ItemBody, fields: Fields | null): Promise<View> {
  const type = body.type
  if (type === null) throw invalid('vaultItem: type expected')
  const keyId = await keyForPassword(call, body)
  const names = body.file?.externals ?? []
  if (keyId === null && names.length === 0) throw invalid('vaultItem: file.externals expected')
  for (const name of names) await checkItemName(call.db, call.settings, name, session)
  checkMeta(type, body.meta ?? null)
  const { file } = body
  const item = {
    type,
    meta: body.meta == null ? null : JSON.stringify(body.meta),
    creatorId: session.userId,
    keyId,
    file: file === null ? null : { name: file.name, mime: file.mime, path: file.path },
  }
  const entries = body.vaultEntries ?? []
  const [row, known] = await Promise.all([insertItem(call.db, item, call.nowMs), keysOfEntries(call, entries)])
  const { id } = row
  const refs = newRefs({ kind: 'item', id })
  const [free, keys] = await Promise.all([
    insertItemExternals(call.db, id, names),
    applyEntries(call, session, { id, isNew: true }, entries, 'exactly', refs, Promise.resolve(known)),
  ])
  if (!free) throw denied('this item exists')
  note(call, 'item.create', `item:${id}`, keys)
  return fields === null ? { id } : viewItem(call, row, fields)
}

/** A password item belongs to a key, and is made by that key's people. */
async function keyForPassword(call: Call, body: ItemBody): Promise<number | null> {
  if (body.type !== 'password') return null
  const key = body.vaultKey?.id == null ? null : await keyById(call.db, body.vaultKey.id)
  if (key === null) throw body.vaultKey === null ? invalid('vaultItem: vaultKey expected') : notFound('vaultKey')
  if (!isOwnerOrMaker(call, key)) throw denied('not your key')
  if ((await passwordItemsOfKeys(call.db, [key.id])).length > 0) throw denied('this item exists')
  return key.id
}

/** By id: what is listed is added, changed or deleted, the rest stays. */
async function mergeItem(
  call: Call,
  session: SessionCaller,
  item: ItemRow,
  body: ItemBody,
  names: readonly Name[],
): Promise<void> {
  if (body.type !== null && body.type !== item.type) throw invalid('type: of a new version only')
  for (const name of names) {
    if ((await itemNamed(call.db, name))?.id !== item.id) throw invalid('file.externals: those of another item')
  }
  if (body.meta !== undefined) checkMeta(item.type, body.meta)
  await changeItem(call, item, body)
  const refs = newRefs({ kind: 'item', id: item.id })
  const keys = await applyEntries(call, session, { id: item.id, isNew: false }, body.vaultEntries ?? [], 'merge', refs)
  if (keys.length > 0) note(call, 'item.share', `item:${item.id}`, keys)
}

/** By name: a new version, whose entries are exactly those listed. */
async function replaceItem(call: Call, session: SessionCaller, item: ItemRow, body: ItemBody): Promise<void> {
  const type = body.type ?? item.type
  if ((type === 'password') !== (item.type === 'password')) throw invalid('type: a password item stays one')
  // Meta that is not mentioned stays: C replaces a value without naming it.
  const meta = body.meta === undefined && item.meta !== null ? (JSON.parse(item.meta) as ItemBody['meta']) : body.meta
  checkMeta(type, meta ?? null)
  await changeItem(call, item, { ...body, type })
  const refs = newRefs({ kind: 'item', id: item.id })
  const keys = await applyEntries(
    call,
    session,
    { id: item.id, isNew: false },
    body.vaultEntries ?? [],
    'exactly',
    refs,
  )
  note(call, 'item.replace', `item:${item.id}`, keys)
}

async function changeItem(call: Call, item: ItemRow, body: ItemBody): Promise<void> {
  const change: Parameters<typeof updateItem>[2] = {}
  if (body.type !== null && body.type !== item.type) change.type = body.type
  if (body.meta !== undefined) change.meta = body.meta === null ? null : JSON.stringify(body.meta)
  if (body.file?.name != null) change.file_name = body.file.name
  if (body.file?.mime != null) change.file_mime = body.file.mime
  if (body.file?.path != null) change.file_path = body.file.path
  await updateItem(call.db, item.id, change)
  if (Object.keys(change).length > 0) note(call, 'item.meta', `item:${item.id}`)
}

/** Without `a` C reads a file as AES256CFB and JavaScript as something else: none such is kept. */
function checkMeta(type: ItemRow['type'], meta: Readonly<Record<string, unknown>> | null): void {
  if (type === 'file' && typeof meta?.a !== 'string') throw invalid('meta: a file needs its cipher in a')
}
