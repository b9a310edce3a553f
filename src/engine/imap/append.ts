/**
 * The grammar of APPEND (RFC 9051 §6.3.12, RFC 3502, RFC 6855): which of its literals is the mailbox name and which the
 * message. CATENATE (RFC 4469) is refused: it builds a message on the server, where only sealed ones may be.
 */
import { GatewayError } from '../../base/errors.ts'
import type { ClientCommand } from './command-reader.ts'
import { Cursor } from './cursor.ts'
import type { Literal } from './literal.ts'

/**
 * @param command its text ends with the announcement of the literal
 * @param messages messages before it in the same command; then the text begins behind the last one
 * @throws {GatewayError} SYNTAX for a literal in any other place
 */
export function appendLiteral(command: ClientCommand, literal: Literal, messages: number): 'text' | 'message' {
  const { text } = command
  const announcedAt = text.lastIndexOf(0x7b) - (literal.binary ? 1 : 0)
  const cursor = new Cursor(text, messages === 0 ? command.argsAt : 0)
  cursor.space()
  if (messages === 0) {
    if (cursor.at === announcedAt) return 'text'
    cursor.astring()
    cursor.space()
  }
  if (cursor.at === announcedAt) return 'message'
  if (cursor.isNext('(')) {
    cursor.skipValue()
    cursor.space()
  }
  if (cursor.at !== announcedAt && cursor.isNext('"')) {
    cursor.string()
    cursor.space()
  }
  if (cursor.at !== announcedAt) throw new GatewayError('SYNTAX', { text: 'APPEND takes flags, date and one literal' })
  return 'message'
}

/** `before` with its announcement replaced by one of `octets`. */
export function reannounce(before: Buffer, octets: number, sync: boolean): Buffer {
  let at = before.lastIndexOf(0x7b)
  if (before[at - 1] === 0x7e) at--
  return Buffer.concat([before.subarray(0, at), Buffer.from(`{${octets}${sync ? '' : '+'}}\r\n`)])
}
