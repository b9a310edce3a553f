/** One request on its way through the rules: who asks, in which transaction, and what is to be noted about it. */

import type { Mailer } from './mailer.ts'
import type { Metrics } from './metrics.ts'
import type { RateLimit } from './rate.ts'
import { denied, noSession, quota } from './refuse.ts'
import type { SessionSealer } from './session-sealer.ts'
import type { Settings } from './settings.ts'
import type { StoreKind } from './store/migrations.ts'
import type { Db } from './store/schema.ts'
import type { Tokens } from './tokens.ts'
import type { Views } from './views/views.ts'

export type Caller =
  | { readonly kind: 'nobody' }
  | { readonly kind: 'admin' }
  | SessionCaller
  /** Holder of a verify token, as good as the access of the user it was given to. */
  | { readonly kind: 'item'; readonly itemId: number; readonly userId: number }

export interface SessionCaller {
  readonly kind: 'session'
  readonly sessionId: number
  readonly keyId: number
  readonly userId: number
  readonly email: string
  /** Of a section's vault: it only reads. */
  readonly section: boolean
}

/** A change, as the audit log has it: who and what key, never content. */
export interface AuditNote {
  readonly action: string
  readonly subject: string
  readonly keys: readonly number[]
  /** Whom it concerns; the caller's user if not said. */
  readonly userId?: number
}

export interface Call {
  readonly db: Db
  readonly store: StoreKind
  readonly caller: Caller
  /** Of the peer. */
  readonly address: string
  /** The token as it came, for the few requests whose tokens are no session's. */
  readonly bearer: string | null
  readonly nowMs: number
  readonly settings: Settings
  readonly tokens: Tokens
  readonly sealer: SessionSealer
  /** null where none is configured. */
  readonly mailer: Mailer | null
  /** Mails that one peer may cause. */
  readonly mailPeers: RateLimit
  /** Invitations that one sender may cause. */
  readonly mailSenders: RateLimit
  readonly metrics: Metrics
  readonly views: Views
  readonly notes: AuditNote[]
  /** Done when the transaction is over and its connection free: sealing takes milliseconds for some keys. */
  readonly afterwards: (() => void | Promise<void>)[]
  /** A transaction of its own, when this one is over: for what comes after the answer. */
  readonly later: (work: (db: Db) => Promise<void>) => Promise<void>
  /** Rows, and octets of encData, that this request may still load: `fields` multiply. */
  readonly budget: { rows: number; octets: number }
}

/** Counts rows about to be shown. @throws GatewayError VES_QUOTA */
export function spend(call: Call, rows: number): void {
  call.budget.rows -= rows
  if (call.budget.rows < 0) throw quota('the answer would be too large: ask for fewer fields')
}

/** @throws GatewayError VES_QUOTA */
export function spendOctets(call: Call, octets: number): void {
  call.budget.octets -= octets
  if (call.budget.octets < 0) throw quota('the answer would be too large: ask for less at a time')
}

/** @throws GatewayError API_SESSION, VES_DENIED */
export function needSession(call: Call): SessionCaller {
  if (call.caller.kind === 'session') return call.caller
  throw call.caller.kind === 'nobody' ? noSession() : denied('a session of the user is needed')
}

export function needAdmin(call: Call): void {
  if (call.caller.kind === 'admin') return
  throw call.caller.kind === 'nobody' ? noSession() : denied('the admin token is needed')
}

/** Id of the user who asks, 0 where no user does: no user has that. */
export function userIdOf(call: Call): number {
  return call.caller.kind === 'session' ? call.caller.userId : 0
}

export function note(call: Call, action: string, subject: string, keys: readonly number[] = [], userId?: number): void {
  call.notes.push(userId === undefined ? { action, subject, keys } : { action, subject, keys, userId })
}
