/** WebSockets of uWebSockets.js as the interface of `http.ts`. Types only from the package: `uws.ts` loads it. */
import type {
  HttpRequest,
  HttpResponse as UwsResponse,
  us_socket_context_t,
  WebSocket,
  WebSocketBehavior,
} from 'uWebSockets.js'
import type { HttpHead, HttpResponse, WebSocketEnd, WebSocketEvents, WebSocketOptions } from './http.ts'

/** The holder looks at `waitingOctets` and stops; beyond this it has not, and the connection is given up. Octets. */
const MAX_WAITING_OCTETS = 4 * 1024 * 1024

/** RFC 6455 §7.4.1: the connection was lost. */
const ABNORMAL = 1006

/** uWebSockets.js copies these onto its socket object: no name may be a method's there (`end`, `send`, `close` …). */
interface Held {
  readonly head: HttpHead
  readonly take: (end: WebSocketEnd) => WebSocketEvents
  ours: UwsEnd | null
  events: WebSocketEvents | null
}

const NOBODY: WebSocketEnd = {
  head: { method: 'GET', path: '', query: '', headers: {}, address: '', port: 0 },
  waitingOctets: 0,
  send: () => {},
  ping: () => {},
  close: () => {},
}

export function webSocketBehavior(
  options: WebSocketOptions,
  headOf: (response: UwsResponse, request: HttpRequest) => HttpHead,
  reply: (response: UwsResponse, answer: HttpResponse, head: HttpHead) => void,
): WebSocketBehavior<Held> {
  return {
    maxPayloadLength: options.maxMessageOctets,
    // Its own ping goes out after 104 s of silence, which many a router does not wait for, and gives 16 s for the answer.
    idleTimeout: 0,
    sendPingsAutomatically: false,
    maxBackpressure: MAX_WAITING_OCTETS,
    closeOnBackpressureLimit: true,
    compression: 0,
    upgrade: (response, request, context) => {
      const head = headOf(response, request)
      let isGone = false
      response.onAborted(() => {
        isGone = true
      })
      void options.accept(head).then((taken) => {
        if (isGone) {
          // Taken and given back: whoever opened something for it shall know.
          if (typeof taken === 'function') taken(NOBODY).closed(ABNORMAL)
        } else if (typeof taken === 'function') upgrade(response, head, taken, context)
        else reply(response, taken, head)
      })
    },
    open: (socket) => {
      const held = socket.getUserData()
      held.ours = new UwsEnd(socket, held.head)
      held.events = held.take(held.ours)
    },
    // Copied: the octets are gone when this callback returns.
    message: (socket, message) => socket.getUserData().events?.message(Buffer.from(Buffer.from(message))),
    // Later: what is sent within this callback is not flushed when the connection can be written again (seen: a stall).
    drain: (socket) => {
      const held = socket.getUserData()
      setImmediate(() => held.events?.drained())
    },
    close: (socket, code) => {
      const held = socket.getUserData()
      const { events, ours } = held
      held.events = null
      if (ours !== null) ours.isClosed = true
      events?.closed(code)
    },
  }
}

function upgrade(response: UwsResponse, head: HttpHead, take: Held['take'], context: us_socket_context_t): void {
  const { headers } = head
  response.cork(() => {
    response.upgrade<Held>(
      { head, take, ours: null, events: null },
      headers['sec-websocket-key'] ?? '',
      headers['sec-websocket-protocol'] ?? '',
      headers['sec-websocket-extensions'] ?? '',
      context,
    )
  })
}

class UwsEnd implements WebSocketEnd {
  readonly head: HttpHead
  /** A closed socket's object throws at each touch. */
  isClosed = false
  readonly #socket: WebSocket<Held>

  constructor(socket: WebSocket<Held>, head: HttpHead) {
    this.#socket = socket
    this.head = head
  }

  get waitingOctets(): number {
    return this.isClosed ? 0 : this.#socket.getBufferedAmount()
  }

  send(bytes: Buffer): void {
    if (!this.isClosed) this.#socket.send(bytes, true, false)
  }

  ping(): void {
    if (!this.isClosed) this.#socket.ping()
  }

  close(code: number, reason: string): void {
    if (!this.isClosed) this.#socket.end(code, reason)
  }
}
