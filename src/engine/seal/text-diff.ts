/**
 * Two encodings of the same octets side by side, as a patch from one to the other (message-format.md §6). They are
 * walked unit by unit: what encodes one octet (quoted-printable) or sextet (base64) stands against the same one's on the
 * other side, and what encodes nothing (a soft line break, white space, padding) against what encodes nothing there.
 *
 * Should they run apart (the decoders and this walk would have to differ), the patch gets long, never wrong: it keeps
 * nothing that was not compared.
 */
import { MAX_QP_PADDING } from '../mime/transfer/codecs.ts'
import type { PatchBuilder } from './patch.ts'

export type Coding = 'base64' | 'quoted-printable'

/** Where the unit at `at` ends; negative, where it is one that encodes nothing. */
type UnitEnd = (text: Buffer, at: number) => number

const EQUALS = 0x3d
const LF = 0x0a
const CR = 0x0d

export interface Places {
  readonly from: number
  readonly to: number
}

/**
 * Goes on until one of the two is at its end. Linear.
 * @param start where to begin: the same number of units stands before it on both sides
 * @returns how far it came in each
 */
export function compareTexts(patch: PatchBuilder, from: Buffer, to: Buffer, coding: Coding, start: Places): Places {
  const unitEnd = UNIT_ENDS[coding]
  let f = start.from
  let t = start.to
  const replace = (fromEnd: number, toEnd: number) => {
    if (isSame(from, f, fromEnd, to, t, toEnd)) patch.keep(fromEnd - f)
    else {
      patch.skip(fromEnd - f)
      patch.insertRange(to, t, toEnd)
    }
    f = fromEnd
    t = toEnd
  }
  while (f < from.length && t < to.length) {
    const same = sameOctets(from, to, f, t, coding)
    patch.keep(same)
    f += same
    t += same
    // Unit by unit until both are at a place from which octets may be compared again.
    while (f < from.length && t < to.length) {
      const fromSoft = softEnd(from, f, unitEnd)
      const toSoft = softEnd(to, t, unitEnd)
      replace(fromSoft, toSoft)
      if (f === from.length || t === to.length) break
      replace(unitEnd(from, f), unitEnd(to, t))
      if (coding === 'quoted-printable') {
        const plain = samePlain(from, to, f, t)
        patch.keep(plain)
        f += plain
        t += plain
      }
      if (coding === 'base64' || (from[f - 1] === LF && to[t - 1] === LF)) break
    }
  }
  return { from: f, to: t }
}

/** Units of `text` from `at` on. */
export function countUnits(text: Buffer, coding: Coding): number {
  const unitEnd = UNIT_ENDS[coding]
  let units = 0
  for (let at = softEnd(text, 0, unitEnd); at < text.length; at = softEnd(text, unitEnd(text, at), unitEnd)) units++
  return units
}

/** @returns where the next `units` units end, or the text, and how many of them there were */
export function passUnits(
  text: Buffer,
  coding: Coding,
  units: number,
): { readonly end: number; readonly units: number } {
  const unitEnd = UNIT_ENDS[coding]
  let end = 0
  let passed = 0
  while (passed < units && end < text.length) {
    end = softEnd(text, end, unitEnd)
    if (end === text.length) break
    end = unitEnd(text, end)
    passed++
  }
  return { end, units: passed }
}

/** Octets that are the same from here on, up to a place between units: in quoted-printable, behind a line end. */
function sameOctets(from: Buffer, to: Buffer, f: number, t: number, coding: Coding): number {
  const end = Math.min(from.length - f, to.length - t)
  let same = 0
  while (same < end && from[f + same] === to[t + same]) same++
  if (coding === 'base64' || same === 0) return same
  return Math.max(0, from.lastIndexOf(LF, f + same - 1) + 1 - f)
}

/** Octets that are the same and a unit each, up to the end of the line. */
function samePlain(from: Buffer, to: Buffer, f: number, t: number): number {
  const end = Math.min(from.length - f, to.length - t)
  let same = 0
  if (from[f - 1] === LF) return same
  while (same < end) {
    const octet = from[f + same]!
    if (octet === EQUALS || octet !== to[t + same]) break
    same++
    if (octet === LF) break
  }
  return same
}

/** Units are short: no call out of JavaScript for each. */
function isSame(from: Buffer, f: number, fromEnd: number, to: Buffer, t: number, toEnd: number): boolean {
  const octets = fromEnd - f
  if (octets !== toEnd - t) return false
  for (let i = 0; i < octets; i++) if (from[f + i] !== to[t + i]) return false
  return true
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

/** As the decoder reads it (`mime/transfer/quoted-printable.ts`). */
export function quotedPrintableUnitEnd(text: Buffer, at: number): number {
  if (text[at] !== EQUALS) return at + 1
  if (isHex(text[at + 1]) && isHex(text[at + 2])) return at + 3
  let end = at + 1
  while (text[end] === 0x20 || text[end] === 0x09) end++
  if (end - at - 1 > MAX_QP_PADDING) return at + 1
  if (end === text.length) return -end
  if (text[end] === LF) return -(end + 1)
  if (text[end] !== CR) return at + 1
  if (end + 1 === text.length) return -(end + 1)
  return text[end + 1] === LF ? -(end + 2) : at + 1
}

function isHex(octet: number | undefined): boolean {
  if (octet === undefined) return false
  return (octet >= 0x30 && octet <= 0x39) || (octet >= 0x41 && octet <= 0x46) || (octet >= 0x61 && octet <= 0x66)
}

const UNIT_ENDS: Readonly<Record<Coding, UnitEnd>> = {
  base64: base64UnitEnd,
  'quoted-printable': quotedPrintableUnitEnd,
}
