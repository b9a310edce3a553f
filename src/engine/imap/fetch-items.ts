/**
 * The items a FETCH asks for (RFC 9051 §6.4.5, RFC 3516, RFC 8970), parsed from the command; and their names as they are
 * asked upstream. Not their answers: those come from `view/`.
 */
import { type Cursor, syntax } from './cursor.ts'

/** What of a part: null = its body (for the root: the whole message). */
export type SectionText = 'HEADER' | 'HEADER.FIELDS' | 'HEADER.FIELDS.NOT' | 'TEXT' | 'MIME' | null

/** `section-spec`: part numbers, empty = the message itself. */
export interface Section {
  readonly part: readonly number[]
  readonly text: SectionText
  /** Header names of HEADER.FIELDS(.NOT), as given; they compare without case. Empty otherwise. */
  readonly fields: readonly string[]
  /** The list of `fields` as servers repeat it in their answer: upper case, quoted what was no atom. */
  readonly echo?: string
  /** The list of `fields` as it is asked upstream: a name that the client quoted stays quoted, since some servers echo it so. */
  readonly asked?: string
}

/** `<start.count>`; count null: to the end (`<start>` alone, which Dovecot takes). Octets. */
export interface Partial {
  readonly start: number
  readonly count: number | null
}

/** Items whose answer depends on the content of the message: the view answers them for a sealed one. */
export type ContentItem =
  | { readonly kind: 'envelope' }
  /** BODY without section: as BODYSTRUCTURE without extension data. */
  | { readonly kind: 'body' }
  | { readonly kind: 'bodystructure' }
  /** RFC822.SIZE */
  | { readonly kind: 'size' }
  | {
      readonly kind: 'section'
      /** RFC822* are BODY[], BODY[HEADER], BODY[TEXT] under another name. */
      readonly name: 'BODY' | 'RFC822' | 'RFC822.HEADER' | 'RFC822.TEXT'
      readonly section: Section
      /** Does not set \Seen (RFC822.HEADER neither). */
      readonly peek: boolean
      readonly partial: Partial | null
    }
  | {
      readonly kind: 'binary'
      readonly section: Section
      readonly peek: boolean
      readonly partial: Partial | null
    }
  | { readonly kind: 'binary-size'; readonly section: Section }
  | { readonly kind: 'preview'; readonly lazy: boolean }

export type FetchItem =
  | ContentItem
  /** Not about content: UID, FLAGS, INTERNALDATE, MODSEQ … The server answers; `text` is what to ask. */
  | { readonly kind: 'attribute'; readonly text: string }

/** Attributes that say nothing about content. Allow-list: an unknown item may be content under a new name. */
export const ATTRIBUTES: ReadonlySet<string> = new Set([
  'UID',
  'FLAGS',
  'INTERNALDATE',
  'MODSEQ',
  'SAVEDATE',
  'EMAILID',
  'THREADID',
  'X-GM-MSGID',
  'X-GM-THRID',
  'X-GM-LABELS',
])

const attribute = (text: string): FetchItem => ({ kind: 'attribute', text })
const ENVELOPE: FetchItem = { kind: 'envelope' }
const SIZE: FetchItem = { kind: 'size' }
const FAST: readonly FetchItem[] = [attribute('FLAGS'), attribute('INTERNALDATE'), SIZE]

const MACROS: Readonly<Record<string, readonly FetchItem[]>> = {
  ALL: [...FAST, ENVELOPE],
  FAST,
  FULL: [...FAST, ENVELOPE, { kind: 'body' }],
}

/** More items than anyone needs; each may cost a copy of the message. */
const MAX_ITEMS = 100
const MAX_PART_DEPTH = 100
/** All header names of one command, octets: they are echoed in each answer. */
const MAX_FIELDS = 500

/**
 * `"ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")"`; leaves the cursor behind it.
 * @throws {GatewayError} SYNTAX for what it does not know
 */
