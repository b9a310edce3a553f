/**
 * What the HTTP side asks the key repository about a spooled message: may this bearer see its item, and whose is it?
 * (key-repository.md §3). It learns no key.
 */
import { GatewayError } from '../../base/errors.ts'
import type { ApiAnswer, ApiRequest } from '../../ves/client/api-connection.ts'

export interface SpooledItem {
  /** E-mail address of the creator's VES user, its case kept: names the spool folder. */
  readonly creator: string
  /** Does the bearer hold the item's key? Of a verify token it is not known. */
  readonly isShared: boolean
  /** Of one that was remembered: need the repository not be asked again yet? */
  readonly isBelieved?: () => boolean
}

/** Longest message id that can name an item; longer ones are not asked for. Octets. */
export const MAX_ID_OCTETS = 1000

/** The way to the repository, with the bearer's token on it. */
export type AskRepository = (request: ApiRequest) => Promise<ApiAnswer>

/**
 * @param ask with a session token, or the item's verify token
 * @throws {GatewayError} VES_NOT_FOUND: no such item · VES_DENIED: a bad token · others: the repository is in trouble
 */
export async function askSpooledItem(ask: AskRepository, domain: string, messageId: string): Promise<SpooledItem> {
  const { result } = await ask({
    path: 'vaultItems?fields=id,type,file(externals,creator(id,email)),vaultEntries(id,vaultKey(id))',
    body: { file: { externals: [{ domain, externalId: messageId }] }, $op: 'fetch' },
    repeatable: true,
  })
  const creator = (result as { file?: { creator?: { email?: unknown } } }).file?.creator?.email
  if (typeof creator !== 'string' || creator === '') throw new GatewayError('VES_PARSE', { reason: 'no creator' })
  const entries = (result as { vaultEntries?: unknown }).vaultEntries
  return { creator, isShared: Array.isArray(entries) && entries.length > 0 }
}

/**
 * The same for who brings a copy: the bearer has to be the item's verify token, or a session that holds its key. Any other
 * session is told whose item it is as well, and could put what it likes where the creator's copy belongs.
 */
export async function askUploadedItem(ask: AskRepository, domain: string, messageId: string): Promise<SpooledItem> {
  const item = await askSpooledItem(ask, domain, messageId)
  if (!item.isShared && (await isSession(ask))) throw new GatewayError('VES_DENIED', { reason: 'not shared with it' })
  return item
}

/** A verify token is nobody's session. */
async function isSession(ask: AskRepository): Promise<boolean> {
  try {
    await ask({ path: 'me?fields=id' })
    return true
  } catch (error) {
    if (error instanceof GatewayError && (error.code === 'VES_DENIED' || error.code === 'VES_NOT_FOUND')) return false
    throw error
  }
}
