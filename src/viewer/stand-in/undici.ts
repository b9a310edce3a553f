/**
 * undici's `Pool` for the browser, as far as `ves/client` uses it: one request, its status and its body, called back.
 * The body comes in one piece.
 */

export interface PoolRequest {
  readonly path: string
  readonly method: string
  readonly headers: Record<string, string>
  readonly body: string | null
}

/** What is called back of undici's dispatch handlers, and in this order; an error is the last, wherever it comes. */
export interface PoolHandler {
  onRequestStart(controller: PoolController): void
  onResponseStart(controller: PoolController, status: number): void
  onResponseData(controller: PoolController, chunk: Buffer): void
  onResponseEnd(): void
  onResponseError(controller: PoolController, error: Error): void
}

export interface PoolController {
  abort(why: Error): void
}

/** Names that a browser sends itself. */
const FORBIDDEN = new Set(['user-agent'])

export class Pool {
  readonly #origin: string

  constructor(origin: string) {
    this.#origin = origin
  }

  dispatch(request: PoolRequest, handler: PoolHandler): boolean {
    const abort = new AbortController()
    const controller: PoolController = { abort: (why) => abort.abort(why) }
    void this.#exchange(request, handler, controller, abort.signal).catch((error: Error) =>
      handler.onResponseError(controller, error),
    )
    return true
  }

  async #exchange(request: PoolRequest, handler: PoolHandler, controller: PoolController, signal: AbortSignal) {
    const { path, method, headers, body } = request
    handler.onRequestStart(controller)
    const answer = await fetch(this.#origin + path, {
      method,
      headers: Object.entries(headers).filter(([name]) => !FORBIDDEN.has(name)),
      body,
      signal,
      // No cookie goes along, nothing is kept, and nobody is sent elsewhere with a token.
      credentials: 'omit',
      cache: 'no-store',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
    })
    handler.onResponseStart(controller, answer.status)
    handler.onResponseData(controller, Buffer.from(await answer.arrayBuffer()))
    signal.throwIfAborted()
    handler.onResponseEnd()
  }

  async destroy(): Promise<void> {}
}
