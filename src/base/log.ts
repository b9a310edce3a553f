/**
 * What the layers below the workers see of logging: an interface, so that engine and net stay free of pino.
 * Fields never hold a password, VESkey, token, key, subject or body, at any level (daemon.md §6).
 */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export type LogFields = Readonly<Record<string, string | number | boolean | null | readonly string[] | undefined>>

export interface Log {
  /** @param event a stable name that programs match on, e.g. `login` */
  write(level: LogLevel, event: string, fields?: LogFields): void
  /** A log that adds these fields to each line. */
  child(fields: LogFields): Log
}

export const silentLog: Log = { write: () => {}, child: () => silentLog }
