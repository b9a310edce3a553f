/** A sealed message that was read to its end, and that somebody took something from on its way: the log says so. */
import type { Asking } from '../asking.ts'
import type { OpenTransform } from './transforms.ts'

/** @param uid of the message, where it is known */
export function logIncomplete(out: Pick<Asking, 'log'>, { facts }: OpenTransform, uid: number | null): void {
  const { messageId, missingParts, endMissing, layoutLost } = facts
  if (missingParts > 0) out.log('warn', 'sealed message incomplete', { missingParts, endMissing, uid, messageId })
  if (layoutLost > 0) out.log('warn', 'sealed message laid out anew', { parts: layoutLost, uid, messageId })
}
