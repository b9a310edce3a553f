/**
 * The chunks of an AES256GCM1K stream (message-format.md §2), a block of them a call: what the batches are made of.
 * Two implementations, `chunk-js.ts` with one node:crypto object a chunk, and the native addon's loop over the same
 * OpenSSL, nine times as fast; which one is in force, `native.ts` says.
 */
import { base64EncodedOctets } from '../mime/transfer/codecs.ts'

/** Octets of plaintext in each chunk but the last. */
export const CHUNK_OCTETS = 1024
export const TAG_OCTETS = 16
export const SEALED_CHUNK_OCTETS = CHUNK_OCTETS + TAG_OCTETS
/** `fb0`, and every tag after it: what the next iv derives from. */
export const FEEDBACK_OCTETS = 16

export interface ChunkCipher {
  /**
   * @param key      32 octets of key, 12 of seed
   * @param feedback what the first iv derives from; set to the last tag for the call that goes on
   * @param plain    whole chunks, unless `last`: then also the short one (it may be empty)
   * @param out      room for {@link sealedChunksOctets}; not overlapping `plain`
   * @returns octets written
   */
  seal(key: Uint8Array, feedback: Uint8Array, plain: Uint8Array, last: boolean, out: Uint8Array): number

  /**
   * @param sealed whole sealed chunks, unless `last`: then also the short one
   * @param out    room for {@link openedChunksOctets}; what it holds after a failure is not authentic
   * @returns octets written, or -1 when authentication failed or the last chunk is not there
   */
  open(key: Uint8Array, feedback: Uint8Array, sealed: Uint8Array, last: boolean, out: Uint8Array): number
}

/** Octets of the sealed chunks of so much plaintext; without the stream's `fb0`. */
export function sealedChunksOctets(plainOctets: number, last: boolean): number {
  return plainOctets + TAG_OCTETS * (Math.floor(plainOctets / CHUNK_OCTETS) + (last ? 1 : 0))
}

/** Octets that a plaintext of `plainOctets` becomes, `fb0` included. */
export function sealedStreamOctets(plainOctets: number): number {
  return FEEDBACK_OCTETS + sealedChunksOctets(plainOctets, true)
}

/** Characters in a line of a sealed body, CRLF behind them (message-format.md §4). */
export const SEALED_WIDTH = 76

/** Octets of a sealed body's text (message-format.md §4), the last line end with it; nothing but ciphertext in it. */
export function sealedBodyOctets(plainOctets: number): number {
  return base64EncodedOctets(sealedStreamOctets(plainOctets), SEALED_WIDTH, 2, true) + 2
}

/** The plaintext's octets, of a whole stream's; null when no stream has that length. */
export function openedStreamOctets(sealedOctets: number): number | null {
  const rest = (sealedOctets - FEEDBACK_OCTETS) % SEALED_CHUNK_OCTETS
  if (sealedOctets < FEEDBACK_OCTETS + TAG_OCTETS || rest < TAG_OCTETS) return null
  return Math.floor((sealedOctets - FEEDBACK_OCTETS) / SEALED_CHUNK_OCTETS) * CHUNK_OCTETS + rest - TAG_OCTETS
}

/** Most octets that these sealed chunks can hold. */
export function openedChunksOctets(sealedOctets: number): number {
  const chunks = Math.floor(sealedOctets / SEALED_CHUNK_OCTETS)
  return chunks * CHUNK_OCTETS + Math.max(0, (sealedOctets % SEALED_CHUNK_OCTETS) - TAG_OCTETS)
}

/** A copy in memory of its own: a view that crosses to a thread would take all of its ArrayBuffer along. */
export function copyOf(octets: Uint8Array, start = 0, end = octets.length): Uint8Array {
  return new Uint8Array(octets.subarray(start, end))
}
