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
import { type Coding, compareTexts, quotedPrintableUnitEnd } from './text-diff.ts'

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
  const patch = patchBetween(canonical, text, 'base64')
  return isCanonical(near) ? { patch } : { layout: near, patch }
}

export function examineQuotedPrintable(text: Buffer): BodyExactness {
  const { codecs } = fastPath()
  const octets = decodeQuotedPrintableText(codecs, text)
  const canonical = encodeQuotedPrintableText(codecs, octets)
  return canonical.equals(text) ? {} : { patch: patchBetween(canonical, text, 'quoted-printable') }
}

function isCanonical(layout: Base64Layout): boolean {
  const keys = ['width', 'separator', 'before', 'ending', 'padded'] as const
  return keys.every((key) => layout[key] === CANONICAL_BASE64[key])
}

function patchBetween(from: Buffer, to: Buffer, coding: Coding): Buffer {
  const patch = new PatchBuilder()
  const end = compareTexts(patch, from, to, coding, { from: 0, to: 0 })
  patch.skip(from.length - end.from)
  patch.insert(to.subarray(end.to))
  const built = patch.build()
  if (!applyPatch(built, from).equals(to)) throw new Error('a patch that does not give the original')
  return built
}
