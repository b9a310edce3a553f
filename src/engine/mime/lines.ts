/**
 * LF octets: what IMAP servers count as lines of a part. Four octets at a time, each in its own lane of a 32-bit
 * number, so that a megabyte of line ends costs no more than a megabyte of text.
 */
export function countLines(bytes: Buffer): number {
  let lines = 0
  let at = 0
  const end = bytes.length
  while (at < end && (bytes.byteOffset + at) % 4 !== 0) if (bytes[at++] === LF) lines++
  const words = at === end ? NO_WORDS : new Int32Array(bytes.buffer, bytes.byteOffset + at, (end - at) >> 2)
  for (let from = 0; from < words.length; from += MAX_LANE) {
    const to = Math.min(from + MAX_LANE, words.length)
    let lanes = 0
    for (let i = from; i < to; i++) {
      // Zero where the octet is LF; the sum's high bit stays clear for zero alone.
      const word = words[i]! ^ FOUR_LF
      const high = ((word & LOW_BITS) + LOW_BITS) | word
      lanes = (lanes + ((~high >>> 7) & ONES)) | 0
    }
    lines += (lanes & 0xff) + ((lanes >>> 8) & 0xff) + ((lanes >>> 16) & 0xff) + (lanes >>> 24)
  }
  for (at += words.length * 4; at < end; at++) if (bytes[at] === LF) lines++
  return lines
}

const NO_WORDS = new Int32Array(0)
const LF = 0x0a
const FOUR_LF = 0x0a0a0a0a
const LOW_BITS = 0x7f7f7f7f
const ONES = 0x01010101
/** Words until a lane of eight bits is full. */
const MAX_LANE = 255

/**
 * Looks for what a server serves otherwise than it was given (`imap/view/served-octets.ts`), in octets that come in
 * pieces: an LF with no CR before it or with more than one, and a CR that ends it all.
 */
export class OddLineEnds {
  #found = false
  /** CRs at the end of what came, two at most: more are no other case. */
  #crs = 0

  /** So far: a CR at the end may still become a line end. */
  get found(): boolean {
    return this.#found
  }

  /** If nothing follows. */
  get foundAtEnd(): boolean {
    return this.#found || this.#crs > 0
  }

  push(bytes: Buffer): void {
    if (this.#found || bytes.length === 0) return
    for (let lf = bytes.indexOf(LF); lf >= 0; lf = bytes.indexOf(LF, lf + 1)) {
      if (this.#crsBefore(bytes, lf) !== 1) {
        this.#found = true
        return
      }
    }
    this.#crs = this.#crsBefore(bytes, bytes.length)
  }

  #crsBefore(bytes: Buffer, end: number): number {
    let crs = 0
    while (crs < 2 && end - crs > 0 && bytes[end - crs - 1] === CR) crs++
    return crs === end ? Math.min(2, crs + this.#crs) : crs
  }
}

const CR = 0x0d
