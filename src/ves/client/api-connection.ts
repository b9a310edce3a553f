/**
 * Requests to the key repository's REST API (key-repository.md §3): keep-alive connections, time limits, sizes,
 * repetition where it is safe, the circuit breaker, and what each status means. Knows nothing of vaults and items.
 *
 * Rule: only 200 with a JSON object that has a `result` is success, and "not found" is only what the repository itself
 * says, by the type `NotFound`: a 404 of something on the way, also in JSON, must never be taken for "this recipient has
 * no vault".
 */
import type { Readable } from 'node:stream'
import { type Dispatcher, Pool } from 'undici'
import { backoffMs } from '../../base/backoff.ts'
import { GatewayError } from '../../base/errors.ts'
import type { Secret } from '../../base/secret.ts'
import { isObject, type JsonObject, objectsAt, optionalText } from './answer.ts'
import { CircuitBreaker } from './circuit-breaker.ts'

export interface ApiConnectionOptions {
  /** Base URL, e.g. `https://api.ves.host/v1/`; the last slash may be missing. */
  readonly api: string
  readonly connections: number
  readonly connectTimeoutMs: number
  /** From request to complete answer, waiting for a connection included. */
  readonly requestTimeoutMs: number
  /** PEM of the CAs to trust instead of the built-in ones. */
  readonly ca: string | null
  readonly userAgent: string
  readonly nowMs: () => number
}

export interface ApiRequest {
  /** Below the base, with its query, e.g. `vaultKeys?fields=id`. */
  readonly path: string
  /** Present = POST. */
  readonly body?: JsonObject
  readonly bearer?: Secret<string>
  /** Whom the request is passed on for: a repository that trusts us counts it as theirs. */
  readonly forwardedFor?: string
  /** Doing it twice is as good as once: repeated when the connection fails after it was sent. GETs always are. */
  readonly repeatable?: boolean
}

export interface ApiAnswer {
  readonly result: JsonObject
  /** Pending matters, where the request asked for them. */
  readonly attn: JsonObject | null
}

/** An answer of 5,000 entries of ML-KEM-1024 is 12 MiB; more than this is an attack on our memory. */
const MAX_ANSWER_OCTETS = 32 * 1024 * 1024
/** Requests that may wait for a connection: a repository that slow is as good as down. */
const MAX_WAITING = 2000
const REPEATS = 2
/** 1.5 s in all: so long a repository that is restarted refuses connections. */
const REPEATS_REFUSED = 5
const FIRST_REPEAT_MS = 50
/** What can stand in the field (RFC 6750 §2.1 and more); ours and the hosted service's tokens are shorter still. */
const BEARER = /^[\x21-\x7e]{1,4096}$/
const BREAKER = { failures: 5, leastMs: 2000, firstMs: 1000, maxMs: 30_000 } as const

/** Errors of which we know that the repository never saw the request. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

/**
 * Where answers are read into before they are copied. Otherwise Node reads each into 64 KiB of its own and cuts that down
 * to some hundred octets: with thousands of logins the holes cost 15 KiB a session.
 */
const READ_BUFFER = Buffer.allocUnsafe(64 * 1024)

/** @returns false: no more for now */
function pushCopy(this: unknown, octets: number, buffer: Uint8Array): boolean {
  return (this as Readable).push(Buffer.from(buffer.subarray(0, octets)))
}

export class ApiConnection {
  readonly #options: ApiConnectionOptions
  readonly #pool: Pool
  readonly #base: string
  readonly #breaker: CircuitBreaker
  #waiting = 0

