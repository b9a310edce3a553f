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
import { readRepositoryConfig } from './repository-config.ts'

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
  #isConfigured = false

  constructor(log: Log, mainFile = MAIN_FILE) {
    this.#log = log
    this.#mainFile = mainFile
  }

  /** @throws {GatewayError} IO where it does not come up at the first start */
  async configure(config: Config): Promise<void> {
    let args: string[] | null
    try {
      args = repositoryArguments(config)
    } catch (error) {
      // At a reload the one that runs goes on as it was.
      if (!this.#isConfigured || !(error instanceof GatewayError)) throw error
      this.#log.write('error', 'repository', {
        result: 'kept as it was',
        reason: String(error.detail.reason ?? error.detail.text),
      })
      return
    }
    this.#isConfigured = true
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

/** @returns null where no repository is embedded. @throws {GatewayError} CONFIG_INVALID naming the option */
export function repositoryArguments(config: Config): string[] | null {
  const listen = config['repository.listen']
  if (listen === null) return null
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host
  const data = config['repository.data'] ?? '/var/lib/vesmail/repository'
  const file = config['repository.config']
  const domains = config['repository.domains']
  return [
    ...['repository', 'serve', '--listen', `${host}:${listen.port}`, '--data', data],
    ...(file === null ? [] : ['--config', file]),
    ...databaseArguments(config),
    // Those of the command line are all that are served.
    ...(domains === null ? [] : ['vesmail', ...domains]).flatMap((domain) => ['--domain', domain]),
    ...(config['repository.origins'] ?? []).flatMap((origin) => ['--origin', origin]),
  ]
}

function databaseArguments(config: Config): string[] {
  const url = config['repository.url']
  if (config['repository.store'] === 'sqlite') {
    if (url !== null) throw invalid('repository.url', 'is for repository.store "postgresql", which is "sqlite"')
    return []
  }
  if (url === null) {
    if (readRepositoryConfig(config['repository.config']).database !== undefined) return []
    throw invalid('repository.url', 'is needed with repository.store "postgresql", or "database" in repository.config')
  }
  if (!/^postgres(ql)?:\/\//.test(url) || !URL.canParse(url)) throw invalid('repository.url', 'expected postgresql://…')
  // Everybody on this machine can read the arguments of a process.
  const { password, searchParams } = new URL(url)
  if (password !== '' || searchParams.has('password')) {
    throw invalid('repository.url', 'has a password: put it as "database" into the file of repository.config, mode 600')
  }
  return ['--database', url]
}

function invalid(key: string, text: string): GatewayError {
  return new GatewayError('CONFIG_INVALID', { key, text, reason: `${key} ${text}` })
}
