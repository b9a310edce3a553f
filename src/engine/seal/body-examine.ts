/**
 * Does the canonical encoding of what a leaf decodes to give its text back, and if not, what does? (message-format.md §6)
 */
import {
  type Base64Layout,
  CANONICAL_BASE64,
  decodeBase64Text,
  encodeBase64Layout,
  guessBase64Layout,
  layoutOfBase64,
} from '../mime/transfer/base64-layout.ts'
import { decodeQuotedPrintableText, encodeQuotedPrintableText } from '../mime/transfer/quoted-printable-text.ts'
import type { Exactness } from './exactness.ts'
import { fastPath } from './native.ts'
import { applyPatch, PatchBuilder } from './patch.ts'

const EQUALS = 0x3d

type BodyExactness = Partial<Pick<Exactness, 'layout' | 'patch' | 'endingCounted'>>

/**
 * Could this text, or beginning of one, be in the encoding that is claimed for it? Asked of multiparts and messages
 * only: a client takes them apart without regard to a claim that is not true.
 */
export function looksEncoded(text: Buffer, encoding: 'base64' | 'quoted-printable'): boolean {
  if (encoding === 'base64') return !/[^A-Za-z0-9+/=\s]/.test(text.toString('latin1'))
  for (let at = text.indexOf(EQUALS); at >= 0; at = text.indexOf(EQUALS, at + 1)) {
    if (at + 2 < text.length && quotedPrintableUnitEnd(text, at) === at + 1) return false
  }
  return true
}

/** @param text all of the leaf's body. Linear. */
export function examineBase64(text: Buffer): BodyExactness {
  const { codecs } = fastPath()
  const octets = decodeBase64Text(codecs, text)
  const layout = layoutOfBase64(codecs, text, octets)
  if (layout !== null) return isCanonical(layout) ? {} : { layout }
  const near = guessBase64Layout(text) ?? CANONICAL_BASE64
  const canonical = encodeBase64Layout(codecs, octets, near)
  const patch = patchBetween(canonical, text, base64UnitEnd)
  return isCanonical(near) ? { patch } : { layout: near, patch }
}

export function examineQuotedPrintable(text: Buffer): BodyExactness {
  const { codecs } = fastPath()
  const octets = decodeQuotedPrintableText(codecs, text)
  const canonical = encodeQuotedPrintableText(codecs, octets)
  return canonical.equals(text) ? {} : { patch: patchBetween(canonical, text, quotedPrintableUnitEnd) }
}

function isCanonical(layout: Base64Layout): boolean {
  const keys = ['width', 'separator', 'before', 'ending', 'padded'] as const
  return keys.every((key) => layout[key] === CANONICAL_BASE64[key])
}

/**
 * Where the unit at `at` ends: what encodes one octet or sextet, or, negative, what encodes nothing (a soft line
 * break, white space).
 */
type UnitEnd = (text: Buffer, at: number) => number

/**
 * Two encodings of the same octets side by side, unit by unit. Should they run apart (two decoders of the same broken
 * text would have to differ), the patch gets long, never wrong.
 */
function patchBetween(from: Buffer, to: Buffer, unitEnd: UnitEnd): Buffer {
  const patch = new PatchBuilder()
  let f = 0
  let t = 0
  const replace = (fromEnd: number, toEnd: number) => {
    if (fromEnd - f === toEnd - t && from.compare(to, t, toEnd, f, fromEnd) === 0) patch.keep(fromEnd - f)
    else {
      patch.skip(fromEnd - f)
      patch.insert(to.subarray(t, toEnd))
    }
    f = fromEnd
    t = toEnd
  }
  while (f < from.length && t < to.length) {
    const fromSoft = softEnd(from, f, unitEnd)
    const toSoft = softEnd(to, t, unitEnd)
    replace(fromSoft, toSoft)
    if (f < from.length && t < to.length) replace(unitEnd(from, f), unitEnd(to, t))
  }
  replace(from.length, to.length)
  const built = patch.build()
  if (!applyPatch(built, from).equals(to)) throw new Error('a patch that does not give the original')
  return built
}

function softEnd(text: Buffer, from: number, unitEnd: UnitEnd): number {
  let at = from
  while (at < text.length) {
    const end = unitEnd(text, at)
    if (end > 0) break
    at = -end
  }
  return at
}

function base64UnitEnd(text: Buffer, at: number): number {
  const octet = text[at]!
  const letter =
    (octet >= 0x61 && octet <= 0x7a) ||
    (octet >= 0x41 && octet <= 0x5a) ||
    (octet >= 0x30 && octet <= 0x39) ||
    octet === 0x2b ||
    octet === 0x2f
  return letter ? at + 1 : -(at + 1)
}

function quotedPrintableUnitEnd(text: Buffer, at: number): number {
  if (text[at] !== EQUALS) return at + 1
  if (isHex(text[at + 1]) && isHex(text[at + 2])) return at + 3
  let end = at + 1
  while (text[end] === 0x20 || text[end] === 0x09) end++
  if (end === text.length) return -end
  if (text[end] === 0x0a) return -(end + 1)
  if (text[end] === 0x0d && text[end + 1] === 0x0a) return -(end + 2)
  return at + 1
}

function isHex(octet: number | undefined): boolean {
  if (octet === undefined) return false
  return (octet >= 0x30 && octet <= 0x39) || (octet >= 0x41 && octet <= 0x46) || (octet >= 0x61 && octet <= 0x66)
}
