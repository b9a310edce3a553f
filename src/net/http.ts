/**
 * HTTP as the rest of the program sees it: requests in, answers out, bodies whole or as streams, and WebSockets. The
 * server behind it is uWebSockets.js, known to `uws.ts` alone.
 */
import { serveOnUws } from './uws.ts'

export interface HttpHead {
  /** As sent: `get` is none of ours (RFC 9110 §9.1). */
  readonly method: string
  /** As sent, still percent-encoded, without the query. */
  readonly path: string
  /** What stands after `?`, still encoded; empty when there is none. */
  readonly query: string
  /** Names in lower case; repeated ones joined by `, `. */
  readonly headers: Readonly<Record<string, string>>
  /** Who sent it: of the connection, or of its PROXY header where the listener takes one; empty on a UNIX socket. */
  readonly address: string
  /** With the address it names the connection; 0 on a UNIX socket. */
  readonly port: number
}

export interface HttpRequest extends HttpHead {
  /** Whole; empty where the body comes as {@link HttpRequest.stream}. */
  readonly body: Buffer
  /** Where the server was told to stream it: read at the reader's pace, and once. */
  readonly stream: AsyncIterable<Buffer> | null
  /** Aborted when the client is gone: work for it may stop. */
  readonly aborted: AbortSignal
}

export interface HttpResponse {
  readonly status: number
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  /** A stream is sent chunked, at the client's pace; if it throws, the connection is closed before its end. */
  readonly body?: string | Buffer | AsyncIterable<Buffer>
  /** The connection ends with this answer. */
  readonly close?: boolean
}

export type HttpHandler = (request: HttpRequest) => HttpResponse | Promise<HttpResponse>

/** One end of a WebSocket. After `closed` nothing may be called any more but is harmless. */
export interface WebSocketEnd {
  readonly head: HttpHead
  /** One binary message. */
  send(bytes: Buffer): void
  /** Octets of ours that the other end has not taken yet. */
  readonly waitingOctets: number
  /** Who lives answers it. */
  ping(): void
  /** @param code RFC 6455 §7.4 */
  close(code: number, reason: string): void
}

export interface WebSocketEvents {
  /** Text or binary, whole; the buffer belongs to the receiver. */
  message(bytes: Buffer): void
  /** What waited has become less. */
  drained(): void
  /** Once. */
  closed(code: number): void
}

/** No time limit holds for them but their holder's, who may {@link WebSocketEnd.ping}. */
export interface WebSocketOptions {
  /** Path below which WebSockets are taken, e.g. `/ws/`. */
  readonly prefix: string
  /** An answer refuses the upgrade; a function takes it. */
  readonly accept: (head: HttpHead) => Promise<HttpResponse | ((end: WebSocketEnd) => WebSocketEvents)>
  /** A longer message closes the connection with 1009. */
  readonly maxMessageOctets: number
}

interface ServeOptions {
  /** Larger bodies are answered with 413 before `handle` is asked; of streams nothing more is read. */
  readonly maxBodyOctets: number | ((head: HttpHead) => number)
  /** The answer to those, where its form matters. The connection ends with it. */
  readonly tooLarge?: HttpResponse
  /** Requests whose body comes as a stream; `maxBodyOctets` does not hold for them: the handler counts. */
  readonly streams?: (head: HttpHead) => boolean
  /** Who listens bounds the time of streams, bodies and answers, themselves; the server's own 10 s do not hold. */
  readonly isPatient?: boolean
  /**
   * Requests come framed anew (`http-request-framer.ts`). Otherwise the connection ends behind a body in chunks, whose
   * border uWebSockets.js sees more loosely than a proxy in front may (RFC 9112 §7.1): nothing that follows is a request.
   */
  readonly isReframed?: boolean
  readonly handle: HttpHandler
  readonly webSocket?: WebSocketOptions
  /** Told when an answer was given to the connection whole. @param closes the connection ends with it */
  readonly answered?: (head: HttpHead, closes: boolean) => void
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
