/**
 * The boundaries of the multiparts that are open.
 *
 * A line is a delimiter when it *begins* with `--` and a boundary, whatever follows (RFC 2046 §5.1.1, note to
 * implementors; Dovecot and the C gateway read it so, too); of several the longest counts, of equal ones the inner.
 *
 * Rule: each octet of a line is compared at most once with each open boundary, and those are no more than the limit of
 * nesting: a line of 100,000 that all look like the beginning of one costs no more than its share.
 */

export type BoundaryMatch =
  | { readonly found: 'no' }
  /** More octets are needed to tell. */
  | { readonly found: 'maybe' }
  | {
      readonly found: 'yes'
      /** As given to {@link BoundarySet.open}. */
      readonly frame: number
      /** Octets of `--`, the boundary, and `--` where it closes. */
      readonly octets: number
      readonly close: boolean
    }

const DASH = 0x2d
const NO: BoundaryMatch = { found: 'no' }
const MAYBE: BoundaryMatch = { found: 'maybe' }

interface Open {
  readonly octets: Buffer
  readonly frame: number
}

export class BoundarySet {
  readonly #open: Open[] = []

  get size(): number {
    return this.#open.length
  }

  /** @param boundary one character an octet @param frame a number that names the multipart */
  open(boundary: string, frame: number): void {
    this.#open.push({ octets: Buffer.from(boundary, 'latin1'), frame })
  }

  close(frame: number): void {
    this.#open.splice(
      this.#open.findIndex((open) => open.frame === frame),
      1,
    )
  }

  /** Is an open boundary the beginning of this one, or this one the beginning of an open one? Such lines read differently elsewhere. */
  clashes(boundary: string): boolean {
    return this.#open.some(({ octets }) => {
      const open = octets.toString('latin1')
      return open.startsWith(boundary) || boundary.startsWith(open)
    })
  }

  /**
   * @param bytes octets; the line begins at `at` and may be incomplete at `end`
   * @param final no more octets will come
   */
  match(bytes: Uint8Array, at: number, end: number, final: boolean): BoundaryMatch {
    const more = final ? NO : MAYBE
    if (this.#open.length === 0) return NO
    if (end - at < 2) return end === at || bytes[at] === DASH ? more : NO
    if (bytes[at] !== DASH || bytes[at + 1] !== DASH) return NO
    const from = at + 2
    let best: Open | null = null
    for (const open of this.#open) {
      const { octets } = open
      const known = Math.min(octets.length, end - from)
      let same = 0
      while (same < known && octets[same] === bytes[from + same]) same++
      if (same < known) continue
      if (known === octets.length) {
        if (best === null || octets.length >= best.octets.length) best = open
      } else if (!final) return MAYBE
    }
    if (best === null) return NO
    const to = from + best.octets.length
    const dashes = (bytes[to] === DASH && to < end ? 1 : 0) + (bytes[to + 1] === DASH && to + 1 < end ? 1 : 0)
    const close = dashes === 2
    if (!close && !final && (to === end || (to + 1 === end && dashes === 1))) return MAYBE
    return { found: 'yes', frame: best.frame, octets: to + (close ? 2 : 0) - at, close }
  }
}
