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
  /** What there is of it, and what there should be. */
  #taken = 0
  #announced = 0

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

  /** Once it was taken: octets of it that are not there any more. */
  get missingOctets(): number {
    return this.#announced - this.#taken
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
    this.#taken += at
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
    this.#announced = RECORD_OCTETS + this.#blanksLeft + (this.#end.delimiterAdded ? CRLF.length : 0)
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

/** Octets of an epilogue behind the record that its last octets may have and still show it. */
const EPILOGUE_OCTETS = 512

/** The end that a message announces, for who has the last octets of it and no more: an IMAP server's sizes count it. */
export class AnnouncedEnd {
  readonly #keyAndSeed: Uint8Array
  readonly #nonce: Uint8Array
  readonly #boundary: string | null
  readonly #isMultipart: boolean

  /**
   * @param boundary    of the outermost closing delimiter, one character an octet; null: there can be none
   * @param isMultipart of the message itself; false: of the container that sealing put around it
   */
  constructor(keyAndSeed: Uint8Array, nonce: Uint8Array, boundary: string | null, isMultipart: boolean) {
    this.#keyAndSeed = keyAndSeed
    this.#nonce = nonce
    this.#boundary = boundary
    this.#isMultipart = isMultipart
  }

  /** What sealing put there: see {@link endOctets}. */
  get octets(): number {
    return endOctets(outermostDelimiter(this.#isMultipart ? this.#boundary : null))
  }

  /** So many of the message's last octets show it, unless its epilogue is a long one. */
  get tailOctets(): number {
    return CRLF.length + outermostDelimiter(this.#boundary).length + this.octets + EPILOGUE_OCTETS
  }

  reader(): EndReader {
    return new EndReader(this.#keyAndSeed, this.#nonce, this.octets)
  }

  /**
   * @param tail the last octets of the sealed message
   * @returns how many octets of the message's end opening does not give; null: that does not show in them
   */
  octetsIn(tail: Buffer): number | null {
    if (this.#boundary === null) return null
    const delimiter = Buffer.from(outermostDelimiter(this.#boundary), 'latin1')
    for (let at = tail.indexOf(delimiter, 1); at >= 0; at = tail.indexOf(delimiter, at + 1)) {
      if (tail[at - 1] !== LF) continue
      const reader = this.reader()
      reader.begin()
      const epilogue = reader.take(tail.subarray(at + delimiter.length))
      if (reader.end === null) continue
      // Behind a delimiter that opening takes away it is the last part's: somebody has put it there.
      if (reader.end.delimiterAdded && epilogue.length > 0) return null
      // What stands behind an injected container belongs to it, the line end that sealing puts there is counted with it.
      const dropped = this.#isMultipart ? 0 : epilogue.length - CRLF.length
      return this.octets - reader.missingOctets + dropped
    }
    return null
  }
}
