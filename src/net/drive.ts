/**
 * Carries a session: its actions out to sockets, timers and services, and what comes back in as events.
 *
 * The one place of back-pressure: a side is read only while the session wants it and the other side's output is not
 * full. Both directions run at once, so two full buffers cannot block each other. A bug in a session ends that
 * session and nothing else.
 */
import { pbkdf2 } from 'node:crypto'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { asGatewayError, GatewayError, unreachable } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type {
  Action,
  AnswerOf,
  Ask,
  AskOf,
  CertificateView,
  Event,
  QuestionKind,
  Session,
  Side,
} from '../engine/session.ts'
import type { SpoolCopies } from './now/spool-copies.ts'
import { SpillFile } from './spill-file.ts'
import { acceptTls, certificateView, channelBinding, type ServerTls, startTls } from './tls.ts'
import { connectUpstream, type UpstreamOptions } from './upstream.ts'
import { Wire } from './wire.ts'

/** A session whose client is gone may finish what it has begun at the provider, but not stay. */
const CLIENT_GONE_MS = 60_000

/** The questions that are answered elsewhere; the others are answered here. */
export type ServiceKind = Exclude<
  QuestionKind,
  'connect' | 'start-tls' | 'wait' | 'derive-key' | 'token' | 'spill' | 'sizes'
>

/** One per session. Each rejects with a GatewayError to refuse. `signal`: the session is over, nobody waits any more. */
export type Services = {
  readonly [K in ServiceKind]: (ask: AskOf<K>, signal: AbortSignal) => Promise<AnswerOf<K>>
} & {
  /** Where absent, token endpoints are refused. */
  readonly token?: (ask: AskOf<'token'>, signal: AbortSignal) => Promise<AnswerOf<'token'>>
  /** Where absent, nothing is remembered. */
  readonly sizes?: (ask: AskOf<'sizes'>, signal: AbortSignal) => Promise<AnswerOf<'sizes'>>
}

export interface DriveOptions {
  readonly session: Session
  /** Paused, TLS already on it where the listener begins with TLS. */
  readonly client: Socket
  readonly services: Services
  readonly log: Log
  /** For STARTTLS; null where there is none. */
  readonly clientTls: ServerTls | null
  readonly upstream: UpstreamOptions
  /** Where copies of sealed messages go; absent: nowhere. */
  readonly spool?: SpoolCopies
  /** Called when the session is over, before its last words have left: the sockets may stay a little longer. */
  readonly over?: () => void
  /** The session wants to show providers' certificates: reading them costs. */
  readonly showsCertificates?: boolean
  /** Sealed octets that the session may have in its file at a time; absent: none, as it is not for mail. */
  readonly spillOctets?: number
  /** Whoever answers `batch` is behind: a session that waits for one reads no more until it has it. Absent: never. */
  readonly isPoolFull?: () => boolean
}

/** Octets within TLS, all connections to the provider together. */
export interface Traffic {
  readonly fromClientOctets: number
  readonly toClientOctets: number
  readonly fromUpstreamOctets: number
  readonly toUpstreamOctets: number
}

/** What one session holds, octets: output that the other end does not take yet, and its file. */
export interface Buffered {
  readonly toClientOctets: number
  readonly toUpstreamOctets: number
  readonly spilledOctets: number
}

export interface DriveEnd extends Traffic {
  readonly why: GatewayError | 'quit' | 'drained'
  readonly durationMs: number
}

export class Drive {
  /** Settles when every socket of the session is closed; never rejects. */
  readonly ended: Promise<DriveEnd>
  readonly #options: DriveOptions
  readonly #session: Session
  readonly #log: Log
  readonly #startedMs = performance.now()
  readonly #over = new AbortController()
  readonly #client: Wire
  #upstream: Wire | null = null
  /** For the name to verify at a later STARTTLS. */
  #upstreamHost = ''
  /** Of connections to the provider that are closed already. */
  #upstreamBefore = { received: 0, sent: 0 }
  #deadline: NodeJS.Timeout | undefined
  #clientGone: NodeJS.Timeout | undefined
  readonly #waits = new Set<NodeJS.Timeout>()
  readonly #spill: SpillFile
  /** Who waits for the provider to take more. */
  readonly #whenDrained: (() => void)[] = []
  /** Batches that were asked for and are not answered. */
  #batches = 0
  #stepping = false
  readonly #backlog: Event[] = []
  #settleEnd: (end: DriveEnd) => void = () => {}

