/**
 * What workers know together: scores that fall by one a second, and how many sessions somebody has open. One process
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
  close(): Promise<void>
}

/** Addresses and accounts are not kept in the clear (daemon.md §5). */
export function stateKey(subject: string, name: string): string {
  return hash('sha256', `${subject}\0${name}`, 'base64url')
}

/** After so many seconds without a sign of life a process's sessions count no more. */
export const HOLD_SECONDS = 60

/** Scores are forgotten oldest first beyond this: an attacker with many addresses must not fill the memory. */
const MAX_SCORES = 100_000

export class LocalState implements SharedState {
  readonly #nowMs: () => number
  readonly #scores = new Map<string, { readonly score: number; readonly atMs: number }>()

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
