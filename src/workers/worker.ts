/**
 * A worker under a guard (`worker-entry.ts` is its program): takes sockets from the guard's channel (`base/hand-over.ts`), and goes when
 * it is told, or when the guard is gone.
 */
import cluster from 'node:cluster'
import type { Socket } from 'node:net'
import { parseConfigFile } from '../base/config/config-file.ts'
import { programConfig } from '../base/config/merge.ts'
import { atOption, layersOf, placedReasonOf } from '../base/config/places.ts'
import { asGatewayError } from '../base/errors.ts'
import type { ToGuard, ToWorker } from '../base/hand-over.ts'
import type { Log } from '../base/log.ts'
import type { AllMetrics } from './admin.ts'
import { type Composition, compose, type SessionFactory } from './compose.ts'
import { logOf } from './log.ts'
import { VERSION } from './version.ts'
import { WorkerApp } from './worker-app.ts'

const CONFIG_EXIT = 67
const INTERNAL_EXIT = 80
/** Last words after a forced drain; the guard kills soon after. */
const FORCED_EXIT_MS = 2800
const METRICS_MS = 2000
/** The guard reads its channel, or is gone. */
const LAST_WORD_MS = 300

class Worker {
  readonly #session: SessionFactory | null
  #app: WorkerApp | null = null
  #composition: Composition | null = null
  #log: Log | null = null
  #nextAsk = 1
  readonly #asks = new Map<number, (all: AllMetrics | null) => void>()
  #orphan = false
  /** Ends as soon as it has drained. */
  #isGoing = false
  #isBroken = false

  constructor(session: SessionFactory | null) {
    this.#session = session
  }

  listen(): void {
    const self = cluster.worker
    if (self === undefined) {
      process.stderr.write('vesmail: this is the program of a worker; start `vesmail daemon`\n')
      process.exitCode = 64
      return
    }
    // Otherwise Node ends the process together with the guard, sessions and all.
    self.exitedAfterDisconnect = true
    process.on('message', (message: ToWorker, handle: unknown) => this.#message(message, handle as Socket | undefined))
    process.on('disconnect', () => this.#orphaned())
    process.on('SIGHUP', () => this.#tell({ t: 'leaving' }))
    // The terminal sends these to all of the group; the guard decides.
    process.on('SIGINT', () => {})
    process.on('SIGTERM', () => this.#drain(true, false))
    process.on('uncaughtException', (error) => this.#broken(error))
    process.on('unhandledRejection', (error) => this.#broken(error))
  }

  #message(message: ToWorker, handle: Socket | undefined): void {
    switch (message.t) {
      case 'start':
        void this.#start(message)
        break
      case 'socket':
        this.#take(message.id, message.listener, handle)
        break
      case 'drain':
        this.#drain(message.forced, message.stopping, message.atOnce)
        break
      case 'ping':
        this.#tell({ t: 'pong' })
        break
      case 'metrics':
        void this.#metrics(message.id)
        break
      case 'metrics-of-all':
        this.#asks.get(message.id)?.({ parts: message.parts, guard: message.guard })
        break
      default:
        // Node's own and libraries' messages pass here, too.
        break
    }
  }

  async #start({ file, text, ticketKeys, generation, workers }: Extract<ToWorker, { t: 'start' }>): Promise<void> {
    try {
      const parsed = parseConfigFile(text, file)
      const config = programConfig(parsed)
      const fields = { worker: Number(process.env.VESMAIL_WORKER), generation, pid: process.pid }
      const { log } = atOption('log', layersOf(parsed, null), () => logOf(config, fields))
      this.#log = log
      this.#composition = compose({
        file: parsed,
        log,
        ticketKeys: Buffer.from(ticketKeys, 'base64'),
        workers,
        ...(this.#session === null ? {} : { session: this.#session }),
      })
      this.#app = await WorkerApp.start({
        file: parsed,
        composition: this.#composition,
        log,
        version: VERSION,
        metricsOfAll: () => this.#metricsOfAll(),
      })
      this.#tell({ t: 'ready' })
    } catch (error) {
      const { code } = asGatewayError(error)
      const reason = placedReasonOf(error)
      this.#log?.write('error', 'worker start failed', { code, reason })
      const exit = (): void => process.exit(code === 'CONFIG_INVALID' ? CONFIG_EXIT : INTERNAL_EXIT)
      setTimeout(exit, LAST_WORD_MS)
      this.#tell({ t: 'unusable', reason }, exit)
    }
  }

  #take(id: number, listener: string, socket: Socket | undefined): void {
    if (this.#isBroken) {
      socket?.destroy()
      return
    }
    if (socket === undefined || this.#app === null) {
      socket?.destroy()
      this.#tell({ t: 'missing', id })
      return
    }
    const app = this.#app
    // Not a word to the client before the guard has been told: if we die in between, another worker greets it.
    this.#tell({ t: 'taken', id }, () => app.accept(listener, socket))
  }

