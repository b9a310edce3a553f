/** A sealed message that was read to its end, and that somebody changed on its way: the log says so, once for each reading. */
import type { Asking } from '../asking.ts'
import type { OpenTransform } from './transforms.ts'

/** @param uid of the message, where it is known */
export function logChanges(out: Pick<Asking, 'log'>, { facts }: OpenTransform, uid: number | null): void {
  const { messageId, missingParts, endMissing, unsealedParts, altered, layoutLost } = facts
  if (missingParts > 0) out.log('warn', 'sealed message incomplete', { missingParts, endMissing, uid, messageId })
  if (unsealedParts > 0) out.log('warn', 'sealed message with parts in plain', { parts: unsealedParts, uid, messageId })
  if (altered) out.log('warn', 'sealed message altered', { uid, messageId })
  if (layoutLost > 0) out.log('warn', 'sealed message laid out anew', { parts: layoutLost, uid, messageId })
}
