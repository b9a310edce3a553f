/**
 * An opening batch: base64, chunks, transfer encoding, a block at a time so that the work stays in the cache.
 * Used through `batch.ts` alone.
 */
import { createDecipheriv, createSecretKey } from 'node:crypto'
import { GatewayError } from '../../base/errors.ts'
import { maxBase64Decoded } from '../mime/transfer/codecs.ts'
import type { BatchResult } from './batch.ts'
import { type BodyEncoding, type Encoded, encodeInto, maxEncodedOctets, startEncoding } from './body-encoding.ts'
import { copyOf, FEEDBACK_OCTETS, openedChunksOctets, SEALED_CHUNK_OCTETS } from './chunk-cipher.ts'
import { keyAndIv, openWhole } from './ciphers.ts'
import type { CipherAlgo, MessageKey } from './message-key.ts'
import { fastPath } from './native.ts'

export interface OpenState {
  readonly kind: 'open'
  readonly algo: CipherAlgo
  readonly encoding: BodyEncoding
  readonly key: Uint8Array
  /** What the next iv derives from, or (AES256CFB) is; null before the stream's first octets. */
  readonly feedback: Uint8Array | null
  /** Base64 sextets of an unfinished group, see `TransferCodecs.decodeBase64`. */
  readonly carry: Uint32Array
  /** Ciphertext short of a chunk. */
  readonly unopened: Uint8Array
  readonly encoded: Encoded
}

/** Text octets coded in one go, see `batch-seal.ts`. */
const BLOCK_OCTETS = 64 * 1024
/** AES256GCMp is one authentication for all of it, so all of it has to wait; no mail program makes such bodies. */
const MAX_WHOLE_OCTETS = 1024 * 1024
const CFB_BLOCK_OCTETS = 16
const NONE = new Uint8Array(0)

const sealedScratch = Buffer.allocUnsafeSlow(SEALED_CHUNK_OCTETS + FEEDBACK_OCTETS + maxBase64Decoded(BLOCK_OCTETS))
const plainScratch = Buffer.allocUnsafeSlow(sealedScratch.length)

export function startOpenState(key: MessageKey, encoding: BodyEncoding): OpenState {
  const keyOctets = key.algo === 'NULL' ? NONE : new Uint8Array(keyAndIv(key))
  return {
    kind: 'open',
    algo: key.algo,
    encoding,
    key: keyOctets,
    feedback: key.algo === 'AES256CFB' ? keyOctets.slice(32, 32 + CFB_BLOCK_OCTETS) : null,
    carry: new Uint32Array(2),
    unopened: NONE,
    encoded: startEncoding,
  }
}

export function openBatch(state: OpenState, input: Uint8Array, last: boolean): Omit<BatchResult, 'spent'> {
  const opening = new Opening(state, input)
  opening.run(input, last)
  return opening.result()
}

/** The state while a batch works on it. */
class Opening {
  readonly #from: OpenState
  readonly #carry: Uint32Array
  #feedback: Uint8Array | null
  #unopened: Uint8Array
  #encoded: Encoded
  readonly #out: Buffer
  #written = 0
  #lines = 0

  constructor(state: OpenState, input: Uint8Array) {
    this.#from = state
    this.#carry = state.carry.slice()
    this.#feedback = state.feedback?.slice() ?? null
    this.#unopened = state.unopened
    this.#encoded = state.encoded
    this.#out = Buffer.allocUnsafe(maxOutputOctets(state, input.length))
  }

  run(input: Uint8Array, last: boolean): void {
    let at = 0
    do {
      const block = input.subarray(at, at + BLOCK_OCTETS)
      at += BLOCK_OCTETS
      const final = last && at >= input.length
      const from = this.#written
      this.#encode(this.#open(this.#decode(block, final), final), final)
      this.#lines += fastPath().codecs.countLineFeeds(this.#out.subarray(from, this.#written))
    } while (at < input.length)
  }

