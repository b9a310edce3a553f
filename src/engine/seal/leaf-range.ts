/**
 * A piece of a large leaf, opened without what stands before it: every chunk's iv derives from the tag before it, so the
 * stream can be entered at any chunk (message-format.md §2). For base64 leaves in a regular layout, of AES256GCM1K; any
 * other is read from its beginning.
 */
import { GatewayError } from '../../base/errors.ts'
import type { Base64Layout } from '../mime/transfer/base64-layout.ts'
import { CHUNK_OCTETS, FEEDBACK_OCTETS, SEALED_CHUNK_OCTETS, SEALED_WIDTH, sealedStreamOctets } from './chunk-cipher.ts'
import { keyAndIv } from './ciphers.ts'
import { fastPath } from './native.ts'
import type { OutlinedLeaf } from './opener.ts'

export interface LeafRange {
  /** Of the sealed body's text: what to fetch. */
  readonly sealedStart: number
  readonly sealedEnd: number
  /** @param sealed exactly those octets @throws GatewayError SEAL_BROKEN */
  readonly open: (sealed: Buffer) => Buffer
}

/**
 * @param plainOctets of the leaf's plaintext
 * @param start, end  octets of the opened text, `end` not beyond it; lines end as the server serves them (CRLF)
 * @returns null: this leaf cannot be entered in the middle
 */
export function leafRange(
  { key, encoding, exact }: NonNullable<OutlinedLeaf['sealed']>,
  plainOctets: number,
  start: number,
  end: number,
): LeafRange | null {
  if (key.algo !== 'AES256GCM1K' || exact.patch !== null || exact.endingCounted) return null
  if (encoding.kind !== 'base64') return null
  const layout = servedLayout(encoding.layout)
  if (layout.width === 0 || layout.width % 4 !== 0) return null
  const lineOctets = layout.width + layout.separator.length
  const linePlain = (layout.width / 4) * 3
  const lines = Math.ceil(plainOctets / linePlain)
  const firstLine = Math.min(
    Math.max(0, Math.floor((start - layout.before.length) / lineOctets)),
    Math.max(0, lines - 1),
  )
  const lastLine = Math.min(lines, Math.ceil(Math.max(0, end - layout.before.length) / lineOctets))
  const plainFrom = firstLine * linePlain
  const plainTo = Math.min(plainOctets, Math.max(lastLine, firstLine + 1) * linePlain)
  const firstChunk = Math.floor(plainFrom / CHUNK_OCTETS)
  const streamOctets = sealedStreamOctets(plainOctets)
  // With the feedback before it: fb0, or the tag of the chunk before.
  const from = firstChunk * SEALED_CHUNK_OCTETS
  const to = Math.min(streamOctets, FEEDBACK_OCTETS + Math.ceil(plainTo / CHUNK_OCTETS) * SEALED_CHUNK_OCTETS)
  const firstChar = Math.floor(from / 3) * 4
  const endChar = Math.ceil(to / 3) * 4
  return {
    sealedStart: textAt(firstChar),
    sealedEnd: textAt(endChar),
    open: (sealed) => {
      const octets = Buffer.from(sealed.toString('latin1'), 'base64').subarray(from % 3, (from % 3) + to - from)
      if (octets.length !== to - from) throw new GatewayError('SEAL_BROKEN', { what: 'length of a range' })
      const plain = openChunks(keyAndIv(key), octets, to === streamOctets)
      const wanted = plain.subarray(plainFrom - firstChunk * CHUNK_OCTETS, plainTo - firstChunk * CHUNK_OCTETS)
      const text = layOut(wanted, layout, firstLine === 0, plainTo === plainOctets)
      const textStart = firstLine === 0 ? 0 : layout.before.length + firstLine * lineOctets
      return text.subarray(start - textStart, end - textStart)
    },
  }
}

function textAt(character: number): number {
  return character + 2 * Math.floor(character / SEALED_WIDTH)
}

/**
 * Line ends as the server serves them (`imap/view/served-octets.ts` has the rule): of the CRs before an LF one is the
 * line's, and one fewer comes back. Behind a leaf comes a line end or nothing; both take a CR.
 */
export function servedLayout(layout: Base64Layout): Base64Layout {
  const served = (text: string): string =>
    text.replace(/(\r*)\n/g, (_, crs: string) => `${'\r'.repeat(Math.max(1, crs.length - 1))}\n`)
  return {
    ...layout,
    separator: served(layout.separator),
    before: served(layout.before),
    ending: served(layout.ending).replace(/\r$/, ''),
  }
}

function openChunks(keyAndSeed: Uint8Array, octets: Buffer, last: boolean): Buffer {
  const feedback = octets.subarray(0, FEEDBACK_OCTETS)
  const sealed = octets.subarray(FEEDBACK_OCTETS)
  const out = Buffer.allocUnsafe(sealed.length)
  const written = fastPath().chunks.open(keyAndSeed, Buffer.from(feedback), sealed, last, out)
  if (written < 0) throw new GatewayError('SEAL_BROKEN', { what: 'chunk of a range' })
  return out.subarray(0, written)
}

function layOut(plain: Buffer, layout: Base64Layout, first: boolean, last: boolean): Buffer {
  const encoded = plain.toString('base64')
  const lines: string[] = []
  for (let at = 0; at < encoded.length; at += layout.width) lines.push(encoded.slice(at, at + layout.width))
  const text = lines.join(layout.separator)
  const unpadded = last && !layout.padded ? text.replace(/=+$/, '') : text
  return Buffer.from(`${first ? layout.before : ''}${unpadded}${last ? layout.ending : layout.separator}`, 'latin1')
}
