/**
 * The server's own FETCH answer as the pattern of ours: which items, in which order, in whose style. For a sealed message
 * the client's items are asked in a light form (one octet of a section), and only the values of content are replaced.
 */

import { Cursor } from './cursor.ts'
import { isContent } from './fetch-command.ts'
import {
  ATTRIBUTES,
  type ContentItem,
  type FetchItem,
  parseSectionSpec,
  printItem,
  printSection,
} from './fetch-items.ts'
import { type AnswerItem, type FetchAnswer, parseFetchAnswer } from './response.ts'
import type { AnswerPiece } from './view-answer.ts'

/** The client's items as asked for the pattern: sections cost one octet, and still set \Seen where the client's would. */
export function lightItems(items: readonly FetchItem[]): string {
  return items.map(lightItem).join(' ')
}

function lightItem(item: FetchItem): string {
  if (item.kind !== 'section') return printItem(item)
  return printItem({ ...item, name: 'BODY', partial: { start: 0, count: 1 } })
}

/**
 * A pattern from an answer to the client's own items: the values of content give way to NIL, since nobody looks at them
 * and they may be long.
 * @param bytes of a whole answer; borrowed
 */
export function lightPattern(bytes: Buffer): { readonly answer: FetchAnswer; readonly bytes: Buffer } {
  const { number, items } = parseFetchAnswer(bytes)
  const texts = items.map(({ name, label, value }) => {
    if (ATTRIBUTES.has(name)) return bytes.toString('latin1', label[0], value[1])
    // As lightItem asks for it.
    if (name === 'RFC822.HEADER') return 'BODY[HEADER] NIL'
    return `${bytes.toString('latin1', ...label)} NIL`
  })
  const light = Buffer.from(`* ${number} FETCH (${texts.join(' ')})\r\n`, 'latin1')
  return { answer: parseFetchAnswer(light), bytes: light }
}

/** One key for a request and its answer: the section without case, quotes and origin. */
function keyOfItem(item: ContentItem): string {
  if (item.kind !== 'section' && item.kind !== 'binary') return printItem(item)
  const { part, text, fields } = item.section
  const name = item.kind === 'section' ? 'BODY' : 'BINARY'
  return `${name}[${printSection({ part, text, fields: fields.map((field) => field.toUpperCase()) })}]`
}

function keyOfAnswer(item: AnswerItem, bytes: Buffer): string {
  if (!item.name.endsWith('[')) return item.name
  const cursor = new Cursor(bytes, item.label[0] + item.name.length)
  const { part, text, fields } = parseSectionSpec(cursor)
  return `${item.name}${printSection({ part, text, fields: fields.map((field) => field.toUpperCase()) })}]`
}

/** For each item of the answer the content item it stands for, null for attributes. */
export function match(answer: FetchAnswer, bytes: Buffer, items: readonly FetchItem[]): (ContentItem | null)[] {
  const waiting = items.filter(isContent)
  return answer.items.map((each) => {
    const key = keyOfAnswer(each, bytes)
    const at = waiting.findIndex((item) => keyOfItem(item) === key)
    return at < 0 ? null : waiting.splice(at, 1)[0]!
  })
}

export interface Rendering {
  /** Sequence number as of now. */
  readonly number: number
  readonly answer: FetchAnswer
  /** The octets that the answer is of. */
  readonly bytes: Buffer
  readonly items: readonly FetchItem[]
  /** Attributes that are newer than the answer's, by name. */
  readonly news: ReadonlyMap<string, Buffer>
  /** Of a content item: name and value as they stand in the answer; null leaves the item out. */
  readonly value: (item: ContentItem) => readonly AnswerPiece[] | null
}

/** The answer for the client; null when nothing but the UID would be left that nobody asked for. */
export function render({ number, answer, bytes, items, news, value }: Rendering): AnswerPiece[] | null {
  const out: AnswerPiece[] = []
  const add = (...pieces: readonly AnswerPiece[]): void => {
    out.push({ bytes: Buffer.from(out.length === 0 ? `* ${number} FETCH (` : ' ') }, ...pieces)
  }
  let left = 0
  const matched = match(answer, bytes, items)
  const given = new Set<ContentItem>()
  answer.items.forEach((each, i) => {
    const item = matched[i]!
    if (item === null) {
      // Content that nobody asked for in this form is ciphertext: it is not for the client.
      if (!ATTRIBUTES.has(each.name)) return
      if (each.name !== 'UID') left++
      add({ bytes: news.get(each.name) ?? bytes.subarray(each.label[0], each.value[1]) })
      return
    }
    given.add(item)
    const pieces = value(item)
    if (pieces === null) return
    left++
    add(...pieces)
  })
  // A server that says nothing about a section which the sealed message lacks: the opened one may have it.
  for (const item of items) {
    if (!isContent(item) || given.has(item)) continue
    const pieces = value(item)
    if (pieces === null) continue
    left++
    add(...pieces)
  }
  const uidAsked = items.some((item) => item.kind === 'attribute' && item.text === 'UID')
  if (left === 0 && !(uidAsked && out.length > 0)) return null
  out.push({ bytes: Buffer.from(')\r\n') })
  return out
}

/** Items of an answer that we did not ask for (FLAGS, MODSEQ): they belong to the client. Null when there are none. */
export function unasked(answer: FetchAnswer, bytes: Buffer, ours: (item: AnswerItem) => boolean): Buffer | null {
  const others = answer.items.filter((item) => !ours(item))
  if (others.every((item) => item.name === 'UID')) return null
  const uid = answer.items.filter((item) => item.name === 'UID' && !others.includes(item))
  const texts = [...uid, ...others].map((item) => bytes.toString('latin1', item.label[0], item.value[1]))
  return Buffer.from(`* ${answer.number} FETCH (${texts.join(' ')})\r\n`, 'latin1')
}

/** Flags in an answer to a question of ours, which asks for none: somebody has changed them. Null when there are none. */
export function changedFlags(answer: FetchAnswer, bytes: Buffer): Buffer | null {
  if (!answer.items.some((item) => item.name === 'FLAGS')) return null
  return unasked(answer, bytes, (item) => item.name !== 'FLAGS' && item.name !== 'MODSEQ')
}

const CLOSE = Buffer.from(')\r\n')

/** The answer without some of its items, in pieces: what stays together in it is a view. */
export function without(answer: FetchAnswer, bytes: Buffer, dropped: (item: AnswerItem) => boolean): Buffer[] {
  const { items } = answer
  const [first] = items
  if (first === undefined) return [bytes]
  const out = [bytes.subarray(0, first.label[0])]
  /** Where a run of items that stay begins; -1: none has. */
  let from = -1
  const flush = (to: number): void => {
    if (from < 0) return
    if (out.length > 1) out.push(SPACE)
    out.push(bytes.subarray(from, to))
    from = -1
  }
  let last = 0
  for (const item of items) {
    if (dropped(item)) flush(last)
    else if (from < 0) from = item.label[0]
    last = item.value[1]
  }
  flush(last)
  out.push(CLOSE)
  return out
}

const SPACE = Buffer.from(' ')
