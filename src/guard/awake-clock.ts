/**
 * Time in which the guard itself was awake. A guard that stood still (a machine that was suspended, moved or drowned in
 * work) has not read what its workers said meanwhile: by the wall clock all of them would be late, and be killed.
 */
export class AwakeClock {
  readonly #steadyMs: () => number
  readonly #tickMs: number
  #tickedMs: number
  #lostMs = 0

  /** @param tickMs how often `tick` should be called; a gap of twice that was no time of ours */
  constructor(steadyMs: () => number, tickMs: number) {
    this.#steadyMs = steadyMs
    this.#tickMs = tickMs
    this.#tickedMs = steadyMs()
  }

  nowMs(): number {
    return this.#steadyMs() - this.#lostMs
  }

  tick(): void {
    const nowMs = this.#steadyMs()
    const gapMs = nowMs - this.#tickedMs
    if (gapMs > 2 * this.#tickMs) this.#lostMs += gapMs - this.#tickMs
    this.#tickedMs = nowMs
  }
}
