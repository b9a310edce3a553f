/** How answers look that are not the handler's own, and what an answer's headers may hold. */
import { STATUS_CODES } from 'node:http'
import type { HttpResponse } from './http.ts'

export function statusLine(status: number): string {
  return `${status} ${STATUS_CODES[status] ?? 'Unknown'}`
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
