/**
 * A sealing batch: transfer decoding, chunks, base64 lines, a block at a time so that the work stays in the cache.
 * Used through `batch.ts` alone.
 */
import { GatewayError } from '../../base/errors.ts'
import { base64EncodedOctets, maxBase64Decoded } from '../mime/transfer/codecs.ts'
import type { BatchResult, BodyDecoding } from './batch.ts'
import { type BodyWatch, watchBlock } from './body-watch.ts'
import { CHUNK_OCTETS, copyOf, FEEDBACK_OCTETS, SEALED_WIDTH, sealedChunksOctets } from './chunk-cipher.ts'
import { keyAndIv } from './ciphers.ts'
import { printLatePatch } from './late-patch.ts'
import type { MessageKey } from './message-key.ts'
import { fastPath } from './native.ts'

export interface SealState {
  readonly kind: 'seal'
  readonly decoding: BodyDecoding
  /** 32 octets of key, 12 of seed. */
  readonly key: Uint8Array
  readonly feedback: Uint8Array
  /** Base64 sextets of an unfinished group, see `TransferCodecs.decodeBase64`. */
  readonly carry: Uint32Array
  /** Quoted-printable that could not be decoded yet. */
  readonly undecoded: Uint8Array
  /** Plaintext short of a chunk. */
  readonly unsealed: Uint8Array
  /** Ciphertext short of three octets; at the start, `fb0`. */
  readonly unwritten: Uint8Array
  /** Characters in the current base64 line. */
  readonly column: number
  /** Of a body that is watched for its layout. */
  readonly watch: BodyWatch | null
}

/** Input octets coded in one go: its plaintext, ciphertext and text fit into a core's second-level cache. */
const BLOCK_OCTETS = 64 * 1024
const CRLF = Uint8Array.of(0x0d, 0x0a)
const NONE = new Uint8Array(0)

const plainScratch = Buffer.allocUnsafeSlow(BLOCK_OCTETS)
const sealedScratch = Buffer.allocUnsafeSlow(FEEDBACK_OCTETS + sealedChunksOctets(BLOCK_OCTETS + CHUNK_OCTETS, true))

export function startSealState(
  key: MessageKey,
  decoding: BodyDecoding,
  fb0: Uint8Array,
  watch: BodyWatch | null,
): SealState {
  if (key.algo !== 'AES256GCM1K') throw new GatewayError('VES_UNSUPPORTED', { algo: key.algo })
  if (fb0.length !== FEEDBACK_OCTETS) throw new RangeError('fb0 is 16 octets')
  return {
    kind: 'seal',
    decoding,
    key: new Uint8Array(keyAndIv(key)),
    feedback: new Uint8Array(fb0),
    carry: new Uint32Array(2),
    undecoded: NONE,
    unsealed: NONE,
    unwritten: new Uint8Array(fb0),
    column: 0,
    watch,
  }
}

export function sealBatch(state: SealState, input: Uint8Array, last: boolean): Omit<BatchResult, 'spent'> {
  const sealing = new Sealing(state, input, last)
  sealing.run(input, last)
  return sealing.result()
}

/** The state while a batch works on it. */
class Sealing {
  readonly #from: SealState
  readonly #carry: Uint32Array
  readonly #feedback: Uint8Array
  readonly #column: Uint32Array
  readonly #consumed = new Uint32Array(1)
  /** The first `#unsealedOctets` count. */
  readonly #unsealed = Buffer.allocUnsafe(CHUNK_OCTETS)
  #unsealedOctets: number
  #undecoded: Uint8Array
  /** Octets at the front of `sealedScratch`. */
  #unwritten: number
  #watch: BodyWatch | null
  #lines = 0
  #out: Buffer
  #written = 0
  /** Octets of `#out` beyond what was reckoned for the batch. */
  #spare = 0

  constructor(state: SealState, input: Uint8Array, last: boolean) {
    this.#from = state
    this.#carry = state.carry.slice()
    this.#feedback = state.feedback.slice()
    this.#column = Uint32Array.of(state.column)
    this.#unsealed.set(state.unsealed)
    this.#unsealedOctets = state.unsealed.length
    this.#undecoded = state.undecoded
    this.#watch = state.watch
    sealedScratch.set(state.unwritten)
    this.#unwritten = state.unwritten.length
    this.#out = Buffer.allocUnsafe(maxOutputOctets(state, input.length, last))
  }

  run(input: Uint8Array, last: boolean): void {
    // What a watched body's end needs does not depend on whether it was known to be the end.
    const endsApart = last && this.#watch !== null
    let at = 0
    do {
      const block = input.subarray(at, at + BLOCK_OCTETS)
      at += BLOCK_OCTETS
      this.#block(block, last && !endsApart && at >= input.length)
    } while (at < input.length)
    if (endsApart) this.#block(NONE, true)
  }

