/**
 * The ciphers of items and messages, whole values at a time (message-format.md §2): header streams, vault entries,
 * item values. Bodies go in batches (`batch.ts`). No cryptography here but node:crypto's and the addon's OpenSSL.
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { GatewayError, unreachable } from '../../base/errors.ts'
import { copyOf, FEEDBACK_OCTETS, openedStreamOctets, sealedStreamOctets, TAG_OCTETS } from './chunk-cipher.ts'
import type { CipherAlgo, MessageKey } from './message-key.ts'
import { fastPath } from './native.ts'

const KEY_OCTETS = 32
const GCM_IV_OCTETS = 12
const CFB_IV_OCTETS = 16
/** Vault values are padded to a multiple of this. */
const PAD_OCTETS = 32

/** Octets of a full key string; what follows them in an item's value is its metadata. */
const KEY_STRING_OCTETS = { AES256GCM1K: 44, AES256GCMp: 44, AES256CFB: 64, NULL: 0 } as const

/** Octets of new message keys (AES256GCM1K). */
export const NEW_KEY_OCTETS = KEY_STRING_OCTETS.AES256GCM1K

/** An item's value taken apart. */
export interface ItemValue {
  readonly key: MessageKey
  /** The JSON object behind the key string; null = there is none. */
  readonly meta: Readonly<Record<string, unknown>> | null
}

/**
 * @param value the item's decrypted value: a key string, and maybe a JSON object right behind it. Kept.
 * @throws GatewayError VES_INCORRECT for a key too short, or what follows it being no JSON object
 */
export function parseItemValue(algo: CipherAlgo, value: Buffer): ItemValue {
  const octets = KEY_STRING_OCTETS[algo]
  const key = { algo, keyString: value.subarray(0, octets) }
  if (algo !== 'NULL') keyAndIv(key)
  return { key, meta: value.length > octets ? parseMeta(value.subarray(octets)) : null }
}

function parseMeta(octets: Buffer): Readonly<Record<string, unknown>> {
  let meta: unknown
  try {
    meta = JSON.parse(octets.toString('utf8'))
  } catch (cause) {
    // The parser's message quotes its input, which is secret.
    throw new GatewayError('VES_INCORRECT', { what: 'metadata', octets: octets.length, error: (cause as Error).name })
  }
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta)) {
    throw new GatewayError('VES_INCORRECT', { what: 'metadata' })
  }
  return meta as Record<string, unknown>
}

/**
 * Key and seed (or iv) of a key string, in one buffer. A GCM key string shorter than key and seed has them overlap:
 * the seed is its last octets (message-format.md §2).
 * @throws GatewayError VES_INCORRECT when the key is too short
 */
export function keyAndIv({ algo, keyString }: MessageKey): Buffer {
  const octets = KEY_STRING_OCTETS[algo]
  if (keyString.length === octets) return keyString
  if (keyString.length > octets) return keyString.subarray(0, octets)
  if (algo === 'AES256CFB' || keyString.length < KEY_OCTETS) {
    throw new GatewayError('VES_INCORRECT', { what: 'key string', algo, octets: keyString.length })
  }
  const seed = keyString.subarray(keyString.length - GCM_IV_OCTETS)
  return Buffer.concat([keyString.subarray(0, KEY_OCTETS), seed])
}

/**
 * Seals a whole value.
 * @param random gives the stream's 16 octets of `fb0`; asked of by AES256GCM1K alone
 */
export function sealWhole(key: MessageKey, plain: Uint8Array, random: (octets: number) => Uint8Array): Buffer {
  switch (key.algo) {
    case 'AES256GCM1K':
      return sealStream(keyAndIv(key), plain, random(FEEDBACK_OCTETS))
    case 'AES256GCMp':
      return sealPadded(keyAndIv(key), plain)
    case 'AES256CFB': {
      const cipher = cfb(createCipheriv, keyAndIv(key))
      return cipher.update(plain)
    }
    case 'NULL':
      return Buffer.from(plain)
    default:
      return unreachable(key.algo)
  }
}

