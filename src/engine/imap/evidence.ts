/**
 * How the answers to a FETCH without bodies tell whether their message is sealed (sealed-mark.ts): what is asked beside the
 * client's items, as little as will do, and what an answer then says. A header list of its own costs the server a third of
 * what the client's items cost it; in a list that the client asks for anyway, one more name is next to nothing.
 * Whoever asks for the whole header has it there. And where it was seen before that all messages up to a UID are plain
 * (plain-prefix.ts), the UID says it.
 * Rule: content whose evidence is missing or not understood is never plain.
 */
import { Cursor, stringAt } from './cursor.ts'
import { ATTRIBUTES, type FetchItem, printItem, type Section } from './fetch-items.ts'
import type { RunShape } from './plain-run.ts'
import { type AnswerItem, type FetchAnswer, parseFetchAnswer } from './response.ts'
import { ID_FIELD, ID_MARK, isMarkAt, isSealed, MARK_FIELDS, MARK_LABEL } from './sealed-mark.ts'
import { without } from './template.ts'

export interface Evidence {
  /** The items as they are asked, ours with them. */
  readonly items: string
  /** Answers as most servers write them. */
  readonly shape: RunShape
  /** @param dropsUid the client did not ask for the UID @returns null: the answer is about no content */
  readonly judge: (answer: FetchAnswer, bytes: Buffer, dropsUid: boolean) => Verdict | null
}

export type Verdict =
  | { readonly is: 'unsure' }
  /** `pieces`: the answer to what the client asked for; of a sealed message what the server says of the ciphertext. */
  | { readonly is: 'plain' | 'sealed'; readonly pieces: readonly Buffer[] }

type SectionItem = Extract<FetchItem, { kind: 'section' }>

const UNSURE: Verdict = { is: 'unsure' }
const NO_SHAPE: RunShape = { mark: null, list: null, envelope: false, upTo: null }
const OUR_NAME = ` ${ID_FIELD}`

/** @param items of the client, none with a body; which of the forms costs least */
export function evidenceFor(items: readonly FetchItem[]): Evidence {
  const header = items.find(isWholeHeader)
  if (header !== undefined) return inHeader(items, header.name === 'BODY' ? 'BODY[HEADER]' : header.name)
  // Whoever asks for the id himself gets answers that look like those to us.
  const namesId = items.some((item) => item.kind === 'section' && hasField(item.section, ID_FIELD))
  const list = namesId ? undefined : items.find(isListWithMessageId)
  if (list !== undefined) return inList(items, list)
  if (!namesId && items.some((item) => item.kind === 'envelope')) return besideEnvelope(items)
  return withBoth(items)
}

/** No more is asked: up to this UID all messages were seen, and are plain. */
export function knownEvidence(items: readonly FetchItem[], upTo: number): Evidence {
  return {
    items: printItems(items),
    shape: { ...NO_SHAPE, upTo },
    judge: (answer, bytes, dropsUid) => {
      if (!tellsContent(answer)) return null
      if (answer.uid === null || answer.uid > upTo) return UNSURE
      return { is: 'plain', pieces: dropsUid ? without(answer, bytes, isUid) : [bytes] }
    },
  }
}

/** The whole header is the client's own item. */
function inHeader(items: readonly FetchItem[], label: string): Evidence {
  return {
    items: printItems(items),
    shape: { ...NO_SHAPE, list: { label: `${label} `, cut: [0, 0] } },
    judge: (answer, bytes, dropsUid) => {
      const header = answer.items.find((item) => isMarkAt(label, bytes, item.label))
      if (header === undefined) return tellsContent(answer) ? UNSURE : null
      const cursor = new Cursor(bytes, header.value[0])
      if (!cursor.isString) return UNSURE
      const is = isSealed(cursor.string()) ? 'sealed' : 'plain'
      return { is, pieces: dropsUid ? without(answer, bytes, isUid) : [bytes] }
    },
  }
}

/** A list of its own, with all that decides. */
function withBoth(items: readonly FetchItem[]): Evidence {
  return {
    items: `${printItems(items)} ${MARK_FIELDS}`,
    shape: { ...NO_SHAPE, mark: `${MARK_LABEL} ` },
    judge: (answer, bytes, dropsUid) => {
      const mark = answer.items.findLast((item) => isMarkAt(MARK_LABEL, bytes, item.label))
      if (mark === undefined) return tellsContent(answer) ? UNSURE : null
      const is = isSealed(stringAt(bytes, mark.value[0])) ? 'sealed' : 'plain'
      return { is, pieces: withoutItem(mark, answer, bytes, dropsUid) }
    },
  }
}

