/**
 * A cache with three bounds, count, weight and age, in which equal lookups at the same time are one lookup.
 * Failures and nulls are not kept: what was not there a moment ago may be there now. Least recently used goes first.
 */

export interface BoundedCacheOptions<V> {
  readonly maxEntries: number
  readonly maxOctets: number
  readonly ttlMs: number
  readonly nowMs: () => number
  /** Estimated octets of a value. */
  readonly octetsOf: (value: V) => number
}

interface Kept<V> {
  readonly value: V
  readonly octets: number
  readonly untilMs: number
}

export class BoundedCache<V> {
  readonly #options: BoundedCacheOptions<V>
  /** In order of use: a Map keeps the order of insertion. */
  readonly #kept = new Map<string, Kept<V>>()
  readonly #pending = new Map<string, Promise<V | null>>()
  #octets = 0

  constructor(options: BoundedCacheOptions<V>) {
    this.#options = options
  }

  get size(): number {
    return this.#kept.size
  }

  get octets(): number {
    return this.#octets
  }

  /** The kept value, or what `look` finds. `look` runs once for all who ask meanwhile, and they share its failure. */
  async get(key: string, look: () => Promise<V | null>): Promise<V | null> {
    const kept = this.peek(key)
    if (kept !== null) return kept
    const pending = this.#pending.get(key)
    if (pending !== undefined) return pending
    const asked = look().then((value) => {
      // A `delete` meanwhile removed it from the pending: then what was found may be out of date already.
      if (value !== null && this.#pending.get(key) === asked) this.set(key, value)
      return value
    })
    this.#pending.set(key, asked)
    try {
      return await asked
    } finally {
      if (this.#pending.get(key) === asked) this.#pending.delete(key)
    }
  }

  peek(key: string): V | null {
    const kept = this.#kept.get(key)
    if (kept === undefined) return null
    this.#forget(key, kept)
    if (kept.untilMs <= this.#options.nowMs()) return null
    this.#keep(key, kept)
    return kept.value
  }

  set(key: string, value: V): void {
    this.delete(key)
    const { maxEntries, maxOctets, ttlMs, nowMs, octetsOf } = this.#options
    const octets = octetsOf(value)
    if (octets > maxOctets || maxEntries === 0) return
    this.#keep(key, { value, octets, untilMs: nowMs() + ttlMs })
    for (const [oldest, kept] of this.#kept) {
      // What is out of date goes too, as far as it lies in front: secrets shall not outlive their use.
      const isOver = this.#kept.size > maxEntries || this.#octets > maxOctets
      if (!isOver && kept.untilMs > nowMs()) break
      this.#forget(oldest, kept)
    }
  }

  delete(key: string): void {
    this.#pending.delete(key)
    const kept = this.#kept.get(key)
    if (kept !== undefined) this.#forget(key, kept)
  }

  clear(): void {
    this.#pending.clear()
    this.#kept.clear()
    this.#octets = 0
  }

  #keep(key: string, kept: Kept<V>): void {
    this.#kept.set(key, kept)
    this.#octets += kept.octets
  }

  #forget(key: string, kept: Kept<V>): void {
    this.#kept.delete(key)
    this.#octets -= kept.octets
  }
}
