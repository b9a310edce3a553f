/** Making vault keys: one's own, and temp keys for those who have none. */
import { createPublicKey, type KeyObject } from 'node:crypto'
import type { ItemBody, KeyBody, UserBody } from '../body.ts'
import { type Call, note } from '../call.ts'
import { denied, invalid, notFound, quota } from '../refuse.ts'
import { insertItem, itemById, upsertEntries } from '../store/items.ts'
import { countKeys, insertKey, insertKeyExternals, tempKeysNamed, workingKeyNamed } from '../store/keys.ts'
import type { KeyAlgo, KeyType, UserRow } from '../store/schema.ts'
import { insertUser, userByEmail, userById } from '../store/users.ts'
import { addEntriesToOwnKey, applyEntries, type Refs } from './entries.ts'
import { isItemWriter } from './item-access.ts'
import { type Actor, checkTempName, checkVaultName } from './names.ts'
import { inviteOwner } from './onboarding.ts'

/** Besides temp keys for others; `current` comes with the account and by rotation. */
const OWN_TYPES: readonly KeyType[] = ['secondary', 'pending', 'shadow', 'recovery']
const MIN_RSA_BITS = 2048
const MAX_RSA_BITS = 8192

/** For a request whose body stands for `root`, or for something that has no id yet. */
export function newRefs(root: Refs['root'] = null): Refs {
  return { root, keys: [], createKey }
}

/** @returns the new key's id @throws GatewayError */
export async function createKey(call: Call, actor: Actor, body: KeyBody, refs: Refs): Promise<number> {
  if (body.type === null) throw invalid('vaultKey: type expected')
  if (body.type === 'temp') return createTempKey(call, actor, body, refs)
  if (!OWN_TYPES.includes(body.type)) throw denied(`keys of type ${body.type} are not made this way`)
  if (body.user !== null && !isActor(actor, body.user)) throw denied('only temp keys may be made for others')
  if ((await countKeys(call.db, { userId: actor.userId })) >= call.settings.maxKeysPerUser) throw quota('too many keys')
  return createOwnKey(call, actor, body, body.type, refs)
}

/** @param type may be `current` here: the caller has decided that it is allowed */
export async function createOwnKey(
  call: Call,
  actor: Actor,
  body: KeyBody,
  type: KeyType,
  refs: Refs,
): Promise<number> {
  const { algo, publicKey, privateKey } = checkedMaterial(body)
  const names = body.externals ?? []
  if (type === 'secondary' ? names.length === 0 : names.length > 0) {
    throw invalid(
      type === 'secondary' ? 'vaultKey: externals expected' : 'vaultKey: only secondary and temp keys have externals',
    )
  }
  for (const name of names) {
    checkVaultName(call.settings, name, actor.email)
    if ((await workingKeyNamed(call.db, name)) !== null) throw denied('this vault exists')
  }
  const { userId } = actor
  const id = await insertKey(
    call.db,
    call.store,
    { type, algo, publicKey, privateKey, userId, creatorId: userId, appUrl: body.appUrl },
    call.nowMs,
  )
  const own = { ...refs, root: refs.root ?? { kind: 'key' as const, id } }
  await insertKeyExternals(call.db, id, names, true)
  await addPasswordItem(call, actor, id, body.vaultItems ?? [], own)
  note(call, 'key.create', `key:${id}`, [id], userId)
  if (body.vaultEntries !== null) await addEntriesToOwnKey(call, actor, id, body.vaultEntries, own)
  return id
}

