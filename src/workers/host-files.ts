/**
 * Configuration files of single hosts: prefix + host + suffix, read when a client asks for the name, kept within a
 * bound, read again when they change; a file that is gone is a tenant that is gone (daemon.md §1, `sni`).
 */
import { readFile, stat } from 'node:fs/promises'
import { type ConfigFile, parseConfigFile, printConfigError } from '../base/config/config-file.ts'
import { reasonOf } from '../base/config/places.ts'
import { asGatewayError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'

const RECHECK_MS = 1000

interface Entry<T> {
  /** null: there is no such file. */
  readonly value: T | null
  readonly stamp: string
  checkedMs: number
}

/** Lower case letters, digits, hyphens and underscores in labels: nothing that a path could be made of. */
const HOST_NAME =
  /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/

/** @returns the name as files spell it, or null for what is no host name */
export function hostFileName(servername: string): string | null {
  const name = servername.toLowerCase().replace(/\.$/, '')
  return HOST_NAME.test(name) ? name : null
}

export interface HostFilesOptions {
  readonly prefix: string
  readonly suffix: string
  readonly maxEntries: number
  readonly log: Log
  readonly nowMs?: () => number
}

/** @typeParam T what is made of a file, once per version of it */
export class HostFiles<T> {
  readonly #options: HostFilesOptions
  readonly #make: (file: ConfigFile, host: string) => Promise<T>
  readonly #nowMs: () => number
  /** In order of use, the oldest first. Absent files are remembered, too: strangers ask for many. */
  readonly #entries = new Map<string, Entry<T>>()
  /** Two handshakes for one name read it once. */
  readonly #reading = new Map<string, Promise<T | null>>()

  constructor(options: HostFilesOptions, make: (file: ConfigFile, host: string) => Promise<T>) {
    this.#options = options
    this.#make = make
    this.#nowMs = options.nowMs ?? (() => performance.now())
  }

  get size(): number {
    return this.#entries.size
  }

  /**
   * @returns null: no such tenant. A file that is there but unusable is refused: the main settings would be a
   * stranger's. @throws {GatewayError} CONFIG_INVALID
   */
  async find(servername: string): Promise<T | null> {
    const host = hostFileName(servername)
    if (host === null) return null
    const known = this.#entries.get(host)
    if (known !== undefined) {
      this.#entries.delete(host)
      this.#entries.set(host, known)
      if (this.#nowMs() - known.checkedMs < RECHECK_MS) return known.value
    }
    const pending = this.#reading.get(host)
    if (pending !== undefined) return pending
    const reading = this.#read(host, known).finally(() => this.#reading.delete(host))
    this.#reading.set(host, reading)
    return reading
  }

  async #read(host: string, known: Entry<T> | undefined): Promise<T | null> {
    const { prefix, suffix, log } = this.#options
    const path = `${prefix}${host}${suffix}`
    const stamp = await stampOf(path)
    const checkedMs = this.#nowMs()
    if (known?.stamp === stamp) {
      known.checkedMs = checkedMs
      return known.value
    }
    if (stamp === '') {
      this.#keep(host, { value: null, stamp, checkedMs })
      return null
    }
    try {
      const file = parseConfigFile(await readFile(path, 'utf8'), path, 'host')
      for (const reason of file.warnings) log.write('warn', 'configuration', { host, reason })
      const value = await this.#make(file, host)
      this.#keep(host, { value, stamp, checkedMs })
      return value
    } catch (error) {
      const { detail } = asGatewayError(error)
      log.write('error', 'configuration', {
        host,
        reason: 'line' in detail ? printConfigError(detail) : reasonOf(error),
      })
      throw error
    }
  }

  #keep(host: string, entry: Entry<T>): void {
    this.#entries.delete(host)
    this.#entries.set(host, entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#options.maxEntries) break
      this.#entries.delete(oldest)
    }
  }
}

/** What a name may be that no file has. ENAMETOOLONG: a host name and its suffix may be longer than a file's name. */
const ABSENT: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'])

/** Empty where there is no file. */
async function stampOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(path)
    return `${mtimeMs}/${size}/${ino}`
  } catch (error) {
    if (ABSENT.has((error as NodeJS.ErrnoException).code)) return ''
    throw error
  }
}
