/**
 * Base64 in JavaScript (RFC 2045 §6.8): the path of machines without the native addon, and the measure of what the
 * addon must give. Contracts in `codecs.ts`.
 */
import {
  base64Characters,
  base64EncodedOctets,
  columnAfter,
  MAX_SEPARATOR,
  maxBase64Decoded,
  type TransferCodecs,
} from './codecs.ts'

const ALPHABET = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/', 'latin1')
const EQUALS = 0x3d
const SKIP = 64

/** Sextet of each octet; SKIP for those outside the alphabet. */
const SEXTET = new Uint8Array(256).fill(SKIP)
for (const [sextet, octet] of ALPHABET.entries()) SEXTET[octet] = sextet

export const decodeBase64: TransferCodecs['decodeBase64'] = (input, carry, last, out) => {
  if (out.length < maxBase64Decoded(input.length)) throw new RangeError('no room for the decoded octets')
  const end = input.length
  let bits = carry[0]!
  let held = carry[1]!
  let at = 0
  let to = 0
  while (at < end) {
    if (held === 0) {
      // The common case, four characters of a line at a time.
      for (; at + 4 <= end; at += 4) {
        const a = SEXTET[input[at]!]!
        const b = SEXTET[input[at + 1]!]!
        const c = SEXTET[input[at + 2]!]!
        const d = SEXTET[input[at + 3]!]!
        if ((a | b | c | d) & SKIP) break
        const group = (a << 18) | (b << 12) | (c << 6) | d
        out[to] = group >> 16
        out[to + 1] = group >> 8
        out[to + 2] = group
        to += 3
      }
      if (at === end) break
    }
    const octet = input[at++]!
    const sextet = SEXTET[octet]!
    if (sextet < SKIP) {
      bits = (bits << 6) | sextet
      if (++held < 4) continue
      out[to] = bits >> 16
      out[to + 1] = bits >> 8
      out[to + 2] = bits
      to += 3
      held = bits = 0
    } else if (octet === EQUALS) {
      to = flush(bits, held, out, to)
      held = bits = 0
    }
  }
  if (last) {
    to = flush(bits, held, out, to)
    held = bits = 0
  }
  carry[0] = bits
  carry[1] = held
  return to
}

function flush(bits: number, held: number, out: Uint8Array, to: number): number {
  if (held === 2) out[to++] = bits >> 4
  if (held === 3) {
    out[to++] = bits >> 10
    out[to++] = bits >> 2
  }
  return to
}

export const encodeBase64: TransferCodecs['encodeBase64'] = (input, last, width, separator, padded, column, out) => {
  const whole = last ? input.length : input.length - (input.length % 3)
  if (whole === 0) return 0
  const characters = base64Characters(whole, padded)
  const first = column[0]!
  if (separator.length > MAX_SEPARATOR) throw new RangeError('separator too long')
  if (out.length < base64EncodedOctets(whole, width, separator.length, padded, first)) {
    throw new RangeError('no room for the encoded octets')
  }
  column[0] = columnAfter(first, characters, width)
  const source = Buffer.from(input.buffer, input.byteOffset, whole)
  const target = Buffer.from(out.buffer, out.byteOffset, out.length)
  if (width === 0 || first + characters <= width) {
    return target.write(encoded(source, 0, whole, padded), 0, 'latin1')
  }
  if (width % 4 === 0 && first % 4 === 0) return encodeLines(source, width, separator, padded, first, target)
  // Lines that split groups of four: rare enough to go by a string of all the characters.
  let to = 0
  const text = encoded(source, 0, whole, padded)
  for (let at = 0, room = width - first; at < characters; at += room, room = width) {
    if (at > 0 || room === 0) to += copy(separator, target, to)
    if (room > 0) to += target.write(text.slice(at, at + room), to, 'latin1')
  }
  return to
}

/** Lines of whole groups: a block of them is encoded at once, then moved apart to make room for the separators. */
function encodeLines(
  source: Buffer,
  width: number,
  separator: Uint8Array,
  padded: boolean,
  first: number,
  target: Buffer,
): number {
  const lineOctets = (width / 4) * 3
  const blockOctets = Math.max(1, Math.floor(BLOCK_OCTETS / lineOctets)) * lineOctets
  let at = ((width - first) / 4) * 3
  let to = at === 0 ? 0 : target.write(encoded(source, 0, at, padded), 0, 'latin1')
  const block = Buffer.allocUnsafeSlow((blockOctets / 3) * 4)
  const from = new DataView(block.buffer)
  const into = new DataView(target.buffer, target.byteOffset, target.length)
  for (; at < source.length; at += blockOctets) {
    const end = Math.min(at + blockOctets, source.length)
    const characters = block.write(encoded(source, at, end, padded), 0, 'latin1')
    for (let line = 0; line < characters; line += width) {
      for (let i = 0; i < separator.length; i++) target[to++] = separator[i]!
      const lineEnd = Math.min(line + width, characters)
      let c = line
      // Eight characters at a time; no eight of base64 look like a NaN, which alone would not be copied as it is.
      for (; c + 8 <= lineEnd; c += 8, to += 8) into.setFloat64(to, from.getFloat64(c))
      for (; c < lineEnd; c++) target[to++] = block[c]!
    }
  }
  return to
}

/** The block's string stays in the young generation and the cache. */
const BLOCK_OCTETS = 57 * 400

function encoded(source: Buffer, start: number, end: number, padded: boolean): string {
  const text = source.toString('base64', start, end)
  if (padded || (end - start) % 3 === 0) return text
  return text.slice(0, base64Characters(end - start, false))
}

function copy(from: Uint8Array, target: Buffer, to: number): number {
  target.set(from, to)
  return from.length
}
