/**
 * One worker's work: takes connections that were accepted elsewhere and carries their sessions until they end.
 * The same under a guard (`worker.ts`) and in a process of its own (`cli/daemon.ts`).
 */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { hostname } from 'node:os'
import { type Duplex, duplexPair } from 'node:stream'
import type { ConfigFile } from '../base/config/config-file.ts'
import { programConfig } from '../base/config/merge.ts'
import type { Config } from '../base/config/options.ts'
import { asGatewayError, GatewayError } from '../base/errors.ts'
import { listenerKey } from '../base/hand-over.ts'
import type { Log } from '../base/log.ts'
import { publicRandom } from '../engine/seal/random.ts'
import type { Session, SessionStart } from '../engine/session.ts'
import { isLoopback, normalAddress } from '../net/address.ts'
import { Drive, type DriveEnd } from '../net/drive.ts'
import type { HttpResponse } from '../net/http.ts'
import type { Probe } from '../net/now/now.ts'
import { SpoolCopies } from '../net/now/spool-copies.ts'
import { connectTunnel } from '../net/now/tunnel-target.ts'
import { type Endpoint, readProxyHeader } from '../net/proxy-protocol.ts'
import { acceptTls, type ServerTls } from '../net/tls.ts'
import { Admin, type AllMetrics } from './admin.ts'
import { Admission } from './admission.ts'
import type { Composition } from './compose.ts'
import { Draining } from './draining.ts'
import { Listener, type Tenant } from './listener.ts'
import type { LoggedIn } from './login.ts'
import type { LiveSession } from './metrics.ts'
import { type NowConnection, NowServer } from './now-server.ts'
import { probe } from './probe.ts'
import { refusalSession } from './refusal.ts'
import { sessionServices } from './services.ts'
import { SessionLog } from './session-log.ts'

/** At the deadline: for the goodbyes of sessions to get into their tunnels. */
const GOODBYE_MS = 500
/** And for the tunnels' own to leave; the guard kills a second later. */
const LAST_FRAME_MS = 1500
/** Between a session and the WebSocket that carries it. */
const TUNNEL_OCTETS = 32 * 1024

export interface WorkerAppOptions {
  readonly file: ConfigFile
  readonly composition: Composition
  readonly log: Log
  readonly version: string
  /** Of all workers; without a guard of this one. */
  readonly metricsOfAll: () => Promise<AllMetrics | null>
}

interface Open {
  readonly drive: Drive
  readonly listener: Listener
}

/** All that belongs to one session. */
interface Cargo {
  readonly listener: Listener
  /** TLS already on it where the listener begins with TLS. */
  readonly client: Socket
  readonly session: Session
  readonly tls: ServerTls | null
  readonly log: SessionLog
  readonly tenant: () => Tenant
  readonly admitted: (loggedIn: LoggedIn) => Promise<void>
  /** Gives its places back. */
  readonly leave: () => void
  readonly spool: SpoolCopies
}

export class WorkerApp {
  /** Settles when a drain was asked for and every session has ended. */
  readonly drained: Promise<void>
  readonly #options: WorkerAppOptions
  readonly #config: Config
  readonly #listeners = new Map<string, Listener>()
  readonly #adminKey: string | null
  readonly #admin: Admin | null
  readonly #now: NowServer | null
  readonly #open = new Set<Open>()
  /** Connections that are not sessions yet (PROXY header, TLS handshake), and the key of the listener of each. */
  readonly #early = new Map<Socket, string>()
  readonly #draining = new Draining()
  readonly #host = hostname()
  #state: 'serving' | 'draining' | 'forced' = 'serving'
  #stopping = false
  #settleDrained: () => void = () => {}

  private constructor(
    options: WorkerAppOptions,
    listeners: readonly Listener[],
    admin: Admin | null,
    now: NowServer | null,
  ) {
    this.#options = options
    this.#config = programConfig(options.file)
    for (const listener of listeners) this.#listeners.set(listener.key, listener)
    const at = this.#config['admin.listen']
    this.#adminKey = at === null ? null : listenerKey(at.host, at.port)
    this.#admin = admin
    this.#now = now
    this.drained = new Promise((resolve) => {
      this.#settleDrained = resolve
    })
  }

