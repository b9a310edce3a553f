/**
 * What goes to the client, in order. While an answer that is too large to be held is on its way in pieces, everything
 * else waits behind it: works read no more of the server while the client is full. And an answer may have its place kept
 * until it can be given ({@link Place}): whatever the server says after it waits behind that place, so that the client
 * meets everything in the server's order, numbers of messages (EXPUNGE) and flags included. That is bounded: past
 * `maxHeldOctets` what waits goes on without the answers it waited for.
 */

/** Where an answer belongs. */
export interface Place {
  /** The answer, or nothing. Once; of no effect after `given up`. */
  fill(bytes: Buffer | null): void
}

interface Kept extends Place {
  /** Undefined: still to come. */
  bytes: Buffer | null | undefined
}

/** What an entry costs beside its octets; a place stands for whoever is to fill it, too. */
const ENTRY_OCTETS = 128
const PLACE_OCTETS = 1024

export class ClientOutput {
  readonly #send: (bytes: Buffer) => void
  readonly #maxHeldOctets: number
  readonly #givenUp: () => void
  /** What waits for the end of a streamed answer; null: none is under way. */
  #behind: Buffer[] | null = null
  /** The first one is a place without its answer. */
  #held: (Buffer | Kept)[] = []
  #heldOctets = 0
  #broken = false

  /** @param givenUp too much waited: the open places are places no more */
  constructor(send: (bytes: Buffer) => void, maxHeldOctets: number, givenUp: () => void) {
    this.#send = send
    this.#maxHeldOctets = maxHeldOctets
    this.#givenUp = givenUp
  }

  /** In the middle of an answer: not even a goodbye may stand there. */
  get streaming(): boolean {
    return this.#behind !== null
  }

  /** An answer could not be completed: the session must end. */
  get broken(): boolean {
    return this.#broken
  }

  /** Octets of memory that wait behind places. */
  get heldOctets(): number {
    return this.#heldOctets
  }

  /** @param bytes whole responses; text is Latin1 */
  send(bytes: Buffer | string): void {
    const octets = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
    if (this.#behind !== null) this.#behind.push(octets)
    else if (this.#held.length === 0) this.#send(octets)
    else this.#hold(octets)
  }

  /** Keeps the place of an answer, here. Not while one is streamed. */
  place(): Place {
    const place: Kept = {
      bytes: undefined,
      fill: (bytes) => {
        place.bytes = bytes
        this.#drain()
      },
    }
    this.#held.push(place)
    this.#heldOctets += PLACE_OCTETS
    return place
  }

  /** Gives what waits, without the answers that were not to be had in time. */
  release(): void {
    const held = this.#held
    this.#held = []
    this.#heldOctets = 0
    for (const each of held) {
      const bytes = Buffer.isBuffer(each) ? each : each.bytes
      if (bytes != null) this.#send(bytes)
    }
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

  #hold(octets: Buffer): void {
    // A copy: a view would hold all that was read with it.
    this.#held.push(Buffer.from(octets))
    this.#heldOctets += octets.length + ENTRY_OCTETS
    if (this.#heldOctets <= this.#maxHeldOctets) return
    this.release()
    this.#givenUp()
  }

  #drain(): void {
    let done = 0
    for (const each of this.#held) {
      const bytes = Buffer.isBuffer(each) ? each : each.bytes
      if (bytes === undefined) break
      done++
      this.#heldOctets -= Buffer.isBuffer(each) ? each.length + ENTRY_OCTETS : PLACE_OCTETS
      if (bytes !== null) this.#send(bytes)
    }
    if (done > 0) this.#held.splice(0, done)
  }
}
