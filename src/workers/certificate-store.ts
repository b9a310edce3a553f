/**
 * Server certificates by their files: loaded once, shared by all who name them, loaded anew when a file changes
 * (renewal by a cron job needs no HUP). A pair that is broken in the moment of its renewal leaves the old one in use.
 */
import type { Stats } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { GatewayError, messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type ServerTls, type ServerTlsOptions, serverTls } from '../net/tls.ts'

/** Looking at a file's time costs 50 µs in the thread pool: not more often than that. */
const RECHECK_MS = 1000

interface Entry {
  readonly context: ServerTls['context']
  readonly stamp: string
  checkedMs: number
}

export interface CertificateName {
  readonly cert: string
  readonly pkey: string
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3'
  /** Not where clients may name hosts: a resumed session would lose the name. */
  readonly isResumable: boolean
}

export class CertificateStore {
  readonly #maxEntries: number
  readonly #ticketKeys: Buffer
  readonly #log: Log
  readonly #nowMs: () => number
  /** In order of use, the oldest first. */
  readonly #entries = new Map<string, Entry>()

  constructor(maxEntries: number, ticketKeys: Buffer, log: Log, nowMs: () => number = () => performance.now()) {
    this.#maxEntries = maxEntries
    this.#ticketKeys = ticketKeys
    this.#log = log
    this.#nowMs = nowMs
  }

  get size(): number {
    return this.#entries.size
  }

  /** @throws {GatewayError} CONFIG_INVALID where the pair cannot be used and never could */
  async context(name: CertificateName): Promise<ServerTls['context']> {
    const key = `${name.cert}\0${name.pkey}\0${name.minVersion}\0${name.isResumable}`
    const known = this.#entries.get(key)
    const nowMs = this.#nowMs()
    if (known !== undefined) {
      this.#entries.delete(key)
      this.#entries.set(key, known)
      if (nowMs - known.checkedMs < RECHECK_MS) return known.context
      known.checkedMs = nowMs
    }
    try {
      const pkeyStat = await stat(name.pkey)
      const stamp = `${stampOf(await stat(name.cert))} ${stampOf(pkeyStat)}`
      if (known?.stamp === stamp) return known.context
      const [cert, pkey] = await Promise.all([readFile(name.cert), readFile(name.pkey)])
      const options: ServerTlsOptions = {
        minVersion: name.minVersion,
        ticketKeys: this.#ticketKeys,
        isResumable: name.isResumable,
      }
      const { context } = serverTls(cert, pkey, options)
      this.#entries.delete(key)
      this.#entries.set(key, { context, stamp, checkedMs: nowMs })
      this.#trim()
      if ((pkeyStat.mode & 0o007) !== 0) {
        const reason = 'can be read by everybody: chmod 640, and change the key'
        this.#log.write('warn', 'certificate', { result: 'exposed', file: name.pkey, reason })
      }
      if (known !== undefined) this.#log.write('info', 'certificate', { result: 'reloaded', file: name.cert })
      return context
    } catch (error) {
      const reason = messageOf(error)
      this.#log.write('error', 'certificate', { result: 'failed', file: name.cert, reason })
      if (known !== undefined) return known.context
      throw new GatewayError('CONFIG_INVALID', { reason: `certificate ${name.cert}: ${reason}` }, error)
    }
  }

  #trim(): void {
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= this.#maxEntries) break
      this.#entries.delete(key)
    }
  }
}

function stampOf({ mtimeMs, size, ino }: Stats): string {
  return `${mtimeMs}/${size}/${ino}`
}
