/**
 * From a profile to a provider that knows us (smtp.md §2): connect, greeting, EHLO, STARTTLS as the level says, EHLO
 * again, AUTH. The session brings each reply and closing; one of the two continuations is called, once.
 */
import { asGatewayError, GatewayError, unreachable } from '../../base/errors.ts'
import type { Secret } from '../../base/secret.ts'
import type { Provider } from '../account.ts'
import type { Asking } from '../asking.ts'
import {
  type ChannelBinding,
  chooseMechanism,
  isOAuth,
  isTokenEndpoint,
  type SaslClient,
  type SaslClientStep,
  saslClient,
} from '../sasl/client.ts'
import { type Capabilities, NO_CAPABILITIES, parseCapabilities } from './capabilities.ts'
import { isPositive, type Reply } from './reply.ts'

/** RFC 4954 §4: a longer AUTH line may not be taken; the response goes after the provider's 334 then. Octets. */
const MAX_AUTH_LINE = 512
const NONCE_OCTETS = 24

export interface ProviderLoginResult {
  readonly capabilities: Capabilities
  readonly tls: boolean
  /** The provider's yes to AUTH. */
  readonly reply: Reply
}

export interface ProviderLoginOptions {
  readonly provider: Provider
  /** The client's own name. */
  readonly helo: string
  readonly random: (octets: number) => Buffer
  readonly done: (result: ProviderLoginResult) => void
  /** `reply`: the provider's no, for relaying. */
  readonly failed: (error: GatewayError, reply: Reply | null) => void
}

/** What the provider is expected to say next; `nothing`: it is our turn, or another question is open. */
type Expecting = 'greeting' | 'ehlo' | 'starttls' | 'auth' | 'nothing' | 'over'

export class ProviderLogin {
  readonly #options: ProviderLoginOptions
  readonly #asking: Asking
  #expecting: Expecting = 'nothing'
  #tls = false
  #binding: ChannelBinding | null = null
  #capabilities: Capabilities = NO_CAPABILITIES
  #sasl: SaslClient | null = null
  /** Initial response that was too long for the AUTH line. */
  #initialLater: string | null = null

  constructor(options: ProviderLoginOptions, asking: Asking) {
    this.#options = options
    this.#asking = asking
  }

