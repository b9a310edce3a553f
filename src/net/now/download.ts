/** `POST {messageId …}`: a spooled message for whoever may have it, sealed as it lies, or opened with their VESkey. */
import { asGatewayError } from '../../base/errors.ts'
import type { Secret } from '../../base/secret.ts'
import type { HttpResponse } from '../http.ts'
import { failure, plain } from './answers.ts'
import type { NowAsk } from './ask.ts'
import type { Spool } from './spool.ts'
import type { SpooledItem } from './spooled-item.ts'

export interface SpoolReaders {
  readonly spool: Spool
  readonly item: (messageId: string, token: Secret<string>) => Promise<SpooledItem>
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

export async function sendSealed(
  messageId: string,
  token: Secret<string>,
  { spool, item }: SpoolReaders,
): Promise<HttpResponse> {
  const found = await item(messageId, token).catch(refused)
  if ('status' in found) return found
  if (!found.isShared) return plain(403, 'This message is not shared with you')
  const copy = await spool.open({ creator: found.creator, messageId })
  if (copy === null) return notSpooled()
  // A stream's length is not told by HTTP: a reader wants to know how far it is.
  const headers = { ...MESSAGE, 'x-vesmail-octets': String(copy.octets) }
  return {
    status: 200,
    headers,
    body: copy.whole ?? (copy.octets <= MAX_WHOLE_OCTETS ? await whole(copy.body) : copy.body),
  }
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
