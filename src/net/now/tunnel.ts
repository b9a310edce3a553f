/**
 * The WebSocket tunnel (now.md): frames of any size on one side, a proxy's octets on the other, each held back when the
 * other is slow. It knows nothing of mail.
 */
import type { Duplex } from 'node:stream'
import type { WebSocketEvents } from '../http.ts'

/**
 * Octets for a slow browser before the proxy is not read any more: a piece of 64 KiB that is on its way holds up none. One
 * more may lie above it, and as much in the proxy's end: together a tunnel holds less than 256 KiB.
 */
const MAX_WAITING_OCTETS = 80 * 1024

/** RFC 6455 §7.4.1 */
const NORMAL = 1000
const GOING_AWAY = 1001
/** RFC 6455 §7.4.1 and the IANA registry: the proxy is not there, come again. */
const TRY_LATER = 1013

export interface TunnelBrowser {
  /** One binary message. */
  readonly send: (octets: Buffer) => void
  /** Octets of ours that it has not taken yet. */
  readonly waitingOctets: () => number
  /** @param code RFC 6455 §7.4 */
  readonly close: (code: number, reason: string) => void
}

export interface TunnelParts {
  readonly browser: TunnelBrowser
  /** The proxy's end; open it before: what the browser sends is written to it at once. */
  readonly proxy: Duplex
  /** The proxy has so many octets of the browser's: as many more may come. */
  readonly taken: (octets: number) => void
  /** A proxy that ends now ends because we do. */
  readonly isGoing: () => boolean
}

export interface Tunnel extends WebSocketEvents {
  /** We go: the browser is told, so that it comes back at once, to others. */
  readonly goAway: () => void
}

export function tunnel({ browser, proxy, taken, isGoing }: TunnelParts): Tunnel {
  let over = false
  const finish = (code: number, reason: string): void => {
    if (over) return
    over = true
    browser.close(code, reason)
    proxy.destroy()
  }
  proxy.on('data', (bytes: Buffer) => {
    if (over) return
    browser.send(bytes)
    if (browser.waitingOctets() > MAX_WAITING_OCTETS) proxy.pause()
  })
  const goAway = (): void => finish(GOING_AWAY, 'restarting')
  proxy.on('end', () => (isGoing() ? goAway() : finish(NORMAL, 'closed by the server')))
  proxy.on('error', () => finish(TRY_LATER, 'no connection'))
  proxy.on('close', () => finish(GOING_AWAY, 'closed'))
  proxy.resume()
  return {
    message: (bytes) => {
      if (!over && bytes.length > 0) proxy.write(bytes, () => taken(bytes.length))
    },
    drained: () => {
      if (!over && browser.waitingOctets() <= MAX_WAITING_OCTETS / 2) proxy.resume()
    },
    closed: () => {
      if (over) return
      over = true
      // What the browser sent before it left still counts, as a mail's final dot.
      proxy.end()
      proxy.resume()
    },
    goAway,
  }
}
