/**
 * The only file that knows uWebSockets.js. It turns its callbacks into the interface of `http.ts`:
 * a whole request in, a promise of a whole answer out. No routes and no rules here.
 *
 * What uWebSockets.js demands: a request object lives only during its callback, a response may not be touched after
 * its abort, body chunks are emptied when the callback returns, and late writes are corked.
 */
import type { TemplatedApp, HttpResponse as UwsResponse, us_listen_socket } from 'uWebSockets.js'
import type { HttpRequest, HttpResponse, HttpServer, ListenOptions } from './http.ts'
import { checkedHeaders, failureAnswer, statusLine } from './http-answer.ts'

/** Request line and headers together (now.md); uWebSockets.js reads it from the environment when it is loaded. */
const MAX_HEAD_OCTETS = 32 * 1024
process.env.UWS_HTTP_MAX_HEADERS_SIZE ??= String(MAX_HEAD_OCTETS)
const { default: uws } = await import('uWebSockets.js')

/** LIBUS_LISTEN_EXCLUSIVE_PORT, which the package's types name but its ES module does not export by name. */
const EXCLUSIVE_PORT = 1

/** How long `close()` waits for requests that are being answered. */
const CLOSE_GRACE_MS = 2000

export async function serveOnUws(options: ListenOptions): Promise<HttpServer> {
  const app = uws.App()
  const open = new Set<Promise<void>>()
  app.any('/*', (response, request) => {
    const headers: Record<string, string> = {}
    request.forEach((name, value) => {
      headers[name] = name in headers ? `${headers[name]}, ${value}` : value
    })
    const head = {
      method: request.getCaseSensitiveMethod().toUpperCase(),
      path: request.getUrl(),
      query: request.getQuery() ?? '',
      headers,
      address: addressOf(response),
    }
    const answered = answer(response, head, options).finally(() => open.delete(answered))
    open.add(answered)
  })
  const socket = await bind(app, options)
  const port = 'unixPath' in options ? 0 : uws.us_socket_local_port(socket)
  return {
    port,
    close: async () => {
      uws.us_listen_socket_close(socket)
      const grace = new Promise<void>((done) => setTimeout(done, CLOSE_GRACE_MS).unref())
      await Promise.race([Promise.allSettled(open), grace])
      app.close()
    },
  }
}

function bind(app: TemplatedApp, options: ListenOptions): Promise<us_listen_socket> {
  return new Promise((resolve, reject) => {
    const bound = (socket: us_listen_socket | false): void => {
      if (socket) resolve(socket)
      else
        reject(
          new Error(`cannot listen on ${'unixPath' in options ? options.unixPath : `${options.host}:${options.port}`}`),
        )
    }
    if ('unixPath' in options) app.listen_unix(bound, options.unixPath)
    // Exclusive: the default SO_REUSEPORT would let two servers share a port without a word.
    else app.listen(options.host, options.port, EXCLUSIVE_PORT, bound)
  })
}

async function answer(
  response: UwsResponse,
  head: Omit<HttpRequest, 'body' | 'aborted'>,
  options: ListenOptions,
): Promise<void> {
  const abort = new AbortController()
  response.onAborted(() => abort.abort())
  const method = head.method
  const body = await collect(response, head.headers, options.maxBodyOctets, abort.signal)
  if (body === null) {
    if (!abort.signal.aborted) reply(response, failureAnswer(413, 'Request body too large'), method, true)
    return
  }
  const result = await Promise.resolve()
    .then(() => options.handle({ ...head, body, aborted: abort.signal }))
    .then((given) => ({ ...given, headers: checkedHeaders(given.headers) }))
    .catch((error: unknown) => {
      options.failed?.(error, { method, path: head.path })
      return failureAnswer(500, 'Internal error')
    })
  if (!abort.signal.aborted) reply(response, result, method, false)
}

/** @returns null when the body is larger than `maxOctets` or the request was aborted */
function collect(
  response: UwsResponse,
  headers: Readonly<Record<string, string>>,
  maxOctets: number,
  aborted: AbortSignal,
): Promise<Buffer | null> {
  return new Promise((resolve) => {
    aborted.addEventListener('abort', () => resolve(null), { once: true })
    const declared = Number(headers['content-length'] ?? 0)
    if (declared > maxOctets) return resolve(null)
    const parts: Buffer[] = []
    let octets = 0
    response.onData((chunk, isLast) => {
      octets += chunk.byteLength
      if (octets > maxOctets) return resolve(null)
      // Copied: the chunk is emptied when this callback returns.
      if (chunk.byteLength > 0) parts.push(Buffer.from(Buffer.from(chunk)))
      if (isLast) resolve(parts.length === 1 ? parts[0]! : Buffer.concat(parts))
    })
  })
}

function reply(response: UwsResponse, answer: HttpResponse, method: string, close: boolean): void {
  response.cork(() => {
    response.writeStatus(statusLine(answer.status))
    for (const [name, value] of Object.entries(answer.headers ?? {})) {
      for (const one of typeof value === 'string' ? [value] : value) response.writeHeader(name, one)
    }
    const body = typeof answer.body === 'string' ? Buffer.from(answer.body) : answer.body
    if (method === 'HEAD') response.endWithoutBody(body?.length ?? 0, close)
    else if (answer.status === 204 || answer.status === 304) response.endWithoutBody(undefined, close)
    else response.end(body ?? '', close)
  })
}

function addressOf(response: UwsResponse): string {
  const proxied = response.getProxiedRemoteAddressAsText()
  return Buffer.from(proxied.byteLength > 0 ? proxied : response.getRemoteAddressAsText()).toString('latin1')
}
