/**
 * Temp keys: they stand for someone who has no vault yet (key-repository.md §4). Made together with the item that is
 * shared with them; their VESkey is an item of type password, which lets the sender hand them on later.
 */
import { GatewayError } from '../../base/errors.ts'
import { Secret } from '../../base/secret.ts'
import type { VaultKey } from '../../engine/seal/vault-key.ts'
import { makeVeskey } from '../../engine/seal/vault-key-make.ts'
import { type JsonObject, objectsAt } from './answer.ts'
import { splitName, uniqueKeys } from './item-answer.ts'
import { KEY_FIELDS, orNull } from './recipient-directory.ts'
import type { VaultSession } from './vault-session.ts'
import type { PlannedVault, VaultRef } from './ves-client.ts'

export interface MadeTempKey {
  readonly address: string
  readonly key: VaultKey
  readonly veskey: Secret<Buffer>
  /** What goes into the entry in place of a vault key's id: the repository makes it on the way. */
  readonly vaultKey: JsonObject
}

export async function makeTempKey(
  session: VaultSession,
  plan: PlannedVault,
  viewerUrl: string | null,
): Promise<MadeTempKey> {
  const { keys, recipients, domain, newKind } = session.client
  const veskey = makeVeskey()
  const { algo, publicKey, privateKey } = await keys.run('make', { kind: newKind, veskey, rounds: null })
  const theirs = await session.activeKeys({ email: plan.address })
  const holders = [session.own, ...theirs, ...(await session.activeKeys({ id: session.user.id }))]
  if (theirs.length === 0) {
    const propagation = await propagationKey(session)
    if (propagation !== null) holders.push(propagation)
  }
  const vaultKey = {
    type: 'temp',
    algo,
    publicKey,
    privateKey,
    user: { email: plan.address, ...splitName(plan.name) },
    vaultItems: [
      { type: 'password', vaultEntries: await session.sealEntries(uniqueKeys(holders), veskey), $op: 'create' },
    ],
    creator: { id: session.user.id },
    externals: [{ domain, externalId: plan.address }],
    ...(viewerUrl === null ? {} : { appUrl: viewerUrl }),
  }
  const key = (await recipients.readKey({ id: 0, type: 'temp', algo, publicKey }, plan.uri)).key
  return { address: plan.address, key, veskey: new Secret(veskey), vaultKey }
}

/** The VESkey of an own temp key, opened with the session's vault; null where that cannot. */
export async function tempVeskey(session: VaultSession, keyId: number): Promise<Secret<Buffer> | null> {
  if (!session.canOpen) return null
  const path = `vaultKeys/${keyId}?fields=vaultItems(id,type,vaultEntries(vaultKey(id),encData))`
  const found = await orNull(session.request({ path }))
  if (found === null) return null
  for (const item of objectsAt(found.result, 'vaultItems')) {
    const value = item.type === 'password' ? await session.openEntry(item) : null
    if (value !== null) return new Secret(value)
  }
  return null
}

/** `.propagate/<sender>`: the key of someone who hands on temp keys for the sender. Missing or denied: skipped. */
async function propagationKey(session: VaultSession): Promise<VaultRef | null> {
  const external = { domain: '.propagate', externalId: session.user.email.toLowerCase() }
  const body = { externals: [external], creator: { id: session.user.id }, $op: 'fetch' }
  try {
    const found = await orNull(session.request({ path: `vaultKeys?fields=${KEY_FIELDS},externals`, body }))
    return found === null ? null : await session.client.recipients.readVault(found.result, external)
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'VES_DENIED') return null
    throw error
  }
}
