/**
 * One leaf being sealed. Before its header can be written it has to be known how its text is laid out: a leaf up to the
 * limit is examined whole, of a longer one the first block (message-format.md §6).
 */
import type { TransferEncoding } from '../mime/content-type.ts'
import { CANONICAL_BASE64, guessBase64Layout } from '../mime/transfer/base64-layout.ts'
import { type BatchJob, type BatchResult, type BodyDecoding, startSeal } from './batch.ts'
import { examineBase64, examineQuotedPrintable, looksEncoded } from './body-examine.ts'
import { BodyStream } from './body-stream.ts'
import { type BodyWatch, startWatch } from './body-watch.ts'
import { BOUND_OCTETS } from './exactness.ts'
import { LATE_NONCE_OCTETS } from './late-patch.ts'
import type { MessageKey } from './message-key.ts'
import type { OrderedOutput } from './ordered-output.ts'
import type { AboutBody } from './seal-headers.ts'
import type { LedgerEntry, SizesLedger } from './sizes-ledger.ts'

export interface SealLeafParts {
  readonly encoding: TransferEncoding
  /** A multipart or message that is sealed whole. */
  readonly composite: boolean
  readonly maxExamineOctets: number
  readonly key: MessageKey
  readonly random: (octets: number) => Buffer
  /** What a leaf's stream begins with. */
  readonly feedback: () => Buffer
  readonly ledger: SizesLedger
  readonly output: OrderedOutput
  readonly askBatch: (job: BatchJob, answered: (result: BatchResult) => void) => void
  /** @param bound the first octets of its stream @returns what its header is to tell of its place */
  readonly placed: (bound: Buffer) => Pick<AboutBody, 'place' | 'structureSoFar'>
  /** Writes the leaf's header, once, before anything of its body. */
  readonly begin: (about: AboutBody, hideEncoding: boolean) => void
  /** Its last octet is in the output. */
  readonly done: () => void
}

const CRLF = Buffer.from('\r\n', 'latin1')

/** Only these two are undone; anything else is taken as it is. */
export function isCoded(encoding: TransferEncoding): encoding is 'base64' | 'quoted-printable' {
  return encoding === 'base64' || encoding === 'quoted-printable'
}

export class SealLeaf {
  readonly entry: LedgerEntry
  readonly #parts: SealLeafParts
  /** What is examined before the header is written. */
  #held: Buffer[] = []
  #heldOctets = 0
  #stream: BodyStream | null = null
  readonly #claimed: BodyDecoding
  /** The claimed encoding is not the text's. */
  #isRaw = false

  constructor(parts: SealLeafParts) {
    this.#parts = parts
    this.entry = parts.ledger.add('leaf')
    const { encoding } = parts
    this.#claimed = isCoded(encoding) ? encoding : 'none'
  }

  get heldOctets(): number {
    return this.#heldOctets + (this.#stream?.waitingOctets ?? 0)
  }

  push(bytes: Buffer): void {
    this.#parts.ledger.countOpened(bytes.length, 0)
    this.entry.octets += bytes.length
    if (this.#stream !== null) {
      this.#stream.push(bytes)
      return
    }
    if (this.#decoding === 'none') {
      this.#begin({}).push(bytes)
      return
    }
    this.#held.push(bytes)
    this.#heldOctets += bytes.length
    if (this.#heldOctets > this.#parts.maxExamineOctets) this.#beginLong()
  }

  /** @param bareDelimiter the delimiter that ends it has no line end of its own */
  end(bareDelimiter: boolean): void {
    const stream = this.#stream ?? this.#beginWhole(bareDelimiter)
    stream.end()
  }

  get #decoding(): BodyDecoding {
    return this.#isRaw ? 'none' : this.#claimed
  }

  #judgeClaim(text: Buffer): void {
    if (this.#claimed !== 'none' && this.#parts.composite) this.#isRaw = !looksEncoded(text, this.#claimed)
  }

  #beginWhole(bareDelimiter: boolean): BodyStream {
    const text = this.#takeHeld()
    this.#judgeClaim(text)
    const decoding = this.#decoding
    const about =
      decoding === 'base64' ? examineBase64(text) : decoding === 'quoted-printable' ? examineQuotedPrintable(text) : {}
    const stream = this.#begin(bareDelimiter ? { ...about, bareDelimiter } : about)
    if (text.length > 0) stream.push(text)
    return stream
  }

  #beginLong(): void {
    const text = this.#takeHeld()
    this.#judgeClaim(text.subarray(0, this.#parts.maxExamineOctets))
    if (this.#decoding === 'none') {
      this.#begin({}).push(text)
      return
    }
    const lateNonce = this.#parts.random(LATE_NONCE_OCTETS)
    if (this.#decoding === 'quoted-printable') {
      this.#begin({ lateNonce }, startWatch({ kind: 'quoted-printable' }, lateNonce)).push(text)
      return
    }
    const guess = guessBase64Layout(text.subarray(0, this.#parts.maxExamineOctets)) ?? CANONICAL_BASE64
    const layout = { ...guess, padded: true, ending: '' }
    const watch = startWatch({ kind: 'base64', layout }, lateNonce)
    this.#begin({ layout, endingCounted: true, lateNonce }, watch).push(text)
  }

  #takeHeld(): Buffer {
    const text = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held)
    this.#held = []
    this.#heldOctets = 0
    return text
  }

  #begin(about: AboutBody, watch: BodyWatch | null = null): BodyStream {
    const { begin, key, feedback, output, askBatch, ledger, done, placed } = this.#parts
    const fb0 = feedback()
    begin({ ...about, ...placed(fb0.subarray(0, BOUND_OCTETS)) }, this.#isRaw)
    const open = ledger.open
    const slot = output.reserve()
    const write = (bytes: Buffer) => {
      slot.write(bytes)
      this.entry.sealedOctets += bytes.length
      for (const each of open) each.sealedOctets += bytes.length
    }
    this.#stream = new BodyStream({ askBatch }, 'seal-body', startSeal(key, this.#decoding, fb0, watch), {
      write: (bytes, lines) => {
        for (const each of [this.entry, ...open]) each.lines += lines
        write(bytes)
      },
      end: (ended) => {
        // Line ends that only a long body's end tells of stand there, where every decoder skips them.
        const lineEnds = ended.kind === 'seal' ? (ended.watch?.lineEnds ?? 0) : 0
        for (let i = 0; i < lineEnds; i++) write(CRLF)
        slot.close()
        done()
      },
    })
    return this.#stream
  }
}