  /** @throws {GatewayError} CONFIG_INVALID: certificates, networks */
  static async start(options: WorkerAppOptions): Promise<WorkerApp> {
    const { file, composition, log } = options
    const listeners = file.daemons.map((entry) => new Listener(entry, { file, log, ...composition.listenerParts }))
    for (const listener of listeners) {
      await listener.check()
      composition.spools.check(listener.main.config)
    }
    let app: WorkerApp
    let isReady = (): boolean => true
    const admin =
      programConfig(file)['admin.listen'] === null
        ? null
        : await Admin.start({ isReady: () => isReady(), metrics: options.metricsOfAll, log })
    const now = file.daemons.some(({ service }) => service === 'now')
      ? await NowServer.start({
          site: composition.nowSite,
          proxy: (key, visitor) => app.#tunnel(key, visitor),
          probe: (ask, visitor) => app.#probe(ask, visitor),
          isBlocked: async ({ client, tenant }) => {
            const { protection, metrics } = composition
            const isBlocked = tenant().config['abuse-sense'] > 0 && (await protection.isBlocked('peer', client.address))
            if (isBlocked) metrics.refused('abuse')
            return isBlocked
          },
          wrongKey: ({ client, tenant }) =>
            composition.protection.count('wrong-veskey', tenant().config['abuse-sense'], {
              peer: client.address,
              account: null,
            }),
          log,
        }).catch(async (error: unknown) => {
          await admin?.close()
          throw error
        })
      : null
    app = new WorkerApp(options, listeners, admin, now)
    isReady = () => !app.#stopping
    return app
  }

  get sessions(): number {
    return this.#open.size
  }

