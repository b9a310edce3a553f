/**
 * One leaf's body on its way through the batches: octets in, octets into its place in the output. A body of less than
 * 64 KiB is done in place; a longer one is asked for in pieces, one at a time, each starting from the state of the one
 * before. How it is cut does not show in the result.
 */
import { type BatchJob, type BatchResult, type BodyState, runBatch } from './batch.ts'

/** Work below this is done in place: a thread's round trip costs as much (stack.md). */
const INLINE_OCTETS = 64 * 1024
/** Octets of a piece that is asked for: a tenth of a millisecond of questions and answers on a millisecond of work. */
const PIECE_OCTETS = 1024 * 1024

/** Pushes below this are copied together, from so many waiting ones on. */
const SMALL_OCTETS = 1024
const MANY = 16
const SMALL_ROOM_OCTETS = 16 * 1024
const NO_ROOM = Buffer.allocUnsafeSlow(0)

export interface BatchQuestions {
  /** The answer is brought to `answered`. */
  askBatch(job: BatchJob, answered: (result: BatchResult) => void): void
}

export interface BodySink {
  /** @param lines see {@link BatchResult} */
  write(bytes: Buffer, lines: number): void
  /** After the last octet. @param state of the body's end */
  end(state: BodyState): void
}

export class BodyStream {
  readonly #questions: BatchQuestions
  readonly #kind: BatchJob['kind']
  readonly #sink: BodySink
  #state: BodyState
  #waiting: Buffer[] = []
  #waitingOctets = 0
  /** Room for small pushes; the last of `#waiting` reaches from `start` to `used` while it lies there. */
  #small = { buffer: NO_ROOM, start: 0, used: 0 }
  #asked = false
  #ended = false
  #sinkEnded = false
  /** So many octets of what waits are not to wait for more. */
  #hastened = 0
  /** Memory of the last piece, for the next. */
  #spare: Uint8Array | null = null

  constructor(questions: BatchQuestions, kind: BatchJob['kind'], state: BodyState, sink: BodySink) {
    this.#questions = questions
    this.#kind = kind
    this.#state = state
    this.#sink = sink
  }

  /** Octets that wait for their batch. */
  get waitingOctets(): number {
    return this.#waitingOctets
  }

  /** The buffer is kept. */
  push(bytes: Buffer): void {
    if (bytes.length < SMALL_OCTETS && this.#waiting.length >= MANY) this.#pushSmall(bytes)
    else this.#waiting.push(bytes)
    this.#waitingOctets += bytes.length
    this.#go()
  }

  /** Copied together: half a million buffers of one octet each would be fifty megabytes. */
  #pushSmall(bytes: Buffer): void {
    const last = this.#waiting.at(-1)
    const { buffer, used, start } = this.#small
    if (last === undefined || last.buffer !== buffer.buffer || used + bytes.length > buffer.length) {
      const fresh = Buffer.allocUnsafeSlow(SMALL_ROOM_OCTETS)
      fresh.set(bytes)
      this.#small = { buffer: fresh, start: 0, used: bytes.length }
      this.#waiting.push(fresh.subarray(0, bytes.length))
      return
    }
    buffer.set(bytes, used)
    this.#small.used += bytes.length
    this.#waiting[this.#waiting.length - 1] = buffer.subarray(start, used + bytes.length)
  }

  end(): void {
    this.#ended = true
    this.#go()
  }

  /** What was pushed goes on, though it were little. */
  hasten(): void {
    this.#hastened = this.#waitingOctets
    this.#go()
  }

  #go(): void {
    while (!this.#asked && this.#waitingOctets >= PIECE_OCTETS) {
      this.#ask(this.#take(PIECE_OCTETS), this.#ended && this.#waitingOctets === 0)
    }
    if (!this.#asked && !this.#ended && this.#hastened > 0) this.#ask(this.#take(this.#waitingOctets), false)
    if (this.#asked || !this.#ended) return
    if (this.#sinkEnded) return
    const octets = this.#waitingOctets
    if (octets >= INLINE_OCTETS) {
      this.#ask(this.#take(octets), true)
      return
    }
    const input = this.#waiting.length === 1 ? this.#waiting[0]! : Buffer.concat(this.#waiting)
    this.#waiting = []
    this.#waitingOctets = 0
    this.#put(runBatch({ kind: this.#kind, state: this.#state, input, last: true }), true)
  }

  #ask(input: Uint8Array, last: boolean): void {
    this.#asked = true
    this.#questions.askBatch({ kind: this.#kind, state: this.#state, input, last }, (result) => {
      this.#asked = false
      this.#spare = result.spent
      this.#put(result, last)
      this.#go()
    })
  }

  #put({ output, state, lines }: BatchResult, last: boolean): void {
    this.#state = state
    this.#sink.write(Buffer.from(output.buffer, output.byteOffset, output.length), lines)
    if (!last) return
    this.#sinkEnded = true
    this.#sink.end(state)
  }

  /** A buffer of its own: it may be transferred to a thread. */
  #take(octets: number): Uint8Array {
    const piece = this.#spare?.length === octets ? this.#spare : Buffer.allocUnsafeSlow(octets)
    this.#spare = null
    let at = 0
    let used = 0
    for (const bytes of this.#waiting) {
      const part = Math.min(bytes.length, octets - at)
      piece.set(part === bytes.length ? bytes : bytes.subarray(0, part), at)
      at += part
      if (part < bytes.length) {
        this.#waiting[used] = bytes.subarray(part)
        if (bytes.buffer === this.#small.buffer.buffer) this.#small.start += part
        break
      }
      used++
      if (at === octets) break
    }
    this.#waiting.splice(0, used)
    this.#waitingOctets -= octets
    this.#hastened = Math.max(0, this.#hastened - octets)
    return piece
  }
}
