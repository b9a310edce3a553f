/**
 * The `fields` parameter: `a,b(c,d(e)),f(g)[12+50]`. Names nobody knows are kept and later ignored: JavaScript clients
 * ask for many. What is not well-formed is an error.
 */
import { invalid } from './refuse.ts'

export interface Field {
  /** null: the object's default fields. */
  readonly fields: Fields | null
  /** `[after+limit]` behind a list. */
  readonly range: { readonly after: number; readonly limit: number } | null
}

export type Fields = ReadonlyMap<string, Field>

const MAX_CHARACTERS = 4096
/** Each level may multiply what is loaded. */
const MAX_DEPTH = 8
const MAX_NAMES = 256
const NAME = /[A-Za-z_$][A-Za-z0-9_$]*/y
const RANGE = /\[(\d{1,16})\+(\d{1,6})\]/y

/** @param text percent-decoded; empty or null: none were asked for */
export function parseFields(text: string | null): Fields | null {
  if (text === null || text === '') return null
  if (text.length > MAX_CHARACTERS) throw invalid('fields: too long')
  const cursor = { text, at: 0, names: 0 }
  const fields = listAt(cursor, 0)
  if (cursor.at !== text.length) throw invalid('fields: unexpected character')
  return fields
}

/** field *("," field); field = name [ "(" [list] ")" ] [ "[" number "+" number "]" ] */
function listAt(cursor: { text: string; at: number; names: number }, depth: number): Fields {
  if (depth > MAX_DEPTH) throw invalid('fields: too deep')
  const fields = new Map<string, Field>()
  for (;;) {
    NAME.lastIndex = cursor.at
    const name = NAME.exec(cursor.text)?.[0]
    if (name === undefined) throw invalid('fields: name expected')
    if (++cursor.names > MAX_NAMES) throw invalid('fields: too many names')
    cursor.at += name.length
    let inner: Fields | null = null
    if (cursor.text[cursor.at] === '(') {
      cursor.at++
      inner = cursor.text[cursor.at] === ')' ? new Map() : listAt(cursor, depth + 1)
      if (cursor.text[cursor.at] !== ')') throw invalid('fields: ) expected')
      cursor.at++
    }
    RANGE.lastIndex = cursor.at
    const range = RANGE.exec(cursor.text)
    if (range !== null) cursor.at += range[0].length
    fields.set(name, {
      fields: inner,
      range:
        range === null ? null : { after: Math.min(Number(range[1]), Number.MAX_SAFE_INTEGER), limit: Number(range[2]) },
    })
    if (cursor.text[cursor.at] !== ',') return fields
    cursor.at++
  }
}

export function fieldsOf(...names: readonly string[]): Fields {
  return new Map(names.map((name) => [name, { fields: null, range: null }]))
}
