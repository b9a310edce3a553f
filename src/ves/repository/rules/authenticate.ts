/** Who asks: the Authorization header, turned into a caller. A token that is no longer good is 401 on every call. */
import { hash, timingSafeEqual } from 'node:crypto'
import type { Caller } from '../call.ts'
import { noSession } from '../refuse.ts'
import type { SessionSealer } from '../session-sealer.ts'
import type { Settings } from '../settings.ts'
import { keyById } from '../store/keys.ts'
import type { Db } from '../store/schema.ts'
import { insertSession, pruneSessions, sessionByHash, touchSession } from '../store/sessions.ts'
import { userById } from '../store/users.ts'
import { hashToken, SESSION_MS, type SessionToken, type Tokens, type VerifyToken } from '../tokens.ts'
import { isSectionKey } from './names.ts'

export type Credentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'basic' }
  | { readonly kind: 'bearer'; readonly token: string }

const TOUCH_MS = 300_000
/** Surplus sessions are looked for at one in so many logins. */
const PRUNE_EVERY = 16
/** Longer ones are nobody's (key-repository.md §2), and are not hashed. */
const MAX_TOKEN = 120

/** @throws GatewayError API_SESSION for a header that is neither */
export function parseAuthorization(header: string | undefined): Credentials {
  if (header === undefined || header === '') return { kind: 'none' }
  const [, scheme, rest] = /^([A-Za-z]+) +([^\s,;]+)\s*$/.exec(header) ?? []
  if (scheme?.toLowerCase() === 'basic') return { kind: 'basic' }
  if (scheme?.toLowerCase() !== 'bearer' || rest === undefined || rest.length > MAX_TOKEN) {
    throw noSession('Authorization: Bearer expected')
  }
  return { kind: 'bearer', token: rest }
}

/** A session's token, or an item's, bare or as `vaultItem.<id>.<token>`. @returns null for what is none of ours */
export function readToken(tokens: Tokens, text: string, nowMs: number): SessionToken | VerifyToken | null {
  const item = /^vaultItem\.([1-9]\d{0,15})\.([A-Za-z0-9_-]+)$/.exec(text)
  const said = tokens.read(item?.[2] ?? text, nowMs)
  if (said === null || item === null) return said
  return said.kind === 'verify' && String(said.itemId) === item[1] ? said : null
}

export interface Authenticating {
  readonly db: Db
  readonly tokens: Tokens
  readonly sealer: SessionSealer
  readonly settings: Settings
  readonly adminTokenHash: Buffer
  readonly nowMs: number
}

/** @throws GatewayError API_SESSION */
export async function authenticate(given: Credentials, at: Authenticating): Promise<Caller> {
  if (given.kind === 'none') return { kind: 'nobody' }
  if (given.kind === 'basic') throw noSession('this repository knows no passwords')
  if (timingSafeEqual(hash('sha256', given.token, 'buffer'), at.adminTokenHash)) return { kind: 'admin' }
  const said = readToken(at.tokens, given.token, at.nowMs)
  if (said === null) throw noSession('token invalid or expired')
  if (said.kind === 'verify') {
    const user = await userById(at.db, said.userId)
    if (user === null || user.locked !== 0) throw noSession('token invalid or expired')
    return { kind: 'item', itemId: said.itemId, userId: said.userId }
  }
  const tokenHash = hashToken(given.token)
  const known = await sessionByHash(at.db, tokenHash)
  if (known === null) return begin(at, said.keyId, said.issuedMs, tokenHash)
  if (known.revoked !== 0 || known.key_type === 'deleted' || known.locked !== 0) throw noSession('session ended')
  if (known.used_ms + TOUCH_MS < at.nowMs) await touchSession(at.db, known.id, at.nowMs)
  return {
    kind: 'session',
    sessionId: known.id,
    keyId: known.key_id,
    userId: known.user_id,
    email: known.email,
    section: known.section === 1,
  }
}

/** The first use of a token: only now does it take a row. */
async function begin(at: Authenticating, keyId: number, issuedMs: number, tokenHash: string): Promise<Caller> {
  const key = await keyById(at.db, keyId)
  const user = key === null ? null : await userById(at.db, key.user_id)
  if (key === null || user === null || key.type === 'deleted' || user.locked !== 0 || issuedMs <= key.tokens_after_ms) {
    throw noSession('session ended')
  }
  const expiresMs = issuedMs + SESSION_MS
  const section = await isSectionKey(at.db, keyId)
  const sessionId = await insertSession(at.db, { tokenHash, keyId, userId: user.id, expiresMs, section }, at.nowMs)
  if (sessionId % PRUNE_EVERY === 0) await pruneSessions(at.db, keyId, at.settings.maxSessionsPerKey, at.nowMs)
  at.sealer.used(keyId)
  return { kind: 'session', sessionId, keyId, userId: user.id, email: user.email, section }
}
