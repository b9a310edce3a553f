/**
 * Tokens that need no storage: what they say and a MAC over it. A session token goes to whoever asks for a key, sealed
 * to that key; until somebody opens and uses it, it costs the repository nothing. Used ones have a row, by hash.
 *
 * The key of the MAC is a file beside the data and no part of a backup: with the database alone nobody makes a token.
 */
import { createHmac, createSecretKey, hash, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto'

/** Clients renew after 8 h and never log in again after a 401 (key-repository.md §2). */
export const SESSION_MS = 9 * 3600_000
/** A verify token stands in a message's header: as long as a relay may take to deliver it. */
export const VERIFY_MS = 30 * 86_400_000

const MAC_OCTETS = 24
const KIND = { session: 1, verify: 2 } as const

export interface SessionToken {
  readonly kind: 'session'
  readonly keyId: number
  readonly issuedMs: number
}

/** Bearer may read one item, as far as `userId` may. */
export interface VerifyToken {
  readonly kind: 'verify'
  readonly itemId: number
  readonly userId: number
  readonly issuedMs: number
}

export class Tokens {
  /** As an object: from raw octets Node would make one at each use. */
  readonly #key: KeyObject

  /** @param key 32 octets at least */
  constructor(key: Buffer) {
    this.#key = createSecretKey(key)
  }

  /** @returns 62 characters of base64url */
  session(keyId: number, nowMs: number): string {
    return this.#print(KIND.session, keyId, nowMs, randomBytes(8))
  }

  /** @returns `vaultItem.<id>.<token>` needs the id in front: this is the token alone */
  verify(itemId: number, userId: number, nowMs: number): string {
    const user = Buffer.alloc(8)
    user.writeUIntBE(userId % 2 ** 48, 2, 6)
    user.writeUInt16BE(Math.floor(userId / 2 ** 48), 0)
    return this.#print(KIND.verify, itemId, nowMs, user)
  }

  /** @returns null for what is no token of ours, or too old */
  read(text: string, nowMs: number): SessionToken | VerifyToken | null {
    if (!/^[A-Za-z0-9_-]{62}$/.test(text)) return null
    const octets = Buffer.from(text, 'base64url')
    // The last character has bits to spare: a session that was ended must not be had again under another spelling.
    if (octets.toString('base64url') !== text) return null
    const said = octets.subarray(0, -MAC_OCTETS)
    if (!timingSafeEqual(this.#mac(said), octets.subarray(-MAC_OCTETS))) return null
    const id = number7(said, 1)
    const issuedMs = said.readUIntBE(8, 6)
    const rest = said.subarray(14)
    if (said[0] === KIND.session && nowMs < issuedMs + SESSION_MS) return { kind: 'session', keyId: id, issuedMs }
    if (said[0] === KIND.verify && nowMs < issuedMs + VERIFY_MS) {
      return { kind: 'verify', itemId: id, userId: rest.readUInt16BE(0) * 2 ** 48 + rest.readUIntBE(2, 6), issuedMs }
    }
    return null
  }

  #print(kind: number, id: number, nowMs: number, rest: Buffer): string {
    const said = Buffer.alloc(14 + rest.length)
    said[0] = kind
    said[1] = Math.floor(id / 2 ** 48)
    said.writeUIntBE(id % 2 ** 48, 2, 6)
    said.writeUIntBE(nowMs, 8, 6)
    rest.copy(said, 14)
    return Buffer.concat([said, this.#mac(said)]).toString('base64url')
  }

  #mac(said: Buffer): Buffer {
    return createHmac('sha256', this.#key).update(said).digest().subarray(0, MAC_OCTETS)
  }
}

function number7(octets: Buffer, at: number): number {
  return octets[at]! * 2 ** 48 + octets.readUIntBE(at + 1, 6)
}

/** How a token is kept. */
export function hashToken(token: string): string {
  return hash('sha256', token, 'base64url')
}

/** A one-time token for a mail or a recovery: 32 random octets. */
export function randomToken(): string {
  return randomBytes(32).toString('base64url')
}
