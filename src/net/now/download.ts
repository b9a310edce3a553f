/** `POST {messageId …}`: a spooled message for whoever may have it, sealed as it lies, or opened with their VESkey. */
import { asGatewayError } from '../../base/errors.ts'
import type { Secret } from '../../base/secret.ts'
import type { HttpResponse } from '../http.ts'
import { failure, plain } from './answers.ts'
import type { NowAsk } from './ask.ts'
import type { Spool, SpoolPlace } from './spool.ts'
import type { SpooledItem } from './spooled-item.ts'

export interface SpoolReaders {
  readonly spool: Spool
  readonly item: (messageId: string, token: Secret<string>) => Promise<SpooledItem> | SpooledItem
  /** Unlocks a vault of the domain. @throws {GatewayError} BAD_CREDENTIALS … */
  readonly unlock: (externalId: string, veskey: Secret<Buffer>) => Promise<OpenedVault>
}

export interface OpenedVault {
  readonly item: (messageId: string) => Promise<SpooledItem>
  /** The message opened with this vault's keys. @throws {GatewayError} ITEM_UNAVAILABLE, SEAL_BROKEN, while it streams */
  readonly open: (sealed: AsyncIterable<Buffer>) => AsyncIterable<Buffer>
}

/** Most mail is shorter, and costs less in one piece. Octets. */
const MAX_WHOLE_OCTETS = 64 * 1024
const MESSAGE = { 'content-type': 'message/rfc822' }

export interface SealedAnswer extends HttpResponse {
  /** Would it be the same again for this bearer, as far as can be told at once? Absent: it cannot. */
  readonly isCurrent?: () => boolean
}

/** At once where nothing has to be waited for: most of what a short answer costs is the waiting. */
export function sendSealed(
  messageId: string,
  token: Secret<string>,
  { spool, item }: SpoolReaders,
): Promise<SealedAnswer> | SealedAnswer {
  const found = item(messageId, token)
  if (found instanceof Promise) return found.then((it) => sealedOf(it, messageId, spool), refused)
  return sealedOf(found, messageId, spool)
}

function sealedOf(
  { isShared, creator, isBelieved }: SpooledItem,
  messageId: string,
  spool: Spool,
): Promise<SealedAnswer> | SealedAnswer {
  if (!isShared) return plain(403, 'This message is not shared with you')
  const place = { creator, messageId }
  const short = spool.readNow?.(place) ?? null
  if (short === null) return openedCopy(place, spool)
  const answer = sealed(short.octets.length, short.octets)
  return isBelieved === undefined ? answer : { ...answer, isCurrent: () => isBelieved() && short.isCurrent() }
}

async function openedCopy(place: SpoolPlace, spool: Spool): Promise<HttpResponse> {
  const copy = await spool.open(place)
  if (copy === null) return notSpooled()
  return sealed(copy.octets, copy.whole ?? (copy.octets <= MAX_WHOLE_OCTETS ? await whole(copy.body) : copy.body))
}

/** @param octets a stream's length is not told by HTTP: a reader wants to know how far it is */
function sealed(octets: number, body: Buffer | AsyncIterable<Buffer>): HttpResponse {
  return { status: 200, headers: { ...MESSAGE, 'x-vesmail-octets': String(octets) }, body }
}

async function whole(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const part of body) parts.push(part)
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
}

export async function sendOpened(
  { messageId, externalId, veskey }: Extract<NowAsk, { kind: 'opened' }>,
  { spool, unlock }: SpoolReaders,
): Promise<HttpResponse> {
  const answer = async (): Promise<HttpResponse> => {
    const vault = await unlock(externalId, veskey)
    const found = await vault.item(messageId)
    if (!found.isShared) return plain(403, 'This message is not shared with you')
    const copy = await spool.open({ creator: found.creator, messageId })
    if (copy === null) return notSpooled()
    // The status can be right only if the first octets are known to be.
    const opened = vault.open(copy.body)[Symbol.asyncIterator]()
    const first = await opened.next()
    return { status: 200, headers: MESSAGE, body: joined(first, opened) }
  }
  try {
    return await answer()
  } catch (error) {
    return refused(error)
  } finally {
    veskey.wipe()
  }
}

async function* joined(first: IteratorResult<Buffer>, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  for (let result = first; result.done !== true; result = await rest.next()) yield result.value
}

function notSpooled(): HttpResponse {
  return plain(404, 'This message is not in the spool (any more)')
}

function refused(thrown: unknown): HttpResponse {
  const error = asGatewayError(thrown)
  switch (error.code) {
    case 'VES_DENIED':
    case 'ITEM_UNAVAILABLE':
      return failure(error, 403)
    case 'BAD_CREDENTIALS':
      return failure(error, 401)
    case 'VES_NOT_FOUND':
      return failure(error, 404)
    default:
      return failure(error)
  }
}
