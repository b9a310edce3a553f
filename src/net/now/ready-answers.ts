/**
 * Answers that are the same for everyone, as they go over the wire: made once a second, for their Date field. Programs ask
 * for the manifest at each start, so it shall cost next to nothing.
 */
import { printAnswer } from '../http-answer.ts'
import { finished, type NowParts, publicAnswer } from './now.ts'

/** Only these: a path is the client's to choose, what is kept is not. */
const PATHS = new Set(['/ves.json', '/oauth'])

export class ReadyAnswers {
  readonly #parts: NowParts
  readonly #answers = new Map<string, { readonly second: number; readonly octets: Buffer }>()

  constructor(parts: NowParts) {
    this.#parts = parts
  }

  /** @returns null where the answer is not known beforehand */
  of(path: string, nowMs: number): Buffer | null {
    if (!PATHS.has(path)) return null
    const second = Math.floor(nowMs / 1000)
    const known = this.#answers.get(path)
    if (known?.second === second) return known.octets
    const answer = publicAnswer(path, this.#parts)
    if (answer === null) return null
    const octets = printAnswer(finished(answer, this.#parts), new Date(nowMs).toUTCString())
    this.#answers.set(path, { second, octets })
    return octets
  }
}
