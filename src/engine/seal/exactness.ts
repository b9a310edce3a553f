/**
 * The exactness header: what a part needs, beyond the rules of message-format.md §5, to be given back octet for octet
 * (§6). It is one more encrypted header of the part, the last; a gateway that does not know it shows it as it is.
 *
 *     X-VESmail-Exact: 1 0f1e2d3c; key=value; key=value
 *
 * `1` is the version; the hex are the first four octets of the stream that carries it, so that a header that was
 * copied from an opened message into a new one is not taken for an instruction. White space counts nowhere: it is
 * folded. Octets are base64, numbers decimal. Unknown keys are passed over.
 *
 * | key | of | value |
 * |---|---|---|
 * | `a` | root | sealing added the Message-ID: it goes |
 * | `e` | any | the last header had no line end: the input ended there |
 * | `k` | any | octets of the blank line, where it was not just a line end; none = there was none |
 * | `i` | any | `back:octets`, a header to put in, in front of the `back`-th kept header before this one's place (0 = at this one's place) |
 * | `x` | any | `back:octets`, the text of a header kept: replaces the `back`-th before this one's place that has the same name (1 = the nearest) |
 * | `d` | leaf | the delimiter that ends the part had no line end before it |
 * | `r` | leaf | the message has more parts than are sealed each for itself (`limits.ts`): all that follows is in this one |
 * | `l` | leaf | base64 layout: `width` `p`/`u` (padded or not) `.separator.before.ending`, white space as letters r n s t; ending `*` = as many separators as the sealed body has line ends at its end beyond one |
 * | `p` | leaf | the patch from the canonical encoding (or layout `l`) to the original text (`patch.ts`) |
 * | `w` | leaf | it was too long to be examined whole: where it is not as `l` promises, patches stand in the white space of the sealed body; their nonce (`late-patch.ts`) |
 * | `n` | leaf | of a message too long for `c`: `ordinal.fb0`: the how many-th leaf of the message this is (1 = the first), and the first octets of its body's stream, in hex |
 * | `c` | root | for each sealed leaf in MIME order, the first octets of its body's stream, one after the other |
 * | `t` | root | of a message with more leaves than `c` lists: how many |
 * | `z` | root | of a message too long for `c`: behind its outermost closing delimiter stands a record of its end (`end-record.ts`); its nonce |
 * | `s` | root | sizes, see {@link SealedSizes}: `octets.lines.sealed` each, `,` between; the first is the message's body, then each leaf and nested message (`m` in front) in MIME order; an unknown number is left out |
 * | `h` | root, leaf | of a message too long for `v`, and of leaves beyond those of `c`: digest of the structure so far, this header's part included (`structure.ts`) |
 * | `v` | root | `digest.lineEnds` of all of the structure |
 * | `g` | root | what follows the opened body's octets (`s`) is padding |
 *
 * Places are counted from this header backwards because providers add headers at the top and at the bottom.
 */
import type { Eol } from '../mime/header-block.ts'
import { type Base64Layout, isBase64Layout } from '../mime/transfer/base64-layout.ts'
import { EXACT_HEADER } from './format.ts'
import { isDigest, type WholeStructure } from './structure.ts'

export interface PlacedHeader {
  readonly back: number
  readonly bytes: Buffer
}

/** Which of the message's leaves a leaf is, and which body is its own. */
export interface LeafPlace {
  /** From 1 on. */
  readonly ordinal: number
  /** The first {@link BOUND_OCTETS} octets of its stream. */
  readonly bound: Buffer
}

/** Octets and lines (LF octets) of the opened form, octets of the sealed one as the server counts them; null = unknown. */
export interface PartSizes {
  readonly octets: number | null
  readonly lines: number | null
  readonly sealedOctets: number | null
}

export interface ListedPart extends PartSizes {
  /** `message`: the body of a message/rfc822 part, its headers included. */
  readonly kind: 'leaf' | 'message'
}

export interface SealedSizes {
  /** The message without its root header block. */
  readonly body: PartSizes
  /** Leaves and nested messages in MIME order, a nested message before its own; null = not known beforehand. */
  readonly parts: readonly ListedPart[] | null
}

export interface Exactness {
  readonly messageIdAdded: boolean
  readonly lastHeaderOpen: boolean
  readonly blank: Buffer | null
  readonly inserted: readonly PlacedHeader[]
  readonly replaced: readonly PlacedHeader[]
  readonly bareDelimiter: boolean
  /** The leaf's text goes on to the end of the message, over delimiters and parts. */
  readonly takesRest: boolean
  readonly layout: Base64Layout | null
  /** The layout's ending is not in it: it is counted at the end of the sealed body. */
  readonly endingCounted: boolean
  readonly patch: Buffer | null
  /** There may be patches in the body's white space. */
  readonly lateNonce: Buffer | null
  readonly place: LeafPlace | null
  /** {@link BOUND_OCTETS} each. */
  readonly leaves: Buffer | null
  /** How many there are, where not all are listed. */
  readonly leafCount: number | null
  /** The message has a record of its end. */
  readonly endNonce: Buffer | null
  /** Digest of the structure up to this part's body. */
  readonly structureSoFar: string | null
  /** All of the message's. */
  readonly structure: WholeStructure | null
  readonly sizes: SealedSizes | null
  readonly padded: boolean
}

