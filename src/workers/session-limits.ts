/**
 * How many sessions an address or account may have open, over all workers and machines that share their state.
 */
import { addressUnit } from '../net/address.ts'
import { type SharedState, stateKey } from './shared-state.ts'

export class SessionLimits {
  readonly #state: SharedState
  readonly #counts = new Map<string, number>()

  constructor(state: SharedState) {
    this.#state = state
  }

  /** @returns how to give the place back, once; null where the limit is reached */
  address(address: string, limit: number): Promise<(() => void) | null> {
    return this.#enter(stateKey('sessions of address', addressUnit(address)), limit)
  }

  account(user: string, limit: number): Promise<(() => void) | null> {
    return this.#enter(stateKey('sessions of account', user.toLowerCase()), limit)
  }

  async #enter(key: string, limit: number): Promise<(() => void) | null> {
    const total = await this.#state.hold(key, this.#change(key, 1))
    if (total > limit) {
      this.#leave(key)
      return null
    }
    let isOpen = true
    return () => {
      if (isOpen) this.#leave(key)
      isOpen = false
    }
  }

  #leave(key: string): void {
    // Never rejects, and nobody waits for it.
    void this.#state.hold(key, this.#change(key, -1))
  }

  #change(key: string, by: number): number {
    const count = (this.#counts.get(key) ?? 0) + by
    if (count <= 0) this.#counts.delete(key)
    else this.#counts.set(key, count)
    return Math.max(0, count)
  }
}
