/** Is a message sealed? Decided on its root header as a whole (message-format.md §1). */
import type { FetchItem } from './fetch-items.ts'

const ID_SUFFIX = '.m.ves.world'

/** The field that every message we sealed has. */
export const ID_FIELD = 'X-VESMAIL-ID'

/** It alone, as a section. */
export const ID_MARK = `HEADER.FIELDS (${ID_FIELD})`

/** The fields that decide, as FETCH asks for them. */
export const MARK_FIELDS = 'BODY.PEEK[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)]'

/** Would its answer look like that to our question? */
export function isMark(item: FetchItem): boolean {
  if (item.kind !== 'section' || item.section.part.length > 0) return false
  const { text, fields } = item.section
  return `BODY[${text} (${fields.join(' ')})]`.toUpperCase() === MARK_LABEL
}

/** The label of the answer, as most servers write it. */
export const MARK_LABEL = 'BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)]'

/**
 * Is an answer's label this one, as servers write it: any case, names quoted or not? Asked of every item of every
 * message, so the length decides for most.
 */
export function isMarkAt(mark: string, bytes: Buffer, [from, to]: readonly [number, number]): boolean {
  const quotes = to - from - mark.length
  return quotes >= 0 && quotes <= 4 && bytes.toString('latin1', from, to).replaceAll('"', '').toUpperCase() === mark
}

/** @param header a header block, or only the fields of {@link MARK_FIELDS} */
export function isSealed(header: Buffer): boolean {
  // Asked for every message of a mailbox. Both marks hold these letters, and nothing can stand between them.
  if (!holdsMark(header, 0, header.length)) return false
  const text = header.toString('latin1')
  if (/^X-VESmail-ID[ \t]*:/im.test(text)) return true
  const id = /^Message-ID[ \t]*:((?:.|\r?\n[ \t])*)/im.exec(text)?.[1]
  return id !== undefined && /<[^<>]*>/.exec(id)?.[0].toLowerCase().endsWith(`${ID_SUFFIX}>`) === true
}

/** `VESM` or `VES.` in any case: a header without it has no mark. */
export function holdsMark(octets: Buffer, from: number, to: number): boolean {
  for (let i = from + 2; i < to - 1; i++) {
    if ((octets[i]! | 0x20) !== 0x73 || (octets[i - 1]! | 0x20) !== 0x65 || (octets[i - 2]! | 0x20) !== 0x76) continue
    const next = octets[i + 1]!
    if (next === 0x2e || (next | 0x20) === 0x6d) return true
  }
  return false
}
