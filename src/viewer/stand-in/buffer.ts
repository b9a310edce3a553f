/**
 * `Buffer` for the browser: what the engine uses of Node's, with the same results (`test/viewer/buffer.test.ts` compares
 * the two). The bundle puts it in place of the global. Not a general replacement: what is not here is not used.
 */

type Encoding = 'utf8' | 'latin1' | 'binary' | 'ascii' | 'hex' | 'base64' | 'base64url'

/** Characters made at a time: arguments of one call are bounded. */
const CHARACTERS = 8192

/** The static side of `Uint8Array` has a `from` of its own, which ours does not extend. */
const Octets = Uint8Array as unknown as {
  new (length: number): Uint8Array<ArrayBuffer>
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): Uint8Array<ArrayBuffer>
}

class BrowserBuffer extends Octets {
  static from(
    value: string | ArrayBufferLike | ArrayLike<number>,
    encodingOrOffset?: Encoding | number,
    length?: number,
  ): BrowserBuffer {
    if (typeof value === 'string') return fromText(value, encodingOrOffset as Encoding | undefined)
    if (value instanceof ArrayBuffer) return new BrowserBuffer(value, encodingOrOffset as number | undefined, length)
    const octets = value as ArrayLike<number>
    const made = new BrowserBuffer(octets.length)
    made.set(octets)
    return made
  }

  static alloc(octets: number): BrowserBuffer {
    return new BrowserBuffer(octets)
  }

  static allocUnsafe(octets: number): BrowserBuffer {
    return new BrowserBuffer(octets)
  }

  static allocUnsafeSlow(octets: number): BrowserBuffer {
    return new BrowserBuffer(octets)
  }

  static concat(list: readonly Uint8Array[]): BrowserBuffer {
    let octets = 0
    for (const one of list) octets += one.length
    const joined = new BrowserBuffer(octets)
    let at = 0
    for (const one of list) {
      joined.set(one, at)
      at += one.length
    }
    return joined
  }

  static isBuffer(value: unknown): boolean {
    return value instanceof BrowserBuffer
  }

  static byteLength(text: string, encoding?: Encoding): number {
    return fromText(text, encoding).length
  }

  toText(encoding: Encoding = 'utf8', start = 0, end = this.length): string {
    const octets = this.subarray(Math.max(0, start), Math.max(start, Math.min(end, this.length)))
    switch (encoding) {
      case 'latin1':
      case 'binary':
        return latin1(octets)
      case 'ascii':
        return latin1(octets.map((octet) => octet & 0x7f))
      case 'hex':
        return Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join('')
      case 'base64':
        return btoa(latin1(octets))
      case 'base64url':
        return btoa(latin1(octets)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
      case 'utf8':
        return new TextDecoder('utf-8', { ignoreBOM: true }).decode(octets)
    }
  }

  override toString(encoding?: Encoding, start?: number, end?: number): string {
    return this.toText(encoding, start, end)
  }

  /** As Node's: a view, not a copy. */
  override slice(start?: number, end?: number): Uint8Array<ArrayBuffer> {
    return this.subarray(start, end)
  }

  equals(other: Uint8Array): boolean {
    return this.length === other.length && this.every((octet, at) => octet === other[at])
  }

  compare(other: Uint8Array, otherStart = 0, otherEnd = other.length, start = 0, end = this.length): number {
    const [left, right] = [this.subarray(start, end), other.subarray(otherStart, otherEnd)]
    const shared = Math.min(left.length, right.length)
    for (let at = 0; at < shared; at++) if (left[at] !== right[at]) return left[at]! < right[at]! ? -1 : 1
    return Math.sign(left.length - right.length)
  }

  copy(target: Uint8Array, targetStart = 0, start = 0, end = this.length): number {
    const piece = this.subarray(start, Math.min(end, start + target.length - targetStart))
    target.set(piece, targetStart)
    return piece.length
  }

  /** `(text, encoding)`, `(text, at, encoding)` or `(text, at, most octets, encoding)`, as Node's. */
  write(text: string, ...where: readonly (number | Encoding)[]): number {
    const [at = 0, most = this.length] = where.filter((one) => typeof one === 'number')
    const encoding = where.find((one) => typeof one === 'string')
    const octets = fromText(text, encoding).subarray(0, Math.min(most, this.length - at))
    this.set(octets, at)
    return octets.length
  }

  findIn(wanted: number | string | Uint8Array, from = 0, encoding?: Encoding): number {
    if (typeof wanted === 'number') return super.indexOf(wanted & 255, from)
    const octets = typeof wanted === 'string' ? fromText(wanted, encoding) : wanted
    const start = from < 0 ? Math.max(0, this.length + from) : from
    if (octets.length === 0) return Math.min(start, this.length)
    for (let at = super.indexOf(octets[0]!, start); at >= 0; at = super.indexOf(octets[0]!, at + 1)) {
      if (at + octets.length > this.length) return -1
      let same = 1
      while (same < octets.length && this[at + same] === octets[same]) same++
      if (same === octets.length) return at
    }
    return -1
  }

  readInt8(at = 0): number {
    return (this[at]! << 24) >> 24
  }

  readUIntBE(at: number, octets: number): number {
    let value = 0
    for (let i = 0; i < octets; i++) value = value * 256 + this[at + i]!
    return value
  }

  writeUInt32BE(value: number, at = 0): number {
    new DataView(this.buffer, this.byteOffset, this.length).setUint32(at, value)
    return at + 4
  }
}

// Other parameters than those of Uint8Array, which the compiler would not let a subclass have.
Object.defineProperty(BrowserBuffer.prototype, 'indexOf', { value: BrowserBuffer.prototype.findIn })
Object.defineProperty(BrowserBuffer.prototype, 'includes', {
  value(this: BrowserBuffer, ...wanted: Parameters<BrowserBuffer['findIn']>) {
    return this.findIn(...wanted) >= 0
  },
})

function fromText(text: string, encoding: Encoding = 'utf8'): BrowserBuffer {
  switch (encoding) {
    case 'utf8': {
      const octets = new TextEncoder().encode(text)
      return new BrowserBuffer(octets.buffer, octets.byteOffset, octets.length)
    }
    case 'latin1':
    case 'binary':
    case 'ascii':
      return fromLatin1(text)
    case 'hex': {
      const digits = /^(?:[0-9a-f]{2})*/i.exec(text)![0]
      return BrowserBuffer.from(Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)))
    }
    case 'base64':
    case 'base64url': {
      // As lenient as Node: both alphabets, anything else skipped, what follows `=` left out.
      const sextets = text
        .replace(/=.*$/s, '')
        .replaceAll('-', '+')
        .replaceAll('_', '/')
        .replace(/[^A-Za-z0-9+/]/g, '')
      return fromLatin1(atob(sextets.length % 4 === 1 ? sextets.slice(0, -1) : sextets))
    }
  }
}

function fromLatin1(text: string): BrowserBuffer {
  const octets = new BrowserBuffer(text.length)
  for (let at = 0; at < text.length; at++) octets[at] = text.charCodeAt(at)
  return octets
}

function latin1(octets: Uint8Array): string {
  let text = ''
  for (let at = 0; at < octets.length; at += CHARACTERS) {
    // Not spread: that would go through an iterator, five times as slowly.
    text += String.fromCharCode.apply(null, octets.subarray(at, at + CHARACTERS) as unknown as number[])
  }
  return text
}

export { BrowserBuffer as Buffer }
