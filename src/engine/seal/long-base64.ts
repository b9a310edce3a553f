/**
 * A base64 leaf too long to be examined whole: its first block tells the layout, which holds for all of it in practice.
 * Whether it did, and how many line ends stand at its end, is known only there: the line ends are then written at the
 * end of the sealed body, where every decoder skips them (`exactness.ts`, key `l`).
 */
import { type Base64Layout, guessBase64Layout, laidOutOctets } from '../mime/transfer/base64-layout.ts'
import { base64EncodedOctets } from '../mime/transfer/codecs.ts'
import { sealedStreamOctets } from './chunk-cipher.ts'

/** Line ends at the end that are counted; more of them are no layout. */
const MAX_LINE_ENDS = 64
const SEALED_WIDTH = 76

export class LongBase64 {
  /** Without its ending. */
  readonly layout: Base64Layout
  readonly #separator: Buffer
  #octets = 0
  #tail = Buffer.alloc(0)
  /** Where the first separator was missing. */
  #irregularAt = Number.POSITIVE_INFINITY
  /** Where the next separator has to stand. */
  #nextSeparator: number

  private constructor(layout: Base64Layout) {
    this.layout = layout
    this.#separator = Buffer.from(layout.separator, 'latin1')
    this.#nextSeparator = layout.before.length + layout.width
  }

  /** @returns null when the beginning has no layout */
  static begin(text: Buffer): LongBase64 | null {
    const layout = guessBase64Layout(text)
    return layout === null ? null : new LongBase64({ ...layout, padded: true, ending: '' })
  }

  push(bytes: Buffer): void {
    const { width } = this.layout
    const sep = this.#separator
    const start = this.#octets
    const end = start + bytes.length
    if (width > 0) {
      for (; this.#nextSeparator < end; this.#nextSeparator += width + sep.length) {
        for (let i = 0; i < sep.length; i++) {
          const at = this.#nextSeparator + i - start
          if (at < 0) continue
          if (at >= bytes.length) break
          if (bytes[at] !== sep[i]) this.#irregularAt = Math.min(this.#irregularAt, this.#nextSeparator)
        }
        // A separator cut by the end of this piece is looked at again with the next.
        if (this.#nextSeparator + sep.length > end) break
      }
    }
    this.#octets = end
    const kept = Buffer.concat([this.#tail, bytes.subarray(Math.max(0, bytes.length - TAIL_OCTETS))])
    this.#tail = kept.subarray(Math.max(0, kept.length - TAIL_OCTETS))
  }

  /**
   * @param sealedOctets of the sealed body's text
   * @param sealedTail its last octets: the padding tells the ciphertext's length, and so what was decoded, to the octet
   * @returns line ends to add to the sealed body; `deviates` = the text will not come back as it was
   */
  end(sealedOctets: number, sealedTail: Buffer): { readonly count: number; readonly deviates: boolean } {
    const unit = this.#separator.length === 0 ? '\r\n' : this.layout.separator
    const tail = this.#tail.toString('latin1')
    let count = 0
    let at = tail.length
    while (count < MAX_LINE_ENDS && tail.endsWith(unit, at)) {
      at -= unit.length
      count++
    }
    // Padding: as many characters as make whole groups of four.
    const text = this.#octets - count * unit.length
    const { before, width } = this.layout
    const body = text - before.length
    const lines = width === 0 ? 0 : Math.ceil(body / (width + this.#separator.length)) - 1
    const characters = body - lines * this.#separator.length
    let equals = 0
    while (equals < 2 && tail[at - 1 - equals] === '=') equals++
    const decoded = (characters / 4) * 3 - equals
    // Bits behind the last octet may be anything, and are lost.
    const group = tail.slice(0, at).replace(/\s+/g, '').slice(-4)
    const isRegular =
      !/\s/.test(tail[at - 1] ?? ' ') &&
      Buffer.from(group, 'base64').toString('base64') === group &&
      characters % 4 === 0 &&
      this.#irregularAt >= text &&
      laidOutOctets(this.layout, decoded) === text &&
      sealedBodyOctets(decoded) === sealedOctets &&
      sealedPadding(decoded) === sealedTail.toString('latin1').split('=').length - 1
    return { count, deviates: !isRegular }
  }
}

const TAIL_OCTETS = 1024

/** `=` at the end of a sealed body's text. */
function sealedPadding(plainOctets: number): number {
  return (3 - (sealedStreamOctets(plainOctets) % 3)) % 3
}

/** Octets of a sealed body's text, the last line end with it. */
export function sealedBodyOctets(plainOctets: number): number {
  return base64EncodedOctets(sealedStreamOctets(plainOctets), SEALED_WIDTH, 2, true) + 2
}
