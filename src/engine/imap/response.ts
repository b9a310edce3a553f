/**
 * What kind of response a server's line begins (RFC 9051 §7), found from its first octets. Only what the session acts
 * on is told apart; everything else is `other` and passes.
 */
import { Cursor } from './cursor.ts'
import { type Literal, literalAtEnd } from './literal.ts'
import { parseSet } from './sequence-set.ts'

export type Status = 'OK' | 'NO' | 'BAD' | 'BYE' | 'PREAUTH'

export type ResponseHead =
  | { readonly type: 'continuation' }
  | { readonly type: 'tagged'; readonly tag: string; readonly status: Status | null }
  | { readonly type: 'status'; readonly status: Status }
  | { readonly type: 'fetch'; readonly number: number }
  | { readonly type: 'expunge' | 'exists'; readonly number: number }
  | { readonly type: 'capability' | 'enabled' | 'vanished' | 'search' | 'esearch' | 'status-of' | 'other' }

const STATUSES: readonly Status[] = ['OK', 'NO', 'BAD', 'BYE', 'PREAUTH']
const SP = 0x20
const OTHER: ResponseHead = { type: 'other' }
const CONTINUATION: ResponseHead = { type: 'continuation' }

const NAMED: Readonly<Record<string, ResponseHead>> = {
  CAPABILITY: { type: 'capability' },
  ENABLED: { type: 'enabled' },
  VANISHED: { type: 'vanished' },
  SEARCH: { type: 'search' },
  ESEARCH: { type: 'esearch' },
  STATUS: { type: 'status-of' },
}

/** @param line the first line of a response; borrowed */
export function parseHead(line: Buffer): ResponseHead {
  const c = line[0]
  if (c === 0x2b) return CONTINUATION
  if (c !== 0x2a || line[1] !== 0x20) return tagged(line)
  const digit = line[2]! - 0x30
  if (digit >= 0 && digit <= 9) return numbered(line)
  const name = wordAt(line, 2)
  const status = statusOf(name)
  if (status !== null) return { type: 'status', status }
  return NAMED[name] ?? OTHER
}

/** The literal at the end of a server's line; status text and continuations announce none. */
export function literalOfResponse(line: Buffer, first: boolean): Literal | null {
  const end = line.length - (line[line.length - 2] === 0x0d ? 3 : 2)
  if (line[end] !== 0x7d) return null
  if (first) {
    if (line[0] !== 0x2a || line[1] !== 0x20) return null
    if (statusOf(wordAt(line, 2)) !== null) return null
  }
  return literalAtEnd(line)
}

function tagged(line: Buffer): ResponseHead {
  const space = line.indexOf(0x20)
  if (space <= 0) return OTHER
  return { type: 'tagged', tag: line.toString('latin1', 0, space), status: statusOf(wordAt(line, space + 1)) }
}

function numbered(line: Buffer): ResponseHead {
  let at = 2
  let number = 0
  for (; at < line.length; at++) {
    const digit = line[at]! - 0x30
    if (digit < 0 || digit > 9) break
    number = number * 10 + digit
  }
  if (line[at] !== 0x20 || number > 0xffffffff) return OTHER
  // F of FETCH, E of EXPUNGE or EXISTS: the word itself is read only where it can matter.
  const c = line[at + 1]! | 0x20
  if (c !== 0x66 && c !== 0x65) return OTHER
  const name = wordAt(line, at + 1)
  if (name === 'FETCH') return { type: 'fetch', number }
  if (name === 'EXPUNGE') return { type: 'expunge', number }
  if (name === 'EXISTS') return { type: 'exists', number }
  return OTHER
}

/** An upper-cased word; at most 16 octets are looked at. */
function wordAt(line: Buffer, from: number): string {
  let to = from
  const end = Math.min(line.length, from + 16)
  while (to < end && line[to]! > 0x20 && line[to] !== 0x28) to++
  return line.toString('latin1', from, to).toUpperCase()
}

function statusOf(name: string): Status | null {
  return STATUSES.find((status) => status === name) ?? null
}

