/** Counts events by name within a sliding window; bounded: when too many names are known the oldest are forgotten. */

/** Names remembered; a flood of names costs memory of this many only. */
const MAX_NAMES = 10_000

export class RateWindow {
  readonly #limit: number
  readonly #windowMs: number
  readonly #names = new Map<string, number[]>()

  constructor(limit: number, windowMs: number) {
    this.#limit = limit
    this.#windowMs = windowMs
  }

  /** Counts this event if it is within the limit. */
  admits(name: string, nowMs: number): boolean {
    const recent = (this.#names.get(name) ?? []).filter((at) => nowMs - at < this.#windowMs)
    const admitted = recent.length < this.#limit
    if (admitted) recent.push(nowMs)
    this.#names.delete(name)
    this.#names.set(name, recent)
    if (this.#names.size > MAX_NAMES) this.#names.delete(this.#names.keys().next().value as string)
    return admitted
  }
}
