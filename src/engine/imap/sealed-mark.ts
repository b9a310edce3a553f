/** Is a message sealed? Decided on its root header as a whole (message-format.md §1). */

const ID_SUFFIX = '.m.ves.world'

/** The fields that decide, as FETCH asks for them. */
export const MARK_FIELDS = 'BODY.PEEK[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)]'

/** @param header a header block, or only the fields of {@link MARK_FIELDS} */
export function isSealed(header: Buffer): boolean {
  const text = header.toString('latin1')
  if (/^X-VESmail-ID[ \t]*:/im.test(text)) return true
  const id = /^Message-ID[ \t]*:((?:.|\r?\n[ \t])*)/im.exec(text)?.[1]
  return id !== undefined && /<[^<>]*>/.exec(id)?.[0].toLowerCase().endsWith(`${ID_SUFFIX}>`) === true
}
