/**
 * HTTP in a worker: connections that came in like all others (guard's socket, our TLS and host names, PROXY protocol)
 * go on to uWebSockets.js on a private UNIX socket; which tenant a request is for is known by its connection.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { asGatewayError, GatewayError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { addressUnit } from '../net/address.ts'
import {
  type HttpHead,
  type HttpRequest,
  type HttpResponse,
  type HttpServer,
  listen,
  type WebSocketEnd,
  type WebSocketEvents,
} from '../net/http.ts'
import { isStream, printAnswer } from '../net/http-answer.ts'
import { HttpFront } from '../net/http-front.ts'
import { failure, plain } from '../net/now/answers.ts'
import type { SealedAnswer } from '../net/now/download.ts'
import {
  answerNow,
  answerSealed,
  finished,
  isStreamed,
  MAX_JSON_OCTETS,
  type NowParts,
  type Probe,
} from '../net/now/now.ts'
import { ReadyAnswers } from '../net/now/ready-answers.ts'
import { SealedAnswers } from '../net/now/sealed-answers.ts'
import { type Tunnel, tunnel } from '../net/now/tunnel.ts'
import type { Endpoint } from '../net/proxy-protocol.ts'
import { UploadPaces } from '../net/upload-pace.ts'
import type { UpstreamOptions } from '../net/upstream.ts'
import { refuseHandshake } from '../net/websocket-handshake.ts'
import type { Tenant } from './listener.ts'

/** now.md: without a word either way. */
const IDLE_MS = 20_000
/** For a request's head and JSON body: 64 KiB in that time is less than any line's speed. */
const REQUEST_MS = 60_000
/** now.md: request line and headers. */
const MAX_HEAD_OCTETS = 32 * 1024
/** What comes is cut smaller by the front: more would be a fault of ours. */
const MAX_MESSAGE_OCTETS = 64 * 1024
const TUNNELS = '/ws/'
/** A client that got a refusal may take so long for it. */
const REFUSED_MS = 2000
/** Ways through the net (NAT) are forgotten where nothing goes through them for a minute. */
const BEAT_MS = 45_000

export interface NowServerParts {
  readonly site: (tenant: Tenant, isSecure: boolean) => NowParts
  /** The proxy behind this key for this visitor; null: there is none of that name. Rejects where it cannot be reached. */
  readonly proxy: (key: string, connection: NowConnection) => Promise<Duplex | null>
  readonly probe: (ask: Parameters<Probe>[0], connection: NowConnection) => Promise<HttpResponse>
  /** Does abuse protection turn the visitor's address away? Asked where a yes is the answer: it is counted. */
  readonly isBlocked: (connection: NowConnection) => Promise<boolean>
  readonly wrongKey: (connection: NowConnection) => void
  readonly log: Log
  /** Shorter ones in tests. */
  readonly idleMs?: number
  readonly requestMs?: number
  /** Milliseconds; another one in tests. */
  readonly uploadClock?: () => number
}

export interface NowConnection {
  readonly client: Endpoint
  /** Key of the listener that it came by. */
  readonly listener: string
  readonly tenant: () => Tenant
  readonly isSecure: boolean
  /** For tunnels to other servers. */
  readonly upstream: UpstreamOptions
}

interface Open extends NowConnection {
  readonly front: HttpFront
  tunnel: { readonly end: WebSocketEnd; readonly proxy: Duplex; readonly goAway: Tunnel['goAway'] } | null
  /** The answer to the request that is on its way to the server. */
  begun: HttpResponse | null
}

export class NowServer {
  readonly #parts: NowServerParts
  readonly #directory = mkdtempSync(join(tmpdir(), 'vesmail-now-'))
  /** By the number that stands for the client's address behind the relay. */
  readonly #open = new Map<string, Open>()
  readonly #sites = new WeakMap<Tenant, { secure?: NowParts; plain?: NowParts }>()
  readonly #answers = new WeakMap<NowParts, ReadyAnswers>()
  readonly #sealed = new SealedAnswers()
  readonly #paces: UploadPaces
  #server: HttpServer | null = null
  #nextId = 1
  #draining = false
  readonly #beats = setInterval(() => this.beat(), BEAT_MS).unref()

  private constructor(parts: NowServerParts) {
    this.#parts = parts
    this.#paces = new UploadPaces(parts.uploadClock)
  }

