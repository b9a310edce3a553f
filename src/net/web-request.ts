/**
 * One HTTP request to an address that a user named (a token endpoint, an override): the same way as to a provider, so
 * names are resolved once, the address judged, the certificate verified. No redirects, answers bounded. What is sent
 * and what comes may be secret: neither gets into an error.
 */
import { request } from 'node:http'
import type { Socket } from 'node:net'
import { GatewayError } from '../base/errors.ts'
import { connectUpstream, type UpstreamOptions } from './upstream.ts'

export interface WebRequest {
  /** http: or https:, without user information. */
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** null: GET; else POST. */
  readonly body: string | null
  readonly maxOctets: number
  /** From request to complete answer. */
  readonly timeoutMs: number
}

export interface WebAnswer {
  readonly status: number
  readonly text: string
}

/** @throws GatewayError UPSTREAM_DNS, UPSTREAM_CONNECTION, UPSTREAM_TLS, UPSTREAM_UNEXPECTED (too long) */
export async function webRequest(ask: WebRequest, upstream: UpstreamOptions): Promise<WebAnswer> {
  const persist = ask.url.protocol === 'https:'
  const port = ask.url.port === '' ? (persist ? 443 : 80) : Number(ask.url.port)
  const host = ask.url.hostname.replace(/^\[|\]$/g, '')
  const signal = AbortSignal.timeout(ask.timeoutMs)
  const { socket } = await connectUpstream({ host, port, level: 'high', persist }, upstream, signal)
  socket.on('error', () => {})
  try {
    return await exchange(socket, ask, signal)
  } finally {
    socket.destroy()
  }
}

function exchange(socket: Socket, ask: WebRequest, signal: AbortSignal): Promise<WebAnswer> {
  const { url, body, maxOctets } = ask
  return new Promise((resolve, reject) => {
    const failed = (cause: unknown): void => {
      const reason = (cause as NodeJS.ErrnoException | null)?.code ?? 'error'
      reject(cause instanceof GatewayError ? cause : new GatewayError('UPSTREAM_CONNECTION', { reason }, cause))
    }
    const length = body === null ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const sent = request(
      {
        createConnection: () => socket,
        method: body === null ? 'GET' : 'POST',
        path: url.pathname + url.search,
        headers: { ...ask.headers, ...length, host: url.host, connection: 'close' },
        signal,
      },
      (answer) => {
        const parts: Buffer[] = []
        let octets = 0
        answer.on('data', (part: Buffer) => {
          octets += part.length
          parts.push(part)
          if (octets <= maxOctets) return
          failed(new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'answer too long' }))
          answer.destroy()
        })
        answer.on('error', failed)
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }))
      },
    )
    sent.on('error', failed)
    sent.end(body ?? undefined)
  })
}
