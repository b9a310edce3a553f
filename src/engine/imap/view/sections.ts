/**
 * BODY[section]<partial> of a {@link MessageView} (RFC 9051 §6.4.5.1, §7.5.2): which octets of the served message it is.
 * Large bodies are never held: the answer is a list of ranges, header lines that were selected are octets.
 * What does not exist is an empty string, never NIL, as Dovecot 2.3 has it.
 */
import type { Partial, Section } from '../fetch-items.ts'
import { endsBlank, lowerAscii, parseHeaderFields } from './header-fields.ts'
import type { MessageView, PartView } from './message-view.ts'

/** Octets to send, in order: a range of the served message (end exclusive), or octets as they are (kept by the view). */
export type Piece = { readonly start: number; readonly end: number } | { readonly bytes: Buffer }

export interface SectionAnswer {
  /** Octets of the literal. */
  readonly octets: number
  readonly pieces: readonly Piece[]
}

const NOTHING: SectionAnswer = { octets: 0, pieces: [] }
const CRLF = Buffer.from('\r\n')
const CR = CRLF.subarray(0, 1)

export function resolveSection(view: MessageView, section: Section, partial: Partial | null): SectionAnswer {
  const whole = sectionOf(view, section)
  if (partial === null) return whole
  const last = whole.pieces.at(-1)
  const blank = last !== undefined && 'bytes' in last && last.bytes === CRLF
  // QUIRK: the filter enters the blank line at its beginning only: its LF asked for alone comes as CR.
  if (blank && partial.start === whole.octets - 1 && partial.count !== 0 && isFiltered(section, whole.octets)) {
    return { octets: 1, pieces: [{ bytes: CR }] }
  }
  return slice(whole, partial)
}

function sectionOf(view: MessageView, section: Section): SectionAnswer {
  const part = partOf(view, section)
  if (part === null) return NOTHING
  const bodyStart = part.start + part.header.octets
  switch (section.text) {
    case null:
      return range(section.part.length === 0 ? part.start : bodyStart, bodyStart + part.body.octets)
    case 'TEXT':
      return range(bodyStart, bodyStart + part.body.octets)
    case 'HEADER':
    case 'MIME':
      return octets([part.headerOctets.subarray(0, part.header.octets)])
    case 'HEADER.FIELDS':
    case 'HEADER.FIELDS.NOT':
      return selectFields(part, section)
  }
}

/** The part whose header or body the section is; HEADER and TEXT are those of the message inside. */
function partOf(view: MessageView, { part: path, text }: Section): PartView | null {
  if (path.length === 0) return view.root
  const part = findPart(view.root, path)
  if (part === null || text === null || text === 'MIME') return part
  return part.kind === 'message' ? (part.children[0] ?? null) : null
}

/**
 * The part with this number; null: there is none. Numbers go into a multipart by position; of anything else only 1
 * exists, and a message/rfc822 is entered by what follows it.
 */
export function findPart(root: PartView, path: readonly number[]): PartView | null {
  let part = root
  for (const [index, number] of path.entries()) {
    const isLast = index === path.length - 1
    if (part.kind === 'multipart') {
      const child = part.children[number < 1 ? 0 : number - 1]
      if (child === undefined) return null
      part = child
    } else if (number !== 1 || (!isLast && part.kind !== 'message')) return null
    if (!isLast && part.kind === 'message') {
      const inner = part.children[0]
      if (inner === undefined) return null
      part = inner
    }
  }
  return part
}

/** QUIRK: Dovecot 2.3 keeps no larger field in its cache. */
const MAX_CACHED_OCTETS = 65_536

/**
 * QUIRK: Dovecot 2.3 answers HEADER.FIELDS of the message itself from its cache, all other selections through a filter.
 * They differ in messages whose header has no blank line, and at the very end.
 */
function isFiltered({ part, text }: Section, octets: number): boolean {
  return text === 'HEADER.FIELDS.NOT' || part.length > 0 || octets > MAX_CACHED_OCTETS
}

function selectFields(part: PartView, section: Section): SectionAnswer {
  const { headerOctets } = part
  const keys = new Set(section.fields.map(lowerAscii))
  const wanted = section.text === 'HEADER.FIELDS'
  const chosen = parseHeaderFields(headerOctets)
    .filter((field) => keys.has(field.key) === wanted)
    .map((field) => headerOctets.subarray(field.start, field.end))
  const sum = chosen.reduce((all, field) => all + field.length, 0)
  if (isFiltered(section, sum)) return octets(endsBlank(headerOctets) ? [...chosen, CRLF] : chosen)
  // From the cache, a last line without an end gets none, and a CR at its end makes the blank line's line end.
  const last = chosen.at(-1)
  return octets([...chosen, last !== undefined && last[last.length - 1] === CRLF[0] ? CRLF.subarray(1) : CRLF])
}

function range(start: number, end: number): SectionAnswer {
  return end > start ? { octets: end - start, pieces: [{ start, end }] } : NOTHING
}

function octets(buffers: readonly Buffer[]): SectionAnswer {
  const pieces = buffers.filter((bytes) => bytes.length > 0).map((bytes) => ({ bytes }))
  return { octets: pieces.reduce((sum, { bytes }) => sum + bytes.length, 0), pieces }
}

function slice(answer: SectionAnswer, { start, count }: Partial): SectionAnswer {
  const from = Math.min(start, answer.octets)
  const to = count === null ? answer.octets : Math.min(answer.octets, from + count)
  const pieces: Piece[] = []
  let at = 0
  for (const piece of answer.pieces) {
    const length = 'bytes' in piece ? piece.bytes.length : piece.end - piece.start
    const first = Math.max(from - at, 0)
    const last = Math.min(to - at, length)
    if (last > first) {
      pieces.push(
        'bytes' in piece
          ? { bytes: piece.bytes.subarray(first, last) }
          : { start: piece.start + first, end: piece.start + last },
      )
    }
    at += length
  }
  return { octets: to - from, pieces }
}
