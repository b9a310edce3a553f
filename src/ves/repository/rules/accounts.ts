/** Making an account: a primary key and the app vault, made by whoever owns the address, or by the administrator. */
import type { KeyBody, Reader } from '../body.ts'
import { keyBody } from '../body.ts'
import { type Call, needAdmin, note } from '../call.ts'
import { type Fields, fieldsOf } from '../fields.ts'
import { denied, invalid } from '../refuse.ts'
import { itemsInNameOf, removeItem } from '../store/items.ts'
import { keysByIds } from '../store/keys.ts'
import { takeMailToken } from '../store/mail-tokens.ts'
import { insertUser, updateUser, userByEmail, userById } from '../store/users.ts'
import { hashToken } from '../tokens.ts'
import { type View, viewKeys } from '../views/keys.ts'
import { viewUser } from '../views/users.ts'
import { createOwnKey, newRefs } from './key-create.ts'

export interface AccountBody {
  readonly email: string | null
  readonly token: string | null
  readonly firstName: string | null
  readonly lastName: string | null
  readonly vaultKeys: readonly KeyBody[]
}

const MAX_KEYS = 16

export function accountBody(reader: Reader): AccountBody {
  const body = {
    email: reader.email('email'),
    token: reader.text('token', 120),
    firstName: reader.text('firstName', 128),
    lastName: reader.text('lastName', 128),
    vaultKeys: reader.list('vaultKeys', keyBody, MAX_KEYS) ?? [],
  }
  reader.done()
  return body
}

const ANSWER: Fields = new Map([
  ...fieldsOf('id', 'email', 'firstName', 'lastName'),
  ['vaultKeys', { fields: fieldsOf('id', 'type', 'algo', 'publicKey', 'externals'), range: null }],
])

export async function createAccount(call: Call, body: AccountBody, fields: Fields | null): Promise<View> {
  const email = await provenAddress(call, body)
  const [primary, ...vaults] = body.vaultKeys
  if (primary?.type !== 'current' || vaults.some((key) => key.type !== 'secondary')) {
    throw invalid('vaultKeys: the primary key (current), then any vaults (secondary) expected')
  }
  const known = await userByEmail(call.db, email)
  if (known?.account === 1) throw denied('this address has an account')
  const { firstName, lastName } = body
  const user = known ?? (await insertUser(call.db, { email, firstName, lastName, account: true }, call.nowMs))
  if (known !== null) {
    await updateUser(call.db, known.id, {
      account: 1,
      locked: 0,
      first_name: firstName ?? known.first_name,
      last_name: lastName ?? known.last_name,
    })
  }
  // A profile that somebody laid out for the newcomer would lead their mail wherever that one likes.
  for (const id of await itemsInNameOf(call.db, email, user.id)) {
    await removeItem(call.db, call.store, id)
    note(call, 'item.delete', `item:${id}`, [], user.id)
  }
  const actor = { userId: user.id, email }
  const refs = newRefs()
  for (const key of body.vaultKeys) refs.keys.push(await createOwnKey(call, actor, key, key.type!, refs))
  note(call, 'account.create', `user:${user.id}`, refs.keys, user.id)
  // Whoever made it sees it as its owner will, but of its keys those made now: not the temp keys that waited.
  const caller = { kind: 'session', sessionId: 0, keyId: refs.keys[0]!, ...actor, section: false } as const
  const asOwner: Call = { ...call, caller }
  const view = await viewUser(asOwner, (await userById(call.db, user.id))!, fields ?? ANSWER)
  if (view.vaultKeys === undefined) return view
  const rows = await keysByIds(call.db, refs.keys)
  const made = refs.keys.map((id) => rows.get(id)!)
  view.vaultKeys = await viewKeys(asOwner, made, (fields ?? ANSWER).get('vaultKeys')!.fields)
  return view
}

/** The address that was proved, by a mailed token or by the administrator's word. */
async function provenAddress(call: Call, body: AccountBody): Promise<string> {
  if (body.token === null) {
    needAdmin(call)
    if (body.email === null) throw invalid('email: expected')
    return body.email
  }
  const email = await takeMailToken(call.db, hashToken(body.token), call.nowMs)
  if (email === null || (body.email !== null && body.email !== email)) throw denied('token invalid, used or expired')
  return email
}
