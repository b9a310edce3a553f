/**
 * The only file that loads uWebSockets.js (`uws-websocket.ts` knows its types). It turns its callbacks into the interface of `http.ts`:
 * a request in, a promise of an answer out. No routes and no rules here.
 *
 * What uWebSockets.js demands: a request object lives only during its callback, a response may not be touched after
 * its abort, body chunks are emptied when the callback returns, and late writes are corked.
 */
import type {
  TemplatedApp,
  HttpRequest as UwsRequest,
  HttpResponse as UwsResponse,
  us_listen_socket,
} from 'uWebSockets.js'
import type { HttpHead, HttpResponse, HttpServer, ListenOptions } from './http.ts'
import { checkedHeaders, failureAnswer, isStream, statusLine } from './http-answer.ts'
import { BodyStream } from './http-body.ts'

/** Request line and headers together (now.md); uWebSockets.js reads it from the environment when it is loaded. */
const MAX_HEAD_OCTETS = 32 * 1024
process.env.UWS_HTTP_MAX_HEADERS_SIZE ??= String(MAX_HEAD_OCTETS)
const { default: uws } = await import('uWebSockets.js')
const { webSocketBehavior } = await import('./uws-websocket.ts')

/** LIBUS_LISTEN_EXCLUSIVE_PORT, which the package's types name but its ES module does not export by name. */
const EXCLUSIVE_PORT = 1

/** How long `close()` waits for requests that are being answered. */
const CLOSE_GRACE_MS = 2000
/** Its clock of a connection goes in steps of 4 s. */
const PATIENCE_MS = 4000
/** A streamed request body is read ahead of its reader by so much at most. */
const READ_AHEAD_OCTETS = 256 * 1024

