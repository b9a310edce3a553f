/**
 * How a base64 text is laid out: enough to write it again, octet for octet, from what it decodes to. Most mail has
 * lines of 76 and CRLF; what other programs do (60, 64, 72, LF, a blank at each line's end, no padding, no end of
 * the last line) is the same with other numbers. A text that no layout describes is for the exactness code to keep
 * another way.
 */
import { base64EncodedOctets, MAX_SEPARATOR, maxBase64Decoded, type TransferCodecs } from './codecs.ts'

/** Strings are one character an octet (latin1), and white space all. */
export interface Base64Layout {
  /** Characters a line; 0 = all in one line. */
  readonly width: number
  /** Between two lines, e.g. CRLF; at most {@link MAX_SEPARATOR} octets. */
  readonly separator: string
  /** Before the first character. */
  readonly before: string
  /** After the last, in place of a separator. */
  readonly ending: string
  /** The last group has its `=`. True where none is needed. */
  readonly padded: boolean
}

/** What the C gateway and our §5 fallback write (message-format.md §5). */
export const CANONICAL_BASE64: Base64Layout = {
  width: 76,
  separator: '\r\n',
  before: '',
  ending: '\r\n',
  padded: true,
}

/** White space before the first and after the last line that a layout keeps: what a mail program might add, not a hiding place. */
export const MAX_EDGE = 256

/** Layouts are read from a header that a sender wrote: anything else in them is refused. */
export function isBase64Layout(layout: Base64Layout): boolean {
  return (
    Number.isSafeInteger(layout.width) &&
    layout.width >= 0 &&
    (layout.width === 0 ? layout.separator === '' : isBlank(layout.separator, MAX_SEPARATOR)) &&
    isBlank(layout.before, MAX_EDGE) &&
    isBlank(layout.ending, MAX_EDGE)
  )
}

function isBlank(text: string, maxOctets: number): boolean {
  return text.length <= maxOctets && /^[ \t\r\n]*$/.test(text)
}

/** The octets that `octets` octets become in this layout. An empty body has `before` alone. */
export function laidOutOctets(layout: Base64Layout, octets: number): number {
  if (octets === 0) return layout.before.length
  const body = base64EncodedOctets(octets, layout.width, layout.separator.length, layout.padded)
  return layout.before.length + body + layout.ending.length
}

/** Whole text from whole octets. Linear. */
export function encodeBase64Layout(codecs: TransferCodecs, octets: Uint8Array, layout: Base64Layout): Buffer {
  const out = Buffer.allocUnsafe(laidOutOctets(layout, octets.length))
  let to = out.write(layout.before, 0, 'latin1')
  if (octets.length === 0) return out
  const separator = Buffer.from(layout.separator, 'latin1')
  to += codecs.encodeBase64(octets, true, layout.width, separator, layout.padded, new Uint32Array(1), out.subarray(to))
  out.write(layout.ending, to, 'latin1')
  return out
}

/** Whole octets from whole text; see {@link TransferCodecs.decodeBase64} for what malformed text becomes. */
export function decodeBase64Text(codecs: TransferCodecs, text: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(maxBase64Decoded(text.length))
  return out.subarray(0, codecs.decodeBase64(text, new Uint32Array(2), true, out))
}

/**
 * The layout of a base64 text, proven by writing the text again. Linear; about one decoding and one encoding.
 * @param octets what the text decodes to, where the caller has it already
 * @returns null when the text is irregular
 */
export function layoutOfBase64(codecs: TransferCodecs, text: Uint8Array, octets?: Uint8Array): Base64Layout | null {
  const layout = guessBase64Layout(text)
  if (layout === null) return null
  const decoded = octets ?? decodeBase64Text(codecs, text)
  if (laidOutOctets(layout, decoded.length) !== text.length) return null
  const again = encodeBase64Layout(codecs, decoded, layout)
  return again.equals(text) ? layout : null
}

/**
 * What the edges and the first line tell, unproven. Of the first block of a longer text `ending` is not its end's:
 * set it from the text's real last octets.
 */
export function guessBase64Layout(text: Uint8Array): Base64Layout | null {
  const start = skipBlank(text, 0)
  if (start > MAX_EDGE) return null
  if (start === text.length) {
    return { ...CANONICAL_BASE64, before: latin1(text, 0, start), ending: CANONICAL_BASE64.ending }
  }
  let end = text.length
  while (isBlankOctet(text[end - 1]!)) end--
  if (text.length - end > MAX_EDGE) return null
  const edges = { before: latin1(text, 0, start), ending: latin1(text, end, text.length) }
  let firstEnd = start
  while (firstEnd < end && !isBlankOctet(text[firstEnd]!)) firstEnd++
  // A text of one line: any width from its own length on would do; the usual one, if it is wide enough.
  if (firstEnd === end) {
    const fits = end - start <= CANONICAL_BASE64.width
    const { width, separator } = fits ? CANONICAL_BASE64 : { width: 0, separator: '' }
    return { width, separator, ...edges, padded: isPadded(text, start, end) }
  }
  const separatorEnd = skipBlank(text, firstEnd)
  if (separatorEnd - firstEnd > MAX_SEPARATOR) return null
  const separator = latin1(text, firstEnd, separatorEnd)
  const width = firstEnd - start
  return { width, separator, ...edges, padded: isPadded(text, start, end, width, separator.length) }
}

/** Counts the characters by the layout's arithmetic: a text that breaks it fails the proof anyway. */
function isPadded(text: Uint8Array, start: number, end: number, width = 0, separatorOctets = 0): boolean {
  if (text[end - 1] === 0x3d) return true
  const length = end - start
  const lines = width === 0 ? 0 : Math.floor((length - 1) / (width + separatorOctets))
  return (length - lines * separatorOctets) % 4 === 0
}

function skipBlank(text: Uint8Array, from: number): number {
  let at = from
  while (at < text.length && isBlankOctet(text[at]!)) at++
  return at
}

function isBlankOctet(octet: number): boolean {
  return octet === 0x20 || octet === 0x0a || octet === 0x0d || octet === 0x09
}

function latin1(text: Uint8Array, start: number, end: number): string {
  return Buffer.from(text.buffer, text.byteOffset, text.length).toString('latin1', start, end)
}