export function parseFetchItems(cursor: Cursor): FetchItem[] {
  if (!cursor.skip('(')) {
    const from = cursor.at
    const macro = cursor.isString ? undefined : MACROS[cursor.keyword('[')]
    if (macro !== undefined) return [...macro]
    cursor.at = from
    return [parseItem(cursor)]
  }
  const items: FetchItem[] = []
  while (!cursor.skip(')')) {
    if (items.length > 0) cursor.space()
    if (items.length > 0 && cursor.skip(')')) break
    if (items.length >= MAX_ITEMS) throw syntax(cursor.at)
    const from = cursor.at
    // RFC: macros stand alone; Dovecot takes them inside a list too.
    const macro = cursor.isString ? undefined : MACROS[cursor.keyword('[)')]
    if (macro !== undefined) {
      items.push(...macro)
      continue
    }
    cursor.at = from
    items.push(parseItem(cursor))
  }
  if (items.length === 0) throw syntax(cursor.at)
  return items.filter((item, i) => items.findIndex((other) => isSameItem(item, other)) === i)
}

/** QUIRK: what is asked twice Dovecot answers once, but for BODY[…]. */
function isSameItem(a: FetchItem, b: FetchItem): boolean {
  if (a === b) return true
  if (a.kind === 'section') return b.kind === 'section' && a.name !== 'BODY' && a.name === b.name
  if (a.kind === 'attribute') return b.kind === 'attribute' && a.text === b.text
  return a.kind === b.kind && a.kind !== 'binary' && a.kind !== 'binary-size'
}

function parseItem(cursor: Cursor): FetchItem {
  const name = cursor.keyword('[)')
  switch (name) {
    case 'ENVELOPE':
      return ENVELOPE
    case 'RFC822.SIZE':
      return SIZE
    case 'BODYSTRUCTURE':
      return { kind: 'bodystructure' }
    case 'RFC822':
      return section('RFC822', null, false)
    case 'RFC822.HEADER':
      return section('RFC822.HEADER', 'HEADER', true)
    case 'RFC822.TEXT':
      return section('RFC822.TEXT', 'TEXT', false)
    case 'BODY':
      if (!cursor.isNext('[')) return { kind: 'body' }
      return { ...parseSectionOf(cursor), kind: 'section', name: 'BODY', peek: false }
    case 'BODY.PEEK':
      return { ...parseSectionOf(cursor), kind: 'section', name: 'BODY', peek: true }
    case 'BINARY':
    case 'BINARY.PEEK': {
      const found = parseSectionOf(cursor)
      if (found.section.text !== null) throw syntax(cursor.at)
      return { ...found, kind: 'binary', peek: name === 'BINARY.PEEK' }
    }
    case 'BINARY.SIZE': {
      const { section, partial } = parseSectionOf(cursor)
      if (section.text !== null || partial !== null) throw syntax(cursor.at)
      return { kind: 'binary-size', section }
    }
    case 'PREVIEW':
      return { kind: 'preview', lazy: parseLazy(cursor) }
    default:
      if (ATTRIBUTES.has(name)) return attribute(name)
      throw syntax(cursor.at)
  }
}

/** `["(" "LAZY" ")"]` after PREVIEW (RFC 8970). */
function parseLazy(cursor: Cursor): boolean {
  if (!cursor.isNext(' ') || cursor.bytes[cursor.at + 1] !== 0x28) return false
  cursor.at += 2
  if (cursor.keyword(')') !== 'LAZY') throw syntax(cursor.at)
  cursor.expect(')')
  return true
}

/** `section = "[" [section-spec] "]" ["<" number ["." nz-number] ">"]` */
function parseSectionOf(cursor: Cursor): { section: Section; partial: Partial | null } {
  cursor.expect('[')
  const section = parseSectionSpec(cursor)
  cursor.expect(']')
  return { section, partial: parsePartial(cursor) }
}

/** `section-spec = section-msgtext / (section-part ["." section-text])`, up to the `]`. */
export function parseSectionSpec(cursor: Cursor): Section {
  const part: number[] = []
  while (isDigit(cursor.next)) {
    const number = cursor.number()
    // 0 is no part, but servers answer it: with nothing.
    if (number > 0xffffffff || part.length >= MAX_PART_DEPTH) throw syntax(cursor.at)
    part.push(number)
    if (!cursor.skip('.')) return { part, text: null, fields: [] }
  }
  if (cursor.isNext(']')) {
    if (part.length > 0) throw syntax(cursor.at)
    return { part, text: null, fields: [] }
  }
  const text = cursor.keyword('])')
  switch (text) {
    case 'HEADER':
    case 'TEXT':
      return { part, text, fields: [] }
    case 'MIME':
      if (part.length === 0) throw syntax(cursor.at)
      return { part, text, fields: [] }
    case 'HEADER.FIELDS':
    case 'HEADER.FIELDS.NOT':
      cursor.space()
      return { part, text, ...parseFields(cursor) }
    default:
      throw syntax(cursor.at)
  }
}

