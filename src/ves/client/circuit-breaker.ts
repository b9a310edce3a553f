/**
 * Keeps a dead repository from holding up everybody who asks it: after some failures in a row requests fail at once,
 * and one at a time is let through to see whether it is back. No timers: it only reads the clock.
 */
import { backoffMs } from '../../base/backoff.ts'

export interface CircuitBreakerOptions {
  /** Failures in a row that open it. */
  readonly failures: number
  /** Time shut after the first opening; doubles with each failed attempt, up to `maxMs`. */
  readonly firstMs: number
  readonly maxMs: number
  readonly nowMs: () => number
}

export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions
  #failures = 0
  #openings = 0
  #untilMs = 0
  #probing = false

  constructor(options: CircuitBreakerOptions) {
    this.#options = options
  }

  /** For metrics. */
  get isOpen(): boolean {
    return this.#failures >= this.#options.failures
  }

  /** @returns milliseconds to the next attempt when the caller must not ask; null when it may, and then has to report */
  refusedForMs(): number | null {
    if (!this.isOpen) return null
    const leftMs = this.#untilMs - this.#options.nowMs()
    if (leftMs > 0 || this.#probing) return Math.max(leftMs, 0)
    this.#probing = true
    return null
  }

  /** An answer came, whatever it said. */
  succeeded(): void {
    this.#failures = 0
    this.#openings = 0
    this.#probing = false
  }

  failed(): void {
    this.#failures++
    this.#probing = false
    if (!this.isOpen) return
    this.#untilMs = this.#options.nowMs() + backoffMs(this.#openings++, this.#options.firstMs, this.#options.maxMs)
  }

  /** The caller gave up without learning anything. */
  abandoned(): void {
    this.#probing = false
  }
}
