/**
 * One message of an APPEND while it is being sealed: its octets in memory, in the session's file, or, where there is no
 * space for that, on their way to the server under a size that was guessed (imap.md §3, synchronous mode).
 */
import type { MessageStart } from './command-reader.ts'
import type { SealTransform } from './transforms.ts'
import { ServedScan } from './view/served-scan.ts'

/** Octets of the session's file, in the order they were written. */
export interface Extent {
  readonly at: number
  octets: number
}

/** Room for the octets of the last line, and so that the literal never ends before the message does. */
const MIN_PADDING_OCTETS = 3
/** Base64 of 1 KiB chunks with their tags in lines of 78 grows by 1.39. */
const GROWTH = 1.4
/** Banners, the sealed fields of some headers. */
const EXTRA_OCTETS = 64 * 1024
const MAX_HEAD_OCTETS = 16 * 1024
const BLANK_LINES = Buffer.from('\r\n'.repeat(8 * 1024), 'latin1')

export class AppendMessage {
  readonly begin: MessageStart
  /** Null until it is known where its octets will go. */
  sealer: SealTransform | null = null
  /** Where they go when memory is not for them. */
  place: 'memory' | 'file' | 'server' = 'memory'
  readonly inMemory: Buffer[] = []
  readonly inFile: Extent[] = []
  /** Sealed so far. */
  octets = 0
  /** The size that the server was told before all of it was sealed; null = it was not. */
  announced: number | null = null
  /** What an IMAP server will say of it; of large ones, which nobody wants to read again for it. */
  readonly scan: ServedScan | null
  /** Its first octets. */
  #head = ''
  /** All of it was given to the sealer. */
  ended = false
  done = false

  constructor(begin: MessageStart, large: boolean) {
    this.begin = begin
    this.scan = large ? new ServedScan() : null
  }

  /** Octets of the message in plain, before they are given to the sealer. */
  sees(bytes: Buffer): void {
    this.scan?.push(bytes)
    const left = MAX_HEAD_OCTETS - this.#head.length
    if (left > 0) this.#head += bytes.toString('latin1', 0, left)
  }

  /** What mbsync marks its uploads with, to find them again; null = none. */
  get tuid(): string | null {
    const end = /\r?\n\r?\n/.exec(this.#head)?.index ?? this.#head.length
    return /^X-TUID: *([!-~]{1,100})\r?$/im.exec(this.#head.slice(0, end))?.[1] ?? null
  }

  /** Sealed octets of the file, from `at` on. */
  wroteToFile(at: number, octets: number): void {
    const last = this.inFile.at(-1)
    // Another message of the session may write between ours.
    if (last !== undefined && last.at + last.octets === at) last.octets += octets
    else this.inFile.push({ at, octets })
  }

  /** @returns what to announce: too much in all likelihood; the rest is padding */
  guess(): number {
    this.announced = this.octets + Math.ceil(this.begin.literal.octets * GROWTH) + EXTRA_OCTETS
    return this.announced
  }

  /** The guess was too small: the literal must not end. */
  get isBeyondGuess(): boolean {
    return this.announced !== null && this.octets > this.announced - MIN_PADDING_OCTETS
  }

  /** Blank lines up to the announced size: the sealed message says that they are none of it. */
  *padding(): Iterable<Buffer> {
    let left = this.announced === null ? 0 : this.announced - this.octets
    if (left % 2 === 1) {
      yield Buffer.from(' \r\n')
      left -= 3
    }
    for (; left > 0; left -= BLANK_LINES.length) yield BLANK_LINES.subarray(0, Math.min(left, BLANK_LINES.length))
  }
}
