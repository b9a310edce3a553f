/**
 * The chunk loop in JavaScript: the path of machines without the native addon, and the measure of what it must give.
 * The object that node:crypto makes for each chunk costs ten times its AES (stack.md); a KeyObject halves that.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hash, type KeyObject } from 'node:crypto'
import {
  CHUNK_OCTETS,
  type ChunkCipher,
  FEEDBACK_OCTETS,
  openedChunksOctets,
  SEALED_CHUNK_OCTETS,
  sealedChunksOctets,
  TAG_OCTETS,
} from './chunk-cipher.ts'

const KEY_OCTETS = 32
const SEED_OCTETS = 12
const IV_OCTETS = 12
const TAG = { authTagLength: TAG_OCTETS } as const

export const jsChunkCipher: ChunkCipher = {
  seal(keyAndSeed, feedback, plain, last, out) {
    if (!last && plain.length % CHUNK_OCTETS !== 0) throw new RangeError('whole chunks only')
    if (out.length < sealedChunksOctets(plain.length, last)) throw new RangeError('no room for the sealed chunks')
    const [key, derive] = prepare(keyAndSeed, feedback)
    const chunks = Math.floor(plain.length / CHUNK_OCTETS) + (last ? 1 : 0)
    let to = 0
    for (let at = 0, i = 0; i < chunks; i++, at += CHUNK_OCTETS) {
      const cipher = createCipheriv('aes-256-gcm', key, derive(), TAG)
      const octets = cipher.update(plain.subarray(at, at + CHUNK_OCTETS))
      cipher.final()
      const tag = cipher.getAuthTag()
      out.set(octets, to)
      out.set(tag, to + octets.length)
      to += octets.length + TAG_OCTETS
      feedback.set(tag)
    }
    return to
  },

  open(keyAndSeed, feedback, sealed, last, out) {
    const rest = sealed.length % SEALED_CHUNK_OCTETS
    if (last && rest < TAG_OCTETS) return -1
    if (!last && rest !== 0) throw new RangeError('whole chunks only')
    if (out.length < openedChunksOctets(sealed.length)) throw new RangeError('no room for the opened chunks')
    const [key, derive] = prepare(keyAndSeed, feedback)
    let to = 0
    for (let at = 0; at < sealed.length; ) {
      const tagAt = Math.min(at + CHUNK_OCTETS, sealed.length - TAG_OCTETS)
      const tag = sealed.subarray(tagAt, tagAt + TAG_OCTETS)
      const decipher = createDecipheriv('aes-256-gcm', key, derive(), TAG)
      decipher.setAuthTag(tag)
      const octets = decipher.update(sealed.subarray(at, tagAt))
      if (!isAuthentic(decipher)) return -1
      out.set(octets, to)
      to += octets.length
      feedback.set(tag)
      at = tagAt + TAG_OCTETS
    }
    return to
  },
}

/** The key as an object, and a function that derives the iv from what `feedback` holds at the time. */
function prepare(keyAndSeed: Uint8Array, feedback: Uint8Array): [KeyObject, () => Buffer] {
  if (keyAndSeed.length !== KEY_OCTETS + SEED_OCTETS) throw new RangeError('key and seed are 44 octets')
  if (feedback.length !== FEEDBACK_OCTETS) throw new RangeError('the feedback is 16 octets')
  const hashed = Buffer.allocUnsafe(SEED_OCTETS + FEEDBACK_OCTETS)
  hashed.set(keyAndSeed.subarray(KEY_OCTETS))
  const derive = () => {
    hashed.set(feedback, SEED_OCTETS)
    return Buffer.from(hash('sha256', hashed, 'binary'), 'latin1').subarray(0, IV_OCTETS)
  }
  return [createSecretKey(keyAndSeed.subarray(0, KEY_OCTETS)), derive]
}

function isAuthentic(decipher: { final(): Buffer }): boolean {
  try {
    decipher.final()
    return true
  } catch {
    // The only thing that `final` of GCM can find wrong is the tag; the caller says what it means.
    return false
  }
}
