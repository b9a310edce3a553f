/**
 * `PUT`: a trusted relay brings a sealed message for the spool (now.md). Streamed: its header block is read first, the
 * repository says from the verify token in it whose item it is, and only then the first octet is kept; of one creator
 * so many only (rate, number, octets: {@link UploadPlace}).
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import { Secret } from '../../base/secret.ts'
import type { HttpRequest, HttpResponse } from '../http.ts'
import { failure, plain } from './answers.ts'
import { HeaderScan } from './header-scan.ts'
import type { Spool, SpoolWriter } from './spool.ts'
import { MAX_ID_OCTETS, type SpooledItem } from './spooled-item.ts'

export interface UploadParts {
  readonly spool: Spool
  /** @throws {GatewayError} VES_DENIED where the token gives no right to bring this item's copy */
  readonly uploadedItem: (messageId: string, token: Secret<string>) => Promise<SpooledItem>
  /** Octets; a longer upload is refused, not cut: a relay must know. */
  readonly maxOctets: number
  /** May this creator upload now? Counts it. @returns what to answer in place of an upload too many */
  readonly admit: (creator: string) => Promise<UploadPlace | TooMany>
}

/** What one upload takes of its creator's quota; to be ended once. */
export interface UploadPlace {
  /** @returns false where so many octets more are too many */
  grow(octets: number): boolean
  end(isKept: boolean): void
}

export interface TooMany {
  readonly tooMany: 'uploads' | 'messages' | 'octets'
}

interface Begun {
  readonly writer: SpoolWriter
  readonly place: UploadPlace
}

export async function upload({ stream }: HttpRequest, parts: UploadParts): Promise<HttpResponse> {
  if (stream === null) throw new Error('upload: the body has to come as a stream')
  const scan = new HeaderScan()
  const early: Buffer[] = []
  let begun: Begun | null = null
  let isKept = false
  let octets = 0
  try {
    for await (const chunk of stream) {
      octets += chunk.length
      if (octets > parts.maxOctets) throw new GatewayError('BUFFER_EXCEEDED', { octets })
      if (begun === null) {
        early.push(chunk)
        if (!scan.push(chunk)) continue
        const first = await begin(scan, parts)
        if (!('writer' in first)) return first
        begun = first
      } else early.push(chunk)
      for (const piece of early.splice(0)) {
        if (!begun.place.grow(piece.length)) return refusal({ tooMany: 'octets' })
        await begun.writer.write(piece)
      }
    }
    if (begun === null) return plain(400, 'The message ends in its headers')
    isKept = await begun.writer.commit()
    return isKept ? plain(201, 'Spooled') : plain(403, 'It is spooled already')
  } catch (error) {
    return refused(error)
  } finally {
    begun?.place.end(isKept)
    await begun?.writer.abort()
  }
}

async function begin(scan: HeaderScan, parts: UploadParts): Promise<Begun | HttpResponse> {
  const { messageId, verify } = scan
  if (messageId === null || Buffer.byteLength(messageId) > MAX_ID_OCTETS) {
    return plain(400, 'Not a VESmail encrypted message')
  }
  if (verify === null) return plain(401, 'X-VESmail-Verify is missing')
  const { creator } = await parts.uploadedItem(messageId, new Secret(verify))
  const place = await parts.admit(creator)
  if ('tooMany' in place) return refusal(place)
  try {
    return { place, writer: await parts.spool.create({ creator, messageId }) }
  } catch (error) {
    place.end(false)
    throw error
  }
}

/** now.md has no other status for it; the text says what helps. */
function refusal({ tooMany }: TooMany): HttpResponse {
  switch (tooMany) {
    case 'uploads':
      return plain(503, 'Too many uploads of this creator, try later', { 'retry-after': '60' })
    case 'messages':
      return plain(503, 'So many messages of this creator are spooled here that no more are taken')
    case 'octets':
      return plain(503, 'Messages of this creator take all the room there is for them here')
  }
}

function refused(thrown: unknown): HttpResponse {
  const error = asGatewayError(thrown)
  switch (error.code) {
    case 'VES_DENIED':
    case 'VES_NOT_FOUND':
      return failure(error, 401)
    case 'BUFFER_EXCEEDED':
    case 'MIME_HEADER_TOO_LARGE':
      return failure(error)
    case 'INTERNAL':
      // The client that left, or a disk that is full: neither is told more.
      return plain(500, 'The message could not be kept')
    default:
      return failure(error, 503)
  }
}
