/**
 * Keeps a dead repository from holding up everybody who asks it: after some failures in a row requests fail at once,
 * and one at a time is let through to see whether it is back. No timers: it only reads the clock.
 */
import { backoffMs } from '../../base/backoff.ts'

export interface CircuitBreakerOptions {
  /** Failures in a row that open it, … */
  readonly failures: number
  /** … once they go on for so long: a repository that is restarted takes a second. */
  readonly leastMs: number
  /** Time shut after the first opening; doubles with each failed attempt, up to `maxMs`. */
  readonly firstMs: number
  readonly maxMs: number
  readonly nowMs: () => number
}

export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions
  #failures = 0
  #failingSinceMs = 0
  #isOpen = false
  #openings = 0
  #untilMs = 0
  #probing = false

  constructor(options: CircuitBreakerOptions) {
    this.#options = options
  }

  /** For metrics. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** @returns milliseconds to the next attempt when the caller must not ask; null when it may, and then has to report */
  refusedForMs(): number | null {
    if (!this.#isOpen) return null
    const leftMs = this.#untilMs - this.#options.nowMs()
    if (leftMs > 0 || this.#probing) return Math.max(leftMs, 0)
    this.#probing = true
    return null
  }

  /** An answer came, whatever it said. */
  succeeded(): void {
    this.#failures = 0
    this.#isOpen = false
    this.#openings = 0
    this.#probing = false
  }

  failed(): void {
    const { failures, leastMs, firstMs, maxMs } = this.#options
    const nowMs = this.#options.nowMs()
    if (this.#failures++ === 0) this.#failingSinceMs = nowMs
    if (this.#isOpen) {
      // Requests that were under way when it opened tell nothing new: else a hundred of them would shut it for long.
      if (nowMs < this.#untilMs) return
    } else if (this.#failures < failures || nowMs < this.#failingSinceMs + leastMs) return
    this.#isOpen = true
    this.#probing = false
    this.#untilMs = nowMs + backoffMs(this.#openings++, firstMs, maxMs)
  }
}
