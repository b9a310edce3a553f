/**
 * A header block taken apart the way the server does it when it builds ENVELOPE, BODYSTRUCTURE and HEADER.FIELDS.
 * Not the gateway's own header rules (`engine/mime`, message-format.md §3): here only the blank line ends a header, and
 * a line without a colon is a field without a name. Octets are carried as latin1 strings: one character, one octet.
 * Source: RFC 5322 §2.2, and what Dovecot 2.3 answers (test/engine/imap/view/fixtures).
 */

export interface HeaderField {
  /** As written, white space before the colon left out; empty for a line without colon. */
  readonly name: string
  /** Lower-cased name (ASCII). */
  readonly key: string
  /** Without the white space in front; lines joined by LF, their CR left out; bare CRs stay. */
  readonly value: string
  /** Offset of the first octet within the block, and of the one behind the field's last line end. */
  readonly start: number
  readonly end: number
}

const LF = 0x0a
const CR = 0x0d

const isLwsp = (octet: number | undefined): boolean => octet === 0x20 || octet === 0x09

/**
 * Fields in order. A blank line ends them; what follows it is not looked at.
 * @param block octets as served (CRLF), borrowed. Linear in its length.
 */
export function parseHeaderFields(block: Buffer): HeaderField[] {
  const fields: HeaderField[] = []
  let at = 0
  while (at < block.length) {
    const start = at
    let lineEnd = lineEndAt(block, at)
    if (contentEnd(block, at, lineEnd) === at) break
    const first = block.toString('latin1', at, contentEnd(block, at, lineEnd))
    at = lineEnd
    const lines: string[] = []
    while (isLwsp(block[at]) && block[at - 1] === LF) {
      lineEnd = lineEndAt(block, at)
      lines.push(block.toString('latin1', at, contentEnd(block, at, lineEnd)))
      at = lineEnd
    }
    fields.push(fieldOf(first, lines, start, at))
  }
  return fields
}

/** Is there a blank line at the end of this header block? A header may also be ended by a delimiter, or the message. */
export function endsBlank(block: Buffer): boolean {
  const length = block.length
  if (block[length - 1] !== LF) return false
  const before = block[length - 2] === CR ? length - 3 : length - 2
  return before < 0 || block[before] === LF
}

function fieldOf(first: string, lines: readonly string[], start: number, end: number): HeaderField {
  const colon = first.indexOf(':')
  const rest = lines.length === 0 ? '' : `\n${lines.join('\n')}`
  if (colon < 0) return { name: '', key: '', value: first + rest, start, end }
  let nameEnd = colon
  while (nameEnd > 0 && isLwsp(first.charCodeAt(nameEnd - 1))) nameEnd--
  let from = colon + 1
  while (isLwsp(first.charCodeAt(from))) from++
  // QUIRK: of a value that is white space only, Dovecot drops one character.
  if (from === first.length && from > colon + 1) from = colon + 2
  const name = first.slice(0, nameEnd)
  return { name, key: lowerAscii(name), value: first.slice(from) + rest, start, end }
}

function lineEndAt(block: Buffer, at: number): number {
  const lf = block.indexOf(LF, at)
  return lf < 0 ? block.length : lf + 1
}

/** End of the line's content: before CRLF, LF, or the end of the block. */
function contentEnd(block: Buffer, at: number, lineEnd: number): number {
  if (lineEnd === at || block[lineEnd - 1] !== LF) return lineEnd
  return lineEnd - 1 > at && block[lineEnd - 2] === CR ? lineEnd - 2 : lineEnd - 1
}

/** Lower case of A–Z only: `toLowerCase` would also change latin1 letters. */
export function lowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (upper) => upper.toLowerCase())
}

export function upperAscii(text: string): string {
  return text.replace(/[a-z]+/g, (lower) => lower.toUpperCase())
}
