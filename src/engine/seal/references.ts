/**
 * References of a sealed message: behind each `<x>` stands `<x.m.ves.world>`, so that replies thread with the sealed
 * message as well (message-format.md §4, §5). Text is latin1, one character an octet.
 */
import type { Eol } from '../mime/header-block.ts'
import { ID_SUFFIX } from './format.ts'

const ID = /<([^<>\s]+)>/g

/** @param field the whole field without its last line end */
export function addSealedReferences(field: string, eol: Eol): string {
  const ids = [...field.matchAll(ID)]
  let out = ''
  let done = 0
  for (const [i, match] of ids.entries()) {
    const id = match[1]!
    const end = match.index + match[0].length
    if (id.endsWith(ID_SUFFIX) || ids[i + 1]?.[1] === id + ID_SUFFIX) continue
    out += `${field.slice(done, end)}${eol}\t<${id}${ID_SUFFIX}>`
    done = end
  }
  return out + field.slice(done)
}

/** Takes away each `<x.m.ves.world>` right behind `<x>`, with the white space before it. */
export function dropSealedReferences(field: string): string {
  let out = ''
  let done = 0
  let before: { readonly id: string; readonly end: number } | null = null
  for (const match of field.matchAll(ID)) {
    const id = match[1]!
    const end = match.index + match[0].length
    if (before !== null && id === before.id + ID_SUFFIX && isBlank(field, before.end, match.index)) {
      out += field.slice(done, before.end)
      done = end
      before = null
    } else {
      before = { id, end }
    }
  }
  return out + field.slice(done)
}

function isBlank(text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (!' \t\r\n'.includes(text[at]!)) return false
  return true
}
