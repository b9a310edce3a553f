/**
 * HTTP in a worker: connections that came in like all others (guard's socket, our TLS and host names, PROXY protocol)
 * go on to uWebSockets.js on a private UNIX socket; which tenant a request is for is known by its connection.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Log } from '../base/log.ts'
import {
  type HttpHead,
  type HttpRequest,
  type HttpResponse,
  type HttpServer,
  listen,
  type WebSocketEnd,
  type WebSocketEvents,
} from '../net/http.ts'
import { plain } from '../net/now/answers.ts'
import { answerNow, isStreamed, MAX_JSON_OCTETS, type NowParts, type Probe } from '../net/now/now.ts'
import { tunnel } from '../net/now/tunnel.ts'
import type { Endpoint } from '../net/proxy-protocol.ts'
import { Gate, relayToHttp } from '../net/relay.ts'
import type { UpstreamOptions } from '../net/upstream.ts'
import type { Tenant } from './listener.ts'

/** now.md: without a word either way. */
const IDLE_MS = 20_000
/** uWebSockets.js gives whole messages only, so this much a tunnel may make us hold for one. Octets. */
const MAX_MESSAGE_OCTETS = 16 * 1024 * 1024
const TUNNELS = '/ws/'

export interface NowServerParts {
  readonly site: (tenant: Tenant, isSecure: boolean) => NowParts
  /** The proxy behind this key for this visitor; null: there is none. */
  readonly proxy: (key: string, connection: NowConnection) => Duplex | null
  readonly probe: (ask: Parameters<Probe>[0], connection: NowConnection) => Promise<HttpResponse>
  readonly log: Log
}

export interface NowConnection {
  readonly client: Endpoint
  readonly tenant: () => Tenant
  readonly isSecure: boolean
  /** For tunnels to other servers. */
  readonly upstream: UpstreamOptions
}

interface Open extends NowConnection {
  readonly socket: Socket
  readonly gate: Gate
  /** Requests being answered. */
  busy: number
}

export class NowServer {
  readonly #parts: NowServerParts
  readonly #directory = mkdtempSync(join(tmpdir(), 'vesmail-now-'))
  /** By the number that stands for the client's address behind the relay. */
  readonly #open = new Map<string, Open>()
  readonly #sites = new WeakMap<Tenant, { secure?: NowParts; plain?: NowParts }>()
  #server: HttpServer | null = null
  #nextId = 1
  #draining = false

  private constructor(parts: NowServerParts) {
    this.#parts = parts
  }

  static async start(parts: NowServerParts): Promise<NowServer> {
    const now = new NowServer(parts)
    now.#server = await listen({
      unixPath: now.#unixPath,
      maxBodyOctets: MAX_JSON_OCTETS,
      streams: isStreamed,
      handle: (request) => now.#handle(request),
      webSocket: {
        prefix: TUNNELS,
        maxMessageOctets: MAX_MESSAGE_OCTETS,
        accept: (head) => now.#acceptTunnel(head),
      },
      failed: (error) => parts.log.write('error', 'now', { reason: error instanceof Error ? error.name : 'unknown' }),
    })
    return now
  }

  /** TLS is on the socket already where the listener has it. Resolves when the connection is over; never rejects. */
  async accept(socket: Socket, connection: NowConnection): Promise<void> {
    // An address of our own making, written one way only (an IPv6 address has many): it names the connection.
    const id = this.#nextId++ >>> 0
    const address = [id >>> 24, (id >>> 16) & 255, (id >>> 8) & 255, id & 255].join('.')
    const open: Open = { ...connection, socket, gate: new Gate(), busy: 0 }
    this.#open.set(address, open)
    socket.setTimeout(IDLE_MS, () => socket.destroy())
    await relayToHttp(socket, this.#unixPath, { address, port: 0 }, { address: '0.0.0.0', port: 0 }, open.gate)
    this.#open.delete(address)
  }

  /** Open requests are still answered; connections at rest end. */
  drain(): void {
    this.#draining = true
    for (const { socket, busy } of this.#open.values()) if (busy === 0) socket.destroy()
  }

  async close(): Promise<void> {
    await this.#server?.close()
    rmSync(this.#directory, { recursive: true, force: true })
  }

  get #unixPath(): string {
    return join(this.#directory, 'http')
  }

  async #handle(request: HttpRequest): Promise<HttpResponse> {
    const open = this.#open.get(request.address)
    // The client was gone before its request was read.
    if (open === undefined) return plain(408, 'Timeout')
    open.busy++
    try {
      const { address, port } = open.client
      const probe: Probe = (ask) => this.#parts.probe(ask, open)
      const answer = await answerNow({ ...request, address, port }, this.#siteOf(open), probe)
      return this.#draining ? { ...answer, close: true } : answer
    } finally {
      open.busy--
    }
  }

  #acceptTunnel(head: HttpHead): HttpResponse | ((end: WebSocketEnd) => WebSocketEvents) {
    const open = this.#open.get(head.address)
    if (open === undefined) return plain(408, 'Timeout')
    const { origin } = head.headers
    const origins = open.tenant().config['now.origins']
    if (origins !== null && (origin === undefined || !origins.includes(origin))) return plain(403, 'Origin not allowed')
    if (this.#draining) return plain(503, 'Restarting, come again')
    const proxy = this.#parts.proxy(head.path.slice(TUNNELS.length), open)
    if (proxy === null) return plain(404, 'No such tunnel')
    return (end) => {
      // A tunnel may be silent for as long as its proxy lets it be.
      open.socket.setTimeout(0)
      open.busy++
      const events = tunnel({ end, proxy, hold: () => open.gate.shut(), release: () => open.gate.reopen() })
      return {
        ...events,
        closed: (code) => {
          open.busy--
          events.closed(code)
        },
      }
    }
  }

  #siteOf({ tenant, isSecure }: NowConnection): NowParts {
    const chosen = tenant()
    const sites = this.#sites.get(chosen) ?? {}
    this.#sites.set(chosen, sites)
    const kind = isSecure ? 'secure' : 'plain'
    sites[kind] ??= this.#parts.site(chosen, isSecure)
    return sites[kind]
  }
}