  #block(block: Uint8Array, final: boolean): void {
    // Counted and watched here, where the octets are in the cache anyway.
    this.#lines += fastPath().codecs.countLineFeeds(block)
    const held = this.#carry[1]!
    const plain = this.#decode(block, final)
    if (this.#watch !== null) this.#watchBlock(this.#watch, block, plain, held, final)
    this.#write(this.#seal(plain, final), final)
    const { watch } = this.#from
    if (final && watch !== null && this.#watch!.patches > 0) this.#latePatch(this.#watch!.patches, NONE)
  }

  /** @param held sextets before this block */
  #watchBlock(from: BodyWatch, text: Uint8Array, plain: Uint8Array, held: number, final: boolean): void {
    const whole = plain.length % 3 === 0
    const characters = whole ? (plain.length / 3) * 4 + this.#carry[1]! - held : -1
    const { watch, patch } = watchBlock(from, { text, plain, undecoded: this.#undecoded.length, characters, final })
    this.#watch = watch
    if (patch !== null) this.#latePatch(from.patches, patch)
  }

  /** In lines of its own, between two groups of base64: some decoders keep what they have not got the whole group of. */
  #latePatch(number: number, patch: Uint8Array): void {
    const lines = printLatePatch(this.#from.key, this.#watch!.nonce, number, patch)
    const octets = CRLF.length + lines.length
    if (this.#spare < octets) {
      // What was reckoned for the batch stays free.
      const grown = Buffer.allocUnsafe(this.#out.length + Math.max(octets, this.#out.length >> 1))
      this.#out.copy(grown, 0, 0, this.#written)
      this.#spare += grown.length - this.#out.length
      this.#out = grown
    }
    this.#spare -= octets
    if (this.#column[0]! > 0) {
      this.#out.set(CRLF, this.#written)
      this.#written += CRLF.length
    }
    this.#out.set(lines, this.#written)
    this.#written += lines.length
    this.#column[0] = 0
  }

  result(): Omit<BatchResult, 'spent'> {
    const state: SealState = {
      ...this.#from,
      feedback: this.#feedback,
      carry: this.#carry,
      undecoded: this.#undecoded,
      unsealed: copyOf(this.#unsealed, 0, this.#unsealedOctets),
      unwritten: copyOf(sealedScratch, 0, this.#unwritten),
      column: this.#column[0]!,
      watch: this.#watch,
    }
    return { output: this.#out.subarray(0, this.#written), state, lines: this.#lines }
  }

  #decode(block: Uint8Array, final: boolean): Uint8Array {
    const { codecs } = fastPath()
    switch (this.#from.decoding) {
      case 'none':
        return block
      case 'base64':
        return plainScratch.subarray(0, codecs.decodeBase64(block, this.#carry, final, plainScratch))
      case 'quoted-printable': {
        const text = this.#undecoded.length === 0 ? block : Buffer.concat([this.#undecoded, block])
        const target = text.length > plainScratch.length ? Buffer.allocUnsafe(text.length) : plainScratch
        const octets = codecs.decodeQuotedPrintable(text, final, this.#consumed, target)
        this.#undecoded = copyOf(text, this.#consumed[0]!)
        return target.subarray(0, octets)
      }
    }
  }

  /** Seals what fills chunks, behind the unwritten octets of the scratch. @returns octets in the scratch */
  #seal(plain: Uint8Array, final: boolean): number {
    const { chunks } = fastPath()
    const key = this.#from.key
    let to = this.#unwritten
    let at = 0
    if (this.#unsealedOctets > 0) {
      at = Math.min(CHUNK_OCTETS - this.#unsealedOctets, plain.length)
      this.#unsealed.set(plain.subarray(0, at), this.#unsealedOctets)
      this.#unsealedOctets += at
      if (this.#unsealedOctets === CHUNK_OCTETS) {
        to += chunks.seal(key, this.#feedback, this.#unsealed, false, sealedScratch.subarray(to))
        this.#unsealedOctets = 0
      } else {
        if (final) {
          const rest = this.#unsealed.subarray(0, this.#unsealedOctets)
          to += chunks.seal(key, this.#feedback, rest, true, sealedScratch.subarray(to))
        }
        return to
      }
    }
    const octets = plain.length - at
    const ready = final ? octets : octets - (octets % CHUNK_OCTETS)
    if (ready > 0 || final) {
      const piece = plain.subarray(at, at + ready)
      to += chunks.seal(key, this.#feedback, piece, final, sealedScratch.subarray(to))
    }
    this.#unsealed.set(plain.subarray(at + ready))
    this.#unsealedOctets = octets - ready
    return to
  }

  #write(sealed: number, final: boolean): void {
    const ready = final ? sealed : sealed - (sealed % 3)
    const { codecs } = fastPath()
    const piece = sealedScratch.subarray(0, ready)
    const target = this.#out.subarray(this.#written)
    this.#written += codecs.encodeBase64(piece, final, SEALED_WIDTH, CRLF, true, this.#column, target)
    sealedScratch.copyWithin(0, ready, sealed)
    this.#unwritten = sealed - ready
    if (final) {
      this.#out.set(CRLF, this.#written)
      this.#written += CRLF.length
    }
  }
}

function maxOutputOctets(state: SealState, inputOctets: number, last: boolean): number {
  const decoded = state.decoding === 'base64' ? maxBase64Decoded(inputOctets) : inputOctets + state.undecoded.length
  const sealed = state.unwritten.length + sealedChunksOctets(state.unsealed.length + decoded, last)
  return base64EncodedOctets(sealed, SEALED_WIDTH, CRLF.length, true, state.column) + (last ? CRLF.length : 0)
}
