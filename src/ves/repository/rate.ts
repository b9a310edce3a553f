/** Token buckets by name, bounded: a flood of new names forgets the oldest, whose bucket would be full again soon. */
export class RateLimit {
  readonly #perSecond: number
  readonly #burst: number
  readonly #maxNames: number
  readonly #buckets = new Map<string, { left: number; atMs: number }>()

  constructor(perSecond: number, burst: number, maxNames = 50_000) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#maxNames = maxNames
  }

  /** @returns false when the name has used up what it may */
  take(name: string, nowMs: number): boolean {
    const bucket = this.#buckets.get(name) ?? { left: this.#burst, atMs: nowMs }
    const left = Math.min(this.#burst, bucket.left + (Math.max(0, nowMs - bucket.atMs) / 1000) * this.#perSecond)
    this.#buckets.delete(name)
    if (this.#buckets.size >= this.#maxNames) this.#buckets.delete(this.#buckets.keys().next().value!)
    this.#buckets.set(name, { left: left >= 1 ? left - 1 : left, atMs: nowMs })
    return left >= 1
  }
}
