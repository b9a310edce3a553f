/** Outlines of the selected mailbox's messages met lately, by UID. Bounded in headers' octets. */
import type { Outline } from './outline.ts'
import type { PartView } from './view/message-view.ts'

const MAX_OCTETS = 512 * 1024
/** What a part costs besides its header. */
const PART_OCTETS = 600

export class OutlineCache {
  readonly #outlines = new Map<number, { readonly outline: Outline; readonly octets: number }>()
  #octets = 0

  get(uid: number): Outline | null {
    return this.#outlines.get(uid)?.outline ?? null
  }

  put(uid: number, outline: Outline): void {
    this.#drop(uid)
    const octets = octetsOf(outline.view.root)
    if (octets > MAX_OCTETS / 4) return
    this.#outlines.set(uid, { outline, octets })
    this.#octets += octets
    for (const oldest of this.#outlines.keys()) {
      if (this.#octets <= MAX_OCTETS) break
      this.#drop(oldest)
    }
  }

  clear(): void {
    this.#outlines.clear()
    this.#octets = 0
  }

  #drop(uid: number): void {
    const found = this.#outlines.get(uid)
    if (found === undefined) return
    this.#outlines.delete(uid)
    this.#octets -= found.octets
  }
}

function octetsOf(part: PartView): number {
  return part.children.reduce((sum, child) => sum + octetsOf(child), part.headerOctets.length + PART_OCTETS)
}