export const NOTHING_SPECIAL: Exactness = {
  messageIdAdded: false,
  lastHeaderOpen: false,
  blank: null,
  inserted: [],
  replaced: [],
  bareDelimiter: false,
  takesRest: false,
  layout: null,
  endingCounted: false,
  patch: null,
  lateNonce: null,
  place: null,
  leaves: null,
  leafCount: null,
  endNonce: null,
  structureSoFar: null,
  structure: null,
  sizes: null,
  padded: false,
}

export function isNothingSpecial(exact: Exactness): boolean {
  return printFields(exact).length === 0
}

const VERSION = '1'
/** Octets of a stream that name it: of the carrying one, and of leaves'. */
export const BOUND_OCTETS = 4
/** Parts whose sizes are written; a message with more has to be read for them. */
export const MAX_LISTED_PARTS = 1000
const LINE_OCTETS = 72

/** What names a stream in text, and the header that it carries. @param stream its first octets */
export function boundOf(stream: Uint8Array): string {
  return Buffer.from(stream.subarray(0, BOUND_OCTETS)).toString('hex')
}

/** @param fb0 the first octets of the stream that will carry it @returns the header without its last line end */
export function printExactness(exact: Exactness, fb0: Uint8Array, eol: Eol): Buffer {
  const text = [`${EXACT_HEADER}: ${VERSION} ${boundOf(fb0)}`, ...printFields(exact)].join('; ')
  const lines: string[] = []
  for (let at = 0; at < text.length; at += LINE_OCTETS) lines.push(text.slice(at, at + LINE_OCTETS))
  return Buffer.from(lines.join(`${eol}\t`), 'latin1')
}

function printFields(exact: Exactness): string[] {
  const fields: string[] = []
  if (exact.messageIdAdded) fields.push('a')
  if (exact.lastHeaderOpen) fields.push('e')
  if (exact.blank !== null) fields.push(`k=${exact.blank.toString('base64')}`)
  for (const { back, bytes } of exact.inserted) fields.push(`i=${back}:${bytes.toString('base64')}`)
  for (const { back, bytes } of exact.replaced) fields.push(`x=${back}:${bytes.toString('base64')}`)
  if (exact.bareDelimiter) fields.push('d')
  if (exact.takesRest) fields.push('r')
  if (exact.layout !== null) fields.push(`l=${printLayout(exact.layout, exact.endingCounted)}`)
  if (exact.patch !== null) fields.push(`p=${exact.patch.toString('base64')}`)
  if (exact.lateNonce !== null) fields.push(`w=${exact.lateNonce.toString('base64')}`)
  if (exact.place !== null) fields.push(`n=${exact.place.ordinal}.${exact.place.bound.toString('hex')}`)
  if (exact.leaves !== null) fields.push(`c=${exact.leaves.toString('base64')}`)
  if (exact.leafCount !== null) fields.push(`t=${exact.leafCount}`)
  if (exact.endNonce !== null) fields.push(`z=${exact.endNonce.toString('base64')}`)
  if (exact.structureSoFar !== null) fields.push(`h=${exact.structureSoFar}`)
  if (exact.structure !== null) fields.push(`v=${exact.structure.digest}.${exact.structure.lineEnds}`)
  if (exact.sizes !== null) fields.push(`s=${printSizes(exact.sizes)}`)
  if (exact.padded) fields.push('g')
  return fields
}

/**
 * @param header an opened header, without its last line end
 * @param sealed the stream that carried it
 * @returns null when it is not an exactness header of this very stream, or of a version that we do not know
 */
