/** A request body on its way to its reader: what arrives is kept up to a mark, then the sender is told to wait. */

export class BodyStream implements AsyncIterable<Buffer> {
  readonly #maxWaiting: number
  readonly #source: { pause(): void; resume(): void }
  readonly #chunks: Buffer[] = []
  #waitingOctets = 0
  #paused = false
  #state: 'open' | 'ended' | Error = 'open'
  #wake: () => void = () => {}

  constructor(maxWaitingOctets: number, source: { pause(): void; resume(): void }) {
    this.#maxWaiting = maxWaitingOctets
    this.#source = source
  }

  /** Has all of it arrived? */
  get complete(): boolean {
    return this.#state === 'ended'
  }

  push(bytes: Buffer): void {
    this.#chunks.push(bytes)
    this.#waitingOctets += bytes.length
    if (!this.#paused && this.#waitingOctets >= this.#maxWaiting) {
      this.#paused = true
      this.#source.pause()
    }
    this.#wake()
  }

  end(): void {
    if (this.#state === 'open') this.#state = 'ended'
    this.#wake()
  }

  /** The reader gets the error in place of the rest. */
  fail(error: Error): void {
    if (this.#state === 'open') this.#state = error
    this.#wake()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for (;;) {
      if (this.#state instanceof Error) throw this.#state
      const chunk = this.#chunks.shift()
      if (chunk !== undefined) {
        this.#waitingOctets -= chunk.length
        if (this.#paused && this.#waitingOctets < this.#maxWaiting / 2) {
          this.#paused = false
          this.#source.resume()
        }
        yield chunk
      } else if (this.#state === 'ended') return
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
    }
  }
}
