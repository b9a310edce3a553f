/**
 * Finds where a command line ends (RFC 5321 §2.3.8) and bounds its length. What the line says is `command.ts`'s matter.
 *
 * A command ends with CRLF; a bare LF is taken too, as people and scripts type it: a command is printed anew before it
 * goes on, so nobody downstream can read it otherwise. Message data never passes here (`dot-decoder.ts`).
 */
import { ByteQueue } from '../../base/byte-queue.ts'
import { GatewayError } from '../../base/errors.ts'

const LF = 0x0a
const CR = 0x0d
/** smtp.md §5; RFC 4954 §4 asks for 12,288 for AUTH responses. */
export const MAX_COMMAND_OCTETS = 16 * 1024

export class LineFramer {
  readonly #queue = new ByteQueue()
  readonly #maxOctets: number
  /** Octets known to hold no line end. */
  #searched = 0

  constructor(maxOctets: number = MAX_COMMAND_OCTETS) {
    this.#maxOctets = maxOctets
  }

  /** Octets not yet taken. */
  get length(): number {
    return this.#queue.length
  }

  /** The buffer is kept. */
  push(bytes: Buffer): void {
    this.#queue.push(bytes)
  }

  /** The next line without its end; null = not complete yet. @throws GatewayError LINE_TOO_LONG; the line cannot be skipped then */
  next(): Buffer | null {
    const at = this.#queue.indexOf(LF, this.#searched)
    if ((at < 0 ? this.#queue.length : at + 1) > this.#maxOctets) {
      throw new GatewayError('LINE_TOO_LONG', { maxOctets: this.#maxOctets })
    }
    if (at < 0) {
      this.#searched = this.#queue.length
      return null
    }
    this.#searched = 0
    const line = this.#queue.take(at + 1)
    return line.subarray(0, at > 0 && line[at - 1] === CR ? at - 1 : at)
  }

  /** All that is left, and nothing stays. */
  takeRest(): Buffer {
    this.#searched = 0
    return this.#queue.takeAll()
  }
}
