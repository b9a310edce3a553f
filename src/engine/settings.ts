/**
 * What an administrator decides about mail, as the sessions see it: already merged from the configuration, the
 * host's file and, after login, the profile's override (daemon.md §1, §3). Frozen; the same object for all of a session.
 */
import type { Sizes } from './account.ts'

export interface MailSettings {
  /** Plaintext Subject of sealed mail. */
  readonly subject: string
  /** Banner parts: each file's content, `{$app.…}` filled in; `{$url}` is left for the message (daemon.md §1, Banners). */
  readonly banners: readonly Buffer[]
  /** `now.url`, the viewer's address before the message id; null = none. */
  readonly viewerUrl: string | null
  /** X-VESmail-Verify in submitted mail: only where `now.url` is set and `now.dir` is not (message-format.md §4). */
  readonly verifyHeader: boolean
  /** Largest literal, and largest leaf examined whole, held in memory. */
  readonly maxbufOctets: number
  readonly sizes: Sizes
  /** Octets that one command may read at the provider to learn sizes (imap.md §5). */
  readonly sizeBudgetOctets: number
  /** Accounts or vault URIs that every message key is shared with; a missing one makes sealing fail. */
  readonly audit: readonly string[]
  /** `addr` or `Name <addr>`: blind copies of all mail (smtp.md §4). */
  readonly bcc: readonly string[]
  readonly bccPlain: boolean
}
