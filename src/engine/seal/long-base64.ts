/**
 * A base64 leaf too long to be examined whole: its first block tells the layout, which holds for all of it in practice.
 * Whether it did, and how many line ends stand at its end, is known only there: the line ends are then written at the
 * end of the sealed body, where every decoder skips them (`exactness.ts`, key `l`).
 */
import { type Base64Layout, guessBase64Layout, laidOutOctets } from '../mime/transfer/base64-layout.ts'
import { base64EncodedOctets } from '../mime/transfer/codecs.ts'
import { type Base64Watch, startBase64Watch } from './body-watch.ts'
import { sealedStreamOctets } from './chunk-cipher.ts'

/** Line ends at the end that are counted; more of them are no layout. */
const MAX_LINE_ENDS = 64
const SEALED_WIDTH = 76

export class LongBase64 {
  /** Without its ending. */
  readonly layout: Base64Layout
  readonly #separator: Buffer

  private constructor(layout: Base64Layout) {
    this.layout = layout
    this.#separator = Buffer.from(layout.separator, 'latin1')
  }

  /** @returns null when the beginning has no layout */
  static begin(text: Buffer): LongBase64 | null {
    const layout = guessBase64Layout(text)
    return layout === null ? null : new LongBase64({ ...layout, padded: true, ending: '' })
  }

  /** For the batches to go on with. */
  watch(): Base64Watch {
    const { width, before } = this.layout
    return startBase64Watch(width, new Uint8Array(this.#separator), before.length + width)
  }

  /**
   * @param watched all of the text
   * @param sealedOctets of the sealed body's text
   * @param sealedTail its last octets: the padding tells the ciphertext's length, and so what was decoded, to the octet
   * @returns line ends to add to the sealed body; `deviates` = the text will not come back as it was
   */
  end(
    watched: Base64Watch,
    sealedOctets: number,
    sealedTail: Buffer,
  ): { readonly count: number; readonly deviates: boolean } {
    const unit = this.#separator.length === 0 ? '\r\n' : this.layout.separator
    const tail = Buffer.from(watched.tail).toString('latin1')
    let count = 0
    let at = tail.length
    while (count < MAX_LINE_ENDS && tail.endsWith(unit, at)) {
      at -= unit.length
      count++
    }
    // Padding: as many characters as make whole groups of four.
    const text = watched.octets - count * unit.length
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
      watched.irregularAt >= text &&
      laidOutOctets(this.layout, decoded) === text &&
      sealedBodyOctets(decoded) === sealedOctets &&
      sealedPadding(decoded) === sealedTail.toString('latin1').split('=').length - 1
    return { count, deviates: !isRegular }
  }
}

/** `=` at the end of a sealed body's text. */
function sealedPadding(plainOctets: number): number {
  return (3 - (sealedStreamOctets(plainOctets) % 3)) % 3
}

/** Octets of a sealed body's text, the last line end with it. */
export function sealedBodyOctets(plainOctets: number): number {
  return base64EncodedOctets(sealedStreamOctets(plainOctets), SEALED_WIDTH, 2, true) + 2
}
