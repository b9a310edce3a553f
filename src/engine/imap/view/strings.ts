/**
 * Strings of IMAP answers (RFC 9051 §4.3) in the server's own style: when quoted, when a literal, what is tidied up.
 * Input and output are latin1 strings, one character an octet.
 */

/** What the server shows for a NUL in header text: UTF-8 of U+FFFD, as latin1. */
export const NUL_REPLACEMENT = '\xef\xbf\xbd'

/** With more `"` and `\` than this the server prefers a literal. */
const MAX_ESCAPES = 4

/** Quoted where it can be, else a literal. NULs end the string, as in the server. */
export function printString(text: string): string {
  const nul = text.indexOf('\0')
  const value = nul < 0 ? text : text.slice(0, nul)
  if (/[\r\n\x80-\xff]/.test(value)) return printLiteral(value)
  const escapes = value.match(/["\\]/g)
  if (escapes === null) return `"${value}"`
  return escapes.length > MAX_ESCAPES ? printLiteral(value) : `"${value.replace(/["\\]/g, '\\$&')}"`
}

export function printLiteral(value: string): string {
  return `{${value.length}}\r\n${value}`
}

export function printNstring(text: string | null): string {
  return text === null ? 'NIL' : printString(text)
}

/** Line ends taken out; where no white space follows one, a space stands in. */
export function printUnfolded(text: string | null): string {
  if (text === null) return 'NIL'
  return printString(/[\r\n]/.test(text) ? text.replace(/[\r\n](?![ \t\r\n]|$)/g, ' ').replace(/[\r\n]/g, '') : text)
}

/** Text for people (subjects, display names): white space runs become one space; a literal wherever anything was special. */
export function printText(text: string): string {
  const tidy = text
    .replace(/[ \t\r\n]+/g, ' ')
    .replace(/^ /, '')
    .replace(/ $/, '')
    .replaceAll('\0', '\x80')
  if (tidy === text && !/["\\\x80-\xff]/.test(text)) return `"${text}"`
  return tidy === '' ? '""' : printLiteral(tidy)
}
