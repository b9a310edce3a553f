/**
 * Abuse protection (daemon.md §5): a score by client address (IPv6: its /64) and by account, which each event raises
 * by its weight times `abuse-sense`. The account is known only after unlocking, so that strangers can lock nobody out.
 */
import { addressUnit } from '../net/address.ts'
import { type SharedState, stateKey } from './shared-state.ts'

export type Subject = 'peer' | 'account'

export type AbuseEvent = 'refused' | 'unreachable' | 'success' | 'wrong-veskey'

/** What may be used up before a client is refused: an hour's worth of points. */
const ALLOWANCE = 3600

interface Weight {
  readonly points: number
  readonly subjects: readonly Subject[]
}

export const WEIGHTS: Readonly<Record<AbuseEvent, Weight>> = {
  /** The provider refuses the login. */
  refused: { points: 10, subjects: ['peer', 'account'] },
  /** Its greeting or TLS fails. */
  unreachable: { points: 2, subjects: ['peer', 'account'] },
  success: { points: 1, subjects: ['account'] },
  'wrong-veskey': { points: 2, subjects: ['peer'] },
}

export class Protection {
  readonly #state: SharedState

  constructor(state: SharedState) {
    this.#state = state
  }

  /** @param names of the subjects; an account that is not known (yet) is null. @param sense `abuse-sense`; 0 = off */
  count(event: AbuseEvent, sense: number, names: Readonly<Record<Subject, string | null>>): void {
    if (sense <= 0) return
    const { points, subjects } = WEIGHTS[event]
    for (const subject of subjects) {
      const name = names[subject]
      if (name !== null) this.#state.add(keyOf(subject, name), points * sense)
    }
  }

  /** Points left: 3600 for a stranger; below 0 is refused. */
  async remaining(subject: Subject, name: string): Promise<number> {
    return ALLOWANCE - (await this.#state.score(keyOf(subject, name)))
  }

  async isBlocked(subject: Subject, name: string): Promise<boolean> {
    return (await this.remaining(subject, name)) < 0
  }
}

function keyOf(subject: Subject, name: string): string {
  return stateKey(subject, subject === 'peer' ? addressUnit(name) : name.toLowerCase())
}
