/**
 * Cuts off the blank lines that stand behind a message as padding (docs/exactness.md, key `g`). The length it was sealed
 * with says where they begin, as long as nobody made line ends others on the way, or put something in: so white space
 * alone is cut off, and never text.
 */
const MAX_HELD_OCTETS = 64 * 1024

export class Padding {
  #octetsLeft: number
  /** White space that is padding, unless text follows. */
  #held: Buffer[] = []
  #heldOctets = 0

  /** @param octets of the message */
  constructor(octets: number) {
    this.#octetsLeft = octets
  }

  /** @param bytes opened, in order @returns what of them, and of what was held back, is the message's */
  take(bytes: Buffer): Buffer[] {
    const own = Math.min(bytes.length, this.#octetsLeft)
    this.#octetsLeft -= own
    const end = textEnd(bytes, own)
    const out = end === 0 ? [] : [...this.#held, bytes.subarray(0, end)]
    if (end > 0) this.#hold([], 0)
    // More of it than this is padding in any case.
    const rest = bytes.subarray(end, end + MAX_HELD_OCTETS - this.#heldOctets)
    if (rest.length > 0) this.#hold([...this.#held, rest], this.#heldOctets + rest.length)
    return out
  }

  #hold(held: Buffer[], octets: number): void {
    this.#held = held
    this.#heldOctets = octets
  }
}

const WHITE_SPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0d, 0x0a])

/** Where the last text ends, at `from` or behind it. */
function textEnd(bytes: Buffer, from: number): number {
  let end = bytes.length
  while (end > from && WHITE_SPACE.has(bytes[end - 1]!)) end--
  return end
}
