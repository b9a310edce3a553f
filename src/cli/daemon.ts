/**
 * `vesmail daemon`: the gateway as a service. With workers (`-G`, or `workers` in the configuration) under a guard,
 * else all in this process.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { type ConfigFile, parseConfigFile } from '../base/config/config-file.ts'
import { programConfig } from '../base/config/merge.ts'
import type { Config } from '../base/config/options.ts'
import { atOption, layersOf, placedReasonOf } from '../base/config/places.ts'
import { asGatewayError, GatewayError, messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { Guard } from '../guard/guard.ts'
import { systemdNotify } from '../guard/notify.ts'
import { makeFolder } from '../net/make-folder.ts'
import { COLLECTOR_FLAGS } from '../workers/collector.ts'
import { prepareCertificate, stateDirectory } from '../workers/compose.ts'
import { logOf, type OpenLog } from '../workers/log.ts'
import { prepareViewer } from '../workers/now-site.ts'
import { UsageError } from './exit.ts'
import { RepositoryCompanion } from './repository-companion.ts'
import { SingleProcess } from './single-process.ts'

export const DEFAULT_CONFIG = '/etc/vesmail/vesmail.conf'
const WORKER_FILE = fileURLToPath(new URL('../workers/worker-entry.ts', import.meta.url))
const CONFIG_EXIT = 67
const IO_EXIT = 65
const INTERNAL_EXIT = 80

interface DaemonOptions {
  readonly conf: string
  /** How often `-G` was given, or its number. */
  readonly guard?: number
  readonly debug?: true
}

export function daemonCommand(): Command {
  return new Command('daemon')
    .description('run the gateway')
    .option('-C, --conf <file>', 'configuration file', DEFAULT_CONFIG)
    .option('-G, --guard [n]', 'run n workers under a guard; -GG is two', countGuards)
    .option('-x, --debug', 'log debug lines')
    .action((options: DaemonOptions) => runDaemon(options))
}

/** `-G` once or more, bundled or not, or `--guard=3`. */
function countGuards(value: string | undefined, before: number | undefined): number {
  if (value === undefined || value === '') return (before ?? 0) + 1
  // commander takes what follows a short option for its value: in -GG that is "G".
  if (/^G+$/.test(value)) return (before ?? 0) + 1 + value.length
  const given = Number(value.replace(/^=/, ''))
  if (!Number.isInteger(given) || given < 0 || given > 256) {
    throw new UsageError(`--guard=${value}: expected 0 to 256`)
  }
  return given
}

export async function runDaemon(options: DaemonOptions): Promise<void> {
  let log: OpenLog | null = null
  try {
    const file = parseConfigFile(readText(options.conf), options.conf)
    const config = programConfig(options.debug === true ? debugging(file) : file)
    log = atOption('log', layersOf(file, null), () => logOf(config, { pid: process.pid }))
    const cacheDirectory = compileCache(config)
    const workers = options.guard ?? config['workers.count']
    prepareCertificate(file)
    prepareViewer(file, log.log)
    process.exitCode = workers > 0 ? await guarded(options, workers, log, cacheDirectory) : await single(options, log)
    log.flush()
    // Keep-alive connections of libraries shall not hold the process.
    process.exit()
  } catch (error) {
    const { code } = asGatewayError(error)
    const reason = placedReasonOf(error)
    if (log === null) process.stderr.write(`vesmail: ${reason}\n`)
    else log.log.write('error', 'start failed', { code, reason })
    process.exit(code === 'CONFIG_INVALID' ? CONFIG_EXIT : code === 'IO' ? IO_EXIT : INTERNAL_EXIT)
  }
}

/** null: it cannot be made, which Node itself would try for ever in some places. Workers say so of their state. */
function compileCache(config: Config): string | null {
  const directory = join(stateDirectory(config), 'compile-cache')
  try {
    makeFolder(directory, 0o700)
    return directory
  } catch (error) {
    if (error instanceof Error && 'code' in error) return null
    throw error
  }
}

async function guarded(
  options: DaemonOptions,
  workers: number,
  opened: OpenLog,
  cacheDirectory: string | null,
): Promise<number> {
  const log = opened.log
  const env = { ...process.env }
  const guard = new Guard({
    file: options.conf,
    workers: options.guard === undefined ? null : workers,
    workerFile: WORKER_FILE,
    workerFlags: COLLECTOR_FLAGS,
    log,
    reopenLog: (config) => opened.reopen(options.debug === true ? { ...config, debug: true } : config),
    notify: systemdNotify(env, process.pid, log, () => performance.now()),
    companions: [new RepositoryCompanion(log)],
    env,
    ...(cacheDirectory === null ? {} : { cacheDirectory }),
  })
  const life = onSignals(log, {
    reload: () => guard.reload(),
    stop: (forced) => guard.stop(forced),
  })
  await guard.start()
  const { exitCode } = await guard.ended
  return life.isBroken ? INTERNAL_EXIT : exitCode
}

async function single(options: DaemonOptions, opened: OpenLog): Promise<number> {
  const env = { ...process.env }
  const program = new SingleProcess({
    file: options.conf,
    log: opened.log,
    ticketKeys: randomBytes(48),
    reopenLog: (config) => opened.reopen(options.debug === true ? { ...config, debug: true } : config),
    notify: systemdNotify(env, process.pid, opened.log, () => performance.now()),
    companions: [new RepositoryCompanion(opened.log)],
    env,
  })
  const life = onSignals(opened.log, {
    reload: () => program.reload(),
    stop: (forced) => program.stop(forced),
  })
  await program.start()
  await program.ended
  return life.isBroken ? INTERNAL_EXIT : 0
}

/** @returns whether a bug of our own ends us: that is no exit code 0, or nobody would start us again */
function onSignals(
  log: Log,
  to: { reload: () => void; stop: (forced: boolean) => void },
): { readonly isBroken: boolean } {
  const life = { isBroken: false }
  process.on('SIGHUP', () => to.reload())
  process.on('SIGINT', () => to.stop(false))
  process.on('SIGTERM', () => to.stop(true))
  process.on('uncaughtException', (error) => {
    log.write('error', 'guard broken', { at: error.stack?.split('\n').slice(0, 3).join(' | ') ?? error.name })
    life.isBroken = true
    to.stop(true)
  })
  return life
}

function debugging(file: ConfigFile): ConfigFile {
  return { ...file, all: new Map([...file.all, ['debug', { value: true, at: { line: 0, column: 0 } }]]) }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw configFailure(path, error)
  }
}

/** A file that cannot be read is a configuration that cannot be used. */
export function configFailure(path: string, error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  const reason = messageOf(error)
  return new GatewayError('CONFIG_INVALID', { file: path, reason }, error)
}
