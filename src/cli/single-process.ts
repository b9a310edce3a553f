/**
 * The gateway in one process, without a guard: the same listeners and the same worker application, joined directly.
 * SIGHUP takes a new configuration for new sessions; those that are open keep what they began with.
 */
import { readFileSync } from 'node:fs'
import { assertDaemons, type ConfigFile, parseConfigFile } from '../base/config/config-file.ts'
import { programConfig } from '../base/config/merge.ts'
import type { Config } from '../base/config/options.ts'
import { placedReasonOf, reasonOf } from '../base/config/places.ts'
import type { Log } from '../base/log.ts'
import { EndedCounts } from '../guard/ended-counts.ts'
import { type Companion, warningsOf } from '../guard/guard.ts'
import { type ListenAddress, Listeners, listenAddresses } from '../guard/listeners.ts'
import type { Notify } from '../guard/notify.ts'
import { compose } from '../workers/compose.ts'
import type { Metrics } from '../workers/metrics.ts'
import { VERSION } from '../workers/version.ts'
import { WorkerApp } from '../workers/worker-app.ts'

const PING_MS = 1000
const FORCED_EXIT_MS = 3500

export interface SingleProcessOptions {
  readonly file: string
  readonly log: Log
  readonly ticketKeys: Buffer
  readonly reopenLog: (config: Config) => void
  readonly notify: Notify
  readonly companions: readonly Companion[]
  readonly env: NodeJS.ProcessEnv
}

export class SingleProcess {
  readonly ended: Promise<void>
  readonly #options: SingleProcessOptions
  readonly #listeners: Listeners
  #app: WorkerApp | null = null
  /** In force. */
  #config: Config | null = null
  #addresses: readonly ListenAddress[] = []
  /** Of earlier configurations, with sessions that are still open. */
  readonly #old = new Set<WorkerApp>()
  /** Of each configuration that has sessions. */
  readonly #metrics = new Map<WorkerApp, Metrics>()
  /** Of those that have none any more. */
  readonly #counted = new EndedCounts()
  #reloading: Promise<void> = Promise.resolve()
  #stopping = false
  #settle: () => void = () => {}

  constructor(options: SingleProcessOptions) {
    this.#options = options
    this.ended = new Promise((resolve) => {
      this.#settle = resolve
    })
    this.#listeners = new Listeners((listener, socket) => this.#app?.accept(listener, socket), options.log)
  }

  async start(): Promise<void> {
    const file = this.#read()
    const config = programConfig(file)
    for (const companion of this.#options.companions) await companion.configure(config)
    this.#app = await this.#make(file)
    this.#config = config
    const addresses = listenAddresses(file)
    this.#addresses = addresses
    await this.#listeners.inherit(addresses, this.#options.env, process.pid)
    await this.#listeners.open(addresses)
    const timer = setInterval(() => this.#options.notify.alive(), PING_MS)
    void this.ended.then(() => clearInterval(timer))
    this.#options.notify.ready()
    this.#options.log.write('info', 'ready', {
      workers: 0,
      listeners: addresses.map(({ host, port }) => `${host ?? '*'}:${port}`),
    })
  }

  reload(): void {
    this.#reloading = this.#reloading.then(async () => {
      const { log } = this.#options
      // Whatever becomes of the reload: the file may have been rotated.
      if (this.#config !== null) this.#reopenLog(this.#config)
      try {
        const file = this.#read()
        // First what may fail, and leaves nothing behind when it does.
        const addresses = listenAddresses(file)
        await this.#listeners.open(addresses)
        const app = await this.#make(file).catch((error: unknown) => {
          this.#listeners.keep(this.#addresses)
          throw error
        })
        const before = this.#app
        this.#app = app
        this.#addresses = addresses
        this.#listeners.keep(addresses)
        if (before !== null) this.#retire(before)
        const config = programConfig(file)
        this.#config = config
        this.#reopenLog(config)
        for (const companion of this.#options.companions) await companion.configure(config)
        log.write('info', 'reloaded')
      } catch (error) {
        const reason = placedReasonOf(error)
        log.write('error', 'reload failed', { reason })
      }
    })
  }

  /** Mail goes on where it cannot be opened, and the log where it went before. */
  #reopenLog(config: Config): void {
    try {
      this.#options.reopenLog(config)
    } catch (error) {
      this.#options.log.write('error', 'log', { result: 'kept as it was', reason: reasonOf(error) })
    }
  }

  stop(forced: boolean): void {
    this.#options.log.write('info', 'stopping', { forced })
    this.#stopping = true
    this.#options.notify.stopping()
    this.#listeners.keep([])
    if (forced) setTimeout(() => void this.#end(), FORCED_EXIT_MS).unref()
    const apps = [...this.#old, ...(this.#app === null ? [] : [this.#app])]
    for (const app of apps) app.drain(forced, true, this.#listeners.isInherited)
    void Promise.all(apps.map((app) => app.drained)).then(() => this.#end())
  }

  async #end(): Promise<void> {
    for (const companion of this.#options.companions) await companion.stop()
    this.#settle()
  }

  /** Sessions of the old configuration go on; without a new process there is no reason to send them away. */
  #retire(app: WorkerApp): void {
    this.#old.add(app)
    void app.retired().then(async () => {
      this.#old.delete(app)
      this.#counted.add((await this.#metrics.get(app)?.json()) ?? [])
      this.#metrics.delete(app)
      if (!this.#stopping) await app.close()
    })
  }

  #read(): ConfigFile {
    const { file, log } = this.#options
    const parsed = parseConfigFile(readFileSync(file, 'utf8'), file)
    assertDaemons(parsed)
    for (const reason of warningsOf(parsed)) log.write('warn', 'configuration', { reason })
    return parsed
  }

  async #make(file: ConfigFile): Promise<WorkerApp> {
    const { log, ticketKeys } = this.#options
    const composition = compose({ file, log, ticketKeys, workers: 1 })
    const app = await WorkerApp.start({
      file,
      composition,
      log,
      version: VERSION,
      metricsOfAll: async () => {
        const parts = await Promise.all([...this.#metrics.values()].map((metrics) => metrics.json()))
        return { parts: [...parts, this.#counted.json()], guard: null }
      },
    }).catch(async (error: unknown) => {
      // Threads, connections, the state file: a reload that fails comes again, until the file is right.
      await composition.close()
      throw error
    })
    this.#metrics.set(app, composition.metrics)
    return app
  }
}
