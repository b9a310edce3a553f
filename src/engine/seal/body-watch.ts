/**
 * Leaves too long to be examined whole (message-format.md §6), watched as they pass through the batches: is their text
 * laid out to its end as it began? Plain data that goes from batch to batch with the rest of the state; what is made of it at
 * the end is for `long-base64.ts` and the leaf.
 */
import { maxQuotedPrintable } from '../mime/transfer/codecs.ts'
import { copyOf } from './chunk-cipher.ts'
import { fastPath } from './native.ts'

export interface Base64Watch {
  readonly kind: 'base64'
  /** Characters a line; 0 = all in one. */
  readonly width: number
  readonly separator: Uint8Array
  /** Octets so far. */
  readonly octets: number
  /** Where the next separator has to stand. */
  readonly nextSeparator: number
  /** Where the first separator was missing; infinite where none was. */
  readonly irregularAt: number
  /** The last octets of it. */
  readonly tail: Uint8Array
}

export interface QuotedPrintableWatch {
  readonly kind: 'quoted-printable'
  /** The text is not what the canonical encoding gives, and so will not come back. */
  readonly deviates: boolean
  /** Characters in the current line of the canonical encoding. */
  readonly column: number
  /** Plaintext that cannot be encoded yet. */
  readonly unencoded: Uint8Array
  /** Text that the canonical encoding has not reached yet. */
  readonly text: Uint8Array
}

export type BodyWatch = Base64Watch | QuotedPrintableWatch

const NONE = new Uint8Array(0)
/** Line ends, padding and the last group are in it. */
const TAIL_OCTETS = 1024

export const startQuotedPrintableWatch: QuotedPrintableWatch = {
  kind: 'quoted-printable',
  deviates: false,
  column: 0,
  unencoded: NONE,
  text: NONE,
}

export function startBase64Watch(width: number, separator: Uint8Array, firstSeparator: number): Base64Watch {
  const nextSeparator = width === 0 ? Number.POSITIVE_INFINITY : firstSeparator
  const irregularAt = Number.POSITIVE_INFINITY
  return { kind: 'base64', width, separator, octets: 0, nextSeparator, irregularAt, tail: NONE }
}

/** Linear, one look at each separator. */
export function watchBase64(watch: Base64Watch, bytes: Uint8Array): Base64Watch {
  const { width, separator } = watch
  const start = watch.octets
  const octets = start + bytes.length
  const step = width + separator.length
  let next = watch.nextSeparator
  let irregularAt = watch.irregularAt
  for (; next < octets; next += step) {
    for (let i = 0; i < separator.length; i++) {
      const at = next + i - start
      if (at >= 0 && at < bytes.length && bytes[at] !== separator[i]) irregularAt = Math.min(irregularAt, next)
    }
    // One that the end of this piece cuts is looked at again with the next.
    if (next + separator.length > octets) break
  }
  const last = bytes.subarray(Math.max(0, bytes.length - TAIL_OCTETS))
  const kept = Math.min(watch.tail.length, TAIL_OCTETS - last.length)
  const tail = new Uint8Array(kept + last.length)
  tail.set(watch.tail.subarray(watch.tail.length - kept))
  tail.set(last, kept)
  return { ...watch, octets, nextSeparator: next, irregularAt, tail }
}

let canonicalScratch = Buffer.alloc(0)

/**
 * @param bytes the text
 * @param decoded what of it was decoded now; what lags behind comes with the next
 */
export function watchQuotedPrintable(
  watch: QuotedPrintableWatch,
  bytes: Uint8Array,
  decoded: Uint8Array,
  last: boolean,
): QuotedPrintableWatch {
  if (watch.deviates) return watch
  const plain = joined(watch.unencoded, decoded)
  const room = maxQuotedPrintable(plain.length)
  if (canonicalScratch.length < room) canonicalScratch = Buffer.allocUnsafeSlow(room)
  const line = Uint32Array.of(watch.column, 0)
  const written = fastPath().codecs.encodeQuotedPrintable(plain, last, line, canonicalScratch)
  const text = joined(watch.text, bytes)
  const isSame = written <= text.length && canonicalScratch.compare(text, 0, written, 0, written) === 0
  if (!isSame || (last && written < text.length)) return { ...watch, deviates: true, unencoded: NONE, text: NONE }
  return { ...watch, column: line[0]!, unencoded: copyOf(plain, line[1]!), text: copyOf(text, written) }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  return first.length === 0 ? second : Buffer.concat([first, second])
}
