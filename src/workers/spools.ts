/** The spool directories of all tenants: one object each, and what is too old in them deleted from time to time. */
import type { Config } from '../base/config/options.ts'
import type { Log } from '../base/log.ts'
import type { Spool } from '../net/now/spool.ts'
import { DirectorySpool } from '../net/now/spool-directory.ts'

const DAY_MS = 86_400_000
/** Each worker looks; at a time of its own, so that seldom two do the same work. */
const EXPIRE_EVERY_MS = 900_000
/** Directories remembered; tenants come and go with their files. */
const MAX_SPOOLS = 10_000

export class Spools {
  readonly #spools = new Map<string, Spool>()
  readonly #log: Log
  readonly #timer: NodeJS.Timeout

  constructor(log: Log) {
    this.#log = log
    const everyMs = EXPIRE_EVERY_MS * (0.75 + Math.random() / 2)
    this.#timer = setInterval(() => this.#expire(), everyMs).unref()
  }

  /** @returns null where nothing is spooled (`now.dir`) */
  of(config: Config): Spool | null {
    const directory = config['now.dir']
    if (directory === null) return null
    const limits = [config['now.maxsize'], config['now.retention.days'], config['now.retention.bytes']]
    // The limits are part of the name: a tenant whose limits changed gets a new object.
    const name = JSON.stringify([directory, ...limits])
    let spool = this.#spools.get(name)
    if (spool === undefined) {
      spool = directorySpool(directory, config)
      if (this.#spools.size >= MAX_SPOOLS) this.#spools.delete(this.#spools.keys().next().value as string)
      this.#spools.set(name, spool)
    }
    return spool
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #expire(): void {
    for (const spool of this.#spools.values()) {
      spool.expire(Date.now()).then(
        (deleted) => {
          if (deleted > 0) this.#log.write('info', 'spool', { result: 'expired', deleted })
        },
        (error: unknown) => {
          const reason = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : 'unknown'
          this.#log.write('error', 'spool', { result: 'expiry failed', reason })
        },
      )
    }
  }
}

export function directorySpool(directory: string, config: Config): DirectorySpool {
  const maxOctets = config['now.maxsize']
  const days = config['now.retention.days']
  const octets = config['now.retention.bytes']
  return new DirectorySpool(directory, {
    maxOctets: maxOctets <= 0 ? null : maxOctets,
    maxAgeMs: days === 0 ? null : days * DAY_MS,
    maxTotalOctets: octets === 0 ? null : octets,
  })
}