export function parseExactness(header: Buffer, sealed: Uint8Array): Exactness | null {
  const colon = header.indexOf(0x3a)
  if (colon < 0 || header.toString('latin1', 0, colon).trimEnd().toLowerCase() !== EXACT_HEADER.toLowerCase())
    return null
  const text = header.toString('latin1', colon + 1).replace(/[ \t\r\n]+/g, '')
  const [head, ...fields] = text.split(';')
  if (head !== VERSION + boundOf(sealed)) return null
  const exact: { -readonly [K in keyof Exactness]: Exactness[K] } = { ...NOTHING_SPECIAL }
  const inserted: PlacedHeader[] = []
  const replaced: PlacedHeader[] = []
  for (const field of fields) {
    const equals = field.indexOf('=')
    const key = equals < 0 ? field : field.slice(0, equals)
    const value = equals < 0 ? '' : field.slice(equals + 1)
    switch (key) {
      case 'a':
        exact.messageIdAdded = true
        break
      case 'e':
        exact.lastHeaderOpen = true
        break
      case 'k':
        exact.blank = Buffer.from(value, 'base64')
        break
      case 'i':
        inserted.push(parsePlaced(value))
        break
      case 'x':
        replaced.push(parsePlaced(value))
        break
      case 'd':
        exact.bareDelimiter = true
        break
      case 'r':
        exact.takesRest = true
        break
      case 'l':
        Object.assign(exact, parseLayout(value))
        break
      case 'p':
        exact.patch = Buffer.from(value, 'base64')
        break
      case 'w':
        exact.lateNonce = Buffer.from(value, 'base64')
        break
      case 'n':
        exact.place = parsePlace(value)
        break
      case 'c':
        exact.leaves = Buffer.from(value, 'base64')
        break
      case 't':
        exact.leafCount = /^\d{1,9}$/.test(value) ? Number(value) : null
        break
      case 'z':
        exact.endNonce = Buffer.from(value, 'base64')
        break
      case 'h':
        exact.structureSoFar = isDigest(value) ? value : null
        break
      case 'v':
        exact.structure = parseStructure(value)
        break
      case 's':
        exact.sizes = parseSizes(value)
        break
      case 'g':
        exact.padded = true
        break
    }
  }
  return { ...exact, inserted, replaced }
}

function parsePlaced(value: string): PlacedHeader {
  const colon = value.indexOf(':')
  return { back: Number(value.slice(0, colon)) || 0, bytes: Buffer.from(value.slice(colon + 1), 'base64') }
}

function parsePlace(value: string): LeafPlace | null {
  const parsed = /^(\d{1,9})\.([0-9a-f]{8})$/.exec(value)
  return parsed === null ? null : { ordinal: Number(parsed[1]), bound: Buffer.from(parsed[2]!, 'hex') }
}

function parseStructure(value: string): WholeStructure | null {
  const [digest = '', lineEnds = ''] = value.split('.')
  return isDigest(digest) && /^\d{1,15}$/.test(lineEnds) ? { digest, lineEnds: Number(lineEnds) } : null
}

const BLANK_LETTERS: Readonly<Record<string, string>> = { r: '\r', n: '\n', s: ' ', t: '\t' }

const printBlanks = (blanks: string) =>
  blanks.replace(/[\r\n \t]/g, (c) => ({ '\r': 'r', '\n': 'n', ' ': 's', '\t': 't' })[c]!)
const parseBlanks = (letters: string) => letters.replace(/[a-z]/g, (c) => BLANK_LETTERS[c] ?? c)

function printLayout(layout: Base64Layout, endingCounted: boolean): string {
  const { width, padded, separator, before, ending } = layout
  const last = endingCounted ? '*' : printBlanks(ending)
  return `${width}${padded ? 'p' : 'u'}.${printBlanks(separator)}.${printBlanks(before)}.${last}`
}

/** A layout that is none is passed over: the body then comes in the canonical one. */
function parseLayout(value: string): Pick<Exactness, 'layout' | 'endingCounted'> {
  const [first = '', separator = '', before = '', ending = ''] = value.split('.')
  const parsed = /^(\d{1,9})([pu])$/.exec(first)
  if (parsed === null) return { layout: null, endingCounted: false }
  const layout: Base64Layout = {
    width: Number(parsed[1]),
    padded: parsed[2] === 'p',
    separator: parseBlanks(separator),
    before: parseBlanks(before),
    ending: ending === '*' ? '' : parseBlanks(ending),
  }
  return isBase64Layout(layout) ? { layout, endingCounted: ending === '*' } : { layout: null, endingCounted: false }
}

const printNumber = (n: number | null) => (n === null ? '' : String(n))
const printPart = (p: PartSizes) => `${printNumber(p.octets)}.${printNumber(p.lines)}.${printNumber(p.sealedOctets)}`

function printSizes({ body, parts }: SealedSizes): string {
  const listed = (parts ?? []).map((p) => (p.kind === 'message' ? `m${printPart(p)}` : printPart(p)))
  return [printPart(body), ...listed, ...(parts === null ? ['?'] : [])].join(',')
}

function parseSizes(value: string): SealedSizes | null {
  const entries = value.split(',')
  const unknown = entries.at(-1) === '?'
  const body = parsePart(entries[0]!)
  const listed = unknown ? [] : entries.slice(1)
  if (body === null || listed.length > MAX_LISTED_PARTS) return null
  const parts: ListedPart[] = []
  for (const entry of listed) {
    const message = entry.startsWith('m')
    const part = parsePart(message ? entry.slice(1) : entry)
    if (part === null) return null
    parts.push({ kind: message ? 'message' : 'leaf', ...part })
  }
  return { body, parts: unknown ? null : parts }
}

function parsePart(entry: string): PartSizes | null {
  const numbers = /^(\d{0,15})\.(\d{0,15})\.(\d{0,15})$/.exec(entry)
  if (numbers === null) return null
  const [octets = null, lines = null, sealedOctets = null] = numbers.slice(1).map((n) => (n === '' ? null : Number(n)))
  return { octets, lines, sealedOctets }
}