/** `header-list = "(" header-fld-name *(SP header-fld-name) ")"`, each an astring, literals too. */
function parseFields(cursor: Cursor): { fields: string[]; echo: string; asked: string } {
  cursor.expect('(')
  const fields: string[] = []
  const echo: string[] = []
  const asked: string[] = []
  while (!cursor.skip(')')) {
    if (fields.length > 0) cursor.space()
    if (fields.length >= MAX_FIELDS) throw syntax(cursor.at)
    const atom = !cursor.isString
    const name = cursor.astring()
    for (const octet of name) if (octet < 0x20 || octet === 0x7f) throw syntax(cursor.at)
    const field = name.toString('latin1')
    fields.push(field)
    echo.push(echoField(field, atom))
    asked.push(atom ? printField(field) : quote(field))
  }
  if (fields.length === 0) throw syntax(cursor.at)
  return { fields, echo: `(${echo.join(' ')})`, asked: `(${asked.join(' ')})` }
}

function parsePartial(cursor: Cursor): Partial | null {
  if (!cursor.skip('<')) return null
  const start = cursor.number()
  const count = cursor.skip('.') ? cursor.number() : null
  cursor.expect('>')
  if (start > 0xffffffff || (count !== null && count > 0xffffffff)) throw syntax(cursor.at)
  return { start, count }
}

/** Prints an item as a command asks for it. */
export function printItem(item: FetchItem): string {
  switch (item.kind) {
    case 'attribute':
      return item.text
    case 'envelope':
      return 'ENVELOPE'
    case 'body':
      return 'BODY'
    case 'bodystructure':
      return 'BODYSTRUCTURE'
    case 'size':
      return 'RFC822.SIZE'
    case 'section':
      if (item.name !== 'BODY') return item.name
      return `BODY${item.peek ? '.PEEK' : ''}[${printSection(item.section)}]${printPartial(item.partial)}`
    case 'binary':
      return `BINARY${item.peek ? '.PEEK' : ''}[${printSection(item.section)}]${printPartial(item.partial)}`
    case 'binary-size':
      return `BINARY.SIZE[${printSection(item.section)}]`
    case 'preview':
      return item.lazy ? 'PREVIEW (LAZY)' : 'PREVIEW'
  }
}

/** `1.2.HEADER.FIELDS (SUBJECT FROM)` */
export function printSection(section: Section): string {
  const { part, text, fields, asked = `(${fields.map(printField).join(' ')})` } = section
  const words = [...part.map(String), ...(text === null ? [] : [text])].join('.')
  return fields.length === 0 ? words : `${words} ${asked}`
}

/** QUIRK: Dovecot quotes NIL, and drops 8-bit octets in quotes. */
function echoField(name: string, atom: boolean): string {
  const upper = name.replace(/[a-z]+/g, (lower) => lower.toUpperCase())
  return atom && upper !== 'NIL' ? upper : quote(upper.replace(/[\x80-\xff]/g, ''))
}

/** A name that is no atom is quoted; names have no control characters. */
function printField(name: string): string {
  return /^[^\x00-\x20\x7f-\xff(){%*"\\\]]+$/.test(name) ? name : quote(name)
}

function quote(name: string): string {
  return `"${name.replace(/["\\]/g, '\\$&')}"`
}

function printPartial(partial: Partial | null): string {
  if (partial === null) return ''
  return partial.count === null ? `<${partial.start}>` : `<${partial.start}.${partial.count}>`
}

function section(
  name: 'RFC822' | 'RFC822.HEADER' | 'RFC822.TEXT',
  text: 'HEADER' | 'TEXT' | null,
  peek: boolean,
): FetchItem {
  return { kind: 'section', name, section: { part: [], text, fields: [] }, peek, partial: null }
}

function isDigit(octet: number): boolean {
  return octet >= 0x30 && octet <= 0x39
}
