/**
 * Sizes of opened messages for all sessions and workers (imap.md §5), in the state that they share. The key holds the
 * account besides what names the message at its provider: nobody learns anything by what another account has read.
 */
import type { Account } from '../engine/account.ts'
import type { AnswerOf, AskOf } from '../engine/session.ts'
import { type SharedState, stateKey } from './shared-state.ts'

export class SizeStore {
  readonly #state: SharedState

  constructor(state: SharedState) {
    this.#state = state
  }

  async answer(ask: AskOf<'sizes'>, { user, profile }: Account): Promise<AnswerOf<'sizes'>> {
    const { imap } = profile
    if (imap === null) return { sizes: null }
    const { mailbox, uidValidity, uid } = ask
    const provider = [imap.host.toLowerCase(), `${imap.port}`, imap.login]
    // The mailbox comes last: a NUL in its name could only make it another mailbox of the same account.
    const key = stateKey('sizes', user, ...provider, `${uidValidity}`, `${uid}`, mailbox)
    if (ask.op === 'recall') return { sizes: await this.#state.recall(key) }
    this.#state.keep(key, ask.sizes)
    return { sizes: null }
  }
}
