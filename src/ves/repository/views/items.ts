/**
 * Items and entries as the asker may see them: without access there are id, type, meta and file, and no entries, so
 * that "not shared with me" differs from "not there". encData is for the key's owner and the item's creator.
 */

import type { Json } from '../api.ts'
import { type Call, spend, spendOctets, userIdOf } from '../call.ts'
import { type Fields, fieldsOf } from '../fields.ts'
import { type EntryOfItem, entriesOfItems, externalsOfItems, itemsByIds, itemsHeldBy } from '../store/items.ts'
import { keysByIds } from '../store/keys.ts'
import type { EntryRow, ItemExternalRow, ItemRow, KeyRow } from '../store/schema.ts'
import { usersByIds } from '../store/users.ts'
import { isOwnerOrMaker, type View, viewExternals, viewKeys } from './keys.ts'
import { viewUsers } from './users.ts'

const DEFAULT = fieldsOf('id', 'type', 'meta')
const FILE_DEFAULT = fieldsOf('id', 'externals', 'name', 'mime', 'path')
const ENTRY_DEFAULT = fieldsOf('id', 'encData')

export async function viewItem(call: Call, row: ItemRow, fields: Fields | null): Promise<View> {
  return (await viewItems(call, [row], fields))[0]!
}

export async function viewItems(call: Call, rows: readonly ItemRow[], asked: Fields | null): Promise<View[]> {
  spend(call, rows.length)
  const fields = asked ?? DEFAULT
  const views = rows.map((row): View => {
    const view: View = { id: row.id }
    if (fields.has('type')) view.type = row.type
    if (fields.has('meta') && row.meta !== null) view.meta = JSON.parse(row.meta) as Json
    if (fields.has('deleted')) view.deleted = false
    return view
  })
  if (rows.length === 0) return views
  const keyIds = rows.flatMap((row) => row.key_id ?? [])
  const keys = keyIds.length > 0 ? await keysByIds(call.db, keyIds) : new Map<number, KeyRow>()
  const key = fields.get('vaultKey')
  if (key !== undefined && keys.size > 0) {
    const list = [...keys.values()]
    const keyViews = await viewKeys(call, list, key.fields)
    const byId = new Map(list.map((one, n) => [one.id, keyViews[n]!]))
    rows.forEach((row, n) => {
      if (row.key_id !== null) views[n]!.vaultKey = byId.get(row.key_id)
    })
  }
  if (fields.has('file')) await addFiles(call, rows, views, fields.get('file')!.fields)
  if (fields.has('vaultEntries') || fields.has('verifyToken')) {
    const open = await accessible(call, rows, keys)
    const mine = rows.filter((row) => open.has(row.id))
    if (fields.has('verifyToken')) {
      rows.forEach((row, n) => {
        if (open.has(row.id)) views[n]!.verifyToken = call.tokens.verify(row.id, userIdOf(call), call.nowMs)
      })
    }
    if (fields.has('vaultEntries')) {
      const entries = await entriesOfItems(
        call.db,
        mine.map((row) => row.id),
        { rows: call.budget.rows + 1, octets: call.budget.octets + 1 },
      )
      const all = mine.flatMap((row) => entries.get(row.id) ?? [])
      spendOctets(
        call,
        all.reduce((octets, entry) => octets + entry.enc_data.length, 0),
      )
      const entryViews = await viewEntries(call, all, fields.get('vaultEntries')!.fields, mine)
      let at = 0
      rows.forEach((row, n) => {
        if (open.has(row.id)) {
          const end = at + (entries.get(row.id)?.length ?? 0)
          views[n]!.vaultEntries = entryViews.slice(at, end)
          at = end
        } else if (call.caller.kind === 'session') views[n]!.vaultEntries = []
      })
    }
  }
  return views
}

/** Items that the asker's keys hold an entry of, made, or whose key is theirs. */
export async function accessible(
  call: Call,
  rows: readonly ItemRow[],
  keys: ReadonlyMap<number, KeyRow>,
): Promise<Set<number>> {
  const me = userIdOf(call)
  if (me === 0) return new Set()
  const rest: number[] = []
  const open = new Set<number>()
  for (const row of rows) {
    const key = row.key_id === null ? undefined : keys.get(row.key_id)
    if (row.creator_id === me || (key !== undefined && isOwnerOrMaker(call, key))) open.add(row.id)
    else rest.push(row.id)
  }
  for (const id of await itemsHeldBy(call.db, rest, me, null)) open.add(id)
  return open
}

