/**
 * The spools of all tenants, in a directory (`now.dir`) or an object store (`now.s3`): one object each, and what is too old
 * in them deleted from time to time.
 */
import type { Config } from '../base/config/options.ts'
import { GatewayError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Spool, SpoolLimits } from '../net/now/spool.ts'
import { DirectorySpool } from '../net/now/spool-directory.ts'
import { readS3Credentials, S3Spool } from '../net/now/spool-s3.ts'

const DAY_MS = 86_400_000
/** Each worker looks; at a time of its own, so that seldom two do the same work. */
const EXPIRE_EVERY_MS = 900_000
/** Spools remembered; tenants come and go with their files. */
const MAX_SPOOLS = 10_000

export class Spools {
  readonly #spools = new Map<string, Spool>()
  /** By options, which are frozen: this is asked for each message. */
  readonly #known = new WeakMap<Config, Spool | null>()
  readonly #log: Log
  readonly #timer: NodeJS.Timeout

  constructor(log: Log) {
    this.#log = log
    const everyMs = EXPIRE_EVERY_MS * (0.75 + Math.random() / 2)
    this.#timer = setInterval(() => this.#expire(), everyMs).unref()
  }

  /** For a listener's own options, before it serves. @throws {GatewayError} CONFIG_INVALID */
  check(config: Config): void {
    this.#known.set(config, this.#find(config))
  }

  /** @returns null where nothing is spooled, or, as the log says then, where the configuration does not allow it */
  of(config: Config): Spool | null {
    let spool = this.#known.get(config)
    if (spool === undefined) {
      spool = null
      try {
        spool = this.#find(config)
      } catch (error) {
        this.#failed('unusable', error)
      }
      this.#known.set(config, spool)
    }
    return spool
  }

  #find(config: Config): Spool | null {
    // All that it is made of is its name: a tenant whose limits changed gets a new object.
    const name = JSON.stringify(
      Object.entries(config).filter(([key]) => /^now\.(?:dir|maxsize|retention|s3)/.test(key)),
    )
    let spool = this.#spools.get(name) ?? null
    if (spool === null) {
      spool = spoolOf(config, this.#log)
      if (spool === null) return null
      if (this.#spools.size >= MAX_SPOOLS) this.#forget(this.#spools.keys().next().value as string)
      this.#spools.set(name, spool)
    }
    return spool
  }

  close(): void {
    clearInterval(this.#timer)
    for (const name of [...this.#spools.keys()]) this.#forget(name)
  }

  #forget(name: string): void {
    const spool = this.#spools.get(name)
    this.#spools.delete(name)
    spool?.close().catch((error: unknown) => this.#failed('close failed', error))
  }

  #expire(): void {
    for (const spool of this.#spools.values()) {
      spool.expire(Date.now()).then(
        (deleted) => {
          if (deleted > 0) this.#log.write('info', 'spool', { result: 'expired', deleted })
        },
        (error: unknown) => this.#failed('expiry failed', error),
      )
    }
  }

  #failed(result: string, error: unknown): void {
    this.#log.write('error', 'spool', { result, reason: reasonOf(error) })
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof GatewayError) {
    const { reason, key, text } = error.detail
    return String(reason ?? (key === undefined ? error.code : `${key}: ${text}`))
  }
  return error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : 'unknown'
}

/** @returns null where nothing is spooled. @throws {GatewayError} CONFIG_INVALID */
export function spoolOf(config: Config, log: Log): Spool | null {
  const bucket = config['now.s3.bucket']
  if (bucket !== null) return objectSpool(bucket, config, log)
  const directory = config['now.dir']
  return directory === null ? null : new DirectorySpool(directory, limitsOf(config))
}

function objectSpool(bucket: string, config: Config, log: Log): Spool {
  const invalid = (key: string, text: string) => new GatewayError('CONFIG_INVALID', { key, text })
  const file = config['now.s3.credentials']
  if (file === null) throw invalid('now.s3.credentials', 'a file with the keys of now.s3.bucket is needed')
  const region = config['now.s3.region']
  const endpoint = config['now.s3.endpoint'] ?? `https://s3.${region}.amazonaws.com`
  if (!/^https?:\/\/[^/?#@]+\/?$/.test(endpoint))
    throw invalid('now.s3.endpoint', 'expected https://host or https://host:port')
  const { credentials, isOpen } = readS3Credentials(file)
  if (isOpen) log.write('warn', 'configuration', { key: 'now.s3.credentials', reason: 'readable by others: chmod 600' })
  const prefix = config['now.s3.prefix'] ?? ''
  const caBundle = config['now.s3.caBundle']
  return new S3Spool({ endpoint, region, bucket, prefix, credentials, caBundle }, limitsOf(config))
}

function limitsOf(config: Config): SpoolLimits {
  const maxOctets = config['now.maxsize']
  const days = config['now.retention.days']
  const octets = config['now.retention.bytes']
  return {
    maxOctets: maxOctets <= 0 ? null : maxOctets,
    maxAgeMs: days === 0 ? null : days * DAY_MS,
    maxTotalOctets: octets === 0 ? null : octets,
  }
}