/** Response code of a status line: `[UIDVALIDITY 17]` → name upper-cased and what follows it; null if there is none. */
export function parseCode(
  line: Buffer,
): { readonly name: string; readonly text: string; readonly from: number; readonly to: number } | null {
  const first = line.indexOf(0x20)
  const second = first < 0 ? -1 : line.indexOf(0x20, first + 1)
  if (second < 0 || line[second + 1] !== 0x5b) return null
  const from = second + 1
  const to = line.indexOf(0x5d, from)
  if (to < 0) return null
  const inside = line.toString('latin1', from + 1, to)
  const space = inside.indexOf(' ')
  return space < 0
    ? { name: inside.toUpperCase(), text: '', from, to: to + 1 }
    : { name: inside.slice(0, space).toUpperCase(), text: inside.slice(space + 1), from, to: to + 1 }
}

/** One item of a FETCH answer: where its label and its value stand in the octets of the response. */
export interface AnswerItem {
  /** Upper-cased up to a section: `BODY[`, `UID`, `FLAGS`. */
  readonly name: string
  readonly label: readonly [number, number]
  readonly value: readonly [number, number]
}

export interface FetchAnswer {
  readonly number: number
  readonly items: readonly AnswerItem[]
  readonly uid: number | null
}

/** Reads `* n FETCH (…)`, literals in their place. @throws {GatewayError} SYNTAX */
export function parseFetchAnswer(bytes: Buffer): FetchAnswer {
  const cursor = new Cursor(bytes, 2)
  const number = cursor.number()
  cursor.space()
  cursor.keyword()
  cursor.space()
  cursor.expect('(')
  const items: AnswerItem[] = []
  let uid: number | null = null
  while (!cursor.skip(')')) {
    while (bytes[cursor.at] === SP) cursor.at++
    if (cursor.skip(')')) break
    const from = cursor.at
    const name = cursor.keyword('[')
    const isSection = bytes[cursor.at] === 0x5b
    if (isSection) skipSection(cursor)
    if (bytes[cursor.at] === 0x3c) skipOrigin(cursor)
    const label = [from, cursor.at] as const
    cursor.space()
    const at = cursor.at
    cursor.skipValue()
    if (name === 'UID') uid = new Cursor(bytes, at).number()
    items.push({ name: isSection ? `${name}[` : name, label, value: [at, cursor.at] })
  }
  return { number, items, uid }
}

/** What is there of an answer up to a literal that is announced at the end. @throws {GatewayError} SYNTAX */
export function parseAnswerStart(text: Buffer): FetchAnswer {
  return parseFetchAnswer(Buffer.concat([withEmptyString(text), Buffer.from(')\r\n')]))
}

/** The announcement at the end gives way to an empty string: an answer whose literal went elsewhere stays readable. */
export function withEmptyString(text: Buffer): Buffer {
  const brace = text.lastIndexOf(0x7b)
  return Buffer.concat([text.subarray(0, text[brace - 1] === 0x7e ? brace - 1 : brace), Buffer.from('""')])
}

/** `* VANISHED (EARLIER) …`: a list for the client, however long. @param start of the line */
export function isVanishedEarlier(start: Buffer): boolean {
  return /^\* VANISHED \(/i.test(start.toString('latin1', 0, 12))
}

/** UIDs of `* VANISHED 3:5`. With (EARLIER) they were gone before, and no number shifts (RFC 7162 §3.2.10): none. */
export function vanishedRanges(line: Buffer): readonly (readonly [number, number])[] {
  const cursor = new Cursor(line, '* VANISHED '.length)
  return cursor.isNext('(') ? [] : (parseSet(cursor).ranges ?? [])
}

/** `[…]`: header names in it may be quoted or literals. */
function skipSection(cursor: Cursor): void {
  cursor.expect('[')
  while (!cursor.skip(']')) {
    // Names of header fields, mostly.
    const { bytes, at } = cursor
    while (isPlain(bytes[cursor.at] ?? -1)) cursor.at++
    if (cursor.at > at) continue
    if (cursor.isString) cursor.string()
    else if (cursor.ended) cursor.expect(']')
    else cursor.at++
  }
}

/** Letters, digits, hyphen, dot, space: nothing that begins a string or ends anything. */
function isPlain(c: number): boolean {
  return (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a) || (c >= 0x2d && c <= 0x39) || c === 0x20
}

function skipOrigin(cursor: Cursor): void {
  cursor.expect('<')
  cursor.number()
  cursor.expect('>')
}
