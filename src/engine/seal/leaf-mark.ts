/**
 * How it is known of a sealed leaf that the root of its message has an exactness header, even where somebody took that
 * header out: half of the octets that its stream begins with are random, the other half follow from them and the key. Who
 * writes no such header takes all of them at random, and would have to be lucky once in 2⁶⁴ times.
 */
import { hash } from 'node:crypto'
import { FEEDBACK_OCTETS } from './chunk-cipher.ts'

const RANDOM_OCTETS = FEEDBACK_OCTETS / 2
const NAME = Buffer.from('exact', 'latin1')

/** @param random octets, as many as a stream begins with @returns those of a marked leaf, the first half as they were */
export function marked(keyAndSeed: Uint8Array, random: Uint8Array): Buffer {
  const feedback = Buffer.from(random)
  feedback.write(markOf(keyAndSeed, random), RANDOM_OCTETS, RANDOM_OCTETS, 'latin1')
  return feedback
}

/** @param feedback what a stream begins with */
export function isMarked(keyAndSeed: Uint8Array, feedback: Buffer): boolean {
  return feedback.toString('latin1', RANDOM_OCTETS, FEEDBACK_OCTETS) === markOf(keyAndSeed, feedback)
}

/** One character an octet. */
function markOf(keyAndSeed: Uint8Array, feedback: Uint8Array): string {
  const hashed = Buffer.concat([keyAndSeed, feedback.subarray(0, RANDOM_OCTETS), NAME])
  return hash('sha256', hashed, 'binary').slice(0, RANDOM_OCTETS)
}
