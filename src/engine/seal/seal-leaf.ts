/**
 * One leaf being sealed. Before its header can be written it has to be known how its text is laid out: a leaf up to the
 * limit is examined whole, of a longer one the first block (message-format.md §6).
 */
import type { TransferEncoding } from '../mime/content-type.ts'
import { type BatchJob, type BatchResult, type BodyDecoding, startSeal } from './batch.ts'
import { examineBase64, examineQuotedPrintable, looksEncoded } from './body-examine.ts'
import { BodyStream } from './body-stream.ts'
import { type BodyWatch, startQuotedPrintableWatch } from './body-watch.ts'
import { LongBase64 } from './long-base64.ts'
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
  readonly ledger: SizesLedger
  readonly output: OrderedOutput
  readonly askBatch: (job: BatchJob, answered: (result: BatchResult) => void) => void
  /** Writes the leaf's header, once, before anything of its body. */
  readonly begin: (about: AboutBody, hideEncoding: boolean) => void
  /** Its last octet is in the output. */
  readonly done: () => void
}

const FEEDBACK_OCTETS = 16
/** Of the sealed text: the padding and line end of its last line. */
const TAIL_OCTETS = 4
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
  #long: LongBase64 | null = null
  readonly #claimed: BodyDecoding
  /** The claimed encoding is not the text's. */
  #isRaw = false
  /** Not all of its layout is kept. */
  #deviates = false

  constructor(parts: SealLeafParts) {
    this.#parts = parts
    this.entry = parts.ledger.add('leaf')
    const { encoding } = parts
    this.#claimed = isCoded(encoding) ? encoding : 'none'
  }

  get heldOctets(): number {
    return this.#heldOctets + (this.#stream?.waitingOctets ?? 0)
  }

  get deviates(): boolean {
    return this.#deviates
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
    if (this.#decoding === 'quoted-printable') {
      this.#begin({}, startQuotedPrintableWatch).push(text)
      return
    }
    this.#long = LongBase64.begin(text.subarray(0, this.#parts.maxExamineOctets))
    if (this.#long === null) {
      this.#deviates = true
      this.#begin({}).push(text)
    } else this.#begin({ layout: this.#long.layout, endingCounted: true }, this.#long.watch()).push(text)
  }

  #takeHeld(): Buffer {
    const text = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held)
    this.#held = []
    this.#heldOctets = 0
    return text
  }

  #begin(about: AboutBody, watch: BodyWatch | null = null): BodyStream {
    const { begin, key, random, output, askBatch, ledger, done } = this.#parts
    begin(about, this.#isRaw)
    const open = ledger.open
    const slot = output.reserve()
    let tail = Buffer.alloc(0)
    const write = (bytes: Buffer) => {
      slot.write(bytes)
      if (this.#long !== null) tail = Buffer.concat([tail, bytes.subarray(-TAIL_OCTETS)]).subarray(-TAIL_OCTETS)
      this.entry.sealedOctets += bytes.length
      for (const each of open) each.sealedOctets += bytes.length
    }
    const state = startSeal(key, this.#decoding, random(FEEDBACK_OCTETS), watch)
    this.#stream = new BodyStream({ askBatch }, 'seal-body', state, {
      write: (bytes, lines) => {
        for (const each of [this.entry, ...open]) each.lines += lines
        write(bytes)
      },
      end: (ended) => {
        this.#watched(ended.kind === 'seal' ? ended.watch : null, tail, write)
        slot.close()
        done()
      },
    })
    return this.#stream
  }
  /** What only a long body's end tells. @param tail of what was sealed */
  #watched(watched: BodyWatch | null, tail: Buffer, write: (bytes: Buffer) => void): void {
    if (watched?.kind === 'quoted-printable' && watched.deviates) this.#deviates = true
    if (watched?.kind !== 'base64' || this.#long === null) return
    const lineEnds = this.#long.end(watched, this.entry.sealedOctets, tail)
    for (let i = 0; i < lineEnds.count; i++) write(CRLF)
    if (lineEnds.deviates) this.#deviates = true
  }
}
