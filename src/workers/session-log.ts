/**
 * A session's log: what it writes also moves the numbers and the abuse scores, so that no event is counted in one
 * place and missed in another (daemon.md §5, §6).
 */
import type { Service } from '../base/config/config-file.ts'
import type { Log, LogFields, LogLevel } from '../base/log.ts'
import type { DriveEnd } from '../net/drive.ts'
import type { Endpoint } from '../net/proxy-protocol.ts'
import type { Metrics } from './metrics.ts'
import type { AbuseEvent, Protection } from './protection.ts'

export interface SessionLogParts {
  readonly metrics: Metrics
  readonly protection: Protection
  readonly service: Service
  /** `abuse-sense`; 0 = off. */
  readonly sense: number
  readonly client: Endpoint
  /** Where it came in. */
  readonly local: Endpoint
}

export class SessionLog implements Log {
  readonly #log: Log
  readonly #parts: SessionLogParts
  #account: string | null = null
  #user: string | null = null

  constructor(log: Log, parts: SessionLogParts) {
    this.#log = log
    this.#parts = parts
  }

  /** The client has proved who it is. */
  user(account: string, email: string): void {
    this.#account = account
    this.#user = email
  }

  write(level: LogLevel, event: string, fields: LogFields = {}): void {
    if (event === 'login') this.#login(level, fields)
    else this.#log.write(level, event, fields)
    if (event === 'provider') this.#parts.metrics.provider(this.#parts.service, String(fields.result))
  }

  child(): Log {
    return this
  }

  ended(end: DriveEnd): void {
    const why = typeof end.why === 'string' ? end.why : end.why.code
    this.#log.write('info', 'bytes', {
      why,
      account: this.#account,
      durationMs: end.durationMs,
      fromClient: end.fromClientOctets,
      toClient: end.toClientOctets,
      fromUpstream: end.fromUpstreamOctets,
      toUpstream: end.toUpstreamOctets,
    })
  }

  #login(level: LogLevel, fields: LogFields): void {
    const { client, local, metrics, service } = this.#parts
    this.#log.write(level, 'login', {
      ...fields,
      user: this.#user,
      local: local.address,
      localPort: local.port,
      peer: client.address,
      peerPort: client.port,
    })
    const { result, code } = fields
    metrics.login(service, result === 'ok' ? 'ok' : String(code ?? result ?? 'failed'))
    if (result === 'ok') this.#count('success')
    else if (code === 'UPSTREAM_REFUSED') this.#count('refused')
    else if (code === 'BAD_CREDENTIALS') this.#count('wrong-veskey')
    else if (code === 'UPSTREAM_TLS' || code === 'UPSTREAM_UNEXPECTED') this.#count('unreachable')
  }

  #count(event: AbuseEvent): void {
    const { sense, protection, client } = this.#parts
    protection.count(event, sense, { peer: client.address, account: this.#user })
  }
}
