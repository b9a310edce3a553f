/**
 * Turns among the processes that share a state, for what two of them must not do at the same time. Whoever holds a name
 * alone has it; two who come together both step back for a random while. Nobody waits for ever: better done twice than
 * not at all.
 */
import type { Turn, Turns } from '../net/oauth-tokens.ts'
import { type SharedState, stateKey } from './shared-state.ts'

/** Longer than a request to a token endpoint takes with its time-out. */
const WAIT_MS = 20_000
const STEP_BACK_MS = 20
const STEP_BACK_RANDOM_MS = 60

export interface TurnsOptions {
  readonly waitMs?: number
  /** From 0 up to 1. */
  readonly random?: () => number
}

/** Of one process, which must not take a name that it has already. */
export function turnsOf(state: SharedState, { waitMs = WAIT_MS, random = Math.random }: TurnsOptions = {}): Turns {
  return async (name: string): Promise<Turn> => {
    const key = stateKey('turn', name)
    const untilMs = performance.now() + waitMs
    for (let waited = false; ; waited = true) {
      // Never rejects, and nobody waits for the place to be given back.
      if ((await state.hold(key, 1)) <= 1) return { waited, done: () => void state.hold(key, 0) }
      await state.hold(key, 0)
      if (performance.now() > untilMs) return { waited: true, done: () => {} }
      await new Promise((later) => setTimeout(later, STEP_BACK_MS + random() * STEP_BACK_RANDOM_MS))
    }
  }
}