async function addFiles(call: Call, rows: readonly ItemRow[], views: View[], asked: Fields | null): Promise<void> {
  const files = rows.filter((row) => row.file === 1)
  const fileViews = await viewFiles(call, files, asked)
  rows.forEach((row, n) => {
    const at = files.indexOf(row)
    if (at >= 0) views[n]!.file = fileViews[at]
  })
}

/** A file's id is its item's. */
export async function viewFiles(call: Call, rows: readonly ItemRow[], asked: Fields | null): Promise<View[]> {
  const fields = asked ?? FILE_DEFAULT
  const ids = rows.map((row) => row.id)
  const externals = fields.has('externals')
    ? await externalsOfItems(call.db, ids)
    : new Map<number, ItemExternalRow[]>()
  const creator = fields.get('creator')
  const users =
    creator === undefined
      ? []
      : [
          ...(
            await usersByIds(
              call.db,
              rows.map((row) => row.creator_id),
            )
          ).values(),
        ]
  const userViews = creator === undefined ? [] : await viewUsers(call, users, creator.fields)
  return rows.map((row) => {
    const view: View = { id: row.id }
    if (fields.has('externals'))
      view.externals = viewExternals(externals.get(row.id) ?? [], fields.get('externals')!.fields)
    if (fields.has('name') && row.file_name !== null) view.name = row.file_name
    if (fields.has('mime') && row.file_mime !== null) view.mime = row.file_mime
    if (fields.has('path') && row.file_path !== null) view.path = row.file_path
    if (creator !== undefined) view.creator = userViews[users.findIndex((user) => user.id === row.creator_id)]
    return view
  })
}

/** Entries of items that the asker has access to. */
async function viewEntries(
  call: Call,
  entries: readonly EntryOfItem[],
  asked: Fields | null,
  items: readonly ItemRow[],
): Promise<View[]> {
  spend(call, entries.length)
  const fields = asked ?? ENTRY_DEFAULT
  const me = userIdOf(call)
  const made = new Set(items.filter((item) => item.creator_id === me).map((item) => item.id))
  const views = entries.map((entry): View => {
    const view: View = { id: entry.id }
    if (fields.has('encData') && (entry.key_user_id === me || made.has(entry.item_id))) view.encData = entry.enc_data
    if (fields.has('vaultItem')) view.vaultItem = { id: entry.item_id }
    return view
  })
  const key = fields.get('vaultKey')
  if (key === undefined) return views
  const onlyId = key.fields !== null && [...key.fields.keys()].every((name) => name === 'id')
  if (onlyId) {
    entries.forEach((entry, n) => {
      views[n]!.vaultKey = { id: entry.key_id }
    })
    return views
  }
  const rows = [
    ...(
      await keysByIds(
        call.db,
        entries.map((entry) => entry.key_id),
      )
    ).values(),
  ]
  const keyViews = await viewKeys(call, rows, key.fields)
  const byId = new Map(rows.map((row, n) => [row.id, keyViews[n]!]))
  entries.forEach((entry, n) => {
    views[n]!.vaultKey = byId.get(entry.key_id) ?? { id: entry.key_id }
  })
  return views
}

/** Entries of a key, shown to its owner. */
export async function viewEntriesOfKey(
  call: Call,
  entries: readonly EntryRow[],
  asked: Fields | null,
): Promise<View[]> {
  spend(call, entries.length)
  const fields = asked ?? ENTRY_DEFAULT
  const views = entries.map((entry): View => {
    const view: View = { id: entry.id }
    if (fields.has('encData')) view.encData = entry.enc_data
    if (fields.has('vaultKey')) view.vaultKey = { id: entry.key_id }
    return view
  })
  const item = fields.get('vaultItem')
  if (item === undefined) return views
  const rows = [
    ...(
      await itemsByIds(
        call.db,
        entries.map((entry) => entry.item_id),
      )
    ).values(),
  ]
  const itemViews = await viewItems(call, rows, item.fields)
  const byId = new Map(rows.map((row, n) => [row.id, itemViews[n]!]))
  entries.forEach((entry, n) => {
    views[n]!.vaultItem = byId.get(entry.item_id) ?? { id: entry.item_id }
  })
  return views
}
