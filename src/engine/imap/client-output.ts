/**
 * What goes to the client, in order: while an answer that is too large to be held is on its way in pieces, everything
 * else waits behind it. Nothing here is bounded by itself: works read no more of the server while the client is full.
 */
export class ClientOutput {
  readonly #send: (bytes: Buffer) => void
  /** What waits for the end of a streamed answer; null: none is under way. */
  #behind: Buffer[] | null = null
  #broken = false

  constructor(send: (bytes: Buffer) => void) {
    this.#send = send
  }

  /** In the middle of an answer: not even a goodbye may stand there. */
  get streaming(): boolean {
    return this.#behind !== null
  }

  /** An answer could not be completed: the session must end. */
  get broken(): boolean {
    return this.#broken
  }

  /** @param bytes whole responses; text is Latin1 */
  send(bytes: Buffer | string): void {
    const octets = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
    if (this.#behind === null) this.#send(octets)
    else this.#behind.push(octets)
  }

  /** A piece of the answer under way; the first one begins it. */
  stream(bytes: Buffer): void {
    this.#behind ??= []
    this.#send(bytes)
  }

  /** It is complete; `false`: it never will be. */
  streamed(complete: boolean): void {
    if (!complete) {
      this.#broken = true
      return
    }
    const behind = this.#behind ?? []
    this.#behind = null
    for (const octets of behind) this.#send(octets)
  }

  /** Nothing more can be told in order. */
  break(): void {
    this.#broken = true
  }
}
