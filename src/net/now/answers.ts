/** What the HTTP side answers in words: plain text for people who read it with curl, status for programs. */
import { FAULTS, type GatewayError } from '../../base/errors.ts'
import type { HttpResponse } from '../http.ts'

export function plain(status: number, text: string, headers: HttpResponse['headers'] = {}): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers }, body: `${text}\n` }
}

/** The fault table's status and text; cause and detail stay in the log. */
export function failure(error: GatewayError, status: number = FAULTS[error.code].http): HttpResponse {
  return plain(status, error.wireText)
}

/** `GET /ves.json` and friends. */
export function json(status: number, text: string, headers: HttpResponse['headers'] = {}): HttpResponse {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: text }
}

/** The answer's own headers, else those of the configuration, else these. Names in lower case. */
export function withHeaders<T extends HttpResponse>(
  answer: T,
  otherwise: NonNullable<HttpResponse['headers']>,
  extra: readonly (readonly [string, string])[],
): T {
  const configured: Record<string, string | readonly string[]> = {}
  for (const [name, value] of extra) {
    const before = configured[name.toLowerCase()]
    configured[name.toLowerCase()] = before === undefined ? value : [...[before].flat(), value]
  }
  return { ...answer, headers: { ...otherwise, ...configured, ...answer.headers } }
}

/** @returns null for a line that is no header */
export function parseHeaderLine(line: string): readonly [string, string] | null {
  const match = /^([!#$%&'*+.^_`|~\w-]+)[ \t]*:[ \t]*(.*?)[ \t]*$/.exec(line)
  return match === null || /[\r\n\0]/.test(line) ? null : [match[1]!, match[2]!]
}
