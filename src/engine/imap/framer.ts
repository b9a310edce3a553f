/**
 * Cuts what the client or the server sends into lines and literals. Not a parser: what a line means, and whether it may
 * announce a literal at all, is told to it (`literalOf`), since status text may legally end in `{5}` (RFC 9051 §7.1).
 * Rule: searches resume where they stopped; a line is bounded before it is there, a literal is never collected here.
 */
import { ByteQueue } from '../../base/byte-queue.ts'
import { GatewayError } from '../../base/errors.ts'
import { type Literal, literalAtEnd } from './literal.ts'

export type Piece =
  /** A whole line with its line end, and the literal it announces. `first`: it begins a command or response. */
  | { readonly is: 'line'; readonly bytes: Buffer; readonly literal: Literal | null; readonly first: boolean }
  /** Octets of the literal announced last. */
  | { readonly is: 'octets'; readonly bytes: Buffer; readonly last: boolean }
  /** Some of a line too long to be held; the rest follows, at last as `line` with `first` false. */
  | { readonly is: 'fragment'; readonly bytes: Buffer; readonly first: boolean }

export interface FramerOptions {
  readonly maxLineOctets: number | (() => number)
  /** @param line one whole line @param first false for the rest of a command after a literal */
  readonly literalOf: (line: Buffer, first: boolean) => Literal | null
  /** May a line that begins like this come in fragments? Else LINE_TOO_LONG. */
  readonly mayFragment?: (start: Buffer) => boolean
}

const LF = 0x0a
const CR = 0x0d
const CLOSE = 0x7d
/** Held back from a fragment: a literal announcement must not be torn. */
const TAIL_OCTETS = 64

export class Framer {
  readonly #options: FramerOptions
  readonly #queue = new ByteQueue()
  /** Octets of the queue that hold no LF. */
  #searched = 0
  /** Octets of the literal still to come; -1 = between literals. */
  #literalLeft = -1
  #first = true
  #fragmented = false

  constructor(options: FramerOptions) {
    this.#options = options
  }

  /** Octets read but not yet given out. */
  get held(): number {
    return this.#queue.length
  }

  /** In the middle of a line, literal or command. */
  get partial(): boolean {
    return this.#queue.length > 0 || this.#literalLeft >= 0 || !this.#first
  }

  /** The buffer is kept; pieces are views into it where possible. */
  push(bytes: Buffer): void {
    this.#queue.push(bytes)
  }

  /** The next piece, null when more octets are needed. @throws {GatewayError} LINE_TOO_LONG, SYNTAX */
  next(): Piece | null {
    if (this.#literalLeft >= 0) return this.#octets()
    const at = this.#queue.indexOf(LF, this.#searched)
    const { literalOf, mayFragment, maxLineOctets: max } = this.#options
    const maxLineOctets = typeof max === 'number' ? max : max()
    if (at < 0) {
      this.#searched = this.#queue.length
      if (this.#searched <= maxLineOctets) return null
      if (!this.#fragmented && mayFragment?.(this.#queue.peek(TAIL_OCTETS)) !== true) {
        throw new GatewayError('LINE_TOO_LONG', { maxLineOctets })
      }
      const first = this.#first && !this.#fragmented
      this.#fragmented = true
      const bytes = this.#queue.take(this.#queue.length - TAIL_OCTETS)
      this.#searched = TAIL_OCTETS
      return { is: 'fragment', bytes, first }
    }
    if (at >= maxLineOctets && !this.#fragmented && mayFragment?.(this.#queue.peek(TAIL_OCTETS)) !== true) {
      throw new GatewayError('LINE_TOO_LONG', { maxLineOctets })
    }
    const bytes = this.#queue.take(at + 1)
    this.#searched = 0
    const first = this.#first && !this.#fragmented
    const literal = literalOf(bytes, first)
    this.#fragmented = false
    this.#first = literal === null
    if (literal !== null) this.#literalLeft = literal.octets
    return { is: 'line', bytes, literal, first }
  }

  /**
   * A whole response, literals in their place, where it begins next and lies in one buffer. Only for those that may
   * announce literals on every line (not status text).
   * @param begins does it begin so? @param maxOctets of one that is taken
   * @returns a view; null: read it piece by piece @throws {GatewayError} SYNTAX
   */
  nextWhole(begins: (front: Buffer) => boolean, maxOctets: number): Buffer | null {
    if (!this.#atBegin) return null
    const { front } = this.#queue
    if (front.length === 0 || !begins(front)) return null
    const end = endOfResponse(front)
    return end < 0 || end > maxOctets ? null : this.#queue.take(end)
  }

  /**
   * Whole responses one behind the other, where one begins next: of what lies in one buffer.
   * @param take told what is there, a view; says how many octets of it it has taken
   * @returns false: none
   */
  nextRun(take: (front: Buffer) => number): boolean {
    if (!this.#atBegin) return false
    const { front } = this.#queue
    const taken = front.length === 0 ? 0 : take(front)
    this.#queue.take(taken)
    return taken > 0
  }

  /** A response begins next. What was searched in vain once is not searched again with each octet that comes: no, then. */
  get #atBegin(): boolean {
    return this.#literalLeft < 0 && this.#first && !this.#fragmented && this.#searched === 0
  }

  /** The literal just announced was refused: its sender will not send it, and a new command begins. */
  skipLiteral(): void {
    this.#literalLeft = -1
    this.#first = true
  }

  clear(): void {
    this.#queue.clear()
    this.#searched = 0
  }

  /** As new: for another connection. */
  reset(): void {
    this.clear()
    this.skipLiteral()
    this.#fragmented = false
  }

  #octets(): Piece | null {
    if (this.#literalLeft > 0 && this.#queue.length === 0) return null
    const bytes = this.#queue.takeChunk(this.#literalLeft)
    this.#literalLeft -= bytes.length
    const last = this.#literalLeft === 0
    if (last) this.#literalLeft = -1
    return { is: 'octets', bytes, last }
  }
}

/** Behind the line that announces no literal; -1: not all is there. */
function endOfResponse(bytes: Buffer): number {
  for (let from = 0; ; ) {
    const at = bytes.indexOf(LF, from)
    if (at < 0) return -1
    const brace = bytes[at - 1] === CR ? at - 2 : at - 1
    const literal = bytes[brace] === CLOSE ? literalAtEnd(bytes.subarray(from, at + 1)) : null
    if (literal === null) return at + 1
    from = at + 1 + literal.octets
    if (from >= bytes.length) return -1
  }
}
