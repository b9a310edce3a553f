/**
 * A quoted-printable leaf too long to be examined whole: watched, as it passes, for whether its text is the canonical
 * one, which opening will write. Where it is not, that is known, and counted.
 */
import { maxQuotedPrintable } from '../mime/transfer/codecs.ts'
import { fastPath } from './native.ts'

const EMPTY = Buffer.alloc(0)

export class LongQuotedPrintable {
  #undecoded: Buffer = EMPTY
  #unencoded: Buffer = EMPTY
  /** Text that the canonical encoding has not reached yet. */
  #text: Buffer = EMPTY
  readonly #line = new Uint32Array(2)
  #deviates = false

  push(bytes: Buffer): void {
    this.#compare(bytes, false)
  }

  /** @returns whether the text will come back in another form */
  end(): boolean {
    this.#compare(EMPTY, true)
    return this.#deviates
  }

  #compare(bytes: Buffer, last: boolean): void {
    if (this.#deviates) return
    const { codecs } = fastPath()
    const coded = joined(this.#undecoded, bytes)
    const consumed = new Uint32Array(1)
    const decoded = Buffer.allocUnsafe(coded.length)
    const octets = codecs.decodeQuotedPrintable(coded, last, consumed, decoded)
    this.#undecoded = Buffer.from(coded.subarray(consumed[0]))
    const plain = joined(this.#unencoded, decoded.subarray(0, octets))
    const canonical = Buffer.allocUnsafe(maxQuotedPrintable(plain.length))
    const written = codecs.encodeQuotedPrintable(plain, last, this.#line, canonical)
    this.#unencoded = Buffer.from(plain.subarray(this.#line[1]))
    const text = joined(this.#text, bytes)
    const isSame = written <= text.length && canonical.compare(text, 0, written, 0, written) === 0
    this.#deviates = !isSame || (last && written < text.length)
    this.#text = this.#deviates ? EMPTY : Buffer.from(text.subarray(written))
  }
}

function joined(first: Buffer, second: Buffer): Buffer {
  return first.length === 0 ? second : Buffer.concat([first, second])
}