async function createTempKey(call: Call, actor: Actor, body: KeyBody, refs: Refs): Promise<number> {
  const { algo, publicKey, privateKey } = checkedMaterial(body)
  if (body.user === null) throw invalid('vaultKey: user expected')
  if ((await countKeys(call.db, { tempCreatorId: actor.userId })) >= call.settings.maxTempKeysPerUser) {
    throw quota('too many temp keys')
  }
  const user = await userFor(call, body.user)
  for (const name of body.externals ?? []) {
    checkTempName(call.settings, name, user.email)
    if ((await tempKeysNamed(call.db, name, actor.userId)).length >= call.settings.maxTempKeysPerName) {
      throw quota('too many temp keys of this name: use one that is there')
    }
  }
  const id = await insertKey(
    call.db,
    call.store,
    { type: 'temp', algo, publicKey, privateKey, userId: user.id, creatorId: actor.userId, appUrl: body.appUrl },
    call.nowMs,
  )
  const own = { ...refs, root: refs.root ?? { kind: 'key' as const, id } }
  await insertKeyExternals(call.db, id, body.externals ?? [], false)
  await addPasswordItem(call, actor, id, body.vaultItems ?? [], own)
  for (const entry of body.vaultEntries ?? []) {
    const itemId =
      entry.vaultItem?.id ?? (entry.vaultItem?.ref === '#/' && own.root.kind === 'item' ? own.root.id : null)
    const item = itemId === null ? null : await itemById(call.db, itemId, call.store)
    if (item === null) throw notFound('vaultItem')
    if (entry.encData === null) throw invalid('vaultEntries: encData expected')
    if (!(await isItemWriter(call, actor, item))) throw denied('not your item')
    await upsertEntries(call.db, [{ itemId: item.id, keyId: id, encData: entry.encData }])
    note(call, 'item.share', `item:${item.id}`, [id])
  }
  note(call, 'key.temp', `key:${id}`, [id], user.id)
  await inviteOwner(call, user, actor.email)
  return id
}

/** The key's VESkey as an item: at most one. */
async function addPasswordItem(
  call: Call,
  actor: Actor,
  keyId: number,
  bodies: readonly ItemBody[],
  refs: Refs,
): Promise<void> {
  if (bodies.length > 1) throw invalid('vaultItems: one password item per key')
  for (const body of bodies) {
    if (body.type !== 'password' || body.id !== null || body.file !== null)
      throw invalid('vaultItems: a new password item expected')
    const meta = body.meta == null ? null : JSON.stringify(body.meta)
    const { id } = await insertItem(
      call.db,
      { type: 'password', meta, creatorId: actor.userId, keyId, file: null },
      call.nowMs,
    )
    const keys = await applyEntries(call, actor, { id, isNew: true }, body.vaultEntries ?? [], 'merge', refs)
    note(call, 'item.create', `item:${id}`, keys, actor.userId)
  }
}

function isActor(actor: Actor, user: UserBody): boolean {
  if (user.id !== null && user.id !== actor.userId) return false
  return user.email === null || user.email === actor.email
}

/** Whom a temp key stands for: someone new gets a number, and nothing else. */
async function userFor(call: Call, body: UserBody): Promise<UserRow> {
  if (body.id !== null) {
    const user = await userById(call.db, body.id)
    if (user === null || (body.email !== null && body.email !== user.email)) throw notFound('user')
    return user
  }
  if (body.email === null) throw invalid('user: email expected')
  const known = await userByEmail(call.db, body.email)
  if (known !== null) return known
  const { email, firstName, lastName } = body
  return insertUser(call.db, { email, firstName, lastName, account: false }, call.nowMs)
}

function checkedMaterial(body: KeyBody): { algo: KeyAlgo; publicKey: string; privateKey: string } {
  const { algo, publicKey, privateKey } = body
  if (algo === null || publicKey === null || privateKey === null) {
    throw invalid('vaultKey: algo, publicKey and privateKey expected')
  }
  checkPublicKey(algo, publicKey)
  return { algo, publicKey, privateKey }
}

/** JavaScript clients have OQS keys under an OID that OpenSSL does not know: those are kept as they are. */
export function checkPublicKey(algo: KeyAlgo, pem: string): void {
  let key: KeyObject | null = null
  try {
    key = createPublicKey(pem)
  } catch (error) {
    if (algo !== 'OQS') throw invalid(`publicKey: unreadable (${(error as Error).name})`)
  }
  const type = key?.asymmetricKeyType ?? 'ml-kem'
  const fits = algo === 'RSA' ? type === 'rsa' : algo === 'ECDH' ? type === 'ec' : type.startsWith('ml-kem')
  if (!fits) throw invalid('publicKey: not of this algo')
  const bits = key?.asymmetricKeyDetails?.modulusLength ?? MIN_RSA_BITS
  if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS)
    throw invalid(`publicKey: RSA of ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits expected`)
}
