/**
 * The end of a worker's sessions: asked to finish one after another over a window, told to go at the deadline
 * (daemon.md §4). New ones that still come are asked at once.
 */

export interface Drainable {
  drain(forced: boolean): void
}

export class Draining {
  readonly #timers = new Set<NodeJS.Timeout>()

  /**
   * @param sessions open now
   * @param windowMs idle clients that all reconnect in the same moment would be a storm of our own making
   * @param deadlineMs from now
   * @param atDeadline forces what is open then: more than these, where somebody was on the way in
   */
  start(sessions: Iterable<Drainable>, windowMs: number, deadlineMs: number, atDeadline: () => void): void {
    const all = [...sessions]
    const window = Math.min(windowMs, deadlineMs)
    for (const [i, session] of all.entries()) {
      const atMs = (window * i) / all.length
      if (atMs === 0) session.drain(false)
      else this.#later(atMs, () => session.drain(false))
    }
    this.#later(deadlineMs, atDeadline)
  }

  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  #later(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, ms)
    this.#timers.add(timer)
  }
}
