/**
 * The boundaries of the multiparts that are open, as a tree by octets, so that a line is compared with all of them in
 * the time of its own length (a line of 100,000 that all look like the beginning of one costs no more).
 *
 * A line is a delimiter when it *begins* with `--` and a boundary, whatever follows (RFC 2046 §5.1.1, note to
 * implementors; Dovecot and the C gateway read it so, too); of several the longest counts.
 */

interface Node {
  readonly next: Map<number, Node>
  /** Frames whose boundary ends here, innermost last. */
  readonly frames: number[]
  /** Boundaries that pass through or end here. */
  uses: number
}

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

const node = (): Node => ({ next: new Map(), frames: [], uses: 0 })

export class BoundarySet {
  readonly #root = node()

  get size(): number {
    return this.#root.uses
  }

  /** @param boundary one character an octet @param frame a number that names the multipart */
  open(boundary: string, frame: number): void {
    let at = this.#root
    at.uses++
    for (let i = 0; i < boundary.length; i++) {
      const octet = boundary.charCodeAt(i)
      let next = at.next.get(octet)
      if (next === undefined) {
        next = node()
        at.next.set(octet, next)
      }
      at = next
      at.uses++
    }
    at.frames.push(frame)
  }

  close(boundary: string, frame: number): void {
    let at = this.#root
    at.uses--
    for (let i = 0; i < boundary.length; i++) {
      const octet = boundary.charCodeAt(i)
      const next = at.next.get(octet)!
      if (--next.uses === 0) {
        at.next.delete(octet)
        return
      }
      at = next
    }
    at.frames.splice(at.frames.indexOf(frame), 1)
  }

  /** Is an open boundary the beginning of this one, or this one the beginning of an open one? Such lines read differently elsewhere. */
  clashes(boundary: string): boolean {
    let at = this.#root
    for (let i = 0; i < boundary.length; i++) {
      if (at.frames.length > 0) return true
      const next = at.next.get(boundary.charCodeAt(i))
      if (next === undefined) return false
      at = next
    }
    return true
  }

  /**
   * @param bytes octets; the line begins at `at` and may be incomplete at `end`
   * @param final no more octets will come
   */
  match(bytes: Uint8Array, at: number, end: number, final: boolean): BoundaryMatch {
    const more = final ? NO : MAYBE
    if (this.#root.uses === 0) return NO
    if (end - at < 2) return end === at || bytes[at] === DASH ? more : NO
    if (bytes[at] !== DASH || bytes[at + 1] !== DASH) return NO
    let node = this.#root
    let i = at + 2
    let best: { frame: number; to: number } | null = null
    for (;;) {
      if (node.frames.length > 0) best = { frame: node.frames[node.frames.length - 1]!, to: i }
      if (node.next.size === 0) break
      if (i === end) {
        if (!final) return MAYBE
        break
      }
      const next = node.next.get(bytes[i]!)
      if (next === undefined) break
      node = next
      i++
    }
    if (best === null) return NO
    const { frame, to } = best
    const closing = (octet: number) => to + octet < end && bytes[to + octet] === DASH
    if (closing(0) && closing(1)) return { found: 'yes', frame, octets: to + 2 - at, close: true }
    if (!final && (to === end || (to + 1 === end && closing(0)))) return MAYBE
    return { found: 'yes', frame, octets: to - at, close: false }
  }
}
