/**
 * `node:zlib` for the browser: inflating raw deflate at once (RFC 1951), since the browser's own DecompressionStream
 * answers later only, and the engine unpacks exactness patches where it stands (`engine/seal/patch.ts`). Slow and
 * simple: a patch has a few hundred octets. Deflating is for sealing, which no browser does.
 *
 * Rule: the sender packed it, so the size it may grow to is the caller's, and anything malformed is an error.
 */

/** RFC 1951 §3.2.5: base lengths and distances, and how many bits follow. */
const LENGTH_BITS = [...Array.from({ length: 28 }, (_, i) => (i < 8 ? 0 : (i - 4) >> 2)), 0]
const LENGTH_BASES = [...basesOf(LENGTH_BITS, 3).slice(0, 28), 258]
const DISTANCE_BITS = Array.from({ length: 30 }, (_, i) => (i < 4 ? 0 : (i - 2) >> 1))
const DISTANCE_BASES = basesOf(DISTANCE_BITS, 1)
/** RFC 1951 §3.2.7. */
const CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
const MAX_BITS = 15
const END_OF_BLOCK = 256

/** Canonical Huffman code: how many symbols of each length, and the symbols in order of their codes. */
interface Code {
  readonly counts: Uint16Array
  readonly symbols: Uint16Array
}

const FIXED_LENGTHS = Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8))
const FIXED = { literals: codeOf(FIXED_LENGTHS), distances: codeOf(Array.from({ length: 30 }, () => 5)) }

/** @throws Error for what is no deflate stream, or would grow beyond `maxOutputLength` octets */
export function inflateRawSync(packed: Uint8Array, { maxOutputLength }: { readonly maxOutputLength: number }): Buffer {
  return new Inflating(packed, maxOutputLength).run()
}

export function deflateRawSync(): never {
  throw new Error('nothing is sealed in a browser')
}

class Inflating {
  readonly #in: Uint8Array
  readonly #max: number
  #at = 0
  #bits = 0
  #held = 0
  #out = new Uint8Array(1024)
  #written = 0

  constructor(packed: Uint8Array, max: number) {
    this.#in = packed
    this.#max = max
  }

  run(): Buffer {
    for (let last = false; !last; ) {
      last = this.#take(1) === 1
      const kind = this.#take(2)
      if (kind === 0) this.#stored()
      else if (kind === 1) this.#block(FIXED.literals, FIXED.distances)
      else if (kind === 2) this.#dynamic()
      else throw new Error('no such block type')
    }
    return Buffer.from(this.#out.subarray(0, this.#written))
  }

  #take(count: number): number {
    while (this.#held < count) {
      const octet = this.#in[this.#at++]
      if (octet === undefined) throw new Error('unexpected end')
      this.#bits |= octet << this.#held
      this.#held += 8
    }
    const value = this.#bits & (2 ** count - 1)
    this.#bits >>>= count
    this.#held -= count
    return value
  }

  #symbol({ counts, symbols }: Code): number {
    let code = 0
    let first = 0
    let index = 0
    for (let bits = 1; bits <= MAX_BITS; bits++) {
      code |= this.#take(1)
      const count = counts[bits]!
      if (code - count < first) return symbols[index + code - first]!
      index += count
      first = (first + count) << 1
      code <<= 1
    }
    throw new Error('no such code')
  }

  #stored(): void {
    this.#bits = 0
    this.#held = 0
    const [a, b, c, d] = this.#in.subarray(this.#at, this.#at + 4)
    const length = a! | (b! << 8)
    if (d === undefined || length !== (~(c! | (d << 8)) & 0xffff)) throw new Error('stored block lengths differ')
    this.#at += 4
    if (this.#at + length > this.#in.length) throw new Error('unexpected end')
    for (let i = 0; i < length; i++) this.#put(this.#in[this.#at++]!)
  }

  #dynamic(): void {
    const literals = this.#take(5) + 257
    const distances = this.#take(5) + 1
    const codes = this.#take(4) + 4
    if (literals > 286 || distances > 30) throw new Error('too many codes')
    const lengthsOfLengths = new Array<number>(19).fill(0)
    for (let i = 0; i < codes; i++) lengthsOfLengths[CODE_ORDER[i]!] = this.#take(3)
    const lengthCode = codeOf(lengthsOfLengths)
    const lengths: number[] = []
    while (lengths.length < literals + distances) {
      const symbol = this.#symbol(lengthCode)
      if (symbol < 16) lengths.push(symbol)
      else {
        if (symbol === 16 && lengths.length === 0) throw new Error('nothing to repeat')
        const repeated = symbol === 16 ? lengths.at(-1)! : 0
        const times = symbol === 16 ? 3 + this.#take(2) : symbol === 17 ? 3 + this.#take(3) : 11 + this.#take(7)
        for (let i = 0; i < times; i++) lengths.push(repeated)
      }
    }
    if (lengths.length > literals + distances) throw new Error('too many lengths')
    if (lengths[END_OF_BLOCK] === 0) throw new Error('no end of block')
    this.#block(codeOf(lengths.slice(0, literals)), codeOf(lengths.slice(literals)))
  }

  #block(literals: Code, distances: Code): void {
    for (;;) {
      const symbol = this.#symbol(literals)
      if (symbol === END_OF_BLOCK) return
      if (symbol < END_OF_BLOCK) {
        this.#put(symbol)
        continue
      }
      const base = LENGTH_BASES[symbol - 257]
      if (base === undefined) throw new Error('no such length')
      const length = base + this.#take(LENGTH_BITS[symbol - 257]!)
      const far = this.#symbol(distances)
      if (DISTANCE_BASES[far] === undefined) throw new Error('no such distance')
      const distance = DISTANCE_BASES[far] + this.#take(DISTANCE_BITS[far]!)
      if (distance > this.#written) throw new Error('distance too far back')
      for (let i = 0; i < length; i++) this.#put(this.#out[this.#written - distance]!)
    }
  }

  #put(octet: number): void {
    if (this.#written >= this.#max) throw new Error('grows too large')
    if (this.#written === this.#out.length) {
      const grown = new Uint8Array(this.#out.length * 2)
      grown.set(this.#out)
      this.#out = grown
    }
    this.#out[this.#written++] = octet
  }
}

/** Each range begins where the one before it ends. */
function basesOf(bits: readonly number[], first: number): number[] {
  return bits.map((_, i) => bits.slice(0, i).reduce((base, count) => base + 2 ** count, first))
}

/** @throws Error where more codes are given than there are */
function codeOf(lengths: readonly number[]): Code {
  const counts = new Uint16Array(MAX_BITS + 1)
  for (const length of lengths) counts[length]!++
  let left = 1
  for (let bits = 1; bits <= MAX_BITS; bits++) {
    left = left * 2 - counts[bits]!
    if (left < 0) throw new Error('over-subscribed code')
  }
  const offsets = new Uint16Array(MAX_BITS + 2)
  for (let bits = 1; bits <= MAX_BITS; bits++) offsets[bits + 1] = offsets[bits]! + counts[bits]!
  const symbols = new Uint16Array(lengths.length)
  for (const [symbol, length] of lengths.entries()) if (length !== 0) symbols[offsets[length]!++] = symbol
  counts[0] = 0
  return { counts, symbols }
}
