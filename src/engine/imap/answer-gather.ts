/**
 * One FETCH answer on its way into memory while a work may claim it: whole, but for the literals that the work takes as
 * they come, and for those that are too much. Whose it is then, is the relay's to find out.
 */
import { GatewayError } from '../../base/errors.ts'
import type { Piece } from './framer.ts'
import { joined } from './neighbours.ts'
import { withEmptyString } from './response.ts'
import type { LiteralSink, Work } from './work.ts'

export interface GatheredAnswer {
  /** Empty strings stand for literals that went elsewhere. */
  readonly bytes: Buffer
  /** The work took a literal of it. */
  readonly sunk: boolean
  /** A literal of it was left out. */
  readonly cut: boolean
}

/**
 * A FETCH answer that we take apart: its text and literals, but for message bodies. Literals past it are left out: such a
 * message is answered in another way.
 */
const MAX_ANSWER_OCTETS = 4 * 1024 * 1024
const IGNORE: LiteralSink = () => {}

export class AnswerGather {
  readonly #parts: Buffer[] = []
  #octets = 0
  /** Where the octets of the current literal go instead. */
  #sink: LiteralSink | null = null
  #sunk = false
  #cut = false

  /**
   * @param piece the answer's, from its first on
   * @param work asked where literals go; null: it has ended
   * @returns null: more of it comes @throws {GatewayError} UPSTREAM_UNEXPECTED
   */
  take(piece: Piece, work: Work | null): GatheredAnswer | null {
    if (piece.is === 'octets' && this.#sink !== null) {
      const sink = this.#sink
      if (piece.last) this.#sink = null
      sink(piece.bytes, piece.last)
      return null
    }
    this.#octets += piece.bytes.length
    if (this.#octets > MAX_ANSWER_OCTETS) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'answer too large' })
    this.#parts.push(piece.bytes)
    if (piece.is !== 'line') return null
    if (piece.literal === null) return { bytes: joined(this.#parts), sunk: this.#sunk, cut: this.#cut }
    this.#beforeLiteral(piece.literal.octets, work)
    return null
  }

  #beforeLiteral(octets: number, work: Work | null): void {
    const isLarge = this.#octets + octets > MAX_ANSWER_OCTETS
    if (work?.takesLiterals !== true && !isLarge) return
    const text = joined(this.#parts)
    this.#sink = work?.literalSink(text, octets) ?? null
    if (this.#sink !== null) this.#sunk = true
    else if (isLarge) {
      this.#cut = true
      this.#sink = IGNORE
    } else return
    this.#parts.length = 0
    this.#parts.push(withEmptyString(text))
  }
}
