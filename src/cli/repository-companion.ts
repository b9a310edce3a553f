/**
 * The embedded key repository beside the daemon: a process of its own (`vesmail repository serve`), started before the
 * workers and started again when it dies.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { backoffMs } from '../base/backoff.ts'
import type { Config } from '../base/config/options.ts'
import { GatewayError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Companion } from '../guard/guard.ts'

const MAIN_FILE = fileURLToPath(new URL('../../bin/vesmail.ts', import.meta.url))
const START_MS = 30_000
const STOP_MS = 4000
const FIRST_DELAY_MS = 100
const MAX_DELAY_MS = 10_000
/** Having lived so long it was healthy. */
const STEADY_MS = 10_000

export class RepositoryCompanion implements Companion {
  readonly #log: Log
  readonly #mainFile: string
  #args: readonly string[] | null = null
  #child: ChildProcess | null = null
  #deaths = 0
  #timer: NodeJS.Timeout | undefined
  #stopping = false

  constructor(log: Log, mainFile = MAIN_FILE) {
    this.#log = log
    this.#mainFile = mainFile
  }

  /** @throws {GatewayError} IO where it does not come up at the first start */
  async configure(config: Config): Promise<void> {
    const args = argumentsOf(config)
    if (JSON.stringify(args) === JSON.stringify(this.#args)) return
    this.#args = args
    await this.#end()
    if (args !== null) await this.#start(args)
  }

  async stop(): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#timer)
    await this.#end()
  }

  #start(args: readonly string[]): Promise<void> {
    const child = spawn(process.execPath, [this.#mainFile, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    const begunMs = performance.now()
    this.#child = child
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), START_MS)
      let told = ''
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        told = (told + text).slice(-1000)
        if (!told.includes('ready ')) return
        clearTimeout(timer)
        this.#log.write('info', 'repository', { result: 'ready', repositoryPid: child.pid ?? null })
        resolve()
      })
      child.on('error', (error) => reject(new GatewayError('IO', { reason: error.message }, error)))
      child.on('exit', (code, signal) => {
        clearTimeout(timer)
        reject(new GatewayError('IO', { reason: 'the embedded repository does not start' }))
        if (this.#child !== child || this.#stopping) return
        this.#child = null
        this.#log.write('error', 'repository', { result: 'died', code, signal })
        this.#again(performance.now() - begunMs)
      })
    })
  }

  #again(livedMs: number): void {
    this.#deaths = livedMs >= STEADY_MS ? 0 : this.#deaths + 1
    const delayMs = this.#deaths <= 1 ? 0 : backoffMs(this.#deaths - 2, FIRST_DELAY_MS, MAX_DELAY_MS)
    this.#timer = setTimeout(() => {
      if (this.#args === null || this.#stopping) return
      // Its own exit says what failed, and brings us here again.
      this.#start(this.#args).catch((error: unknown) => {
        this.#log.write('error', 'repository', { result: 'failed', reason: String(error) })
      })
    }, delayMs)
  }

  #end(): Promise<void> {
    const child = this.#child
    this.#child = null
    if (child === null || child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      child.once('exit', () => {
        clearTimeout(timer)
        resolve()
      })
      child.kill('SIGTERM')
    })
  }
}

function argumentsOf(config: Config): string[] | null {
  const listen = config['repository.listen']
  if (listen === null) return null
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host
  const data = config['repository.data'] ?? '/var/lib/vesmail/repository'
  const settings = config['repository.config'] === null ? [] : ['--config', config['repository.config']]
  return ['repository', 'serve', '--listen', `${host}:${listen.port}`, '--data', data, ...settings]
}
