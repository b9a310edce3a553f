/**
 * Vault keys as the asker may see them (key-repository.md §3 "Who sees what"). What is withheld is left out, never
 * null; every object carries its id. Lists are loaded per relation, not per row.
 */

import type { Json } from '../api.ts'
import type { Call } from '../call.ts'
import { spend, userIdOf } from '../call.ts'
import { type Field, type Fields, fieldsOf } from '../fields.ts'
import { entriesOfKey, passwordItemsOfKeys } from '../store/items.ts'
import { externalsOfKeys } from '../store/keys.ts'
import type { KeyExternalRow, KeyRow, KeyType } from '../store/schema.ts'
import { userById, usersByIds } from '../store/users.ts'

export type View = Record<string, Json | undefined>

const DEFAULT = fieldsOf('id', 'type', 'algo', 'publicKey')
const EXTERNAL_DEFAULT = fieldsOf('id', 'domain', 'externalId')

/** Entries of a key in one answer without a range, and with one. */
const MAX_ENTRIES = 5000
const MAX_PAGE = 1000
/** Of their encData, so that they come back in one request, sealed to another key: whoever asks goes on behind the last. */
const MAX_ENTRY_OCTETS = 4 * 1024 * 1024

/** Keys that log their holder in. Not temp keys: the sender knows their VESkey, and the session would be the recipient's. */
const LOGIN_TYPES: readonly KeyType[] = ['current', 'shadow', 'secondary']
/** Keys that anyone may know of. */
const PUBLIC_TYPES: readonly KeyType[] = LOGIN_TYPES

export function isOwner(call: Call, key: { user_id: number }): boolean {
  return key.user_id === userIdOf(call)
}

export function isOwnerOrMaker(call: Call, key: { user_id: number; creator_id: number }): boolean {
  return isOwner(call, key) || key.creator_id === userIdOf(call)
}

/** May the asker address this key by its number? */
export function maySee(call: Call, key: KeyRow): boolean {
  if (key.type === 'deleted') return false
  if (PUBLIC_TYPES.includes(key.type)) return true
  return key.type === 'temp' ? isOwnerOrMaker(call, key) : isOwner(call, key)
}

export async function viewKey(call: Call, row: KeyRow, fields: Fields | null, canLogIn = false): Promise<View> {
  return (await viewKeys(call, [row], fields, canLogIn))[0]!
}

/** @param canLogIn gives encSessionToken where asked: only at the top, or one request could order thousands of seals */
export async function viewKeys(
  call: Call,
  rows: readonly KeyRow[],
  asked: Fields | null,
  canLogIn = false,
): Promise<View[]> {
  spend(call, rows.length)
  const fields = asked ?? DEFAULT
  const views = rows.map((row): View => plainFields(call, row, fields))
  const stranger = call.caller.kind !== 'session'
  const each = (name: string, value: (row: KeyRow) => Json | undefined): void => {
    rows.forEach((row, n) => {
      views[n]![name] = value(row)
    })
  }
  const addExternals = async (): Promise<void> => {
    const externals = await externalsOfKeys(
      call.db,
      rows.map((row) => row.id),
    )
    const inner = fields.get('externals')!.fields
    each('externals', (row) => viewExternals(externals.get(row.id) ?? [], inner))
  }
  const addUsers = async (name: 'user' | 'creator', inner: Fields | null): Promise<void> => {
    const column = `${name}_id` as const
    const ids = rows.map((row) => row[column])
    const users = stranger ? null : await viewUserMap(call, ids, inner)
    each(name, (row) => users?.get(row[column]) ?? { id: row[column] })
  }
  // Side by side: none needs what another finds.
  const parts: Promise<void>[] = []
  if (fields.has('externals')) parts.push(addExternals())
  for (const name of ['user', 'creator'] as const) {
    const field = fields.get(name)
    if (field !== undefined && !(stranger && name === 'creator')) parts.push(addUsers(name, field.fields))
  }
  if (fields.has('vaultItems')) parts.push(addPasswordItems(call, rows, views, fields.get('vaultItems')!.fields))
  if (fields.has('vaultEntries')) parts.push(addEntries(call, rows, views, fields.get('vaultEntries')!))
  if (fields.has('encSessionToken') && canLogIn) parts.push(addSessionTokens(call, rows, views))
  await Promise.all(parts)
  return views
}

function plainFields(call: Call, row: KeyRow, fields: Fields): View {
  const view: View = { id: row.id }
  if (fields.has('type')) view.type = row.type
  if (fields.has('algo')) view.algo = row.algo
  // Of someone else's temp key even the public part is withheld: nobody else may encrypt to it.
  if (fields.has('publicKey') && maySee(call, row)) view.publicKey = row.public_key
  if (fields.has('privateKey') && maySee(call, row) && row.private_key !== null) view.privateKey = row.private_key
  if (fields.has('appUrl') && row.app_url !== null && isOwnerOrMaker(call, row)) view.appUrl = row.app_url
  if (fields.has('createdMs') && isOwnerOrMaker(call, row)) view.createdMs = row.created_ms
  return view
}

export function viewExternals(
  rows: readonly Omit<KeyExternalRow, 'key_id' | 'working'>[],
  asked: Fields | null,
): View[] {
  const fields = asked ?? EXTERNAL_DEFAULT
  return rows.map((row) => {
    const view: View = { id: row.id }
    if (fields.has('domain')) view.domain = row.domain
    if (fields.has('externalId')) view.externalId = row.external_id
    return view
  })
}

async function viewUserMap(call: Call, ids: readonly number[], fields: Fields | null): Promise<Map<number, View>> {
  const users = [...(await usersByIds(call.db, ids)).values()]
  const views = await call.views.users(call, users, fields)
  return new Map(users.map((user, n) => [user.id, views[n]!]))
}

/** The key's VESkey as an item: for its owner, and for whoever made it. */
async function addPasswordItems(
  call: Call,
  rows: readonly KeyRow[],
  views: View[],
  fields: Fields | null,
): Promise<void> {
  const mine = rows.filter((row) => isOwnerOrMaker(call, row))
  const items = await passwordItemsOfKeys(
    call.db,
    mine.map((row) => row.id),
  )
  const itemViews = await call.views.items(call, items, fields)
  rows.forEach((row, n) => {
    if (!isOwnerOrMaker(call, row)) return
    views[n]!.vaultItems = itemViews.filter((_, at) => items[at]!.key_id === row.id)
  })
}

/** What is encrypted to the key: for its owner. */
async function addEntries(call: Call, rows: readonly KeyRow[], views: View[], field: Field): Promise<void> {
  for (const [n, row] of rows.entries()) {
    if (!isOwner(call, row)) continue
    const entries = await entriesOfKey(call.db, {
      keyId: row.id,
      after: field.range?.after ?? 0,
      bounds: {
        rows: field.range === null ? MAX_ENTRIES : Math.min(field.range.limit, MAX_PAGE),
        octets: MAX_ENTRY_OCTETS,
      },
      unmovedOfUser: row.type === 'temp' ? row.user_id : null,
    })
    views[n]!.vaultEntries = await call.views.entriesOfKey(call, entries, field.fields)
  }
}

async function addSessionTokens(call: Call, rows: readonly KeyRow[], views: View[]): Promise<void> {
  for (const [n, row] of rows.entries()) {
    if (!LOGIN_TYPES.includes(row.type)) continue
    if ((await userById(call.db, row.user_id))?.locked !== 0) continue
    call.afterwards.push(() => {
      const sealed = call.sealer.seal(row.id, row.public_key, call.nowMs)
      if (sealed !== null) views[n]!.encSessionToken = sealed
    })
  }
}
