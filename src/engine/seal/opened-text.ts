/**
 * What opening gives of a message beside its sealed leaves: headers, delimiters, text between parts; counted, and written
 * in order. Of a message with a record of its end (`end-record.ts`) what may be none of it is held back until the record
 * was read: the last line end, and the outermost closing delimiter.
 */
import { countLines } from '../mime/lines.ts'
import type { Arrival } from './arrival.ts'
import type { EndReader } from './end-record.ts'
import type { OrderedOutput } from './ordered-output.ts'
import type { LedgerEntry, SizesLedger } from './sizes-ledger.ts'

export class OpenedText {
  readonly #output: OrderedOutput
  readonly #ledger: SizesLedger
  #arrival: Arrival | null = null
  #record: EndReader | null = null
  #delimiter: readonly Buffer[] = []
  /** Ends with a line end, and nothing came behind it yet. */
  #lastLine: { readonly bytes: Buffer; readonly counted: readonly LedgerEntry[] } | null = null

  constructor(output: OrderedOutput, ledger: SizesLedger) {
    this.#output = output
    this.#ledger = ledger
  }

  /** All of it is told to `arrival`. */
  tell(arrival: Arrival): void {
    this.#arrival = arrival
  }

  /** The message has a record. */
  expect(record: EndReader): void {
    this.#record = record
  }

  emit(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#ledger.countOpened(bytes.length, countLines(bytes))
    this.#arrival?.text(bytes)
    this.release()
    if (this.#record !== null && endsWithCrlf(bytes)) this.#lastLine = { bytes, counted: this.#ledger.open }
    else this.#output.write(bytes)
  }

  /** Something comes that does not pass through here. */
  release(): void {
    if (this.#lastLine !== null) this.#output.write(this.#lastLine.bytes)
    this.#lastLine = null
  }

  /** The outermost closing delimiter. @param pieces of it that are to be given out */
  close(pieces: readonly Buffer[]): void {
    if (this.#record === null) {
      for (const bytes of pieces) this.emit(bytes)
      return
    }
    this.#delimiter = pieces
    this.#record.begin()
  }

  /** @param text of the message @returns what of it is none of the record */
  take(text: Buffer): Buffer {
    if (this.#record === null) return text
    const rest = this.#record.take(text)
    if (this.#record.isDecided) this.#decide(this.#record)
    return rest
  }

  /** The message is over. */
  finish(): void {
    if (this.#record !== null) {
      this.#record.finish()
      this.#decide(this.#record)
    }
    this.release()
  }

  #decide({ end }: EndReader): void {
    const delimiter = this.#delimiter
    this.#delimiter = []
    if (end?.lineEndAdded === true) this.#dropLineEnd()
    if (end?.delimiterAdded !== true) for (const bytes of delimiter) this.emit(bytes)
  }

  #dropLineEnd(): void {
    if (this.#lastLine === null) return
    const { bytes, counted } = this.#lastLine
    for (const entry of counted) {
      entry.octets -= CRLF_OCTETS
      entry.lines--
    }
    this.#output.write(bytes.subarray(0, bytes.length - CRLF_OCTETS))
    this.#lastLine = null
  }
}

const CRLF_OCTETS = 2

function endsWithCrlf(bytes: Buffer): boolean {
  return bytes[bytes.length - 1] === 0x0a && bytes[bytes.length - 2] === 0x0d
}
