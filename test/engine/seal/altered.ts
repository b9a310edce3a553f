/** Copies of a sealed message that somebody on its way changed, each with what was done to it, and what comes of them. */
import { GatewayError } from '../../../src/base/errors.ts'
import { Opener } from '../../../src/engine/seal/opener.ts'
import { KEY, through, whole } from './through.ts'

export interface Altered {
  readonly name: string
  readonly bytes: Buffer
}

interface Field {
  readonly from: number
  readonly to: number
  readonly name: string
}

const PLAIN_PARTS = [
  'Content-Type: text/plain\r\n\r\nput in by somebody\r\n',
  '\r\nwithout a header\r\n',
  'Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+\r\n',
  'Content-Type: message/rfc822\r\n\r\nSubject: put in\r\n\r\ntext\r\n',
]

/** Headers at the root that the format leaves to everybody: what becomes of them is told by nothing (message-format.md §4). */
const FREE_AT_ROOT =
  /^(?:date|mime-version|reply-to|return-path|envelope-to|from|in-reply-to|importance|priority|auto-submitted|to|cc|bcc|references|message-id|subject|x-vesmail-(?:id|xchg|verify))$/

/** @param step octets between cuts */
export function* alterationsOf(sealed: Buffer, step: number): Iterable<Altered> {
  const text = sealed.toString('latin1')
  const copy = (name: string, altered: string): Altered => ({ name, bytes: Buffer.from(altered, 'latin1') })
  for (let octets = 1; octets < text.length; octets += step) yield copy(`cut at ${octets}`, text.slice(0, octets))
  for (let back = 1; back <= 12 && back < text.length; back++) yield copy(`cut by ${back}`, text.slice(0, -back))
  for (const boundary of boundariesOf(text)) yield* ofParts(text, boundary, copy)
  yield* ofHeaders(text, copy)
}

type Copy = (name: string, altered: string) => Altered

function boundariesOf(text: string): string[] {
  return [...text.matchAll(/^Content-Type:[^\n]*(?:\n[ \t][^\n]*)*?boundary=(?:"([^"]+)"|([^"\s;]+))/gim)].map(
    (found) => found[1] ?? found[2]!,
  )
}

function* ofParts(text: string, boundary: string, copy: Copy): Iterable<Altered> {
  const places: number[] = []
  for (let at = text.indexOf(`\n--${boundary}`); at >= 0; at = text.indexOf(`\n--${boundary}`, at + 1))
    places.push(at + 1)
  for (const [i, at] of places.entries()) {
    for (const [kind, part] of PLAIN_PARTS.entries()) {
      const put = `--${boundary}\r\n${part}`
      yield copy(`part ${kind} put in at ${i} of ${boundary}`, text.slice(0, at) + put + text.slice(at))
    }
    yield copy(`text put in at ${i} of ${boundary}`, `${text.slice(0, at)}a line\r\n${text.slice(at)}`)
  }
  const part = (i: number) => text.slice(places[i], places[i + 1])
  for (let i = 0; i + 1 < places.length; i++) {
    const [before, after] = [text.slice(0, places[i]), text.slice(places[i + 1])]
    yield copy(`part ${i} of ${boundary} taken out`, before + after)
    yield copy(`part ${i} of ${boundary} repeated`, before + part(i) + part(i) + after)
    if (i + 2 < places.length)
      yield copy(`part ${i} of ${boundary} exchanged`, before + part(i + 1) + part(i) + text.slice(places[i + 2]))
  }
}