  result(): Omit<BatchResult, 'spent'> {
    const state: OpenState = {
      ...this.#from,
      feedback: this.#feedback,
      carry: this.#carry,
      unopened: this.#unopened,
      encoded: this.#encoded,
    }
    return { output: this.#out.subarray(0, this.#written), state, lines: this.#lines }
  }

  /** The ciphertext that waited and that of this block. */
  #decode(block: Uint8Array, final: boolean): Uint8Array {
    const waiting = this.#unopened.length
    const needed = waiting + maxBase64Decoded(block.length)
    const target = needed <= sealedScratch.length ? sealedScratch : Buffer.allocUnsafe(needed)
    target.set(this.#unopened)
    const octets = fastPath().codecs.decodeBase64(block, this.#carry, final, target.subarray(waiting))
    return target.subarray(0, waiting + octets)
  }

  /** @returns plaintext, authentic where the algorithm has authentication; valid until the next block */
  #open(sealed: Uint8Array, final: boolean): Uint8Array {
    const { algo } = this.#from
    switch (algo) {
      case 'AES256GCM1K':
        return this.#openChunks(sealed, final)
      case 'AES256CFB':
        return this.#openCfb(sealed, final)
      case 'NULL':
        return sealed
      case 'AES256GCMp':
        if (sealed.length > MAX_WHOLE_OCTETS) throw new GatewayError('BUFFER_EXCEEDED', { algo })
        if (final) return openWhole({ algo, keyString: Buffer.from(this.#from.key) }, sealed)
        this.#unopened = copyOf(sealed)
        return NONE
    }
  }

  #openChunks(stream: Uint8Array, final: boolean): Uint8Array {
    let sealed = stream
    if (this.#feedback === null) {
      if (sealed.length < FEEDBACK_OCTETS) {
        if (final) throw new GatewayError('SEAL_BROKEN', { what: 'body too short' })
        this.#unopened = copyOf(sealed)
        return NONE
      }
      this.#feedback = copyOf(sealed, 0, FEEDBACK_OCTETS)
      sealed = sealed.subarray(FEEDBACK_OCTETS)
    }
    const ready = final ? sealed.length : sealed.length - (sealed.length % SEALED_CHUNK_OCTETS)
    const octets = openedChunksOctets(ready)
    // What stays as it is goes where it will be read.
    const target = this.#from.encoding.kind === 'none' ? this.#out.subarray(this.#written) : plainScratch
    const piece = sealed.subarray(0, ready)
    if (fastPath().chunks.open(this.#from.key, this.#feedback, piece, final, target) < 0) {
      throw new GatewayError('SEAL_BROKEN', { what: 'body altered or cut short' })
    }
    this.#unopened = copyOf(sealed, ready)
    return target.subarray(0, octets)
  }

  #openCfb(sealed: Uint8Array, final: boolean): Uint8Array {
    const ready = final ? sealed.length : sealed.length - (sealed.length % CFB_BLOCK_OCTETS)
    this.#unopened = copyOf(sealed, ready)
    if (ready === 0) return NONE
    const decipher = createDecipheriv('aes-256-cfb', createSecretKey(this.#from.key.subarray(0, 32)), this.#feedback)
    const plain = decipher.update(sealed.subarray(0, ready))
    if (!final) this.#feedback = copyOf(sealed, ready - CFB_BLOCK_OCTETS, ready)
    return plain
  }

  #encode(plain: Uint8Array, final: boolean): void {
    const { encoding } = this.#from
    if (encoding.kind === 'none') {
      this.#put(plain)
      return
    }
    const { octets, encoded } = encodeInto(this.#out.subarray(this.#written), encoding, this.#encoded, plain, final)
    this.#written += octets
    this.#encoded = encoded
  }

  #put(octets: Uint8Array): void {
    // Chunks may have been opened in place.
    const isThere = octets.buffer === this.#out.buffer && octets.byteOffset === this.#out.byteOffset + this.#written
    if (!isThere) this.#out.set(octets, this.#written)
    this.#written += octets.length
  }
}

function maxOutputOctets({ encoded, unopened, encoding }: OpenState, inputOctets: number): number {
  const plain = encoded.unencoded.length + unopened.length + maxBase64Decoded(inputOctets)
  if (encoding.kind === 'none') return plain
  return maxEncodedOctets(encoding, plain, encoded.column, Math.ceil(inputOctets / BLOCK_OCTETS) + 1)
}
