/**
 * HTTP as the rest of the program sees it: whole requests in, whole answers out. The server behind it is
 * uWebSockets.js, known to `uws.ts` alone.
 */
import { serveOnUws } from './uws.ts'

export interface HttpRequest {
  /** Upper case. */
  readonly method: string
  /** As sent, still percent-encoded, without the query. */
  readonly path: string
  /** What stands after `?`, still encoded; empty when there is none. */
  readonly query: string
  /** Names in lower case; repeated ones joined by `, `. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Who sent it: of the connection, or of its PROXY header where the listener takes one; empty on a UNIX socket. */
  readonly address: string
  /** Aborted when the client is gone: work for it may stop. */
  readonly aborted: AbortSignal
}

export interface HttpResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Buffer
}

export type HttpHandler = (request: HttpRequest) => HttpResponse | Promise<HttpResponse>

interface ServeOptions {
  /** Larger bodies are answered with 413 before `handle` is asked. */
  readonly maxBodyOctets: number
  readonly handle: HttpHandler
  /** Told of what `handle` threw, after which the client gets a bare 500. */
  readonly failed?: (error: unknown, request: { readonly method: string; readonly path: string }) => void
}

/** `port` 0 picks a free one. */
export type ListenOptions = ServeOptions &
  ({ readonly host: string; readonly port: number } | { readonly unixPath: string })

export interface HttpServer {
  /** 0 for a UNIX socket. */
  readonly port: number
  /** Stops accepting, gives open requests a moment, then closes every connection. */
  close(): Promise<void>
}

/** @throws Error when the address cannot be bound */
export function listen(options: ListenOptions): Promise<HttpServer> {
  return serveOnUws(options)
}