  #drain(forced: boolean, stopping: boolean, atOnce = false): void {
    const app = this.#app
    if (app === null) process.exit(0)
    app.drain(forced, stopping, atOnce)
    if (forced) setTimeout(() => void this.#lastMetrics().then(() => process.exit(0)), FORCED_EXIT_MS).unref()
    if (this.#isGoing) return
    this.#isGoing = true
    void app.drained.then(() => this.#exit())
  }

  async #exit(): Promise<void> {
    await this.#app?.close()
    await this.#lastMetrics()
    process.exit(0)
  }

  /** What was counted here stays counted. */
  async #lastMetrics(): Promise<void> {
    const json = (await this.#composition?.metrics.json()) ?? []
    if (process.connected !== true) return
    await new Promise<void>((resolve) => {
      setTimeout(resolve, LAST_WORD_MS).unref()
      const message: ToGuard = { t: 'metrics', id: null, json }
      process.send?.(message, undefined, undefined, () => resolve())
    })
  }

  /** The guard is gone: nothing new will come, what is open is finished. */
  #orphaned(): void {
    if (this.#orphan) return
    this.#orphan = true
    this.#log?.write('error', 'guard gone')
    this.#drain(false, true)
  }

  /** A bug outside any session. State may be torn: a new worker takes over, what is open gets its goodbye. */
  #broken(error: unknown): void {
    if (this.#isBroken) return
    const at = error instanceof Error ? (error.stack?.split('\n').slice(0, 3).join(' | ') ?? error.name) : String(error)
    this.#log?.write('error', 'worker broken', { at })
    // The guard gives what we had not taken, and all that comes, to others.
    this.#isBroken = true
    this.#orphan = true
    if (process.connected === true) process.disconnect?.()
    setTimeout(() => process.exit(INTERNAL_EXIT), FORCED_EXIT_MS).unref()
    if (this.#app === null) process.exit(INTERNAL_EXIT)
    this.#app.drain(true, false)
    void this.#app.drained.then(() => process.exit(INTERNAL_EXIT))
  }

  async #metrics(id: number): Promise<void> {
    const json = (await this.#composition?.metrics.json()) ?? []
    this.#tell({ t: 'metrics', id, json })
  }

  #metricsOfAll(): Promise<AllMetrics | null> {
    return new Promise((resolve) => {
      const id = this.#nextAsk++
      // A guard that is gone or busy.
      const timer = setTimeout(() => this.#asks.get(id)?.(null), METRICS_MS)
      this.#asks.set(id, (all) => {
        this.#asks.delete(id)
        clearTimeout(timer)
        resolve(all)
      })
      this.#tell({ t: 'metrics-of-all', id })
    })
  }

  #tell(message: ToGuard, sent: () => void = () => {}): void {
    if (process.connected !== true) return
    process.send?.(message, undefined, undefined, (error: Error | null) => {
      // The channel is closed: 'disconnect' says the rest.
      if (error === null) sent()
    })
  }
}

/** Once, first thing in the process. @param session tests give sessions of their own */
export function runWorker(session?: SessionFactory): void {
  new Worker(session ?? null).listen()
}