export async function serveOnUws(options: ListenOptions): Promise<HttpServer> {
  const app = uws.App()
  const open = new Set<Promise<void>>()
  if (options.webSocket !== undefined) {
    app.ws(
      `${options.webSocket.prefix}*`,
      webSocketBehavior(options.webSocket, headOf, (response, result, head) => {
        reply(response, result, head.method, true)
        options.answered?.(head, true)
      }),
    )
  }
  app.any('/*', (response, request) => {
    const answered = answer(response, headOf(response, request), options).finally(() => open.delete(answered))
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

function headOf(response: UwsResponse, request: UwsRequest): HttpHead {
  const headers: Record<string, string> = {}
  request.forEach((name, value) => {
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value
  })
  return {
    method: request.getCaseSensitiveMethod(),
    path: request.getUrl(),
    query: request.getQuery() ?? '',
    headers,
    ...originOf(response),
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

async function answer(response: UwsResponse, head: HttpHead, options: ListenOptions): Promise<void> {
  const abort = new AbortController()
  const patience = options.isPatient === true ? new Patience(response) : null
  response.onAborted(() => {
    patience?.stop()
    abort.abort()
  })
  const method = head.method
  if (!isFramedOnce(head.headers)) {
    // Without an answer: after one to a body of chunks it would go on reading requests.
    response.close()
    return
  }
  const stream = options.streams?.(head) === true ? streamOf(response, abort.signal, patience) : null
  const maxOctets = typeof options.maxBodyOctets === 'number' ? options.maxBodyOctets : options.maxBodyOctets(head)
  const body = stream === null ? await collect(response, head.headers, maxOctets, abort.signal) : Buffer.alloc(0)
  // A request that came with the last octets of the body is read at once, and finds the answer to this one open: that ends
  // the connection. Behind an answer it would be served, though that one says that it is the last.
  const isLoose = options.isReframed !== true && 'transfer-encoding' in head.headers
  if (body === null) {
    if (isLoose) await new Promise(setImmediate)
    if (abort.signal.aborted) return
    reply(response, options.tooLarge ?? failureAnswer(413, 'Request body too large'), method, true)
    options.answered?.(head, true)
    return
  }
  const result = await Promise.resolve()
    .then(() => options.handle({ ...head, body, stream, aborted: abort.signal }))
    .then((given) => ({ ...given, headers: checkedHeaders(given.headers) }))
    .catch((error: unknown) => {
      options.failed?.(error, { method, path: head.path })
      return failureAnswer(500, 'Internal error')
    })
  if (isLoose) await new Promise(setImmediate)
  if (abort.signal.aborted) return
  // An upload that was not read to its end cannot be told from the next request: the connection ends with the answer.
  const close = result.close === true || (stream !== null && !stream.complete) || isLoose
  patience?.stop()
  if (isStream(result.body)) {
    patience?.begin()
    try {
      await replyStream(response, result, result.body, close, abort.signal)
    } catch (error) {
      options.failed?.(error, { method, path: head.path })
      if (!abort.signal.aborted) response.close()
      return
    } finally {
      patience?.stop()
    }
  } else reply(response, result, method, close)
  options.answered?.(head, close)
}

/**
 * uWebSockets.js takes the first of two lengths, and any transfer coding for chunked. Where a proxy in front reads the other
 * one, it sees other requests (RFC 9112 §11.2).
 */
function isFramedOnce({ 'content-length': length, 'transfer-encoding': coding }: HttpHead['headers']): boolean {
  return (
    (length === undefined || /^\d{1,15}$/.test(length)) && (coding === undefined || coding.toLowerCase() === 'chunked')
  )
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

function streamOf(response: UwsResponse, aborted: AbortSignal, patience: Patience | null): BodyStream {
  patience?.begin()
  const stream = new BodyStream(READ_AHEAD_OCTETS, {
    pause: () => {
      patience?.stop()
      response.pause()
    },
    resume: () => {
      if (aborted.aborted) return
      response.resume()
      patience?.begin()
    },
  })
  aborted.addEventListener('abort', () => stream.fail(new Error('the client left')), { once: true })
  response.onData((chunk, isLast) => {
    if (chunk.byteLength > 0) stream.push(Buffer.from(Buffer.from(chunk)))
    if (!isLast) return
    patience?.stop()
    stream.end()
  })
  return stream
}

/**
 * uWebSockets.js closes on who sends less than 160 KiB in 10 s, or takes less than most of a kernel's buffer: slow lines
 * are slower. `resume` begins its time anew.
 */
class Patience {
  readonly #response: UwsResponse
  #timer: NodeJS.Timeout | null = null

  constructor(response: UwsResponse) {
    this.#response = response
  }

  begin(): void {
    this.#timer ??= setInterval(() => {
      this.#response.pause()
      this.#response.resume()
    }, PATIENCE_MS)
  }

  /** At the latest with the response, which may not be touched any more. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }
}

function writeHead(response: UwsResponse, answer: HttpResponse): void {
  response.writeStatus(statusLine(answer.status))
  for (const [name, value] of Object.entries(answer.headers ?? {})) {
    for (const one of typeof value === 'string' ? [value] : value) response.writeHeader(name, one)
  }
}

function reply(response: UwsResponse, answer: HttpResponse, method: string, close: boolean): void {
  response.cork(() => {
    writeHead(response, answer)
    const body = typeof answer.body === 'string' ? Buffer.from(answer.body) : (answer.body as Buffer | undefined)
    if (method === 'HEAD') response.endWithoutBody(body?.length ?? 0, close)
    else if (answer.status === 204 || answer.status === 304) response.endWithoutBody(undefined, close)
    else response.end(body ?? '', close)
  })
}

async function replyStream(
  response: UwsResponse,
  answer: HttpResponse,
  body: AsyncIterable<Buffer>,
  close: boolean,
  aborted: AbortSignal,
): Promise<void> {
  let begun = false
  for await (const chunk of body) {
    if (aborted.aborted) return
    let taken = true
    response.cork(() => {
      if (!begun) writeHead(response, answer)
      if (chunk.length > 0) taken = response.write(chunk)
    })
    begun = true
    if (!taken) await writable(response, aborted)
  }
  if (aborted.aborted) return
  response.cork(() => {
    if (!begun) writeHead(response, answer)
    response.end('', close)
  })
}

function writable(response: UwsResponse, aborted: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    aborted.addEventListener('abort', () => resolve(), { once: true })
    response.onWritable(() => {
      // Later: what is written within this callback may not be flushed when the connection can be written again.
      setImmediate(resolve)
      return true
    })
  })
}

function originOf(response: UwsResponse): { address: string; port: number } {
  const proxied = response.getProxiedRemoteAddressAsText()
  const isProxied = proxied.byteLength > 0
  return {
    address: Buffer.from(isProxied ? proxied : response.getRemoteAddressAsText()).toString('latin1'),
    port: isProxied ? response.getProxiedRemotePort() : response.getRemotePort(),
  }
}
