/**
 * Is a request the opening of a WebSocket (RFC 6455 §4.2.1)? uWebSockets.js asks for a key of the right length and for
 * nothing else.
 */
import type { HttpHead, HttpResponse } from './http.ts'
import { plain } from './now/answers.ts'

/** Sixteen octets in base64. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/
const VERSION = '13'

/** @returns what to answer in its place; null: it is one */
export function refuseHandshake({ method, headers }: Pick<HttpHead, 'method' | 'headers'>): HttpResponse | null {
  if (method !== 'GET') return plain(405, 'Method not allowed')
  if (!lists(headers.upgrade, 'websocket') || !lists(headers.connection, 'upgrade')) {
    return plain(426, 'A WebSocket is expected here', { upgrade: 'websocket' })
  }
  if (headers['sec-websocket-version'] !== VERSION) {
    return plain(426, 'WebSocket version 13 is spoken here', { upgrade: 'websocket', 'sec-websocket-version': VERSION })
  }
  const hasBody = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
  if (hasBody || !KEY.test(headers['sec-websocket-key'] ?? '')) return plain(400, 'Not the opening of a WebSocket')
  return null
}

function lists(field: string | undefined, token: string): boolean {
  return field?.split(',').some((one) => one.trim().toLowerCase() === token) === true
}