  static async start(parts: NowServerParts): Promise<NowServer> {
    const now = new NowServer(parts)
    now.#server = await listen({
      unixPath: now.#unixPath,
      maxBodyOctets: MAX_JSON_OCTETS,
      streams: isStreamed,
      isPatient: true,
      isReframed: true,
      handle: (request) => now.#handle(request),
      webSocket: {
        prefix: TUNNELS,
        maxMessageOctets: MAX_MESSAGE_OCTETS,
        accept: (head) => now.#acceptTunnel(head).catch(() => plain(500, 'Internal error')),
      },
      answered: ({ address }, closes) => now.#open.get(address)?.front.answered(closes),
      failed: (error) => parts.log.write('error', 'now', { reason: error instanceof Error ? error.name : 'unknown' }),
    })
    return now
  }

  /** TLS is on the socket already where the listener has it. Resolves when the connection is over; never rejects. */
  async accept(socket: Socket, connection: NowConnection): Promise<void> {
    // An address of our own making, written one way only (an IPv6 address has many): it names the connection.
    const id = this.#nextId++ >>> 0
    const address = [id >>> 24, (id >>> 16) & 255, (id >>> 8) & 255, id & 255].join('.')
    const { idleMs = IDLE_MS, requestMs = REQUEST_MS } = this.#parts
    const front = new HttpFront({
      client: socket,
      unixPath: this.#unixPath,
      address,
      limits: {
        maxHeadOctets: MAX_HEAD_OCTETS,
        maxBodyOctets: MAX_JSON_OCTETS,
        streams: (method, path) => isStreamed({ method, path }),
      },
      idleMs,
      requestMs,
      pace: () => this.#paces.begin(addressUnit(connection.client.address)),
      ready: (path) => this.#ready(path, connection),
      posted: (body) => this.#posted(body, address),
    })
    const open: Open = { ...connection, front, tunnel: null, begun: null }
    this.#open.set(address, open)
    if (this.#draining) front.drain()
    await front.ended
    this.#open.delete(address)
    if (open.begun !== null) await this.#discard(open.begun)
  }

  /** There is no place for this connection: whatever it asks, it is told to come later. */
  refuse(socket: Socket, connection: Pick<NowConnection, 'tenant' | 'isSecure'>): void {
    const answer = finished(failure(new GatewayError('TOO_MANY')), this.#siteOf(connection))
    const headers = { ...answer.headers, 'retry-after': '60', connection: 'close' }
    const timer = setTimeout(() => socket.destroy(), REFUSED_MS)
    socket.once('close', () => clearTimeout(timer)).on('error', () => socket.destroy())
    // Read, too: closing with unread octets would destroy the answer.
    socket.resume().end(printAnswer({ ...answer, headers }, new Date().toUTCString()))
  }

  /** A sealed message that is short needs no way through the server; of a long one the answer goes on there. */
  #posted(body: Buffer, address: string): Promise<Buffer | null> | Buffer | null {
    const open = this.#open.get(address)
    if (open === undefined) return null
    const site = this.#siteOf(open)
    const known = this.#sealed.of(site, body, Date.now())
    if (known !== null) return known
    const answer = answerSealed(body, site)
    if (answer === null) return null
    const printed = (given: SealedAnswer): Buffer | null => this.#printed(given, address, open, { site, body })
    return answer instanceof Promise ? answer.then(printed).catch(() => null) : printed(answer)
  }

  /** null: it is a stream, and waits for the request to come through the server. */
  #printed(
    answer: SealedAnswer,
    address: string,
    open: Open,
    asked: { readonly site: NowParts; readonly body: Buffer },
  ): Buffer | null {
    if (isStream(answer.body)) {
      if (this.#open.get(address) === open) open.begun = answer
      else void this.#discard(answer)
      return null
    }
    const { isLast } = open.front
    const headers = isLast ? { ...answer.headers, connection: 'close' } : answer.headers
    const nowMs = Date.now()
    const octets = printAnswer({ ...answer, headers: headers ?? {} }, new Date(nowMs).toUTCString())
    const { isCurrent } = answer
    if (isCurrent !== undefined && !isLast) this.#sealed.keep(asked.site, asked.body, { octets, isCurrent }, nowMs)
    return octets
  }

  /** Nobody reads it any more: what it holds open is let go of. */
  async #discard({ body }: HttpResponse): Promise<void> {
    if (!isStream(body)) return
    try {
      for await (const _ of body) break
    } catch (error) {
      this.#parts.log.write('warn', 'now', { reason: asGatewayError(error).code })
    }
  }

  #ready(path: string, connection: NowConnection): Buffer | null {
    const site = this.#siteOf(connection)
    let answers = this.#answers.get(site)
    if (answers === undefined) {
      answers = new ReadyAnswers(site)
      this.#answers.set(site, answers)
    }
    return answers.of(path, Date.now())
  }

  /** Octets that all connections together have in our memory; the buffers of their sockets in the kernel not counted. */
  get heldOctets(): number {
    let octets = 0
    for (const { front, tunnel } of this.#open.values()) {
      octets += front.heldOctets
      if (tunnel !== null)
        octets += tunnel.end.waitingOctets + tunnel.proxy.readableLength + tunnel.proxy.writableLength
    }
    return octets
  }

  get connections(): number {
    return this.#open.size
  }

  /** Open requests are still answered; connections at rest end; tunnels stay until their proxies end. */
  drain(): void {
    this.#draining = true
    for (const { front } of this.#open.values()) front.drain()
  }

  /** The deadline of these listeners: their tunnels are told that we go. */
  endTunnels(isOf: (listener: string) => boolean): void {
    for (const { listener, tunnel } of this.#open.values()) if (isOf(listener)) tunnel?.goAway()
  }

  /** Pings tunnels at rest, and ends those whose client is gone. */
  beat(): void {
    for (const { front, tunnel } of this.#open.values()) if (front.beat()) tunnel?.end.ping()
  }

  async close(): Promise<void> {
    clearInterval(this.#beats)
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
    const { client, front } = open
    const site = this.#siteOf(open)
    const { refusal } = front
    if (refusal !== null) return { ...finished(plain(refusal.status, refusal.text), site), close: true }
    if (open.begun !== null) {
      const answer = open.begun
      open.begun = null
      return front.isLast ? { ...answer, close: true } : answer
    }
    const { address, port } = client
    const answer = await answerNow({ ...request, address, port }, site, {
      probe: (ask) => this.#parts.probe(ask, open),
      isBlocked: () => this.#parts.isBlocked(open),
      wrongKey: () => this.#parts.wrongKey(open),
    })
    return front.isLast ? { ...answer, close: true } : answer
  }

  async #acceptTunnel(head: HttpHead): Promise<HttpResponse | ((end: WebSocketEnd) => WebSocketEvents)> {
    const open = this.#open.get(head.address)
    if (open === undefined) return plain(408, 'Timeout')
    const refuse = (status: number, text: string) => finished(plain(status, text), this.#siteOf(open))
    const refusal = refuseHandshake(head)
    if (refusal !== null) return finished(refusal, this.#siteOf(open))
    const { origin } = head.headers
    const origins = open.tenant().config['now.origins']
    if (origins !== null && (origin === undefined || !origins.includes(origin)))
      return refuse(403, 'Origin not allowed')
    if (this.#draining) return refuse(503, 'Restarting, come again')
    let proxy: Duplex | null
    try {
      proxy = await this.#parts.proxy(head.path.slice(TUNNELS.length), open)
    } catch (error) {
      const { code } = asGatewayError(error)
      this.#parts.log.write('warn', 'tunnel', { result: 'failed', code, peer: open.client.address })
      return refuse(502, 'The server behind this tunnel cannot be reached')
    }
    if (proxy === null) return refuse(404, 'No such tunnel')
    const { front } = open
    const opened = proxy
    return (end) => {
      const browser = {
        send: (octets: Buffer): void => {
          if (!front.send(octets)) end.send(octets)
        },
        waitingOctets: () => front.waitingOctets + end.waitingOctets,
        close: end.close.bind(end),
      }
      const events = tunnel({
        browser,
        proxy: opened,
        taken: (octets) => front.taken(octets),
        isGoing: () => this.#draining,
      })
      open.tunnel = { end, proxy: opened, goAway: events.goAway }
      front.tunnelled(events.drained)
      return events
    }
  }

  #siteOf({ tenant, isSecure }: Pick<NowConnection, 'tenant' | 'isSecure'>): NowParts {
    const chosen = tenant()
    const sites = this.#sites.get(chosen) ?? {}
    this.#sites.set(chosen, sites)
    const kind = isSecure ? 'secure' : 'plain'
    sites[kind] ??= this.#parts.site(chosen, isSecure)
    return sites[kind]
  }
}
