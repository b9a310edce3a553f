/**
 * Parts of a sealed message that came in plain: which of them count, and where they begin in what opening gives out.
 *
 * Rule: a part of nothing but white space is none. Behind an open delimiter the blank lines that servers, and our own
 * padding, put at the end of a message look like one.
 */
import { MAX_LISTED_PARTS } from './exactness.ts'

export interface PlainPart {
  /** Of its header in what was given out, in octets; null: that was not given out yet, or is not at all. */
  place: number | null
  counts: boolean
}

export class PlainParts {
  #given = 0
  /** Until their headers are given out. */
  readonly #waiting = new Map<Buffer, PlainPart>()
  readonly #places: number[] = []

  /** Where those that count begin, in octets: of the first MAX_LISTED_PARTS. */
  get places(): readonly number[] {
    return this.#places
  }

  /** @param header by identity, it is to be given out; null: it is not */
  begin(header: Buffer | null): PlainPart {
    const part = { place: null, counts: false }
    if (header !== null && header.length > 0) this.#waiting.set(header, part)
    return part
  }

  count(part: PlainPart): void {
    part.counts = true
    if (part.place !== null) this.#list(part.place)
  }

  give(bytes: Buffer): void {
    const part = this.#waiting.get(bytes)
    if (part !== undefined) {
      this.#waiting.delete(bytes)
      part.place = this.#given
      if (part.counts) this.#list(part.place)
    }
    this.#given += bytes.length
  }

  #list(place: number): void {
    if (this.#places.length < MAX_LISTED_PARTS) this.#places.push(place)
  }
}

const WHITE_SPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0d, 0x0a])

export function hasText(bytes: Buffer): boolean {
  for (const octet of bytes) if (!WHITE_SPACE.has(octet)) return true
  return false
}
