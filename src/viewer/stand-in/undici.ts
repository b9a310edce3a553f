/** undici's `Pool` for the browser, as far as `ves/client` uses it: one request, its status and its body. */

export interface PoolRequest {
  readonly path: string
  readonly method: string
  readonly headers: Record<string, string>
  readonly body: string | null
  readonly signal: AbortSignal
}

/** Names that a browser sends itself. */
const FORBIDDEN = new Set(['user-agent'])

export class Pool {
  readonly #origin: string

  constructor(origin: string) {
    this.#origin = origin
  }

  async request({ path, method, headers, body, signal }: PoolRequest) {
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
    return { statusCode: answer.status, body: octetsOf(answer) }
  }

  async destroy(): Promise<void> {}
}

async function* octetsOf(answer: Response): AsyncGenerator<Buffer> {
  yield Buffer.from(await answer.arrayBuffer())
}
