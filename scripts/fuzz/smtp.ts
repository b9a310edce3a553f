/** Fuzz target of SMTP sessions: client, provider and repository do anything; see `test/engine/smtp/chaos.ts`. */
import { chaos } from '../../test/engine/smtp/chaos.ts'
import type { FuzzTarget } from './target.ts'

export const SMTP_TARGETS: readonly FuzzTarget[] = [{ name: 'smtp-session', run: (dice) => void chaos(dice) }]
