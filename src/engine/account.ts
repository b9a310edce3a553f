/**
 * The account as the sessions see it: what its mail profile says about the provider (daemon.md §3).
 * Keys and VES sessions are not here: they stay with whoever answers the questions of `session.ts`.
 */
import type { Secret } from '../base/secret.ts'
import type { MailSettings } from './settings.ts'

/** none: no TLS · optional: STARTTLS if offered, any certificate · unsecure: TLS, any certificate · medium: verified · high: verified, TLS ≥ 1.2 */
export type TlsLevel = 'none' | 'optional' | 'unsecure' | 'medium' | 'high'

export interface Provider {
  readonly host: string
  readonly port: number
  readonly tls: { readonly level: TlsLevel /** TLS from the first octet. */; readonly persist: boolean }
  readonly login: string
  readonly password: Secret<string>
  /** A mechanism to insist on, exact upper case; null = the first of the provider's that we know. */
  readonly sasl: string | null
}

/** What happens to recipients without a vault (smtp.md §3). */
export type SealMode = 'PLAIN' | 'FALLBACK' | 'REJECT' | 'XCHG' | 'HIGH'

export type Sizes = 'auto' | 'exact' | 'estimate'

export interface Profile {
  readonly imap:
    | (Provider & {
        readonly sizes: Sizes | null
        /** What FETCH shows of a message whose key is not there (yet); absent = hide. */
        readonly unavailable?: 'hide' | 'placeholder'
        /** SEARCH may open messages to look into them; absent: only those that are opened already. */
        readonly search?: 'open'
      })
    | null
  readonly smtp: (Provider & { readonly mode: SealMode | null }) | null
}

/** A client that proved who it is: its profile, and names for the log. */
export interface Account {
  /** As the client gave it. */
  readonly name: string
  /** E-mail address of the VES user. */
  readonly user: string
  readonly profile: Profile
  readonly settings: MailSettings
}