  /** @param listener key of the listener that accepted it. The socket is ours from now on. */
  accept(listener: string, socket: Socket): void {
    socket.on('error', () => {})
    socket.allowHalfOpen = true
    // Of the connection itself: a socket that is closed knows it no more.
    const peer = normalAddress(socket.remoteAddress ?? '')
    this.#early.set(socket, listener)
    this.#serve(listener, socket)
      .catch((error: unknown) => {
        const { code, detail } = asGatewayError(error)
        const reason = typeof detail.reason === 'string' ? detail.reason : null
        this.#options.log.write(code === 'INTERNAL' ? 'error' : 'info', 'connection', {
          result: 'failed',
          code,
          reason,
          peer,
          listener,
          ...placeOf(error, code),
        })
        socket.destroy()
      })
      .finally(() => {
        this.#early.delete(socket)
        this.#settle()
      })
  }

  /**
   * @param stopping the whole program ends: /readyz says so
   * @param atOnce without a window, also where one has begun
   */
  drain(forced: boolean, stopping: boolean, atOnce = false): void {
    this.#stopping ||= stopping
    if (this.#state === 'forced' || (this.#state === 'draining' && !forced && !atOnce)) return
    this.#state = forced ? 'forced' : 'draining'
    this.#now?.drain()
    if (forced) {
      this.#draining.stop()
      this.#force(() => true)
    } else {
      for (const listener of this.#listeners.values()) {
        const { config } = listener.main
        const isIts = (of: Listener | null): boolean => of === listener
        const drives = [...this.#open].filter((one) => isIts(one.listener)).map(({ drive }) => drive)
        const windowMs = atOnce ? 0 : config['limits.drainWindowSeconds'] * 1000
        this.#draining.start(drives, windowMs, config['limits.drainSeconds'] * 1000, () => this.#force(isIts))
      }
    }
    this.#settle()
  }

  /** All that is there at the deadline, whenever it came. @param isIts of which listener; null: the admin's */
  #force(isIts: (listener: Listener | null) => boolean): void {
    const web: Socket[] = []
    for (const [socket, key] of this.#early) {
      const listener = this.#listeners.get(key) ?? null
      if (!isIts(listener)) continue
      if (listener?.service === 'now') web.push(socket)
      else socket.destroy()
    }
    for (const { drive, listener } of this.#open) if (isIts(listener)) drive.drain(true)
    if (web.length === 0) return
    setTimeout(() => this.#now?.endTunnels((key) => isIts(this.#listeners.get(key) ?? null)), GOODBYE_MS).unref()
    setTimeout(() => {
      for (const socket of web) socket.destroy()
    }, LAST_FRAME_MS).unref()
  }

  /** Settles when the sessions that are open now have ended by themselves; nothing new must be accepted any more. */
  async retired(): Promise<void> {
    while (this.#open.size > 0) await Promise.all([...this.#open].map(({ drive }) => drive.ended))
  }

  async close(): Promise<void> {
    this.#draining.stop()
    await this.#admin?.close()
    await this.#now?.close()
    await this.#options.composition.close()
  }

  #settle(): void {
    if (this.#state !== 'serving' && this.#open.size === 0 && this.#early.size === 0) {
      this.#draining.stop()
      this.#settleDrained()
    }
  }

  async #serve(key: string, socket: Socket): Promise<void> {
    const ends = {
      client: { address: normalAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 },
      local: { address: normalAddress(socket.localAddress ?? ''), port: socket.localPort ?? 0 },
    }
    if (key === this.#adminKey && this.#admin !== null) return this.#admin.accept(socket, ends.client, ends.local)
    const listener = this.#listeners.get(key)
    if (listener === undefined) throw new GatewayError('IO', { reason: `no listener ${key}` })
    const { client, local } = listener.proxies.has(ends.client.address)
      ? ((await readProxyHeader(socket)) ?? ends)
      : ends
    if (listener.service === 'now') return this.#http(listener, socket, client)
    await this.#session(listener, socket, client, local)
  }

  async #http(listener: Listener, socket: Socket, client: Endpoint): Promise<void> {
    let tenant = listener.main
    const tls = await listener.tls((chosen) => {
      tenant = chosen
    })
    const admission = new Admission(this.#options.composition, listener.main.config)
    socket.once('close', () => admission.leave())
    // Abuse is looked at request by request (now.md): what is public stays so, a probe has a floor of its own.
    const isRefused = this.#isFull(this.#now?.connections ?? 0) || (await admission.place(client.address)) !== null
    const isSecure = listener.isImplicit && tls !== null
    const secured = isSecure ? await acceptTls(socket, tls) : socket
    if (isRefused) {
      this.#now?.refuse(secured, { tenant: () => tenant, isSecure })
      return
    }
    // Octets as they are on the wire: what a page is made of is nobody's figure.
    const live = httpTraffic(socket)
    const begunMs = performance.now()
    const { metrics } = this.#options.composition
    metrics.sessionBegun('now', live)
    socket.once('close', () => {
      const durationMs = Math.round(performance.now() - begunMs)
      metrics.sessionEnded('now', live, { why: 'quit', durationMs, ...live.traffic })
    })
    await this.#now?.accept(secured, {
      client,
      listener: listener.key,
      tenant: () => tenant,
      isSecure,
      upstream: listener.upstream,
    })
  }

  /** A WebSocket's way to a proxy: to another server where one is configured, else into the first listener of that name. */
  async #tunnel(key: string, { client, tenant, isSecure, upstream }: NowConnection): Promise<Duplex | null> {
    const target = tenant().config['now.websock']?.[key]
    if (target !== undefined && target !== null) {
      // The administrator named this address, not a tenant's profile: inner networks are where proxies are.
      return connectTunnel(target, { ...upstream, networks: null })
    }
    const listener = [...this.#listeners.values()].find(({ service }) => service === key && service !== 'now')
    if (listener === undefined || (!isSecure && listener.isImplicit)) return null
    const [inner, outer] = duplexPair({ highWaterMark: TUNNEL_OCTETS })
    const socket = Object.assign(inner, { setNoDelay: () => inner }) as unknown as Socket
    this.#early.set(socket, listener.key)
    this.#session(listener, socket, client, { address: '', port: listener.port }, { isSecure })
      .catch(() => socket.destroy())
      .finally(() => this.#early.delete(socket))
    return outer
  }

  async #probe(ask: Parameters<Probe>[0], visitor: NowConnection): Promise<HttpResponse> {
    const { composition, log } = this.#options
    const { client, tenant, isSecure, upstream } = visitor
    const { config } = tenant()
    const local = { address: '', port: 0 }
    const sessionLog = new SessionLog(log.child({ session: randomBytes(6).toString('hex'), service: 'now' }), {
      metrics: composition.metrics,
      protection: composition.protection,
      service: 'now',
      sense: config['abuse-sense'],
      client,
      local,
    })
    return probe(ask, visitor, {
      api: composition.ves.api,
      domain: composition.ves.domain,
      protection: composition.protection,
      start: this.#sessionStart(tenant, client, local, isSecure),
      log: sessionLog,
      refused: () => composition.metrics.refused('abuse'),
      token: async ({ endpoint }) => {
        // There is no profile yet to save a rotated refresh token to; this worker remembers it.
        const rotated = async (): Promise<void> => log.write('warn', 'token', { result: 'rotated in a probe' })
        return { token: await composition.tokens.token({ endpoint, upstream, rotated, current: async () => null }) }
      },
    })
  }

  /** @param tenant as chosen so far: a client tells it with its TLS, which may begin after the session */
  #sessionStart(tenant: () => Tenant, client: Endpoint, local: Endpoint, tls: boolean): SessionStart {
    const { config } = tenant()
    return {
      host: this.#host,
      client,
      local,
      tls,
      tlsLevel: config['tls.level'],
      plaintextLogin: config['tls.loopback'] && isLoopback(client.address),
      version: this.#options.version,
      nowMs: Date.now,
      random: publicRandom,
      maxbufOctets: config.maxbuf,
      get maxRecipients() {
        return tenant().config['limits.recipients']
      },
      get maxMessageOctets() {
        return tenant().config['limits.messageOctets'] || null
      },
      oauth: this.#options.composition.login.takesBearers,
    }
  }

  /** @param tunnel over a WebSocket, which has a place among its address's sessions already; TLS in it is not wanted again */
  async #session(
    listener: Listener,
    socket: Socket,
    client: Endpoint,
    local: Endpoint,
    tunnel: { readonly isSecure: boolean } | null = null,
  ): Promise<void> {
    const { service, main } = listener
    const { composition } = this.#options
    const log = new SessionLog(this.#options.log.child({ session: randomBytes(6).toString('hex'), service }), {
      metrics: composition.metrics,
      protection: composition.protection,
      service,
      sense: main.config['abuse-sense'],
      client,
      local,
    })
    let tenant = main
    let user: string | null = null
    const tls = await listener.tls((chosen) => {
      tenant = chosen
      log.write('info', 'tenant', { host: chosen.host })
    })
    const admission = new Admission(composition, main.config)
    // Whatever becomes of the connection, its place is free when it is closed.
    socket.once('close', () => admission.leave())
    // And as soon as the session is over: whom a restart sends away comes back at once.
    const leave = (): void => admission.leave()
    const refusal = await this.#refusal(admission, client, tunnel !== null)
    const isTunnelSecure = tunnel?.isSecure === true
    let secured: Socket = socket
    if (listener.isImplicit && tls !== null && !isTunnelSecure) secured = await acceptTls(socket, tls)
    const admitted = async ({ account, session }: LoggedIn): Promise<void> => {
      log.user(account.name, session.user.email)
      await admission.account(session.user.email, tenant.config)
      user = session.user.email
    }
    const spool = new SpoolCopies({ spool: () => composition.spools.of(tenant.config), creator: () => user, log })
    log.write('info', 'session', {
      peer: client.address,
      peerPort: client.port,
      local: local.address,
      localPort: local.port,
      tls: listener.isImplicit || isTunnelSecure,
    })
    const start = this.#sessionStart(() => tenant, client, local, listener.isImplicit || isTunnelSecure)
    const session = refusal === null ? composition.session(service, start) : refusalSession(service, refusal)
    this.#carry({ listener, client: secured, session, tls, log, tenant: () => tenant, admitted, leave, spool })
  }

  #carry({ listener, client, session, tls, log, tenant, admitted, leave, spool }: Cargo): void {
    const { service } = listener
    const { composition } = this.#options
    const drive = new Drive({
      session,
      client,
      services: sessionServices({
        service,
        domain: this.#config['ves.domain'],
        login: composition.login,
        tenant,
        batch: composition.batch,
        metrics: composition.metrics,
        log,
        tokens: composition.tokens,
        sizes: composition.sizes,
        upstream: listener.upstream,
        admitted,
      }),
      log,
      clientTls: tls,
      upstream: listener.upstream,
      spool,
      over: leave,
      spillOctets: listener.main.config['limits.spillOctets'],
      isPoolFull: composition.isPoolFull,
    })
    const open: Open = { drive, listener }
    this.#open.add(open)
    composition.metrics.sessionBegun(service, drive)
    drive.ended
      .then((end) => this.#ended(open, end, log))
      .catch((error: unknown) => this.#options.log.write('error', 'session end', { reason: String(error) }))
    drive.start()
    // Came in while the worker was told to go.
    if (this.#state !== 'serving') drive.drain(this.#state === 'forced')
  }

  #ended(open: Open, end: DriveEnd, log: SessionLog): void {
    this.#open.delete(open)
    this.#options.composition.metrics.sessionEnded(open.listener.service, open.drive, end)
    log.ended(end)
    this.#settle()
  }

  #isFull(sessions: number): boolean {
    const isFull = sessions >= this.#config['limits.sessions']
    if (isFull) this.#options.composition.metrics.refused('sessions')
    return isFull
  }

  /** Why this client is not welcome; null: it is. Of a tunnel the HTTP connection has the place among its address's. */
  async #refusal(admission: Admission, { address }: Endpoint, isTunnel: boolean): Promise<GatewayError | null> {
    if (this.#isFull(this.#open.size)) return new GatewayError('TOO_MANY', { reason: 'limits.sessions' })
    return isTunnel ? admission.abuse(address) : admission.address(address)
  }
}

function httpTraffic(socket: Socket): LiveSession {
  return {
    get traffic() {
      const { bytesRead, bytesWritten } = socket
      return { fromClientOctets: bytesRead, toClientOctets: bytesWritten, fromUpstreamOctets: 0, toUpstreamOctets: 0 }
    },
    get buffered() {
      return { toClientOctets: socket.writableLength, toUpstreamOctets: 0, spilledOctets: 0 }
    },
  }
}

function placeOf(error: unknown, code: string): { at?: string } {
  if (code !== 'INTERNAL' || !(error instanceof Error)) return {}
  return { at: error.stack?.split('\n')[1]?.trim() ?? error.name }
}
