/**
 * The trace header that we put in front of a submitted message (smtp.md §4, RFC 5321 §4.4). In a sealed message it is
 * sealed like every Received, so the client's address does not show.
 */
import type { SealMode } from '../account.ts'

export interface ReceivedFields {
  readonly client: { readonly address: string; readonly port: number }
  readonly helo: string
  readonly local: { readonly address: string; readonly port: number }
  readonly host: string
  readonly version: string
  readonly encrypt: boolean
  readonly mode: SealMode
  readonly nowMs: number
}

/** One folded header, CRLF included. */
export function receivedHeader(fields: ReceivedFields): Buffer {
  const { client, local } = fields
  const text =
    `Received: from [${client.address}]:${client.port} (helo=${fields.helo})\r\n` +
    `\tby [${local.address}]:${local.port} (${fields.host})\r\n` +
    `\twith VESmail ESMTP Proxy ${fields.version}\r\n` +
    `\t(encrypt=${fields.encrypt ? 'TRUE' : 'FALSE'} mode=${fields.mode}); ${dateTime(fields.nowMs)}\r\n`
  return Buffer.from(text, 'utf8')
}

/** RFC 5322 §3.3 date-time in UTC. */
export function dateTime(nowMs: number): string {
  return new Date(nowMs).toUTCString().replace(/ GMT$/, ' +0000')
}
