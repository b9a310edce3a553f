/**
 * Quoted-printable in JavaScript (RFC 2045 §6.7): the path of machines without the native addon, and the measure of
 * what the addon must give. Contracts in `codecs.ts`.
 */
import { MAX_QP_PADDING, maxQuotedPrintable, QP_LOOK_AHEAD, type TransferCodecs } from './codecs.ts'

const CR = 0x0d
const LF = 0x0a
const SP = 0x20
const TAB = 0x09
const EQUALS = 0x3d
/** Longest line, its soft break's `=` included (RFC 2045 §6.7 rule 5). */
const WIDTH = 76

const HEX = Buffer.from('0123456789ABCDEF', 'latin1')
/** Value of each hex digit, 16 for other octets. */
const NIBBLE = new Uint8Array(256).fill(16)
for (const [value, octet] of Buffer.from('0123456789abcdef', 'latin1').entries()) NIBBLE[octet] = value
for (const [value, octet] of HEX.entries()) NIBBLE[octet] = value

export const decodeQuotedPrintable: TransferCodecs['decodeQuotedPrintable'] = (input, last, consumed, out) => {
  if (out.length < input.length) throw new RangeError('no room for the decoded octets')
  const end = input.length
  let at = 0
  let to = 0
  while (at < end) {
    let octet = input[at]!
    while (octet !== EQUALS) {
      out[to++] = octet
      if (++at === end) break
      octet = input[at]!
    }
    if (at === end) break
    const after = softBreak(input, at + 1, last)
    if (after > 0) {
      at = after
      continue
    }
    if (after < 0) break
    // Not a soft break: two hex digits, or a stray `=`.
    if (at + 2 >= end && !last && (at + 1 === end || NIBBLE[input[at + 1]!]! < 16)) break
    const high = NIBBLE[input[at + 1] ?? 0]!
    const low = NIBBLE[input[at + 2] ?? 0]!
    if (at + 2 < end && high < 16 && low < 16) {
      out[to++] = (high << 4) | low
      at += 3
    } else {
      out[to++] = EQUALS
      at++
    }
  }
  consumed[0] = at
  return to
}

/** After `=`: the position behind a soft line break; 0 = there is none; -1 = more input must come. */
function softBreak(input: Uint8Array, from: number, last: boolean): number {
  const end = input.length
  let at = from
  while (at < end && at - from <= MAX_QP_PADDING && (input[at] === SP || input[at] === TAB)) at++
  if (at - from > MAX_QP_PADDING) return 0
  // The body's end is as good as a line end.
  if (at === end) return last ? end : -1
  if (input[at] === LF) return at + 1
  if (input[at] !== CR) return 0
  if (at + 1 === end) return last ? end : -1
  return input[at + 1] === LF ? at + 2 : 0
}

/** What an octet is to the encoder. */
const LITERAL = 0
const BLANK = 1
const OTHER = 2
const KIND = new Uint8Array(256).fill(OTHER)
KIND.fill(LITERAL, 0x21, 0x7f)
KIND[EQUALS] = OTHER
KIND[SP] = KIND[TAB] = BLANK

export const encodeQuotedPrintable: TransferCodecs['encodeQuotedPrintable'] = (input, last, state, out) => {
  if (out.length < maxQuotedPrintable(input.length)) throw new RangeError('no room for the encoded octets')
  const end = input.length
  const stop = last ? end : Math.max(0, end - QP_LOOK_AHEAD)
  let col = state[0]!
  let at = 0
  let to = 0
  while (at < stop) {
    const octet = input[at]!
    if (octet === LF || (octet === CR && at + 1 < end && input[at + 1] === LF)) {
      if (octet === CR) out[to++] = input[at++]!
      out[to++] = LF
      at++
      col = 0
      continue
    }
    const kind = KIND[octet]!
    if (kind === LITERAL && col < WIDTH - 1) {
      out[to++] = octet
      at++
      col++
      continue
    }
    const endsLine = isLineEnd(input, at + 1, end)
    const softAfter = kind === BLANK && endsLine && at + 1 < end
    const escaped = kind === OTHER || (kind === BLANK && at + 1 === end)
    const width = escaped ? 3 : 1
    if (col + width > (endsLine && !softAfter ? WIDTH : WIDTH - 1)) {
      to = putSoftBreak(out, to)
      col = 0
    }
    if (escaped) {
      out[to] = EQUALS
      out[to + 1] = HEX[octet >> 4]!
      out[to + 2] = HEX[octet & 15]!
      to += 3
    } else out[to++] = octet
    col += width
    at++
    if (softAfter) {
      to = putSoftBreak(out, to)
      col = 0
    }
  }
  state[0] = col
  state[1] = at
  return to
}

function isLineEnd(input: Uint8Array, at: number, end: number): boolean {
  if (at >= end) return true
  const octet = input[at]
  return octet === LF || (octet === CR && at + 1 < end && input[at + 1] === LF)
}

function putSoftBreak(out: Uint8Array, to: number): number {
  out[to] = EQUALS
  out[to + 1] = CR
  out[to + 2] = LF
  return to + 3
}
