/** Status lines of our own: a fault of the table as IMAP tells it (daemon.md §6). */
import type { GatewayError } from '../../base/errors.ts'

/** `tag NO [CODE] XVES-n text`, without CRLF. */
export function imapReply(tag: string, error: GatewayError): string {
  const status = error.fault.imap === 'BYE' ? 'NO' : error.fault.imap
  return `${tag} ${status} ${error.wireText}`
}

/** `* BYE …` for the end of a session. */
export function byeLine(error: GatewayError): string {
  return `* BYE ${error.wireText}`
}
