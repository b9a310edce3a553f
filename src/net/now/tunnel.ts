/**
 * The WebSocket tunnel (now.md): frames of any size on one side, a proxy's octets on the other, each held back when the
 * other is slow. It knows nothing of mail.
 */
import type { Duplex } from 'node:stream'
import type { WebSocketEnd, WebSocketEvents } from '../http.ts'

/**
 * Octets for a slow browser before the proxy is not read any more. One more piece of 64 KiB may lie above it, and as much
 * at each end of the way: together a tunnel holds less than 256 KiB.
 */
const MAX_WAITING_OCTETS = 32 * 1024

/** RFC 6455 §7.4.1 */
const NORMAL = 1000
const GOING_AWAY = 1001
/** RFC 6455 §7.4.1 and the IANA registry: the proxy is not there, come again. */
const TRY_LATER = 1013

export interface TunnelParts {
  readonly end: WebSocketEnd
  /** The proxy's end; open it before: what the browser sends is written to it at once. */
  readonly proxy: Duplex
  /** The proxy has so many octets of the browser's: as many more may come. */
  readonly taken: (octets: number) => void
}

export function tunnel({ end, proxy, taken }: TunnelParts): WebSocketEvents {
  let over = false
  const finish = (code: number, reason: string): void => {
    if (over) return
    over = true
    end.close(code, reason)
    proxy.destroy()
  }
  proxy.on('data', (bytes: Buffer) => {
    end.send(bytes)
    if (end.waitingOctets > MAX_WAITING_OCTETS) proxy.pause()
  })
  proxy.on('end', () => finish(NORMAL, 'closed by the server'))
  proxy.on('error', () => finish(TRY_LATER, 'no connection'))
  proxy.on('close', () => finish(GOING_AWAY, 'closed'))
  return {
    message: (bytes) => {
      if (!over && bytes.length > 0) proxy.write(bytes, () => taken(bytes.length))
    },
    drained: () => {
      if (!over && end.waitingOctets <= MAX_WAITING_OCTETS / 2) proxy.resume()
    },
    closed: () => {
      if (over) return
      over = true
      // What the browser sent before it left still counts, as a mail's final dot.
      proxy.end()
      proxy.resume()
    },
  }
}
