/**
 * The end of a message that was too long to wait for it (docs/exactness.md): behind its outermost closing delimiter,
 * where the epilogue stands, there is a record of how many leaves it has, so that one taken off its end is missed, and of
 * what sealing had to add to it. The root's exactness header announces it (key `z`), with its nonce.
 *
 * It is written as white space: a line end, lines of blanks and tabs, then blanks. With what was added to the end it is
 * always as long as {@link endOctets} says, so that an IMAP server's sizes tell those of the opened message.
 *
 * Rule: what cannot be read of it is as if it were not there, however that came about: a server trims lines, an epilogue
 * is dropped. The message opens, and it is told that its end is not known.
 */
import { hash } from 'node:crypto'
import { copyOf, FEEDBACK_OCTETS, SEALED_WIDTH, TAG_OCTETS } from './chunk-cipher.ts'
import { fastPath } from './native.ts'
import { BLANK, CR, LF, printWhiteSpace, TAB } from './white-space.ts'

export const END_NONCE_OCTETS = 16

export interface MessageEnd {
  readonly leaves: number
  /** The outermost multipart was not closed: the delimiter that closes it is sealing's, with the line end before it. */
  readonly delimiterAdded: boolean
  /** What comes before the outermost closing delimiter ends with a line end that is sealing's. */
  readonly lineEndAdded: boolean
}

const CRLF = Buffer.from('\r\n', 'latin1')
const DELIMITER_ADDED = 1
const LINE_END_ADDED = 2
/** Flags; the leaves, and the blanks behind the record, as four octets each, big-endian. */
const PLAIN_OCTETS = 9
const SEALED_BITS = (PLAIN_OCTETS + TAG_OCTETS) * 8
const LINES = Math.ceil(SEALED_BITS / SEALED_WIDTH)
const RECORD_OCTETS = SEALED_BITS + CRLF.length * LINES
/** A line end before an added delimiter, one of {@link MessageEnd.lineEndAdded}, one behind the record. */
const LINE_ENDS_OCTETS = 3 * CRLF.length

/** What the sealed message has more, of the record and all that it tells of. @param delimiter that may be added; '' = none */
export function endOctets(delimiter: string): number {
  return RECORD_OCTETS + delimiter.length + LINE_ENDS_OCTETS
}

/** The closing delimiter that sealing adds where there is none. @param boundary null: not a multipart */
export function outermostDelimiter(boundary: string | null): string {
  return boundary === null ? '' : `--${boundary}--`
}

/** Another hash than of a late patch's number: those are of four octets more than the nonce. */
function feedbackOf(nonce: Uint8Array): Uint8Array {
  return copyOf(hash('sha256', Buffer.concat([nonce, Buffer.from('end', 'latin1')]), 'buffer'), 0, FEEDBACK_OCTETS)
}

/**
 * @param keyAndSeed of the message
 * @param octets     that it has to have, blanks behind it included
 */
export function printEnd(keyAndSeed: Uint8Array, nonce: Uint8Array, end: MessageEnd, octets: number): Buffer {
  const plain = Buffer.alloc(PLAIN_OCTETS)
  plain[0] = (end.delimiterAdded ? DELIMITER_ADDED : 0) | (end.lineEndAdded ? LINE_END_ADDED : 0)
  plain.writeUInt32BE(end.leaves, 1)
  plain.writeUInt32BE(octets - RECORD_OCTETS, 5)
  const sealed = Buffer.alloc(PLAIN_OCTETS + TAG_OCTETS)
  fastPath().chunks.seal(keyAndSeed, feedbackOf(nonce), plain, true, sealed)
  const lines = printWhiteSpace(sealed)
  const blanks = Buffer.alloc(octets - RECORD_OCTETS, BLANK)
  return Buffer.concat([CRLF, lines.subarray(0, lines.length - CRLF.length), blanks])
}

/** Takes the record out of what follows the outermost closing delimiter. */
export class EndReader {
  readonly #keyAndSeed: Uint8Array
  readonly #nonce: Uint8Array
  readonly #octets: number
  #state: 'waiting' | 'record' | 'blanks' | 'line-end' | 'over' = 'waiting'
  readonly #sealed = Buffer.alloc(PLAIN_OCTETS + TAG_OCTETS)
  #bits = 0
  #lineEnds = 0
  #blanksLeft = 0
  #end: MessageEnd | null = null

  /** @param octets see {@link endOctets} */
  constructor(keyAndSeed: Uint8Array, nonce: Uint8Array, octets: number) {
    this.#keyAndSeed = keyAndSeed
    this.#nonce = nonce
    this.#octets = octets
  }

  /** Null: not read, or not there. */
  get end(): MessageEnd | null {
    return this.#end
  }

  /** There is nothing more to learn: {@link end} says what there was. */
  get isDecided(): boolean {
    return this.#state !== 'waiting' && this.#state !== 'record'
  }

  /** The outermost closing delimiter was read. */
  begin(): void {
    this.#state = 'record'
  }

  /** The message is over. */
  finish(): void {
    this.#state = 'over'
  }

  /** @param text behind the delimiter, or more of it @returns what of it is the message's */
  take(text: Buffer): Buffer {
    let at = 0
    while (at < text.length && this.#state !== 'over' && this.#state !== 'waiting' && this.#accepts(text[at]!)) at++
    return at === 0 ? text : text.subarray(at)
  }

  /** @returns false where the octet is none of the record, which is then over */
  #accepts(octet: number): boolean {
    const taken = this.#state === 'record' ? this.#record(octet) : this.#behind(octet)
    if (!taken) this.#state = 'over'
    return taken
  }

  #record(octet: number): boolean {
    if (octet === CR || octet === LF) {
      if (this.#lineEnds === LINES) return false
      if (octet === LF) this.#lineEnds++
      return true
    }
    if (octet !== BLANK && octet !== TAB) return false
    if (octet === TAB) this.#sealed[this.#bits >> 3]! |= 0x80 >> (this.#bits & 7)
    this.#bits++
    if (this.#bits === SEALED_BITS) this.#open()
    return true
  }

  #open(): void {
    const plain = Buffer.alloc(PLAIN_OCTETS)
    const octets = fastPath().chunks.open(this.#keyAndSeed, feedbackOf(this.#nonce), this.#sealed, true, plain)
    this.#state = 'blanks'
    this.#blanksLeft = this.#octets - RECORD_OCTETS
    if (octets !== PLAIN_OCTETS) return
    const flags = plain[0]!
    this.#end = {
      leaves: plain.readUInt32BE(1),
      delimiterAdded: (flags & DELIMITER_ADDED) !== 0,
      lineEndAdded: (flags & LINE_END_ADDED) !== 0,
    }
    this.#blanksLeft = plain.readUInt32BE(5)
  }

  /** The blanks that make up the length, and the line end that an added delimiter has behind it. */
  #behind(octet: number): boolean {
    if (this.#state === 'blanks') {
      if (this.#blanksLeft-- > 0) return octet === BLANK
      this.#state = this.#end?.delimiterAdded === true ? 'line-end' : 'over'
    }
    if (this.#state !== 'line-end' || (octet !== CR && octet !== LF)) return false
    if (octet === LF) this.#state = 'over'
    return true
  }
}