  start(): void {
    const { host, port, tls } = this.#options.provider
    this.#asking.ask(
      'connect',
      { host, port, level: tls.level, persist: tls.persist },
      (answer) => {
        this.#tls = answer.tls
        this.#binding = answer.binding ?? null
        this.#expecting = 'greeting'
      },
      (error) => this.#fail(error),
    )
  }

  /** @param more the provider sent more than this reply already */
  onReply(reply: Reply, more: boolean): void {
    this.#guarded(() => {
      switch (this.#expecting) {
        case 'greeting':
          if (reply.code === 220) this.#hello()
          else this.#fail(new GatewayError('UPSTREAM_UNEXPECTED', { at: 'greeting' }), reply)
          break
        case 'ehlo':
          this.#onHello(reply, more)
          break
        case 'starttls':
          this.#onStartTls(reply, more)
          break
        case 'auth':
          this.#onAuth(reply)
          break
        case 'nothing':
          this.#fail(new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'a reply nobody asked for' }), reply)
          break
        case 'over':
          break
        default:
          unreachable(this.#expecting)
      }
    })
  }

  onGone(): void {
    this.#fail(new GatewayError('UPSTREAM_CONNECTION', { at: this.#expecting, reason: 'closed' }))
  }

  /** The session stops waiting: nothing is called any more. */
  abandon(): void {
    this.#expecting = 'over'
  }

  #hello(): void {
    this.#expecting = 'ehlo'
    this.#asking.send('upstream', `EHLO ${this.#options.helo}\r\n`)
  }

  #onHello(reply: Reply, more: boolean): void {
    if (!isPositive(reply)) {
      this.#fail(new GatewayError('UPSTREAM_UNEXPECTED', { at: 'EHLO' }), reply)
      return
    }
    this.#capabilities = parseCapabilities(reply)
    if (this.#capabilities.xves) {
      const text = 'the server in the VESmail profile is a VESmail gateway itself'
      this.#fail(new GatewayError('UPSTREAM_UNEXPECTED', { text }))
      return
    }
    const { level } = this.#options.provider.tls
    if (this.#tls || level === 'none') {
      this.#authenticate()
      return
    }
    if (this.#capabilities.startTls) {
      // Behind an answer that starts no TLS nothing may stand that we would take for one that does.
      if (more) {
        this.#fail(new GatewayError('UPSTREAM_TLS', { reason: 'replies before STARTTLS' }))
        return
      }
      this.#expecting = 'starttls'
      this.#asking.send('upstream', 'STARTTLS\r\n')
      return
    }
    if (level === 'optional') {
      this.#authenticate()
      return
    }
    this.#fail(new GatewayError('UPSTREAM_TLS', { reason: 'STARTTLS is not offered' }))
  }

  #onStartTls(reply: Reply, more: boolean): void {
    if (reply.code !== 220) {
      this.#fail(new GatewayError('UPSTREAM_TLS', { reason: 'STARTTLS refused' }), reply)
      return
    }
    // Sent in plaintext to be read as if TLS protected it (CVE-2011-0411 and its kin).
    if (more) {
      this.#fail(new GatewayError('UPSTREAM_TLS', { reason: 'replies before the handshake' }))
      return
    }
    this.#expecting = 'nothing'
    this.#asking.ask(
      'start-tls',
      { side: 'upstream', level: this.#options.provider.tls.level },
      (answer) => {
        this.#tls = true
        this.#binding = answer.binding ?? null
        this.#hello()
      },
      (error) => this.#fail(error),
    )
  }

  #authenticate(): void {
    const { provider } = this.#options
    const { password } = provider
    const endpoint = isTokenEndpoint(password)
    const offered = this.#capabilities.auth ?? []
    const mechanism = chooseMechanism(offered, provider.sasl, endpoint, this.#binding !== null)
    const begin = (secret: Secret<string>): void => {
      const { login, host, port } = provider
      // Without -PLUS in its list the binding shows a cut list to the provider (RFC 5802 §6).
      const plus = offered.some((name) => name.toUpperCase() === 'SCRAM-SHA-256-PLUS')
      const binding = mechanism === 'SCRAM-SHA-256' && plus ? null : this.#binding
      const credentials = { login, password: secret, host, port }
      this.#sasl = saslClient(mechanism, credentials, binding, this.#options.random(NONCE_OCTETS))
      this.#begin(this.#sasl)
    }
    if (!endpoint || !isOAuth(mechanism)) {
      begin(password)
      return
    }
    this.#expecting = 'nothing'
    this.#asking.ask(
      'token',
      { endpoint: password },
      (answer) => this.#guarded(() => begin(answer.token)),
      (error) => this.#fail(error),
    )
  }

  #begin(sasl: SaslClient): void {
    this.#expecting = 'auth'
    const initial = sasl.initial === '' ? '=' : sasl.initial
    const line = initial === null ? `AUTH ${sasl.mechanism}` : `AUTH ${sasl.mechanism} ${initial}`
    if (line.length + 2 > MAX_AUTH_LINE) {
      this.#initialLater = sasl.initial
      this.#asking.send('upstream', `AUTH ${sasl.mechanism}\r\n`)
    } else {
      this.#asking.send('upstream', `${line}\r\n`)
    }
  }

  #onAuth(reply: Reply): void {
    const sasl = this.#sasl!
    if (reply.code === 334) {
      if (this.#initialLater !== null) {
        this.#asking.send('upstream', `${this.#initialLater}\r\n`)
        this.#initialLater = null
        return
      }
      this.#perform(sasl.next((reply.lines[0] ?? '').trim()))
      return
    }
    if (isPositive(reply)) {
      sasl.succeeded(null)
      this.#expecting = 'over'
      this.#options.done({ capabilities: this.#capabilities, tls: this.#tls, reply })
      return
    }
    const retry = reply.code < 500
    // A temporary no is not the user's fault.
    this.#fail(new GatewayError(retry ? 'UPSTREAM_BUSY' : 'UPSTREAM_REFUSED', { at: 'AUTH' }), reply)
  }

  #perform(step: SaslClientStep): void {
    if (step.do === 'respond') {
      this.#asking.send('upstream', `${step.base64}\r\n`)
      return
    }
    this.#expecting = 'nothing'
    this.#asking.ask(
      'derive-key',
      step.ask,
      (key) =>
        this.#guarded(() => {
          this.#expecting = 'auth'
          this.#perform(this.#sasl!.derived(key))
        }),
      (error) => this.#fail(error),
    )
  }

  #guarded(run: () => void): void {
    if (this.#expecting === 'over') return
    try {
      run()
    } catch (error) {
      this.#fail(asGatewayError(error))
    }
  }

  #fail(error: GatewayError, reply: Reply | null = null): void {
    if (this.#expecting === 'over') return
    // Failures to connect and of TLS are the driver's to log.
    if (error.code === 'UPSTREAM_UNEXPECTED') {
      const { host } = this.#options.provider
      this.#asking.log('warn', 'provider', { result: 'failed', code: error.code, host, at: this.#expecting })
    }
    this.#expecting = 'over'
    this.#options.failed(error, reply)
  }
}
