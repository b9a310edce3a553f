/**
 * What a mail session and the world say to each other. A session (engine/imap, engine/smtp) is a state machine:
 * events in, actions out; it sees no socket, clock or file. `net/drive.ts` carries the actions out and brings the
 * answers back as later events. Everything a session needs from outside is a *question* of {@link Questions}.
 */
import type { GatewayError } from '../base/errors.ts'
import type { LogFields, LogLevel } from '../base/log.ts'
import type { Secret } from '../base/secret.ts'
import type { Account, SealMode, TlsLevel } from './account.ts'
import type { ChannelBinding, DeriveKeyAsk } from './sasl/client.ts'
import type { Credentials } from './sasl/credentials.ts'
import type { BatchJob, BatchResult } from './seal/batch.ts'
import type { OpenKeyAnswer, OpenKeyAsk, SealKeyAnswer, SealKeyAsk } from './seal/message-key.ts'

export type Side = 'client' | 'upstream'

/** A provider's certificate in words; given only to who wants to show it (the probe). */
export interface CertificateView {
  readonly host: string
  readonly subject: string
  readonly issuer: string
  /** `0 ok`, or why it is not trusted. */
  readonly verify: string
}

/** Every question a session may ask, with what comes back. Refusals come as a GatewayError. */
export interface Questions {
  /** Unlock the vault, read the profile. Wrong password and unknown account are both BAD_CREDENTIALS, in the same time. */
  login: { ask: Credentials; answer: Account }
  /** Open the connection to the provider (TLS at once where `tls.persist`). Refused with UPSTREAM_DNS, _CONNECTION, _TLS. */
  connect: {
    ask: {
      readonly host: string
      readonly port: number
      readonly level: TlsLevel
      readonly persist: boolean
    }
    /** `binding`: of the TLS connection, for SCRAM-SHA-256-PLUS; absent or null where it has none. */
    answer: {
      readonly tls: boolean
      readonly binding?: ChannelBinding | null
      readonly certificate?: CertificateView | null
    }
  }
  /** TLS handshake on an open connection. Plaintext already read on that side is for the session to refuse beforehand. */
  'start-tls': {
    ask: { readonly side: Side; readonly level: TlsLevel }
    answer: {
      readonly sni: string | null
      readonly binding?: ChannelBinding | null
      readonly certificate?: CertificateView | null
    }
  }
  /** Access token from the endpoint that the provider password names (daemon.md §3). Refused with UPSTREAM_ codes. */
  token: { ask: { readonly endpoint: Secret<string> }; answer: { readonly token: Secret<string> } }
  /** PBKDF2-HMAC-SHA-256, 32 octets, off the event loop: for SCRAM. */
  'derive-key': { ask: DeriveKeyAsk; answer: Buffer }
  /** Has this address (lower-cased) a vault, and may it get the key in this mode? Refused with RECIPIENT_WITHOUT_VAULT or a VES_ code. */
  recipient: { ask: { readonly address: string; readonly mode: SealMode }; answer: { readonly uri: string } }
  /** `recipients`: accepted envelope recipients; empty = for the account itself only (APPEND). */
  'seal-key': {
    ask: SealKeyAsk & { readonly recipients: readonly string[]; readonly mode: SealMode }
    answer: SealKeyAnswer
  }
  'open-key': { ask: OpenKeyAsk; answer: OpenKeyAnswer }
  /** Ciphers and transfer codings of a body, inline or in a thread. The job's buffers are given away. */
  batch: { ask: BatchJob; answer: BatchResult }
  /**
   * Sealed octets that do not fit memory, in a file of the session without a name: `write` appends (null comes back),
   * `read` gives octets written before, but not before the provider takes what it got already; `clear` gives up all.
   * `reserve` asks beforehand whether there will be space for so many more; nothing is held for it.
   * Refused with IO where there is no space, BUFFER_EXCEEDED where there is too much.
   */
  spill: {
    ask:
      | { readonly op: 'write'; readonly bytes: Buffer }
      | { readonly op: 'read'; readonly offset: number; readonly octets: number }
      | { readonly op: 'reserve'; readonly octets: number }
      | { readonly op: 'clear' }
    answer: { readonly bytes: Buffer | null }
  }
  /**
   * Sizes of an opened message, remembered for all sessions of this account at its provider (imap.md §5); the value means
   * something only to who keeps it. Losing it costs time: what cannot be had is null, what cannot be kept is dropped.
   * `uid` 0, which no message has: what is known of the mailbox as a whole.
   */
  sizes: {
    ask:
      | { readonly op: 'recall'; readonly mailbox: string; readonly uidValidity: number; readonly uid: number }
      | {
          readonly op: 'keep'
          readonly mailbox: string
          readonly uidValidity: number
          readonly uid: number
          readonly sizes: Buffer
        }
    answer: { readonly sizes: Buffer | null }
  }
  /** Nothing but time, e.g. the delay of a failed login. */
  wait: { ask: { readonly ms: number }; answer: null }
}

