/** Who an item is shared with, and changing that: what an access list is (daemon.md §1, `acl`). */
import { GatewayError } from '../../base/errors.ts'
import { parseVesUri, printVesUri } from '../uri.ts'
import { idAt, type JsonObject, objectsAt, optionalId, optionalObject, optionalText } from './answer.ts'
import type { VaultSession } from './vault-session.ts'
import type { VaultRef } from './ves-client.ts'

export interface Holder {
  readonly keyId: number
  readonly type: string
  readonly userId: number | null
  /** URIs of the vaults; empty for a primary key. */
  readonly vaults: readonly string[]
}

const FIELDS = 'id,type,vaultEntries(encData,vaultKey(id,type,user(id),externals))'

/** @throws GatewayError VES_NOT_FOUND */
export async function holdersOf(session: VaultSession, itemUri: string): Promise<Holder[]> {
  const item = await fetch(session, itemUri)
  return objectsAt(item, 'vaultEntries').map((entry) => {
    const key = optionalObject(entry, 'vaultKey') ?? {}
    const user = optionalObject(key, 'user')
    return {
      keyId: idAt(key),
      type: optionalText(key, 'type') ?? '?',
      userId: user === null ? null : optionalId(user),
      vaults: objectsAt(key, 'externals').map(({ domain, externalId }) =>
        printVesUri({ kind: 'vault', domain: String(domain), externalId: String(externalId), owner: null }),
      ),
    }
  })
}

/** @throws GatewayError VES_DENIED where the session's vault is not on the list itself, or may not write */
export async function shareItem(session: VaultSession, itemUri: string, vaults: readonly VaultRef[]): Promise<void> {
  const item = await fetch(session, itemUri)
  const value = await session.openEntry(item)
  if (value === null) throw new GatewayError('VES_DENIED', { text: 'the item is not shared with this account itself' })
  await post(session, item, await session.sealEntries(vaults, value))
}

export async function unshareItem(session: VaultSession, itemUri: string, keyIds: readonly number[]): Promise<void> {
  const item = await fetch(session, itemUri)
  await post(
    session,
    item,
    keyIds.map((id) => ({ vaultKey: { id }, $op: 'delete' })),
  )
}

function fetch(session: VaultSession, itemUri: string): Promise<JsonObject> {
  return session.fetchItem(parseVesUri(itemUri, session.client.domain), FIELDS)
}

async function post(session: VaultSession, item: JsonObject, vaultEntries: readonly JsonObject[]): Promise<void> {
  const body = { id: idAt(item), type: item.type, vaultEntries }
  await session.request({ path: 'vaultItems', body, repeatable: true })
}
