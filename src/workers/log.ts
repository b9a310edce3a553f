/**
 * The log of the program: JSON lines by pino (daemon.md §6), to stderr or a file that can be reopened.
 *
 * Fields are flat and come from code that knows what they hold; the redaction here is the second line of defence,
 * for the day when somebody adds a field in a hurry.
 */
import { hostname } from 'node:os'
import { type DestinationStream, pino, stdTimeFunctions } from 'pino'
import type { Config } from '../base/config/options.ts'
import type { Log, LogFields, LogLevel } from '../base/log.ts'
import { classicLog } from './classic-log.ts'

/** Names of fields that may never be shown, whoever writes them. */
const FORBIDDEN = ['password', 'veskey', 'VESkey', 'token', 'secret', 'authorization', 'subject', 'body', 'key', 'pkey']

/** A client may call itself a mebibyte; a line of ours has an end. */
const MAX_CHARACTERS = 1024

export interface LogOptions {
  /** null: stderr. */
  readonly file: string | null
  readonly level: LogLevel
  readonly format: 'json' | 'classic'
  /** Fields of every line. */
  readonly fields: LogFields
}

export interface OpenLog {
  /** It and its children write to whatever is open. */
  readonly log: Log
  /**
   * After rotation, and where another configuration counts.
   * @throws of node:fs where the file cannot be opened; the log then stays what it was
   */
  reopen(config: Config): void
  flush(): void
}

export function openLog(first: LogOptions): OpenLog {
  let options = first
  let destination = destinationOf(first)
  let current = sinkLog(destination, first)
  return {
    log: following(() => current),
    reopen: (config) => {
      const next = { ...options, ...wantedBy(config) }
      // Not SonicBoom's own reopen: one that failed makes the next close the old descriptor twice.
      const opened = destinationOf(next)
      const before = destination
      options = next
      destination = opened
      current = sinkLog(opened, next)
      before.flushSync()
      // Descriptor 2 it leaves open.
      before.destroy()
    },
    flush: () => destination.flushSync(),
  }
}

function destinationOf({ file }: LogOptions): Destination {
  // Written at once: a line about a crash must not die with it.
  const destination = pino.destination({ dest: file ?? 2, sync: true, append: true, mkdir: false })
  // A full disk or a closed stderr is no reason to stop mail.
  destination.on('error', () => {})
  return destination
}

type Destination = ReturnType<typeof pino.destination>

/** A log that is made anew from the one above it when that was replaced. */
function following(above: () => Log, make: (log: Log) => Log = (log) => log): Log {
  let madeFrom = above()
  let made = make(madeFrom)
  const current = (): Log => {
    const log = above()
    if (log !== madeFrom) {
      madeFrom = log
      made = make(log)
    }
    return made
  }
  return {
    write: (level, event, fields) => current().write(level, event, fields),
    child: (fields) => following(current, (log) => log.child(fields)),
  }
}

export function pinoLog(destination: DestinationStream, level: LogLevel, fields: LogFields): Log {
  const logger = pino(
    {
      level,
      base: fields,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: FORBIDDEN, censor: '[secret]' },
    },
    destination,
  )
  return wrap(logger)
}

interface PinoLike {
  debug(fields: LogFields, event: string): void
  info(fields: LogFields, event: string): void
  warn(fields: LogFields, event: string): void
  error(fields: LogFields, event: string): void
  child(fields: Record<string, unknown>): PinoLike
}

function wrap(logger: PinoLike): Log {
  return {
    write: (level: LogLevel, event: string, fields: LogFields = {}) => logger[level](bounded(fields), event),
    child: (fields) => wrap(logger.child({ ...bounded(fields) })),
  }
}

/** The same object where nothing is too long, as nearly always. */
function bounded(fields: LogFields): LogFields {
  const isLong = (value: LogFields[string]): boolean =>
    typeof value === 'string' ? value.length > MAX_CHARACTERS : Array.isArray(value) && value.some(isLong)
  if (!Object.values(fields).some(isLong)) return fields
  const cut = (text: string): string =>
    text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}… (${text.length} characters)` : text
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      if (typeof value === 'string') return [name, cut(value)]
      return [name, Array.isArray(value) ? (value as readonly string[]).map(cut) : value]
    }),
  )
}

function sinkLog(sink: DestinationStream, { format, level, fields }: Omit<LogOptions, 'file'>): Log {
  if (format === 'json') return pinoLog(sink, level, fields)
  const host = hostname().split('.')[0] ?? 'localhost'
  return classicLog({ sink, level, host, pid: process.pid, now: () => new Date() }, fields)
}

/** As {@link logOf}, but into a stream. */
export function logInto(sink: DestinationStream, config: Config, fields: LogFields): Log {
  return sinkLog(sink, { format: config['log-format'], level: levelOf(config), fields })
}

function levelOf(config: Config): LogLevel {
  return config.debug === false || config.debug === 0 ? 'info' : 'debug'
}

/** As the configuration wants it. */
export function logOf(config: Config, fields: LogFields): OpenLog {
  return openLog({ ...wantedBy(config), fields })
}

function wantedBy(config: Config): Omit<LogOptions, 'fields'> {
  return { file: config.log, level: levelOf(config), format: config['log-format'] }
}
