/**
 * Short spooled copies that were read a moment ago: a page that is opened again, or by many, costs no file each time. A
 * copy never changes under its name, so all that can be wrong is that it is gone. Who may read it is not decided here.
 */

/** Longer ones are always read anew. Octets. */
export const MAX_KEPT_OCTETS = 64 * 1024
/** A deleted copy can be read that long. */
const KEPT_MS = 1000
/** All together: mail is seldom asked for twice, and then at once. Octets. */
const MAX_TOTAL_OCTETS = 1024 * 1024
const MAX_COPIES = 256

export class RecentCopies {
  /** Oldest first. */
  readonly #copies = new Map<string, { readonly octets: Buffer; readonly untilMs: number }>()
  #total = 0

  /** Octets that are kept. */
  get heldOctets(): number {
    return this.#total
  }

  get(path: string, nowMs: number): Buffer | null {
    const copy = this.#copies.get(path)
    if (copy === undefined) return null
    if (copy.untilMs > nowMs) return copy.octets
    this.#drop(path)
    return null
  }

  /** The buffer is kept, and shared. */
  keep(path: string, octets: Buffer, nowMs: number): void {
    if (octets.length > MAX_KEPT_OCTETS) return
    this.#drop(path)
    this.#copies.set(path, { octets, untilMs: nowMs + KEPT_MS })
    this.#total += octets.length
    for (const [oldest, { untilMs }] of this.#copies) {
      if (untilMs > nowMs && this.#total <= MAX_TOTAL_OCTETS && this.#copies.size <= MAX_COPIES) return
      this.#drop(oldest)
    }
  }

  clear(): void {
    this.#copies.clear()
    this.#total = 0
  }

  #drop(path: string): void {
    this.#total -= this.#copies.get(path)?.octets.length ?? 0
    this.#copies.delete(path)
  }
}