  constructor(options: DriveOptions) {
    this.#options = options
    this.#session = options.session
    this.#log = options.log
    this.ended = new Promise((resolve) => {
      this.#settleEnd = resolve
    })
    this.#spill = new SpillFile(options.spillOctets ?? 0)
    this.#client = this.#wire('client', options.client)
  }

  /** So far. */
  get traffic(): Traffic {
    return {
      fromClientOctets: this.#client.receivedOctets,
      toClientOctets: this.#client.sentOctets,
      fromUpstreamOctets: this.#upstreamBefore.received + (this.#upstream?.receivedOctets ?? 0),
      toUpstreamOctets: this.#upstreamBefore.sent + (this.#upstream?.sentOctets ?? 0),
    }
  }

  get buffered(): Buffered {
    return {
      toClientOctets: this.#client.waitingOctets,
      toUpstreamOctets: this.#upstream?.waitingOctets ?? 0,
      spilledOctets: this.#spill.octets,
    }
  }

  /** Lets the session say its greeting. Once. */
  start(): this {
    this.#run(() => this.#session.start())
    return this
  }

  /** Asks the session to end: at its next quiet point, or (forced) now. */
  drain(forced: boolean): void {
    this.#event({ on: 'drain', forced })
  }

  #event(event: Event): void {
    if (this.#over.signal.aborted) return
    if (this.#stepping) this.#backlog.push(event)
    else this.#run(() => this.#session.step(event))
  }

  #run(step: () => Action[]): void {
    this.#stepping = true
    this.#client.cork()
    const upstream = this.#upstream
    upstream?.cork()
    try {
      this.#perform(step())
      for (let event = this.#backlog.shift(); event !== undefined; event = this.#backlog.shift()) {
        if (this.#over.signal.aborted) break
        this.#perform(this.#session.step(event))
      }
    } catch (bug) {
      this.#failed(bug)
    }
    this.#stepping = false
    this.#client.uncork()
    upstream?.uncork()
    this.#steer()
  }

  #failed(bug: unknown): void {
    const error = bug instanceof GatewayError ? bug : new GatewayError('INTERNAL', {}, bug)
    this.#log.write('error', 'session failed', {
      code: error.code,
      // Where, never what: a message may quote input.
      at: bug instanceof Error ? placeOf(bug) : null,
    })
    if (!this.#over.signal.aborted) this.#close(error)
  }

  #perform(actions: readonly Action[]): void {
    for (const action of actions) {
      if (this.#over.signal.aborted) return
      switch (action.do) {
        case 'send':
          if (action.side === 'client') this.#client.write(action.bytes)
          else this.#upstream?.write(action.bytes)
          break
        case 'ask':
          this.#ask(action)
          break
        case 'deadline':
          clearTimeout(this.#deadline)
          if (action.ms !== null) this.#deadline = setTimeout(() => this.#event({ on: 'deadline' }), action.ms)
          break
        case 'log':
          this.#log.write(action.level, action.event, action.fields)
          break
        case 'hang-up':
          this.#hangUp(action.abort)
          break
        case 'spool':
          this.#options.spool?.take(action)
          break
        case 'close':
          this.#close(action.why)
          break
        default:
          unreachable(action)
      }
    }
  }

  /** Reads each side exactly while its octets have somewhere to go. */
  #steer(): void {
    if (this.#over.signal.aborted || this.#stepping) return
    const client = this.#client
    const upstream = this.#upstream
    // Each answer to a batch comes back here.
    const isHeld = this.#batches > 0 && this.#options.isPoolFull?.() === true
    try {
      client.read(!isHeld && this.#session.wants('client') && !client.overfull && upstream?.full !== true)
      upstream?.read(!isHeld && this.#session.wants('upstream') && !upstream.overfull && !client.full)
    } catch (bug) {
      this.#failed(bug)
    }
  }

  #ask(ask: Ask): void {
    const signal = this.#over.signal
    const batches = ask.kind === 'batch' ? 1 : 0
    this.#batches += batches
    this.#answer(ask).then(
      (answer) => {
        this.#batches -= batches
        if (!signal.aborted) this.#event({ on: 'answer', id: ask.id, answer })
      },
      (error: unknown) => {
        this.#batches -= batches
        if (signal.aborted) return
        if (!(error instanceof GatewayError)) {
          const at = error instanceof Error ? placeOf(error) : null
          this.#log.write('error', 'service failed', { question: ask.kind, at })
        }
        this.#event({ on: 'refused', id: ask.id, error: asGatewayError(error) })
      },
    )
  }

  async #answer(ask: Ask): Promise<unknown> {
    const { services } = this.#options
    const signal = this.#over.signal
    switch (ask.kind) {
      case 'connect':
        return this.#connect(ask.ask)
      case 'start-tls':
        return this.#startTls(ask.ask)
      case 'wait':
        return new Promise<null>((resolve) => {
          const timer = setTimeout(() => {
            this.#waits.delete(timer)
            resolve(null)
          }, ask.ask.ms)
          this.#waits.add(timer)
        })
      case 'login':
        return services.login(ask.ask, signal)
      case 'recipient':
        return services.recipient(ask.ask, signal)
      case 'seal-key':
        return services['seal-key'](ask.ask, signal)
      case 'open-key':
        return services['open-key'](ask.ask, signal)
      case 'batch':
        return services.batch(ask.ask, signal)
      case 'token':
        if (services.token === undefined) throw new GatewayError('SASL_SEQUENCE', { reason: 'token endpoint' })
        return services.token(ask.ask, signal)
      case 'sizes':
        return services.sizes === undefined ? { sizes: null } : services.sizes(ask.ask, signal)
      case 'derive-key':
        return deriveKey(ask.ask)
      case 'spill':
        return this.#spillTo(ask.ask)
      default:
        return unreachable(ask)
    }
  }

  async #spillTo(ask: AskOf<'spill'>): Promise<AnswerOf<'spill'>> {
    switch (ask.op) {
      case 'write':
        await this.#spill.write(ask.bytes)
        return { bytes: null }
      case 'reserve':
        await this.#spill.reserve(ask.octets)
        return { bytes: null }
      case 'read':
        // What is read goes to the provider: it comes no faster than that takes it.
        await this.#upstreamDrained()
        return { bytes: await this.#spill.read(ask.offset, ask.octets) }
      case 'clear':
        await this.#spill.clear()
        return { bytes: null }
    }
  }

  #upstreamDrained(): Promise<void> {
    if (this.#upstream?.full !== true) return Promise.resolve()
    return new Promise((resolve) => this.#whenDrained.push(resolve))
  }

  async #connect(ask: AskOf<'connect'>): Promise<AnswerOf<'connect'>> {
    if (this.#upstream !== null) throw new Error('connect: there is a connection already')
    const { host, port } = ask
    const begunMs = performance.now()
    const took = (): number => Math.round(performance.now() - begunMs)
    try {
      const { socket, tls, address } = await connectUpstream(ask, this.#options.upstream, this.#over.signal)
      if (this.#over.signal.aborted) {
        socket.on('error', () => {}).destroy()
        throw new GatewayError('UPSTREAM_CONNECTION', { host, port, reason: 'session over' })
      }
      this.#upstreamHost = host
      this.#upstream = this.#wire('upstream', socket)
      this.#log.write('info', 'provider', { result: 'connected', host, port, address, tls, ms: took() })
      const secured = socket instanceof TLSSocket ? socket : null
      return { tls, binding: secured && channelBinding(secured), certificate: this.#certificate(secured) }
    } catch (error) {
      const { code, detail } = asGatewayError(error)
      this.#log.write('warn', 'provider', {
        result: 'failed',
        code,
        reason: detail.reason ?? null,
        host,
        port,
        ms: took(),
      })
      throw error
    }
  }

  async #startTls(ask: AskOf<'start-tls'>): Promise<AnswerOf<'start-tls'>> {
    if (ask.side === 'client') {
      const { clientTls } = this.#options
      if (clientTls === null) throw new Error('start-tls: this listener has no certificate')
      try {
        const secured = await this.#client.upgrade((plain) => acceptTls(plain, clientTls))
        const sni = typeof secured.servername === 'string' ? secured.servername : null
        this.#log.write('debug', 'tls', { side: 'client', sni, protocol: secured.getProtocol() })
        return { sni }
      } catch (error) {
        throw error instanceof GatewayError ? error : new GatewayError('IO', { side: 'client' }, error)
      }
    }
    const upstream = this.#upstream
    if (upstream === null) throw new GatewayError('UPSTREAM_CONNECTION', { reason: 'no connection' })
    const host = this.#upstreamHost
    try {
      const secured = await upstream.upgrade((plain) => startTls(plain, host, ask.level, this.#options.upstream.tls))
      this.#log.write('debug', 'tls', { side: 'upstream', host, protocol: secured.getProtocol() })
      return { sni: null, binding: channelBinding(secured), certificate: this.#certificate(secured) }
    } catch (error) {
      const failure = error instanceof GatewayError ? error : new GatewayError('UPSTREAM_TLS', { host }, error)
      this.#log.write('warn', 'provider', {
        result: 'failed',
        code: failure.code,
        reason: failure.detail.reason ?? null,
        host,
      })
      throw failure
    }
  }

  #certificate(secured: TLSSocket | null): CertificateView | null {
    if (secured === null || this.#options.showsCertificates !== true) return null
    return certificateView(secured, this.#upstreamHost)
  }

  #wire(side: Side, socket: Socket): Wire {
    // A wire that was hung up may still have events under way: they concern nobody.
    const current = (): boolean => (side === 'client' ? this.#client : this.#upstream) === wire
    const wire: Wire = new Wire(socket, {
      bytes: (bytes) => {
        if (current()) this.#event({ on: 'bytes', side, bytes })
      },
      gone: (error) => {
        if (!current()) return
        if (side === 'upstream') void this.#forgetUpstream()?.finish()
        else this.#clientGone ??= setTimeout(() => this.#giveUp(), CLIENT_GONE_MS)
        const reason = (error as NodeJS.ErrnoException | null)?.code ?? 'error'
        const code = side === 'upstream' ? 'UPSTREAM_CONNECTION' : 'IO'
        this.#event({
          on: 'closed',
          side,
          error: error === null ? null : new GatewayError(code, { side, reason }, error),
        })
      },
      writable: () => {
        if (side === 'upstream') for (const resolve of this.#whenDrained.splice(0)) resolve()
        this.#steer()
      },
    })
    return wire
  }

  #forgetUpstream(): Wire | null {
    const upstream = this.#upstream
    if (upstream !== null) {
      this.#upstreamBefore.received += upstream.receivedOctets
      this.#upstreamBefore.sent += upstream.sentOctets
    }
    this.#upstream = null
    for (const resolve of this.#whenDrained.splice(0)) resolve()
    return upstream
  }

  /** The session may have something to log. */
  #giveUp(): void {
    this.#event({ on: 'deadline' })
    this.#close(new GatewayError('TIMEOUT'))
  }

  #hangUp(abort: boolean): Promise<void> {
    const upstream = this.#forgetUpstream()
    if (!abort && upstream !== null) return upstream.finish()
    upstream?.abort()
    return Promise.resolve()
  }

  #close(why: DriveEnd['why']): void {
    if (this.#over.signal.aborted) return
    this.#over.abort()
    this.#options.over?.()
    void this.#spill.clear()
    clearTimeout(this.#deadline)
    clearTimeout(this.#clientGone)
    for (const timer of this.#waits) clearTimeout(timer)
    this.#options.spool?.take({ do: 'spool', step: 'drop' })
    this.#backlog.length = 0
    // What was corked in this step leaves first.
    this.#client.uncork()
    this.#upstream?.uncork()
    const upstream = this.#hangUp(why instanceof GatewayError && why.code === 'INTERNAL')
    void Promise.all([this.#client.finish(), upstream]).then(() =>
      this.#settleEnd({
        why,
        durationMs: Math.round(performance.now() - this.#startedMs),
        ...this.traffic,
      }),
    )
  }
}

function deriveKey(ask: AskOf<'derive-key'>): Promise<Buffer> {
  return new Promise((resolve, reject) =>
    pbkdf2(ask.password.expose(), ask.salt, ask.iterations, 32, 'sha256', (error, key) =>
      error === null ? resolve(key) : reject(error),
    ),
  )
}

/** Name and first place of ours in the stack: enough to find a bug, without the message. */
function placeOf(error: Error): string {
  const place = /\((?:file:\/\/)?[^()]*?\/((?:src|test)\/[^()]+)\)|at (?:file:\/\/)?\S*?\/((?:src|test)\/\S+)/.exec(
    error.stack ?? '',
  )
  return `${error.name} at ${place?.[1] ?? place?.[2] ?? 'unknown'}`
}
