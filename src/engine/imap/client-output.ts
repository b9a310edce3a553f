/**
 * What goes to the client, in order. While an answer that is too large to be held is on its way in pieces, everything
 * else waits behind it: works read no more of the server while the client is full. And an answer may have its place kept
 * until it can be given ({@link Place}): whatever the server says after it waits behind that place, so that the client
 * meets everything in the server's order, numbers of messages (EXPUNGE) and flags included. That is bounded: past
 * `maxHeldOctets` what waits goes on without the answers it waited for. What the server says goes on as it comes, a
 * response with literals in pieces: until its last one nothing of ours stands between them.
 */

/** Where an answer belongs. */
export interface Place {
  /** The answer, or nothing. Once; of no effect after `given up`. */
  fill(bytes: Buffer | null): void
}

interface Kept extends Place {
  readonly octets: number
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
  /** More is to come of a response of the server's that has begun to pass. */
  #passing = false
  /** What was to be said meanwhile, in order. */
  #after: (() => void)[] = []
  #broken = false

  /** @param givenUp too much waited: the open places are places no more */
  constructor(send: (bytes: Buffer) => void, maxHeldOctets: number, givenUp: () => void) {
    this.#send = send
    this.#maxHeldOctets = maxHeldOctets
    this.#givenUp = givenUp
  }

  /** In the middle of an answer: not even a goodbye may stand there. */
  get streaming(): boolean {
    return this.#behind !== null || this.#passing
  }

  /** Something waits for the end of a response of the server's: whoever could make it more should wait, too. */
  get waiting(): boolean {
    return this.#after.length > 0
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
    if (this.#passing) this.#after.push(() => this.send(octets))
    else this.#put(octets)
  }

  /** A piece of a response of the server's. @param more others of it follow */
  pass(bytes: Buffer, more: boolean): void {
    // Also while this one goes: what then turns out to be ready stands behind it.
    this.#passing = true
    this.#put(bytes)
    if (more) return
    this.#passing = false
    const after = this.#after
    if (after.length === 0) return
    this.#after = []
    for (const say of after) say()
  }

  /**
   * Keeps the place of an answer, here. Not while one is streamed.
   * @param octets that whoever is to fill it keeps for that
   */
  place(octets: number): Place {
    const place: Kept = {
      octets: octets + PLACE_OCTETS,
      bytes: undefined,
      fill: (bytes) => {
        place.bytes = bytes
        this.#drain()
      },
    }
    this.#held.push(place)
    this.#heldOctets += place.octets
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
    if (this.#passing && this.#behind === null) {
      this.#after.push(() => this.stream(bytes))
      return
    }
    this.#behind ??= []
    this.#send(bytes)
  }

  /** It is complete; `false`: it never will be. */
  streamed(complete: boolean): void {
    if (!complete) {
      this.#broken = true
      return
    }
    if (this.#passing && this.#behind === null) {
      this.#after.push(() => this.streamed(true))
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

  #put(octets: Buffer): void {
    if (this.#behind !== null) this.#behind.push(octets)
    else if (this.#held.length === 0) this.#send(octets)
    else this.#hold(octets)
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
      this.#heldOctets -= Buffer.isBuffer(each) ? each.length + ENTRY_OCTETS : each.octets
      if (bytes !== null) this.#send(bytes)
    }
    if (done > 0) this.#held.splice(0, done)
  }
}