/** @throws GatewayError SEAL_BROKEN when the value was altered, cut short, or sealed with another key */
export function openWhole(key: MessageKey, sealed: Uint8Array): Buffer {
  switch (key.algo) {
    case 'AES256GCM1K':
      return openStream(keyAndIv(key), sealed)
    case 'AES256GCMp':
      return openPadded(keyAndIv(key), sealed)
    case 'AES256CFB': {
      // Older mail has no authentication: whatever comes out is what it was, or is not.
      const decipher = cfb(createDecipheriv, keyAndIv(key))
      return decipher.update(sealed)
    }
    case 'NULL':
      return Buffer.from(sealed)
    default:
      return unreachable(key.algo)
  }
}

/** An AES256GCM1K stream in one piece, as headers have it. @param fb0 16 random octets, never used twice */
export function sealStream(keyAndSeed: Uint8Array, plain: Uint8Array, fb0: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(sealedStreamOctets(plain.length))
  out.set(fb0)
  const feedback = copyOf(fb0)
  fastPath().chunks.seal(keyAndSeed, feedback, plain, true, out.subarray(FEEDBACK_OCTETS))
  return out
}

/** @throws GatewayError SEAL_BROKEN */
export function openStream(keyAndSeed: Uint8Array, sealed: Uint8Array): Buffer {
  const octets = openedStreamOctets(sealed.length)
  if (octets === null) throw new GatewayError('SEAL_BROKEN', { octets: sealed.length })
  const out = Buffer.allocUnsafe(octets)
  const feedback = copyOf(sealed, 0, FEEDBACK_OCTETS)
  if (fastPath().chunks.open(keyAndSeed, feedback, sealed.subarray(FEEDBACK_OCTETS), true, out) < 0) {
    throw new GatewayError('SEAL_BROKEN', { octets: sealed.length })
  }
  return out
}

/** AES256GCMp: `p ‖ data ‖ p zero octets`, whole in one GCM. */
function sealPadded(keyAndIv: Buffer, plain: Uint8Array): Buffer {
  const pad = (2 * PAD_OCTETS - 1 - (plain.length % PAD_OCTETS)) % PAD_OCTETS
  const cipher = createCipheriv('aes-256-gcm', cipherKey(keyAndIv), keyAndIv.subarray(KEY_OCTETS))
  return Buffer.concat([
    // At once: the browser's stand-in for node:crypto has no streams.
    cipher.update(Buffer.concat([Buffer.of(pad), plain, Buffer.alloc(pad)])),
    cipher.final(),
    cipher.getAuthTag(),
  ])
}

function openPadded(keyAndIv: Buffer, sealed: Uint8Array): Buffer {
  const end = sealed.length - TAG_OCTETS
  if (end < PAD_OCTETS || end % PAD_OCTETS !== 0) throw new GatewayError('SEAL_BROKEN', { octets: sealed.length })
  const iv = keyAndIv.subarray(KEY_OCTETS)
  const decipher = createDecipheriv('aes-256-gcm', cipherKey(keyAndIv), iv, { authTagLength: TAG_OCTETS })
  decipher.setAuthTag(sealed.subarray(end))
  const padded = decipher.update(sealed.subarray(0, end))
  try {
    decipher.final()
  } catch (cause) {
    throw new GatewayError('SEAL_BROKEN', { octets: sealed.length }, cause)
  }
  const pad = padded[0]!
  const zeros = padded.subarray(padded.length - Math.min(pad, padded.length))
  if (pad >= PAD_OCTETS || zeros.some((octet) => octet !== 0)) {
    throw new GatewayError('SEAL_BROKEN', { what: 'padding', octets: sealed.length })
  }
  return padded.subarray(1, padded.length - pad)
}

function cfb<T>(create: (algo: string, key: KeyObject, iv: Buffer) => T, keyAndIv: Buffer): T {
  const iv = keyAndIv.subarray(KEY_OCTETS, KEY_OCTETS + CFB_IV_OCTETS)
  return create('aes-256-cfb', cipherKey(keyAndIv), iv)
}

/** As an object: given raw octets, Node 24.21 throws and catches two errors with their stacks, which takes 40 µs. */
function cipherKey(keyAndIv: Buffer): KeyObject {
  return createSecretKey(keyAndIv.subarray(0, KEY_OCTETS))
}
