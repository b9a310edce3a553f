/** How answers look that are not the handler's own, and what an answer's headers may hold. */
import { STATUS_CODES } from 'node:http'
import type { HttpResponse } from './http.ts'

export function statusLine(status: number): string {
  return `${status} ${STATUS_CODES[status] ?? 'Unknown'}`
}

/** A whole answer as it goes over the wire. The body must be here. @param date RFC 9110 §6.6.1 */
export function printAnswer({ status, headers, body }: HttpResponse, date: string): Buffer {
  const octets = typeof body === 'string' ? Buffer.from(body) : Buffer.isBuffer(body) ? body : Buffer.alloc(0)
  let head = `HTTP/1.1 ${statusLine(status)}\r\nDate: ${date}\r\n`
  for (const [name, value] of Object.entries(checkedHeaders(headers))) {
    if (typeof value === 'string') head += `${name}: ${value}\r\n`
    else for (const one of value) head += `${name}: ${one}\r\n`
  }
  head += `Content-Length: ${octets.length}\r\n\r\n`
  const printed = Buffer.allocUnsafe(head.length + octets.length)
  printed.write(head, 'latin1')
  printed.set(octets, head.length)
  return printed
}

export function isStream(body: HttpResponse['body']): body is AsyncIterable<Buffer> {
  return typeof body === 'object' && !Buffer.isBuffer(body)
}

/** A JSON error of the server itself: no handler was asked, or it failed. */
export function failureAnswer(status: number, message: string): HttpResponse {
  return {
    status,
    headers: { 'content-type': 'application/json' },
    body: `${JSON.stringify({ errors: [{ code: status, message }] })}\n`,
  }
}

/** @throws Error for a name or value that would split the head of the answer */
export function checkedHeaders(headers: HttpResponse['headers']): NonNullable<HttpResponse['headers']> {
  for (const [name, value] of Object.entries(headers ?? {})) {
    const values = typeof value === 'string' ? [value] : value
    if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(name) || values.some((one) => /[\r\n\0]/.test(one))) {
      throw new Error(`unusable response header ${JSON.stringify(name)}`)
    }
  }
  return headers ?? {}
}
