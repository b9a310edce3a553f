/**
 * A header block as octets: its fields and the line that ends it, nothing decoded (RFC 5322 §2.2; message-format.md §3
 * for what malformed input means). Joining `fields` and `blank` gives back the octets that were read.
 */

export interface HeaderField {
  /** Lower case; '' where what stands before the colon is no field name (an mbox `From ` line, a control octet). */
  readonly name: string
  /** The first line and its continuations, without the last line end. A view. */
  readonly bytes: Buffer
  /** Line end of the last line: CRLF, LF, or nothing at the end of input. */
  readonly eol: Eol
}

export type Eol = '\r\n' | '\n' | ''

export interface HeaderBlock {
  readonly fields: readonly HeaderField[]
  /** The blank line with its line end; empty where there is none: the body begins at a line that is no header, or nowhere. */
  readonly blank: Buffer
  /** All of it as it came. */
  readonly bytes: Buffer
}

/** Room for what is between the name's end and the colon. */
const COLON = 0x3a

/** @param line octets of a line that does not begin with white space. @returns null where there is no colon */
export function fieldName(line: Buffer): string | null {
  const colon = line.indexOf(COLON)
  if (colon < 0) return null
  let end = colon
  while (end > 0 && (line[end - 1] === 0x20 || line[end - 1] === 0x09)) end--
  for (let at = 0; at < end; at++) {
    const octet = line[at]!
    if (octet <= 0x20 || octet >= 0x7f) return ''
  }
  return line.toString('latin1', 0, end).toLowerCase()
}

/** What follows the colon, folds and all; latin1, so one character an octet. */
export function rawValue(field: HeaderField): string {
  return field.bytes.toString('latin1', field.bytes.indexOf(COLON) + 1)
}

/** The value on one line: line ends taken out, white space around it trimmed (RFC 5322 §2.2.3). */
export function unfoldedValue(field: HeaderField): string {
  return rawValue(field).replace(/\r?\n/g, '').trim()
}

/** Octets that count as a blank line, wherever a header would start. */
export function isBlankLine(line: Buffer): boolean {
  for (const octet of line) if (octet !== 0x20 && (octet < 0x09 || octet > 0x0d)) return false
  return true
}