function* ofHeaders(text: string, copy: Copy): Iterable<Altered> {
  const blocks = blocksOf(text)
  for (const [b, fields] of blocks.entries()) {
    for (const [i, { from, to, name }] of fields.entries()) {
      const field = text.slice(from, to)
      // Of an alternative the mark is for others alone; renamed, it is one more header of the root.
      if (b === 0 && (FREE_AT_ROOT.test(name) || /^X-VESmail-Part: alternative/i.test(field))) continue
      const put = (what: string, other: string) =>
        copy(`${name} (${i}) of block ${b} ${what}`, text.slice(0, from) + other + text.slice(to))
      yield put('taken out', '')
      // A root's disposition is sealed, and what stands of it in plain is for others: renamed, it is one more header, too.
      if (b > 0 || name !== 'content-disposition') yield put('renamed', `Y${field.slice(1)}`)
      yield put('repeated', field + field)
      yield put('with another value', `${field.slice(0, name.length + 1)} text/plain\r\n`)
      const next = fields[i + 1]
      if (next !== undefined && name === 'x-vesmail-header' && next.name === name)
        yield copy(
          `${name} (${i}) of block ${b} exchanged with the next`,
          text.slice(0, from) + text.slice(next.from, next.to) + field + text.slice(next.to),
        )
    }
    if (b === 0) continue
    const at = fields[0]?.from
    if (at === undefined) continue
    for (const added of ['Content-Type: text/html\r\n', 'Content-Disposition: attachment\r\n', 'X-Added: yes\r\n'])
      yield copy(`${added.trimEnd()} added to block ${b}`, text.slice(0, at) + added + text.slice(at))
  }
}

/** The root's header, and whatever stands behind a delimiter and looks like a header. */
function blocksOf(text: string): Field[][] {
  const blocks = [fieldsAt(text, 0)]
  for (const found of text.matchAll(/^--[^\n]*[^-\s]\r?\n(?=[A-Za-z-]+:)/gm))
    blocks.push(fieldsAt(text, found.index + found[0].length))
  return blocks
}

function fieldsAt(text: string, start: number): Field[] {
  const fields: Field[] = []
  const line = /([!-9;-~]+)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*/y
  for (line.lastIndex = start; ; ) {
    const from = line.lastIndex
    const found = line.exec(text)
    if (found === null) return fields
    fields.push({ from, to: line.lastIndex, name: found[1]!.toLowerCase() })
  }
}

export type Outcome = 'error' | 'told' | 'same' | 'silent'

const withoutWhiteSpace = (octets: Buffer) => octets.toString('latin1').replace(/[ \t\r\n]+/g, '')
const withLf = (octets: Buffer) => octets.toString('latin1').replace(/\r*\n/g, '\n')

/** @param original what was sealed @param compare what of it nobody may change untold */
export function outcomeOf(
  original: Buffer,
  altered: Buffer,
  compare: 'text' | 'words' | 'parts',
): { readonly outcome: Outcome; readonly opened: Buffer } {
  const opener = new Opener({ maxbufOctets: 1 << 20 })
  let opened: Buffer = Buffer.alloc(0)
  try {
    opened = through(opener, whole(altered), { key: KEY })
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    return { outcome: 'error', opened }
  }
  const { missingParts, unsealedParts, altered: isAltered, layoutLost, encrypted } = opener.facts
  if (missingParts + unsealedParts + layoutLost > 0 || isAltered || encrypted !== true)
    return { outcome: 'told', opened }
  if (compare === 'words') {
    return { outcome: withoutWhiteSpace(opened) === withoutWhiteSpace(original) ? 'same' : 'silent', opened }
  }
  if (withLf(opened) === withLf(original)) return { outcome: 'same', opened }
  return { outcome: compare === 'parts' && sameParts(original, opened) ? 'same' : 'silent', opened }
}

/** Of a long message, whose text between the parts may be another behind the last of them. */
function sameParts(original: Buffer, opened: Buffer): boolean {
  const parts = (octets: Buffer) => JSON.stringify(partsOf(octets.toString('latin1')))
  return parts(original) === parts(opened)
}

/** Texts between delimiters, those behind the outermost closing one left out. */
function partsOf(text: string): string[] {
  const [boundary] = boundariesOf(text)
  if (boundary === undefined) return [text]
  const end = text.search(new RegExp(`^--${boundary.replace(/[^\w]/g, '\\$&')}--`, 'm'))
  return (end < 0 ? text : text.slice(0, end)).split(/\r?\n/)
}