/** The client's ENVELOPE tells the Message-ID. */
function besideEnvelope(items: readonly FetchItem[]): Evidence {
  const label = `BODY[${ID_MARK}]`
  return {
    items: `${printItems(items)} BODY.PEEK[${ID_MARK}]`,
    shape: { ...NO_SHAPE, mark: `${label} `, envelope: true },
    judge: (answer, bytes, dropsUid) => {
      const mark = answer.items.findLast((item) => isMarkAt(label, bytes, item.label))
      const envelope = answer.items.find((item) => item.name === 'ENVELOPE')
      if (mark === undefined || envelope === undefined) return tellsContent(answer) ? UNSURE : null
      const messageId = messageIdOf(bytes, envelope)
      if (messageId === null) return UNSURE
      const id = Buffer.concat([Buffer.from('Message-ID: '), messageId, Buffer.from('\r\n')])
      const is = isSealed(stringAt(bytes, mark.value[0])) || isSealed(id) ? 'sealed' : 'plain'
      return { is, pieces: withoutItem(mark, answer, bytes, dropsUid) }
    },
  }
}

/** Our field is asked for in the client's list, behind its own; a plain message has none, so only the label shows it. */
function inList(items: readonly FetchItem[], list: SectionItem): Evidence {
  const { echo = '()', asked = '()' } = list.section
  const ours: SectionItem = { ...list, section: { ...list.section, asked: `${asked.slice(0, -1)}${OUR_NAME})` } }
  const label = `BODY[HEADER.FIELDS ${echo.slice(0, -1)}${OUR_NAME})] `
  const at = label.length - `${OUR_NAME})] `.length
  return {
    items: printItems(items.map((item) => (item === list ? ours : item))),
    shape: { ...NO_SHAPE, list: { label, cut: [at, at + OUR_NAME.length] } },
    judge: (answer, bytes, dropsUid) => {
      const named = answer.items.flatMap((item) => {
        const place = item.name === 'BODY[' ? placeOfName(bytes, item.label) : null
        return place === null ? [] : [{ item, place }]
      })
      const [first] = named
      if (first === undefined || named.length > 1) return tellsContent(answer) ? UNSURE : null
      const is = isSealed(stringAt(bytes, first.item.value[0])) ? 'sealed' : 'plain'
      const [from, to] = first.place
      const edited = Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)])
      const pieces = dropsUid ? without(parseFetchAnswer(edited), edited, isUid) : [edited]
      return { is, pieces }
    },
  }
}

function printItems(items: readonly FetchItem[]): string {
  return items.map(printItem).join(' ')
}

function isListWithMessageId(item: FetchItem): item is SectionItem {
  if (item.kind !== 'section' || item.partial !== null || item.section.part.length > 0) return false
  return item.section.text === 'HEADER.FIELDS' && hasField(item.section, 'MESSAGE-ID')
}

function isWholeHeader(item: FetchItem): item is SectionItem {
  return item.kind === 'section' && isHeader(item.section) && item.partial === null
}

function isHeader({ part, text }: Section): boolean {
  return part.length === 0 && text === 'HEADER'
}

function hasField({ fields }: Section, name: string): boolean {
  return fields.some((field) => field.toUpperCase() === name)
}

/** Where our name stands in a label, with one of the spaces around it: any case, quoted or not. */
function placeOfName(bytes: Buffer, [from, to]: readonly [number, number]): [number, number] | null {
  const found = /^BODY\[HEADER\.FIELDS \(.* ("?X-VESMAIL-ID"?|\{12\+?\}\r\nX-VESMAIL-ID)[ )]/is.exec(
    bytes.toString('latin1', from, to),
  )
  if (found === null) return null
  const end = from + found[0].length - 1
  return [end - found[1]!.length - 1, end]
}

/** The last member; null: it is not written as one. An absent one is NIL, and empty here (RFC 9051 §7.5.2). */
function messageIdOf(bytes: Buffer, { value }: AnswerItem): Buffer | null {
  const cursor = new Cursor(bytes, value[0])
  if (!cursor.skip('(')) return null
  let at = -1
  for (;;) {
    while (cursor.skip(' '));
    if (cursor.isNext(')')) break
    at = cursor.at
    cursor.skipValue()
  }
  return at < 0 ? null : stringAt(bytes, at)
}

function tellsContent({ items }: FetchAnswer): boolean {
  return items.some((item) => !ATTRIBUTES.has(item.name))
}

function withoutItem(ours: AnswerItem, answer: FetchAnswer, bytes: Buffer, dropsUid: boolean): Buffer[] {
  return without(answer, bytes, (item) => item === ours || (dropsUid && isUid(item)))
}

function isUid({ name }: AnswerItem): boolean {
  return name === 'UID'
}
