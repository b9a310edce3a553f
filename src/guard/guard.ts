/**
 * The guard: holds the listening sockets, keeps workers alive, passes connections on, and does nothing else: no TLS,
 * no parsing of mail, no keys (daemon.md §4). What is to be done is decided in `supervisor.ts` and `dispatcher.ts`;
 * here are the processes, sockets, timers and signals.
 */
import cluster, { type Worker as ClusterWorker } from 'node:cluster'
import { randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { Socket } from 'node:net'
import { assertDaemons, type ConfigFile, parseConfigFile, printConfigError } from '../base/config/config-file.ts'
import { daemonConfig, programConfig } from '../base/config/merge.ts'
import type { Config } from '../base/config/options.ts'
import { reasonOf as shortReason } from '../base/config/places.ts'
import { asGatewayError, GatewayError, messageOf, unreachable } from '../base/errors.ts'
import type { GuardCounts, ToGuard, ToWorker } from '../base/hand-over.ts'
import type { Log } from '../base/log.ts'
import { AwakeClock } from './awake-clock.ts'
import { type Connection, Dispatcher } from './dispatcher.ts'
import { adminAddresses, type ListenAddress, Listeners, listenAddresses } from './listeners.ts'
import { MetricsRelay } from './metrics-relay.ts'
import { type Notify, silentNotify } from './notify.ts'
import { RunDirectory } from './run-directory.ts'
import { Supervisor, type SupervisorAction, type SupervisorEvent, type SupervisorOptions } from './supervisor.ts'

export interface GuardOptions {
  readonly file: string
  /** From `-G`; null: as configured. */
  readonly workers: number | null
  /** The program of a worker. */
  readonly workerFile: string
  /** Of V8, for workers' command lines. */
  readonly workerFlags?: readonly string[]
  readonly log: Log
  /** The log is to be opened anew: after rotation, and by a configuration that came into force. */
  readonly reopenLog?: (config: Config) => void
  readonly notify?: Notify
  /** Something that lives and dies with the guard, like the embedded repository. Told of each configuration in force. */
  readonly companions?: readonly Companion[]
  readonly env?: NodeJS.ProcessEnv
  /** Where workers keep compiled code; only we may write there. */
  readonly cacheDirectory?: string
}

export interface Companion {
  /** The configuration in force; called at the start, before the workers, and at each reload that worked. */
  configure(config: Config): Promise<void>
  stop(): Promise<void>
}

/** How the guard's life ended. */
export type GuardEnd = { readonly exitCode: 0 | 67 }

const TICK_MS = 500
const DRAINED_POLL_MS = 5
const PING_MS = 1000
/** Workers have all said goodbye by then, or are killed. SIGTERM ends all in 5 s. */
const FORCED_MS = 3500
/** Beyond its own deadline: the last words of forced sessions. */
const DRAIN_GRACE_MS = 5000
/** Exit code of a worker whose configuration is unusable (daemon.md §2). */
const CONFIG_EXIT = 67

interface Reading {
  readonly text: string
  readonly file: ConfigFile
  readonly config: Config
  readonly addresses: readonly ListenAddress[]
}

export class Guard {
  /** Settles when all workers have ended. */
  readonly ended: Promise<GuardEnd>
  readonly #options: GuardOptions
  readonly #log: Log
  readonly #notify: Notify
  readonly #listeners: Listeners
  readonly #clock = new AwakeClock(() => performance.now(), TICK_MS)
  readonly #dispatcher: Dispatcher
  readonly #supervisor: Supervisor
  readonly #metrics: MetricsRelay
  readonly #runDirectory = new RunDirectory(process.pid, Date.now())
  readonly #processes = new Map<number, ClusterWorker>()
  readonly #ticketKeys = randomBytes(48).toString('base64')
  readonly #generations = new Map<number, Reading>()
  /** What workers that cannot start said of it. */
  readonly #unusable = new Map<number, string>()
  #reading: Reading
  #timers: NodeJS.Timeout[] = []
  #counts = { restarts: 0, reloads: 0, drains: 0 }
  #stopping = false
  #wasReady = false
  #newestGeneration = 1
  #reloading: Promise<void> = Promise.resolve()
  #settle: (end: GuardEnd) => void = () => {}

  /** @throws {GatewayError} CONFIG_INVALID */
  constructor(options: GuardOptions) {
    this.#options = options
    this.#log = options.log
    this.#notify = options.notify ?? silentNotify
    this.#reading = readConfig(options.file)
    this.#generations.set(1, this.#reading)
    this.ended = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.#listeners = new Listeners((listener, socket) => this.#accepted(listener, socket), this.#log)
    const { config } = this.#reading
    this.#dispatcher = new Dispatcher(
      {
        send: (worker, id, connection) => this.#handOver(worker, id, connection as SocketConnection),
        late: (worker) => this.#kill(worker, 'ack'),
      },
      config['limits.waiting'],
      config['workers.ackSeconds'] * 1000,
      () => this.#clock.nowMs(),
    )
    this.#supervisor = new Supervisor(this.#supervisorOptions(this.#reading))
    this.#metrics = new MetricsRelay((worker, message) => this.#send(worker, message))
  }

  /** Listens, forks. @throws {GatewayError} IO when an address cannot be had */
  async start(): Promise<this> {
    const { workerFile, workerFlags = [] } = this.#options
    cluster.setupPrimary({ exec: workerFile, args: [], execArgv: [...workerFlags] })
    const { addresses, config, file } = this.#reading
    this.#warn(file)
    for (const companion of this.#options.companions ?? []) await companion.configure(config)
    await this.#listeners.inherit(addresses, this.#options.env ?? {}, process.pid)
    await this.#listeners.open(addresses)
    this.#timers = [setInterval(() => this.#tick(), TICK_MS), setInterval(() => this.#ping(), PING_MS)]
    this.#event({ on: 'start' })
    return this
  }

  /** SIGHUP. Reloads follow one another. */
  reload(): void {
    this.#reloading = this.#reloading.then(() => this.#reload())
  }

  /** SIGINT: sessions finish. SIGTERM (forced): they are told to go now. */
  stop(forced: boolean): void {
    if (!this.#stopping) this.#log.write('info', 'stopping', { forced })
    this.#stopping = true
    this.#notify.stopping()
    // New clients are refused at once rather than left hanging; the admin listener goes on telling how it is.
    this.#listeners.keep(forced ? [] : adminAddresses(this.#reading.file))
    this.#event({ on: 'stop', forced })
    if (forced || !this.#listeners.isInherited) return
    for (const worker of this.#supervisor.draining) {
      this.#send(worker, { t: 'drain', forced, stopping: true, atOnce: true })
    }
  }

  async #reload(): Promise<void> {
    if (this.#stopping) return
    // Whatever becomes of the reload: the file may have been rotated.
    this.#reopenLog(this.#reading.config)
    this.#counts.reloads++
    try {
      const reading = readConfig(this.#options.file)
      this.#warn(reading.file)
      await this.#listeners.open(reading.addresses)
      const generation = ++this.#newestGeneration
      this.#generations.set(generation, reading)
      this.#log.write('info', 'reload', { generation })
      this.#notify.reloading()
      this.#event({ on: 'reload', generation, options: this.#supervisorOptions(reading) })
    } catch (error) {
      this.#log.write('error', 'reload failed', { reason: reasonOf(error), kept: this.#supervisor.generation })
    }
  }

  #supervisorOptions(reading: Reading): SupervisorOptions {
    const { config, file } = reading
    return {
      slots: Math.max(1, this.#options.workers ?? config['workers.count']),
      startMs: config['workers.startSeconds'] * 1000,
      drainMs: drainSeconds(file) * 1000 + DRAIN_GRACE_MS,
      forcedMs: FORCED_MS,
      hangMs: config['workers.hangSeconds'] * 1000,
    }
  }

  #event(event: SupervisorEvent): void {
    for (const action of this.#supervisor.step(event, this.#clock.nowMs())) this.#perform(action)
    this.#dispatcher.choose(this.#choosable())
  }

  /** While all end, only the admin listener is open, and draining workers answer there. */
  #choosable(): readonly number[] {
    return this.#stopping ? this.#supervisor.draining : this.#supervisor.ready
  }

  #perform(action: SupervisorAction): void {
    switch (action.do) {
      case 'fork':
        this.#fork(action.worker, action.generation)
        break
      case 'drain':
        this.#counts.drains++
        this.#dispatcher.choose(this.#choosable())
        this.#log.write('info', 'drain', { worker: action.worker, forced: action.forced })
        this.#send(action.worker, { t: 'drain', forced: action.forced, stopping: this.#stopping })
        break
      case 'kill':
        this.#kill(action.worker, action.why)
        break
      case 'died':
        this.#counts.restarts++
        this.#log.write('error', 'worker died', { worker: action.worker, delayMs: action.delayMs })
        break
      case 'rolled':
        void this.#rolled(action.generation)
        break
      case 'roll-failed':
        this.#log.write('error', 'reload failed', {
          generation: action.generation,
          kept: action.kept,
          reason: this.#unusable.get(action.worker) ?? 'the new worker did not get ready',
        })
        this.#generations.delete(action.generation)
        this.#listeners.keep(this.#reading.addresses)
        this.#notify.ready()
        break
      case 'exit':
        void this.#exit(action.configBad)
        break
      default:
        unreachable(action)
    }
  }

  async #rolled(generation: number): Promise<void> {
    const reading = this.#generations.get(generation)
    if (reading === undefined || this.#stopping) return
    this.#reading = reading
    for (const old of [...this.#generations.keys()]) if (old < generation) this.#generations.delete(old)
    this.#listeners.keep(reading.addresses)
    const { config } = reading
    this.#dispatcher.limits(config['limits.waiting'], config['workers.ackSeconds'] * 1000)
    const workers = this.#supervisor.ready.length
    if (this.#wasReady) {
      this.#reopenLog(config)
      this.#log.write('info', 'reloaded', { generation, workers })
      for (const companion of this.#options.companions ?? []) await companion.configure(config)
    } else this.#log.write('info', 'ready', { generation, workers, listeners: reading.addresses.map(shown) })
    this.#wasReady = true
    this.#notify.ready()
  }

  async #exit(configBad: boolean): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#listeners.keep([])
    this.#dispatcher.dropWaiting()
    for (const companion of this.#options.companions ?? []) await companion.stop()
    this.#runDirectory.close()
    this.#log.write('info', 'stopped')
    this.#settle({ exitCode: configBad ? CONFIG_EXIT : 0 })
  }

  #fork(worker: number, generation: number): void {
    const reading = this.#generations.get(generation) ?? this.#reading
    const child = cluster.fork({
      VESMAIL_WORKER: String(worker),
      TMPDIR: this.#runDirectory.of(worker),
      // Halves a worker's start. In a folder of ours: what stands in it is run.
      ...(this.#options.cacheDirectory === undefined ? {} : { NODE_COMPILE_CACHE: this.#options.cacheDirectory }),
    })
    this.#processes.set(worker, child)
    this.#log.write('info', 'worker started', { worker, generation, workerPid: child.process.pid ?? null })
    child.on('message', (message: ToGuard) => this.#message(worker, message))
    child.on('error', (error) => this.#log.write('warn', 'worker channel', { worker, reason: error.message }))
    child.on('disconnect', () => this.#dispatcher.disconnected(worker))
    child.on('exit', (code, signal) => {
      whenDrained(child, () => {
        this.#dispatcher.disconnected(worker)
        this.#metrics.gone(worker)
      })
      this.#runDirectory.forget(worker)
      this.#log.write('info', 'worker ended', { worker, code, signal })
      this.#processes.delete(worker)
      const gone = (): void => {
        this.#event({ on: 'gone', worker, configBad: code === CONFIG_EXIT })
        this.#unusable.delete(worker)
      }
      // One that ended by itself may have said why. One that was killed said nothing, and is to be replaced at once.
      if (code === null) gone()
      else whenDrained(child, gone)
    })
    this.#send(worker, {
      t: 'start',
      generation,
      file: this.#options.file,
      text: reading.text,
      ticketKeys: this.#ticketKeys,
      workers: this.#supervisorOptions(reading).slots,
    })
  }

  #message(worker: number, message: ToGuard): void {
    // Whatever it says: pings stand in the same queue as connections, and may have to wait for many.
    this.#supervisor.step({ on: 'alive', worker }, this.#clock.nowMs())
    switch (message.t) {
      case 'ready':
        this.#event({ on: 'ready', worker })
        break
      case 'leaving':
        this.#event({ on: 'leaving', worker })
        break
      case 'pong':
        break
      case 'unusable':
        this.#unusable.set(worker, message.reason)
        break
      case 'taken':
        this.#dispatcher.taken(message.id)
        break
      case 'missing':
        this.#dispatcher.missing(message.id)
        break
      case 'metrics':
        this.#metrics.part(worker, message.id, message.json)
        break
      case 'metrics-of-all':
        this.#metrics.ask(worker, message.id, [...this.#processes.keys()], () => this.counts())
        break
      default:
        // Libraries use the same channel (prom-client does): not ours, not an error.
        return
    }
  }

  counts(): GuardCounts {
    return {
      ...this.#counts,
      workersReady: this.#supervisor.ready.length,
      workersDraining: this.#supervisor.draining.length,
      waiting: this.#dispatcher.waiting,
      handedOver: this.#dispatcher.handedOver,
      refused: this.#dispatcher.refused,
      stopping: this.#stopping,
    }
  }

  #accepted(listener: string, socket: Socket): void {
    this.#dispatcher.add(new SocketConnection(listener, socket))
  }

  #handOver(worker: number, id: number, connection: SocketConnection): boolean {
    const child = this.#processes.get(worker)
    if (child === undefined || !child.isConnected()) return false
    // keepOpen: the guard keeps its copy until the worker says that it has one.
    return sendSocket(child, { t: 'socket', id, listener: connection.listener }, connection.socket)
  }

  #send(worker: number, message: ToWorker): void {
    const child = this.#processes.get(worker)
    // A channel that closes meanwhile is followed by 'disconnect' and 'exit', which say what to do.
    if (child?.isConnected() === true) child.send(message, undefined, undefined, () => {})
  }

  #kill(worker: number, why: string): void {
    const child = this.#processes.get(worker)
    if (child === undefined) return
    this.#log.write(why === 'replaced' || why === 'stop' ? 'info' : 'error', 'worker killed', { worker, why })
    child.process.kill('SIGKILL')
  }

  #tick(): void {
    this.#clock.tick()
    this.#dispatcher.tick()
    this.#event({ on: 'tick' })
  }

  #ping(): void {
    for (const worker of this.#processes.keys()) this.#send(worker, { t: 'ping' })
    if (this.#supervisor.ready.length > 0) this.#notify.alive()
  }

  /** Mail goes on where it cannot be opened, and the log where it went before. */
  #reopenLog(config: Config): void {
    try {
      this.#options.reopenLog?.(config)
    } catch (error) {
      this.#log.write('error', 'log', { result: 'kept as it was', reason: reasonOf(error) })
    }
  }

  #warn(file: ConfigFile): void {
    for (const warning of warningsOf(file)) this.#log.write('warn', 'configuration', { reason: warning })
  }
}

