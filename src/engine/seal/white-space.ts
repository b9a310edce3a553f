/**
 * Octets as white space, where a reader that does not know of them sees nothing: a blank is a zero, a tab a one, the
 * highest bit first, in lines of 76 (docs/exactness.md).
 */
import { SEALED_WIDTH } from './chunk-cipher.ts'

export const BLANK = 0x20
export const TAB = 0x09
export const CR = 0x0d
export const LF = 0x0a

/** @returns whole lines, CRLF behind the last, too */
export function printWhiteSpace(octets: Uint8Array): Buffer {
  const bits = octets.length * 8
  const out = Buffer.allocUnsafe(bits + 2 * Math.ceil(bits / SEALED_WIDTH))
  let to = 0
  for (let bit = 0; bit < bits; bit++) {
    if (bit > 0 && bit % SEALED_WIDTH === 0) to = lineEnd(out, to)
    out[to++] = (octets[bit >> 3]! >> (7 - (bit & 7))) & 1 ? TAB : BLANK
  }
  return out.subarray(0, lineEnd(out, to))
}

function lineEnd(out: Buffer, to: number): number {
  out[to] = CR
  out[to + 1] = LF
  return to + 2
}