  constructor(options: ApiConnectionOptions) {
    this.#options = options
    const url = parseApi(options.api)
    this.#base = url.pathname.endsWith('/') ? url.pathname : `${url.pathname}/`
    this.#pool = new Pool(url.origin, {
      connections: options.connections,
      pipelining: 1,
      // Below the 5 s after which many servers close an idle connection, so that they seldom do it under a request.
      keepAliveTimeout: 4000,
      headersTimeout: options.requestTimeoutMs,
      bodyTimeout: options.requestTimeoutMs,
      connect: {
        timeout: options.connectTimeoutMs,
        onread: { buffer: READ_BUFFER, callback: pushCopy },
        ...(options.ca === null ? {} : { ca: options.ca }),
      },
    })
    this.#breaker = new CircuitBreaker({ ...BREAKER, nowMs: options.nowMs })
  }

  /** The repository did not answer the last few times. */
  get isDown(): boolean {
    return this.#breaker.isOpen
  }

  /**
   * @throws GatewayError VES_CONNECTION, VES_DENIED (`status` in its detail tells 401 from 403), VES_NOT_FOUND,
   *   VES_QUOTA, VES_SERVER, VES_PARSE
   */
  async request(request: ApiRequest): Promise<ApiAnswer> {
    // Strangers choose it: what cannot be sent is nobody's token, and no failure of the repository.
    if (request.bearer !== undefined && !BEARER.test(request.bearer.expose())) {
      throw new GatewayError('VES_DENIED', { ...where(request, 401), type: 'Unauthorized', message: 'not a token' })
    }
    if (this.#waiting >= MAX_WAITING) {
      throw new GatewayError('VES_CONNECTION', { text: 'key repository overloaded', waiting: this.#waiting })
    }
    this.#waiting++
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          return await this.#once(request)
        } catch (error) {
          if (attempt >= repeatsAfter(error, request)) throw error
          await delay(backoffMs(attempt, FIRST_REPEAT_MS, 1000))
        }
      }
    } finally {
      this.#waiting--
    }
  }

  async close(): Promise<void> {
    await this.#pool.destroy()
  }

  async #once(request: ApiRequest): Promise<ApiAnswer> {
    const refusedMs = this.#breaker.refusedForMs()
    if (refusedMs !== null) {
      throw new GatewayError('VES_CONNECTION', { text: 'key repository not reachable', nextAttemptMs: refusedMs })
    }
    let status: number
    let octets: Buffer
    try {
      ;({ status, octets } = await this.#exchange({
        path: this.#base + request.path,
        method: request.body === undefined ? 'GET' : 'POST',
        headers: this.#headers(request),
        body: request.body === undefined ? null : JSON.stringify(request.body),
      }))
    } catch (cause) {
      if (cause instanceof GatewayError) {
        // Too large: that is an answer.
        this.#breaker.succeeded()
        throw cause
      }
      this.#breaker.failed()
      const reason = failureName(cause)
      throw new GatewayError('VES_CONNECTION', { text: 'key repository not reachable', reason }, cause)
    }
    // 502 and 504 come from a proxy in front of a repository that is down.
    if (status === 502 || status === 504) this.#breaker.failed()
    else this.#breaker.succeeded()
    return judge(status, octets, request)
  }

  #exchange(request: Dispatcher.DispatchOptions): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      const exchange = new Exchange(resolve, reject, this.#options.requestTimeoutMs)
      this.#pool.dispatch(request, exchange)
    })
  }

  #headers(request: ApiRequest): Record<string, string> {
    const headers: Record<string, string> = { accept: 'application/json', 'user-agent': this.#options.userAgent }
    if (request.body !== undefined) headers['content-type'] = 'application/json'
    if (request.forwardedFor !== undefined) headers['x-forwarded-for'] = request.forwardedFor
    if (request.bearer !== undefined) headers.authorization = `Bearer ${request.bearer.expose()}`
    return headers
  }
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function parseApi(api: string): URL {
  let url: URL
  try {
    url = new URL(api)
  } catch (cause) {
    throw new GatewayError('CONFIG_INVALID', { text: `not a URL: ${api}` }, cause)
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new GatewayError('CONFIG_INVALID', { text: `not an http or https URL: ${api}` })
  }
  return url
}

/** How often a request may be repeated in all, after this error. */
function repeatsAfter(error: unknown, request: ApiRequest): number {
  if (!(error instanceof GatewayError) || error.code !== 'VES_CONNECTION') return 0
  const { reason } = error.detail
  if (typeof reason !== 'string' || reason === 'timeout') return 0
  if (reason === 'ECONNREFUSED') return REPEATS_REFUSED
  const again =
    NEVER_SENT.has(reason) || request.body === undefined || request.body.$op === 'fetch' || !!request.repeatable
  return again ? REPEATS : 0
}

