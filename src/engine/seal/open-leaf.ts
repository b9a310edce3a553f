/**
 * One sealed leaf being opened: ciphertext in, the original text out, in its transfer encoding and layout
 * (message-format.md §5, §6).
 */
import { countLines } from '../mime/lines.ts'
import { type BatchJob, type BatchResult, type BodyEncoding, startOpen } from './batch.ts'
import { BodyStream } from './body-stream.ts'
import type { Exactness } from './exactness.ts'
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
  readonly done: () => void
}

/** Line ends at the end of a sealed body that are counted (`long-base64.ts` writes no more). */
const TAIL_OCTETS = 2 * 80

export class OpenLeaf {
  readonly entry: LedgerEntry
  readonly #parts: OpenLeafParts
  readonly #stream: BodyStream
  readonly #patch: PatchReader | null
  readonly #count: boolean
  #tail = Buffer.alloc(0)

  constructor(parts: OpenLeafParts) {
    this.#parts = parts
    const { ledger, output, exact, encoding, key, askBatch, done } = parts
    this.entry = ledger.add('leaf')
    this.#patch = exact.patch === null ? null : new PatchReader(exact.patch)
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
    this.#stream = new BodyStream({ askBatch }, 'open-body', startOpen(key, encoding), {
      write: (bytes, lines) => {
        if (this.#patch === null) write(bytes, lines)
        else for (const piece of this.#patch.push(bytes)) write(piece, countLines(piece))
      },
      end: () => {
        if (this.#count) {
          const ending = this.#ending()
          write(ending, countLines(ending))
        }
        if (this.#patch !== null) for (const piece of this.#patch.end()) write(piece, countLines(piece))
        slot.close()
        done()
      },
    })
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
    this.#stream.push(bytes)
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
