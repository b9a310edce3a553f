/**
 * Who may come in: session limits and abuse protection, at the door by address, after login by account (daemon.md §5).
 */
import type { Config } from '../base/config/options.ts'
import { GatewayError } from '../base/errors.ts'
import type { Metrics } from './metrics.ts'
import type { Protection } from './protection.ts'
import type { SessionLimits } from './session-limits.ts'

export interface AdmissionParts {
  readonly protection: Protection
  readonly limits: SessionLimits
  readonly metrics: Metrics
}

/** One client's: what it holds is given back by `leave`. */
export class Admission {
  readonly #parts: AdmissionParts
  readonly #config: Config
  readonly #held: (() => void)[] = []
  #isGone = false

  constructor(parts: AdmissionParts, config: Config) {
    this.#parts = parts
    this.#config = config
  }

  /** @returns why the client is not welcome; null: it is */
  async address(address: string): Promise<GatewayError | null> {
    return (await this.place(address)) ?? this.abuse(address)
  }

  /** @returns why an address that has its place already is not welcome */
  async abuse(address: string): Promise<GatewayError | null> {
    return (await this.#isBlocked('peer', address)) ? this.#refused('abuse', new GatewayError('ABUSE')) : null
  }

  /** A place among the sessions of its address, and nothing else. @returns why there is none; null: it has one */
  async place(address: string): Promise<GatewayError | null> {
    const leave = await this.#parts.limits.address(address, this.#config['limits.sessionsPerAddress'])
    if (leave === null) {
      return this.#refused('address', new GatewayError('TOO_MANY', { reason: 'limits.sessionsPerAddress' }))
    }
    this.#hold(leave)
    return null
  }

  /** @param config of the tenant that was chosen. @throws {GatewayError} TOO_MANY, ABUSE */
  async account(user: string, config: Config): Promise<void> {
    if (await this.#isBlocked('account', user)) throw this.#refused('abuse', new GatewayError('ABUSE'))
    const leave = await this.#parts.limits.account(user, config['limits.sessionsPerAccount'])
    if (leave === null) {
      throw this.#refused('account', new GatewayError('TOO_MANY', { reason: 'limits.sessionsPerAccount' }))
    }
    this.#hold(leave)
  }

  leave(): void {
    this.#isGone = true
    for (const leave of this.#held.splice(0)) leave()
  }

  /** A client may be gone before its place was found. */
  #hold(leave: () => void): void {
    if (this.#isGone) leave()
    else this.#held.push(leave)
  }

  async #isBlocked(subject: 'peer' | 'account', name: string): Promise<boolean> {
    return this.#config['abuse-sense'] > 0 && (await this.#parts.protection.isBlocked(subject, name))
  }

  #refused(reason: string, error: GatewayError): GatewayError {
    this.#parts.metrics.refused(reason)
    return error
  }
}