export type QuestionKind = keyof Questions
export type AskOf<K extends QuestionKind> = Questions[K]['ask']
export type AnswerOf<K extends QuestionKind> = Questions[K]['answer']

export type Event =
  /** Octets from one side; the buffer belongs to the session from now on. */
  | { readonly on: 'bytes'; readonly side: Side; readonly bytes: Buffer }
  /** That side is gone (end or error). */
  | { readonly on: 'closed'; readonly side: Side; readonly error: GatewayError | null }
  | { readonly on: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly on: 'refused'; readonly id: number; readonly error: GatewayError }
  /** The time set by the last `deadline` action is up. */
  | { readonly on: 'deadline' }
  /** Finish: at the next quiet point, or (forced) now. */
  | { readonly on: 'drain'; readonly forced: boolean }

export type Ask = {
  [K in QuestionKind]: { readonly do: 'ask'; readonly id: number; readonly kind: K; readonly ask: AskOf<K> }
}[QuestionKind]

export type Action =
  | Ask
  /** Octets to one side, in order; the buffer belongs to the driver from now on. */
  | { readonly do: 'send'; readonly side: Side; readonly bytes: Buffer }
  /** Replaces the session's one timer; null = none. */
  | { readonly do: 'deadline'; readonly ms: number | null }
  | { readonly do: 'log'; readonly level: LogLevel; readonly event: string; readonly fields: LogFields }
  /**
   * A copy of the sealed message for the spool (now.md): begun when its key is there, kept when the provider took it.
   * Octets are borrowed: the provider gets the same. What becomes of the copy never concerns the session.
   */
  | { readonly do: 'spool'; readonly step: 'begin'; readonly messageId: string }
  | { readonly do: 'spool'; readonly step: 'octets'; readonly bytes: Buffer }
  | { readonly do: 'spool'; readonly step: 'keep' | 'drop' }
  /** Close the provider's connection only. `abort`: at once, unsent octets are dropped. */
  | { readonly do: 'hang-up'; readonly abort: boolean }
  /** End of the session: what was sent before is still delivered (daemon.md §4: half-close, discard, close). */
  | { readonly do: 'close'; readonly why: GatewayError | 'quit' | 'drained' }

/** What the session knows of its client before the first octet. */
export interface SessionStart {
  /** Our host name in greetings. */
  readonly host: string
  /** Address and port of the client, and of the listener it reached; for Received and the log. */
  readonly client: { readonly address: string; readonly port: number }
  readonly local: { readonly address: string; readonly port: number }
  /** TLS is on already (implicit TLS). */
  readonly tls: boolean
  /** Server TLS level of the listener: decides whether STARTTLS and plaintext logins are offered. */
  readonly tlsLevel: TlsLevel
  readonly version: string
  /** Milliseconds since the epoch at which the session began; `Date:` values derive from it plus the events' times are not needed. */
  readonly nowMs: () => number
  /** Cryptographic random octets: ids, boundaries, fb0. Injected so that tests are reproducible. */
  readonly random: (octets: number) => Buffer
  readonly maxbufOctets: number
  /** Plaintext credentials are taken from this client without TLS although the level asks for TLS (loopback as configured). */
  readonly plaintextLogin?: boolean
  /** Largest plain message to submit, octets; absent, null = no limit of ours. May be another after STARTTLS. */
  readonly maxMessageOctets?: number | null
  /** Recipients of one message; absent: 1000. May be another after STARTTLS. */
  readonly maxRecipients?: number
  /** An `oauth-key` can open bearer tokens: XOAUTH2 and OAUTHBEARER are offered. */
  readonly oauth?: boolean
}

export interface Session {
  /** First actions: greeting, deadline. Called once, before any step. */
  start(): Action[]
  step(event: Event): Action[]
  /** False while the session cannot take more octets of that side: the driver stops reading there. Asked after each step. */
  wants(side: Side): boolean
}
