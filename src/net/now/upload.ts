/**
 * `PUT`: a trusted relay brings a sealed message for the spool (now.md). Streamed: its header block is read first, the
 * repository says from the verify token in it whose item it is, and only then the first octet is kept.
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
  readonly item: (messageId: string, token: Secret<string>) => Promise<SpooledItem>
  /** Octets; a longer upload is refused, not cut: a relay must know. */
  readonly maxOctets: number
  /** May this creator upload now? Counts it. */
  readonly admits: (creator: string) => boolean
}

export async function upload({ stream }: HttpRequest, parts: UploadParts): Promise<HttpResponse> {
  if (stream === null) throw new Error('upload: the body has to come as a stream')
  const scan = new HeaderScan()
  const early: Buffer[] = []
  let writer: SpoolWriter | null = null
  let octets = 0
  try {
    for await (const chunk of stream) {
      octets += chunk.length
      if (octets > parts.maxOctets) throw new GatewayError('BUFFER_EXCEEDED', { octets })
      if (writer !== null) {
        await writer.write(chunk)
        continue
      }
      early.push(chunk)
      if (!scan.push(chunk)) continue
      const begun = await begin(scan, parts)
      if (!('write' in begun)) return begun
      writer = begun
      for (const piece of early.splice(0)) await writer.write(piece)
    }
    if (writer === null) return plain(400, 'The message ends in its headers')
    return (await writer.commit()) ? plain(201, 'Spooled') : plain(403, 'It is spooled already')
  } catch (error) {
    return refused(error)
  } finally {
    await writer?.abort()
  }
}

async function begin(scan: HeaderScan, parts: UploadParts): Promise<SpoolWriter | HttpResponse> {
  const { messageId, verify } = scan
  if (messageId === null || Buffer.byteLength(messageId) > MAX_ID_OCTETS) {
    return plain(400, 'Not a VESmail encrypted message')
  }
  if (verify === null) return plain(401, 'X-VESmail-Verify is missing')
  const { creator } = await parts.item(messageId, new Secret(verify))
  if (!parts.admits(creator)) return plain(503, 'Too many uploads, try later', { 'retry-after': '60' })
  return parts.spool.create({ creator, messageId })
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
