/**
 * `node:crypto` for the browser, as far as the engine uses it at once (WebCrypto answers later only): ciphers, hashes
 * and PBKDF2 are those of the noble libraries, random octets the browser's. Public-key operations are not here: see
 * `../keys.ts`; whoever calls them by mistake gets an error and no half measure.
 *
 * Rule: no cryptography of our own, only the shape of Node's functions.
 */
import { cbc, cfb, gcm } from '@noble/ciphers/aes.js'
import { sha1 } from '@noble/hashes/legacy.js'
import { pbkdf2 } from '@noble/hashes/pbkdf2.js'
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js'
import { isWebKey, type WebKey } from '../web-key.ts'

const HASHES = { sha1, sha256, sha384, sha512 } as const
const TAG_OCTETS = 16

/** What `KeyObject` is to the engine: octets of a secret key, or a key of `../keys.ts`. */
export type KeyObject = Uint8Array | WebKey

interface OneCipher {
  readonly encrypt: (octets: Uint8Array) => Uint8Array
  readonly decrypt: (octets: Uint8Array) => Uint8Array
}

function cipherOf(algo: string, key: Uint8Array, iv: Uint8Array): OneCipher {
  switch (algo) {
    case 'aes-256-gcm':
      return gcm(key, iv)
    case 'aes-256-cfb':
      return cfb(key, iv)
    case 'aes-256-cbc':
      return cbc(key, iv)
    default:
      throw new Error(`no cipher ${algo} in the browser`)
  }
}

class Cipher {
  readonly #algo: string
  readonly #cipher: OneCipher
  #tag: Buffer | null = null
  #used = false

  constructor(algo: string, key: Uint8Array, iv: Uint8Array) {
    this.#algo = algo
    this.#cipher = cipherOf(algo, key, iv)
  }

  /** Once, with all of it: the library has no streams. */
  update(plain: Uint8Array): Buffer {
    if (this.#used) throw new Error('one update only')
    this.#used = true
    const sealed = this.#cipher.encrypt(plain)
    if (this.#algo !== 'aes-256-gcm') return Buffer.from(sealed)
    this.#tag = Buffer.from(sealed.subarray(-TAG_OCTETS))
    return Buffer.from(sealed.subarray(0, -TAG_OCTETS))
  }

  final(): Buffer {
    return Buffer.alloc(0)
  }

  getAuthTag(): Buffer {
    if (this.#tag === null) throw new Error('nothing was encrypted')
    return this.#tag
  }
}

class Decipher {
  readonly #algo: string
  readonly #cipher: OneCipher
  #tag: Uint8Array | null = null
  #failed: unknown = null
  #used = false

  constructor(algo: string, key: Uint8Array, iv: Uint8Array) {
    this.#algo = algo
    this.#cipher = cipherOf(algo, key, iv)
  }

  setAuthTag(tag: Uint8Array): void {
    if (tag.length !== TAG_OCTETS) throw new Error('the tag has 16 octets')
    this.#tag = tag
  }

  /** Once, with all of it. What is not authentic is not given out at all; `final` then says so, as Node's does. */
  update(sealed: Uint8Array): Buffer {
    if (this.#used) throw new Error('one update only')
    this.#used = true
    const whole = this.#algo === 'aes-256-gcm' ? Buffer.concat([sealed, this.#tag ?? new Uint8Array(0)]) : sealed
    try {
      return Buffer.from(this.#cipher.decrypt(whole))
    } catch (error) {
      this.#failed = error
      return Buffer.alloc(this.#algo === 'aes-256-gcm' ? sealed.length : 0)
    }
  }

  final(): Buffer {
    if (this.#failed !== null) throw this.#failed
    if (!this.#used) throw new Error('nothing was decrypted')
    return Buffer.alloc(0)
  }
}

export function createCipheriv(algo: string, key: Uint8Array, iv: Uint8Array): Cipher {
  return new Cipher(algo, key, iv)
}

export function createDecipheriv(algo: string, key: Uint8Array, iv: Uint8Array): Decipher {
  return new Decipher(algo, key, iv)
}

export function createSecretKey(octets: Uint8Array): Uint8Array {
  return octets.slice()
}

export function hash(algo: keyof typeof HASHES, octets: Uint8Array, encoding: 'base64' | 'binary' | 'hex' | 'buffer') {
  const hashed = Buffer.from(HASHES[algo](octets))
  return encoding === 'buffer' ? hashed : hashed.toString(encoding)
}

export function pbkdf2Sync(
  password: Uint8Array,
  salt: Uint8Array,
  rounds: number,
  octets: number,
  prf: keyof typeof HASHES,
): Buffer {
  return Buffer.from(pbkdf2(HASHES[prf], password, salt, { c: rounds, dkLen: octets }))
}

export function randomBytes(octets: number): Buffer {
  return randomFillSync(Buffer.alloc(octets))
}

export function randomFillSync<T extends Uint8Array>(octets: T): T {
  globalThis.crypto.getRandomValues(octets as unknown as Uint8Array<ArrayBuffer>)
  return octets
}

/** Without bias: what does not divide evenly is drawn again. @param below at most 256 */
export function randomInt(below: number): number {
  const usable = 256 - (256 % below)
  for (;;) {
    const [octet] = globalThis.crypto.getRandomValues(new Uint8Array(1))
    if (octet! < usable) return octet! % below
  }
}

/** Of a key of `../keys.ts`: its public half. */
export function createPublicKey(key: unknown): WebKey {
  if (isWebKey(key)) return key.publicHalf
  return notHere()
}

function notHere(): never {
  throw new Error('public-key operations are those of WebCrypto: viewer/keys.ts')
}

export const constants = { RSA_PKCS1_OAEP_PADDING: 4 } as const
export {
  notHere as createPrivateKey,
  notHere as decapsulate,
  notHere as diffieHellman,
  notHere as encapsulate,
  notHere as generateKeyPairSync,
  notHere as privateDecrypt,
  notHere as publicEncrypt,
}
