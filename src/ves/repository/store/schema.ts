/**
 * The tables as kysely knows them, the same on SQLite and PostgreSQL: numbers are integers below 2^53, times are
 * milliseconds since the epoch, flags are 0 or 1, JSON is text. What makes them is migrations.ts.
 */
import type { Generated, Kysely, Selectable } from 'kysely'

export type KeyType = 'current' | 'shadow' | 'temp' | 'lost' | 'secondary' | 'recovery' | 'pending' | 'deleted'
export type KeyAlgo = 'RSA' | 'ECDH' | 'OQS'
export type ItemType = 'string' | 'file' | 'password' | 'secret'

export interface Schema {
  users: {
    id: Generated<number>
    /** Lower case. */
    email: string
    first_name: string | null
    last_name: string | null
    /** 0: was only written to so far. */
    account: number
    locked: number
    created_ms: number
  }
  vault_keys: {
    id: Generated<number>
    type: KeyType
    algo: KeyAlgo
    public_key: string
    private_key: string | null
    user_id: number
    creator_id: number
    app_url: string | null
    created_ms: number
    /** Session tokens made before are void: how sessions end that were never used. */
    tokens_after_ms: number
    /** 1: a temp key whose owner has keys of their own, so that its maker may have something to propagate. */
    due: number
  }
  key_externals: {
    id: Generated<number>
    domain: string
    external_id: string
    key_id: number
    /** 1 for the one vault of that name, null for the temp keys that stand for it: unique where not null. */
    working: number | null
  }
  vault_items: {
    id: Generated<number>
    type: ItemType
    meta: string | null
    creator_id: number
    /** A password item's key. */
    key_id: number | null
    file: number
    file_name: string | null
    file_mime: string | null
    file_path: string | null
    deleted: number
    created_ms: number
  }
  item_externals: { id: Generated<number>; domain: string; external_id: string; item_id: number }
  vault_entries: { id: Generated<number>; item_id: number; key_id: number; enc_data: string }
  sessions: {
    id: Generated<number>
    token_hash: string
    key_id: number
    user_id: number
    created_ms: number
    used_ms: number
    expires_ms: number
    revoked: number
    /** Of a section's vault: it only reads. */
    section: number
  }
  /** Matters that a session was told of. */
  session_attn: { session_id: number; key_id: number }
  audit_log: {
    seq: number
    at_ms: number
    actor: string
    user_id: number | null
    action: string
    subject: string
    /** JSON list of key ids. */
    keys: string
    hash: string
  }
  /** Entries that have no place in the chain yet. */
  audit_pending: {
    id: Generated<number>
    at_ms: number
    actor: string
    user_id: number | null
    action: string
    subject: string
    /** JSON list of key ids. */
    keys: string
  }
  audit_head: { id: number; seq: number; hash: string }
  /** One-time tokens sent by mail, hashed. */
  mail_tokens: { token_hash: string; email: string; expires_ms: number; used: number }
  mail_sent: { email: string; sent_ms: number; kind: string }
  recovery_plans: { user_id: number; threshold: number; delay_seconds: number; created_ms: number }
  /** Each share is an item with an entry for the friend's key: it goes along when the friend's key is rotated. */
  recovery_shares: { id: Generated<number>; user_id: number; friend_id: number; item_id: number }
  recovery_runs: {
    id: Generated<number>
    user_id: number
    algo: KeyAlgo
    public_key: string
    token_hash: string
    started_ms: number
    ready_ms: number
    state: 'running' | 'cancelled' | 'done'
  }
  recovery_given: { run_id: number; friend_id: number; enc_data: string }
}

export type Db = Kysely<Schema>
export type UserRow = Selectable<Schema['users']>
export type KeyRow = Selectable<Schema['vault_keys']>
export type ItemRow = Selectable<Schema['vault_items']>
export type EntryRow = Selectable<Schema['vault_entries']>
export type KeyExternalRow = Selectable<Schema['key_externals']>
export type ItemExternalRow = Selectable<Schema['item_externals']>
export type SessionRow = Selectable<Schema['sessions']>
export type AuditRow = Selectable<Schema['audit_log']>
