/**
 * Abuse protection as the worker uses it (daemon.md §5): scores by client address and by account. Where the scores
 * are kept — in this process, in the state file of all workers, in Redis — is behind this interface.
 */

export type Subject = 'peer' | 'account'

export interface Protection {
  /** Nothing remains of what this address or account may do. Never rejects: a lost store lets mail through. */
  isBlocked(subject: Subject, name: string): Promise<boolean>
  /** @param points weight of the event, times `abuse-sense` */
  count(subject: Subject, name: string, points: number): void
  /** Points left: 3600 for a stranger, 0 or less is refused. */
  remaining(subject: Subject, name: string): Promise<number>
}
