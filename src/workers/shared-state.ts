/**
 * What workers know together: scores that fall by one a second, how many sessions somebody has open, sizes of messages. One process
 * keeps it here in memory; several share the state file, several machines Redis. Losing it costs only time.
 */
import { hash } from 'node:crypto'

export interface SharedState {
  /** Adds to a score. Never throws: protection that breaks must not stop mail. */
  add(key: string, points: number): void
  /** The score as it has fallen until now; 0 for a stranger. Never rejects. */
  score(key: string): Promise<number>
  /**
   * Tells that this process now has so many sessions of that key open.
   * @returns those of all processes together. Never rejects.
   */
  hold(key: string, count: number): Promise<number>
  /** What was kept under that key; null where nothing is (any more). Never rejects. */
  recall(key: string): Promise<Buffer | null>
  /** Oldest goes first when there is too much. Never throws. @param value kept by its owner as it is, below 4 KiB */
  keep(key: string, value: Buffer): void
  close(): Promise<void>
}

/** Addresses and accounts are not kept in the clear (daemon.md §5). @param names in order; none holds a NUL */
export function stateKey(subject: string, ...names: readonly string[]): string {
  return hash('sha256', [subject, ...names].join('\0'), 'base64url')
}

/** Kept values of one machine: some 150 octets each in the file. */
export const MAX_KEPT = 500_000
/** Where there is no file. */
const MAX_KEPT_IN_MEMORY = 20_000

/** After so many seconds without a sign of life a process's sessions count no more. */
export const HOLD_SECONDS = 60

/** Scores are forgotten oldest first beyond this: an attacker with many addresses must not fill the memory. */
const MAX_SCORES = 100_000

export class LocalState implements SharedState {
  readonly #nowMs: () => number
  readonly #scores = new Map<string, { readonly score: number; readonly atMs: number }>()

  readonly #kept = new Map<string, Buffer>()

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs
  }

  add(key: string, points: number): void {
    const score = this.#now(key) + points
    this.#scores.delete(key)
    this.#scores.set(key, { score, atMs: this.#nowMs() })
    for (const oldest of this.#scores.keys()) {
      if (this.#scores.size <= MAX_SCORES) break
      this.#scores.delete(oldest)
    }
  }

  async score(key: string): Promise<number> {
    return this.#now(key)
  }

  async hold(_key: string, count: number): Promise<number> {
    return count
  }

  async recall(key: string): Promise<Buffer | null> {
    const value = this.#kept.get(key)
    if (value !== undefined) this.keep(key, value)
    return value ?? null
  }

  keep(key: string, value: Buffer): void {
    this.#kept.delete(key)
    this.#kept.set(key, value)
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= MAX_KEPT_IN_MEMORY) break
      this.#kept.delete(oldest)
    }
  }

  async close(): Promise<void> {}

  #now(key: string): number {
    const known = this.#scores.get(key)
    return known === undefined ? 0 : fallen(known.score, known.atMs, this.#nowMs())
  }
}

export function fallen(score: number, atMs: number, nowMs: number): number {
  // A clock that was set back must not raise a score.
  return Math.max(0, score - Math.max(0, nowMs - atMs) / 1000)
}
