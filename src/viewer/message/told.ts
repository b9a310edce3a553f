/** What the page says of a message as a whole, beside showing it: how much of it came, and whose it is. */
import type { OpenFacts } from '../../engine/seal/opener.ts'

export interface Told {
  /** The copy ends before the message does. */
  readonly cut: boolean
  /** Parts were taken out on its way, e.g. by a filter. */
  readonly isIncomplete: boolean
  /** Parts came in plain: the sender did not write them. */
  readonly hasUnsealed: boolean
  /** What stands in plain around the parts is not as it was sent. */
  readonly isAltered: boolean
}

export interface Copy {
  /** It is as long as spooled copies may be. */
  readonly endsAtLimit: boolean
  /** Its last part cannot be opened. */
  readonly isBroken: boolean
  /** Of what was opened, up to where the last part that is shown goes; what follows is half a header. Octets. */
  readonly shownOctets: number
}

/**
 * A copy that is cut within a sealed part is broken; between two it looks as if parts had been taken off its end, and
 * behind the last one as if that end were another.
 */
export function isCut(
  { missingParts, altered }: OpenFacts,
  { endsAtLimit, isBroken }: Omit<Copy, 'shownOctets'>,
): boolean {
  return endsAtLimit && (isBroken || missingParts > 0 || altered)
}

export function toldOf(facts: OpenFacts, copy: Copy): Told {
  const cut = isCut(facts, copy)
  const { missingParts, unsealedParts, unsealedAt, altered } = facts
  // Half a header does not say that its part is sealed; nothing of that part is shown. Of a part without a place that is
  // not known: it counts.
  const notShown = cut && (unsealedAt.at(-1) ?? -1) >= copy.shownOctets ? 1 : 0
  return {
    cut,
    isIncomplete: missingParts > 0 && !cut,
    hasUnsealed: unsealedParts > notShown || unsealedAt.length > notShown,
    isAltered: altered && !cut,
  }
}