class SocketConnection implements Connection {
  readonly listener: string
  readonly socket: Socket

  constructor(listener: string, socket: Socket) {
    this.listener = listener
    this.socket = socket
  }

  get gone(): boolean {
    return this.socket.destroyed
  }

  close(): void {
    // Never end(): that would say goodbye on the worker's copy, too.
    this.socket.destroy()
  }
}

/**
 * Runs when everything that a dead worker had said was heard. 'exit' alone does not tell: acknowledgements may still
 * be in the pipe. Nor is 'disconnect' enough: Node does not emit it while a handle that was sent is unacknowledged,
 * which is just the case that matters; but `connected` is false as soon as the pipe's end was read.
 */
function whenDrained(child: ClusterWorker, run: () => void): void {
  if (child.isConnected()) setTimeout(() => whenDrained(child, run), DRAINED_POLL_MS)
  else {
    // Node also forgets to take such a worker off its list.
    if (cluster.workers !== undefined) delete cluster.workers[child.id]
    // Messages that were read are emitted in the next tick.
    setImmediate(run)
  }
}

/** The types of node:cluster do not know `keepOpen`, which its `send` takes like that of a child process. */
function sendSocket(child: ClusterWorker, message: ToWorker, socket: Socket): boolean {
  try {
    child.process.send?.(message, socket, { keepOpen: true }, () => {})
    return true
  } catch (error) {
    // The client reset the connection between accept and here.
    if (error instanceof Error) return false
    throw error
  }
}

function readConfig(path: string): Reading {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new GatewayError('CONFIG_INVALID', { file: path, line: 0, column: 0, reason: messageOf(error) }, error)
  }
  const file = parseConfigFile(text, path)
  const config = programConfig(file)
  assertDaemons(file)
  return { text, file, config, addresses: listenAddresses(file) }
}

/** What is to be said of a configuration that is used all the same. */
export function warningsOf({ file, warnings }: ConfigFile): readonly string[] {
  const isExposed = (statSync(file).mode & 0o004) !== 0
  return isExposed ? [...warnings, `${file} can be read by everybody: chmod 640`] : warnings
}

/** The longest that any listener's sessions get. */
export function drainSeconds(file: ConfigFile): number {
  return Math.max(...file.daemons.map((one) => daemonConfig(file, one)['limits.drainSeconds']))
}

function shown({ host, port }: ListenAddress): string {
  return `${host ?? '*'}:${port}`
}

function reasonOf(error: unknown): string {
  const { detail } = asGatewayError(error)
  return 'file' in detail ? printConfigError(detail) : shortReason(error)
}
