/**
 * What a transform writes, in order, though some of it is ready later than what follows: a body that is with a thread,
 * a header that waits for sizes. Octets in front of a gap leave at once.
 */

/** A place in the output. */
export interface OutputSlot {
  write(bytes: Buffer): void
  /** Nothing more comes here. */
  close(): void
}

interface Slot {
  readonly waiting: Buffer[]
  closed: boolean
}

export class OrderedOutput {
  readonly #slots: Slot[] = []
  /** Octets that cannot leave yet. */
  #held = 0

  get heldOctets(): number {
    return this.#held
  }

  /** Nothing is held, nothing is open. */
  get isEmpty(): boolean {
    return this.#slots.length === 0
  }

  write(bytes: Buffer): void {
    if (bytes.length === 0) return
    let last = this.#slots[this.#slots.length - 1]
    if (last === undefined || !last.closed) {
      last = { waiting: [], closed: true }
      this.#slots.push(last)
    }
    last.waiting.push(bytes)
    this.#held += bytes.length
  }

  /** Keeps a place here for octets that come later. */
  reserve(): OutputSlot {
    const slot: Slot = { waiting: [], closed: false }
    this.#slots.push(slot)
    return {
      write: (bytes) => {
        if (bytes.length === 0) return
        slot.waiting.push(bytes)
        this.#held += bytes.length
      },
      close: () => {
        slot.closed = true
      },
    }
  }

  /** What may leave now. */
  take(): Buffer[] {
    const out: Buffer[] = []
    let gone = 0
    for (const slot of this.#slots) {
      for (const bytes of slot.waiting) {
        out.push(bytes)
        this.#held -= bytes.length
      }
      slot.waiting.length = 0
      if (!slot.closed) break
      gone++
    }
    if (gone > 0) this.#slots.splice(0, gone)
    return out
  }
}
