/**
 * What stands in plain around the sealed bodies (headers of parts, delimiters, text between), as a digest: who is given
 * it with the ciphertext can tell that somebody changed it on its way, which neither sizes nor the parts' own
 * authentication show (docs/exactness.md, keys `h` and `v`).
 *
 * Of the root only what is sealed of its header, and what says how the body is to be read, counts: the rest every server
 * on the way may change, and adds to. White space counts as little as servers respect it: a run of blanks, tabs and CRs is
 * one blank, none in front of a line end, and line ends at the end are only counted.
 */
import { hash } from 'node:crypto'

/** Octets of a SHA-256 as base64: nobody finds another text to the digest of one that he did not choose. */
const DIGEST_CHARACTERS = 12
const DIGEST = new RegExp(`^[A-Za-z0-9+/]{${DIGEST_CHARACTERS}}$`)

export interface WholeStructure {
  readonly digest: string
  /** Line ends behind the last of the text. */
  readonly lineEnds: number
}

const LF = 0x0a
const BLANK = 0x20
const TAB = 0x09
const CR = 0x0d
/** Text is hashed in blocks, of which each but the first begins with the hash of the one before. */
const BLOCK_OCTETS = 4096
/** Of most messages there is no more text. */
const FIRST_OCTETS = 512

/** Fields of the root by which its body is read; where they are not sealed they count all the same. */
const READ_BY: ReadonlySet<string> = new Set(['content-type', 'content-transfer-encoding', 'content-disposition'])

export function countsInPlain(name: string): boolean {
  return READ_BY.has(name)
}

/** Stands among the root's fields where its exactness header does, from which places are counted. */
export const EXACTNESS_PLACE = Buffer.from('X-VESmail-Exact', 'latin1')

export function isDigest(text: string): boolean {
  return DIGEST.test(text)
}

export class Structure {
  #block: Buffer = Buffer.allocUnsafe(FIRST_OCTETS)
  #octets = 0
  #lineEnds = 0
  #blank = false

  /** The text is borrowed. */
  push(text: Uint8Array): void {
    let lineEnds = this.#lineEnds
    let blank = this.#blank
    let block = this.#block
    let octets = this.#octets
    for (let i = 0; i < text.length; i++) {
      const octet = text[i]!
      if (octet === LF) {
        lineEnds++
        blank = false
        continue
      }
      if (octet === BLANK || octet === TAB || octet === CR) {
        blank = true
        continue
      }
      for (let waiting = lineEnds + (blank ? 1 : 0); waiting >= 0; waiting--) {
        if (octets === block.length) {
          block = this.#roomBehind(block)
          octets = this.#octets
        }
        block[octets++] = waiting === 0 ? octet : blank && waiting === 1 ? BLANK : LF
      }
      lineEnds = 0
      blank = false
    }
    this.#lineEnds = lineEnds
    this.#blank = blank
    this.#octets = octets
  }

  /** A field, without its line end. */
  pushField(field: Uint8Array): void {
    this.push(field)
    this.#lineEnds++
    this.#blank = false
  }

  /** Of what was pushed until now. */
  get digest(): string {
    return hash('sha256', this.#block.subarray(0, this.#octets), 'base64').slice(0, DIGEST_CHARACTERS)
  }

  get whole(): WholeStructure {
    return { digest: this.digest, lineEnds: this.#lineEnds }
  }

  /** @param full that no more fits into @returns the block to go on with, from `#octets` on */
  #roomBehind(full: Buffer): Buffer {
    const isFirst = full.length < BLOCK_OCTETS
    this.#block = isFirst ? Buffer.allocUnsafe(BLOCK_OCTETS) : full
    this.#octets = this.#block.write(isFirst ? full.toString('latin1') : hash('sha256', full, 'binary'), 'latin1')
    return this.#block
  }
}