/** A stable name for the log: `ECONNREFUSED`, `UND_ERR_SOCKET`, `timeout`. */
function failureName(cause: unknown): string {
  if (!(cause instanceof Error)) return 'unknown'
  if (cause.name === 'TimeoutError' || cause.name === 'HeadersTimeoutError' || cause.name === 'BodyTimeoutError') {
    return 'timeout'
  }
  const code = 'code' in cause ? cause.code : undefined
  return typeof code === 'string' ? code : cause.name
}

interface RawAnswer {
  readonly status: number
  readonly octets: Buffer
}

/**
 * One request to its whole answer, as undici calls it back. `Pool.request` makes a stream, an iterator and an abort
 * signal of each, which takes as long as all the rest of a request.
 */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #resolve: (answer: RawAnswer) => void
  readonly #reject: (error: unknown) => void
  readonly #timer: NodeJS.Timeout
  #controller: Dispatcher.DispatchController | null = null
  #failure: Error | null = null
  #status = 0
  readonly #chunks: Buffer[] = []
  #octets = 0

  constructor(resolve: (answer: RawAnswer) => void, reject: (error: unknown) => void, timeoutMs: number) {
    this.#resolve = resolve
    this.#reject = reject
    this.#timer = setTimeout(() => this.#giveUp(new DOMException('no answer in time', 'TimeoutError')), timeoutMs)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // It has waited for a connection for too long, and nobody waits for its answer any more.
    if (this.#failure !== null) controller.abort(this.#failure)
    else this.#controller = controller
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number): void {
    this.#status = status
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#octets += chunk.length
    if (this.#octets > MAX_ANSWER_OCTETS) this.#giveUp(new GatewayError('VES_PARSE', { text: 'answer too large' }))
    else this.#chunks.push(chunk)
  }

  onResponseEnd(): void {
    clearTimeout(this.#timer)
    const [only] = this.#chunks
    const octets = only !== undefined && this.#chunks.length === 1 ? only : Buffer.concat(this.#chunks)
    this.#resolve({ status: this.#status, octets })
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    clearTimeout(this.#timer)
    this.#reject(error)
  }

  #giveUp(why: Error): void {
    this.#failure = why
    clearTimeout(this.#timer)
    this.#reject(why)
    this.#controller?.abort(why)
  }
}

function judge(status: number, octets: Buffer, request: ApiRequest): ApiAnswer {
  const json = parseObject(octets)
  if (status === 200) {
    if (json === null || !isObject(json.result)) throw new GatewayError('VES_PARSE', where(request, status))
    return { result: json.result, attn: isObject(json.attn) ? json.attn : null }
  }
  if (json === null || !Array.isArray(json.errors)) throw new GatewayError('VES_SERVER', where(request, status))
  const [first] = objectsAt(json, 'errors')
  const detail = {
    ...where(request, status),
    type: first === undefined ? null : optionalText(first, 'type'),
    message: first === undefined ? null : optionalText(first, 'message'),
  }
  if (status === 401 || status === 403) throw new GatewayError('VES_DENIED', detail)
  if (status === 404 && detail.type === 'NotFound') throw new GatewayError('VES_NOT_FOUND', detail)
  if (status === 503) throw new GatewayError('VES_QUOTA', detail)
  if (status === 501) throw new GatewayError('VES_UNSUPPORTED', detail)
  throw new GatewayError('VES_SERVER', detail)
}

/** The path without its query: ids, never a secret. */
function where(request: ApiRequest, status: number): { readonly status: number; readonly path: string } {
  return { status, path: request.path.replace(/\?.*/s, '').slice(0, 100) }
}

function parseObject(octets: Buffer): JsonObject | null {
  try {
    const json: unknown = JSON.parse(octets.toString('utf8'))
    return isObject(json) ? json : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
