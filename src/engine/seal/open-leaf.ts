/**
 * One sealed leaf being opened: ciphertext in, the original text out, in its transfer encoding and layout
 * (message-format.md §5, §6).
 */
import { GatewayError } from '../../base/errors.ts'
import { countLines } from '../mime/lines.ts'
import { type BatchJob, type BatchResult, startOpen } from './batch.ts'
import type { BodyEncoding } from './body-encoding.ts'
import { BodyStream } from './body-stream.ts'
import { FEEDBACK_OCTETS } from './chunk-cipher.ts'
import { keyAndIv } from './ciphers.ts'
import { BOUND_OCTETS, type Exactness } from './exactness.ts'
import { LatePatches } from './late-patch.ts'
import type { MessageKey } from './message-key.ts'
import type { OrderedOutput } from './ordered-output.ts'
import { PatchReader } from './patch.ts'
import type { LedgerEntry, SizesLedger } from './sizes-ledger.ts'

export interface OpenLeafParts {
  readonly key: MessageKey
  readonly encoding: BodyEncoding
  readonly exact: Exactness
  readonly ledger: SizesLedger
  readonly output: OrderedOutput
  readonly askBatch: (job: BatchJob, answered: (result: BatchResult) => void) => void
  /** What its stream begins with ({@link FEEDBACK_OCTETS}), before anything of it is opened. */
  readonly began?: (feedback: Buffer) => void
  readonly done: () => void
}

/** Octets looked at in one go: white space may stand in front of the body. */
const BEGINNING_OCTETS = 64
/** Characters that hold {@link FEEDBACK_OCTETS}. */
const FEEDBACK_CHARACTERS = 22

/** Line ends at the end of a sealed body that are counted (`body-watch.ts` counts no more). */
const TAIL_OCTETS = 2 * 80

export class OpenLeaf {
  readonly entry: LedgerEntry
  readonly #parts: OpenLeafParts
  readonly #stream: BodyStream
  readonly #patch: PatchReader | null
  readonly #late: LatePatches | null
  readonly #count: boolean
  #tail = Buffer.alloc(0)
  /** The first characters of the body; null once they were enough. */
  #beginning: string | null = ''

  constructor(parts: OpenLeafParts) {
    this.#parts = parts
    const { ledger, output, exact, encoding, key, askBatch, done } = parts
    this.entry = ledger.add('leaf')
    this.#patch = exact.patch === null ? null : new PatchReader(exact.patch)
    const { lateNonce } = exact
    this.#late = lateNonce === null || key.algo !== 'AES256GCM1K' ? null : new LatePatches(keyAndIv(key), lateNonce)
    this.#count = exact.endingCounted && encoding.kind === 'base64'
    const open = ledger.open
    const slot = output.reserve()
    const write = (bytes: Buffer, lines: number) => {
      for (const each of [this.entry, ...open]) {
        each.octets += bytes.length
        each.lines += lines
      }
      slot.write(bytes)
    }
    const writeAll = (pieces: readonly Buffer[]) => {
      for (const piece of pieces) write(piece, countLines(piece))
    }
    this.#stream = new BodyStream({ askBatch }, 'open-body', startOpen(key, encoding), {
      write: (bytes, lines) => {
        if (this.#patch !== null) writeAll(this.#patch.push(bytes))
        else if (this.#late?.isNeeded === true) writeAll(this.#late.apply(bytes))
        else {
          this.#late?.pass(bytes.length)
          write(bytes, lines)
        }
      },
      end: () => {
        if (this.#late !== null) writeAll(this.#late.end())
        if (this.#count) writeAll([this.#ending()])
        if (this.#patch !== null) writeAll(this.#patch.end())
        slot.close()
        done()
      },
    })
  }

  /** At its end: it comes in the layout that was promised, since what would have changed it was not all there. */
  get layoutLost(): boolean {
    return this.#late?.isDamaged === true
  }

  get heldOctets(): number {
    return this.#stream.waitingOctets
  }

  push(bytes: Buffer): void {
    this.entry.sealedOctets += bytes.length
    this.#parts.ledger.countSealed(bytes.length)
    if (this.#count) {
      const kept = Buffer.concat([this.#tail, bytes.subarray(Math.max(0, bytes.length - TAIL_OCTETS))])
      this.#tail = kept.subarray(Math.max(0, kept.length - TAIL_OCTETS))
    }
    if (this.#beginning !== null) this.#readBeginning(bytes)
    if (this.#late === null) this.#stream.push(bytes)
    else for (const piece of this.#late.take(bytes)) this.#stream.push(piece)
  }

  /** @throws GatewayError SEAL_BROKEN where the body is not the header's */
  #readBeginning(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && this.#beginning !== null; at += BEGINNING_OCTETS) {
      const text = bytes.toString('latin1', at, at + BEGINNING_OCTETS).replace(/[^A-Za-z0-9+/]/g, '')
      this.#beginning = (this.#beginning + text).slice(0, FEEDBACK_CHARACTERS)
      if (this.#beginning.length < FEEDBACK_CHARACTERS) continue
      const feedback = Buffer.from(this.#beginning, 'base64').subarray(0, FEEDBACK_OCTETS)
      this.#beginning = null
      const { place } = this.#parts.exact
      if (place !== null && !place.bound.equals(feedback.subarray(0, BOUND_OCTETS))) {
        throw new GatewayError('SEAL_BROKEN', { what: 'the body of another part' })
      }
      this.#parts.began?.(feedback)
    }
  }

  hasten(): void {
    this.#stream.hasten()
  }

  end(): void {
    this.#stream.end()
  }

  /** As many of the layout's line ends as the sealed body has at its end beyond its own one. */
  #ending(): Buffer {
    const { encoding } = this.#parts
    const separator =
      encoding.kind === 'base64' && encoding.layout.separator !== '' ? encoding.layout.separator : '\r\n'
    let lineEnds = 0
    let at = this.#tail.length
    while (at > 0 && this.#tail[at - 1] === 0x0a) {
      lineEnds++
      at -= at > 1 && this.#tail[at - 2] === 0x0d ? 2 : 1
    }
    return Buffer.from(separator.repeat(Math.max(0, lineEnds - 1)), 'latin1')
  }
}
