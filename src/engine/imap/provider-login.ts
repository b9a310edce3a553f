/**
 * From the provider's greeting to its "OK, logged in" (imap.md §2): STARTTLS as the level says, capabilities, SASL or
 * LOGIN. One object per connection; afterwards the session takes over. Nothing the provider says in plaintext before
 * STARTTLS is believed afterwards.
 */
import { GatewayError } from '../../base/errors.ts'
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
import { filterLine, findCapabilities } from './capabilities.ts'
import type { Framer } from './framer.ts'
import { parseHead } from './response.ts'
import { withoutReferral } from './rewrites.ts'

export interface LoggedIn {
  /** Upper-cased; as told after login. */
  readonly capabilities: ReadonlySet<string>
  /** Rest of the tagged OK behind the tag, CRLF included, capability list filtered. */
  readonly okText: Buffer
  /** Untagged lines of the login that belong to the client. */
  readonly untagged: readonly Buffer[]
}

export interface ProviderLoginOptions {
  readonly provider: Provider
  readonly tls: boolean
  readonly binding: ChannelBinding | null
  readonly random: (octets: number) => Buffer
  readonly out: Asking
  /** For what was read before a handshake. */
  readonly framer: Framer
  readonly done: (result: LoggedIn) => void
  /** The connection is of no use any more. `relay`: the provider's own words for the client. */
  readonly failed: (error: GatewayError) => void
}

type State =
  | {
      readonly in:
        | 'greeting'
        | 'capability-before-tls'
        | 'starttls'
        | 'handshake'
        | 'capability'
        | 'waiting'
        | 'capability-after'
    }
  | { readonly in: 'login'; readonly literals: Buffer[] }
  | { readonly in: 'sasl'; readonly client: SaslClient }

/** Lines that one login may bring: banners and capabilities, not a flood. */
const MAX_LINES = 200

export class ProviderLogin {
  readonly #options: ProviderLoginOptions
  #state: State = { in: 'greeting' }
  #tls: boolean
  #binding: ChannelBinding | null
  #capabilities: string[] | null = null
  #lines = 0
  #tag = 0
  #preauth = false
  #okText: Buffer = Buffer.from(' OK Logged in\r\n')
  #untagged: Buffer[] = []

  constructor(options: ProviderLoginOptions) {
    this.#options = options
    this.#tls = options.tls
    this.#binding = options.binding
  }

  /** One line of the provider. Failures are told by `failed`, once. */
  line(line: Buffer): void {
    try {
      this.#line(line)
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      this.#fail(error)
    }
  }

  #line(line: Buffer): void {
    if (++this.#lines > MAX_LINES) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'too many lines' })
    const head = parseHead(line)
    const found = findCapabilities(line)
    if (found !== null) this.#take(found.words)
    if (this.#state.in === 'greeting') {
      if (head.type !== 'status') throw unexpected(line)
      if (head.status === 'PREAUTH') this.#preauth = true
      else if (head.status !== 'OK') throw refused(line)
      this.#greeted()
      return
    }
    if (head.type === 'status' && head.status === 'BYE') throw refused(line)
    if (head.type === 'continuation') {
      this.#continuation(line)
      return
    }
    if (head.type !== 'tagged') {
      if (this.#state.in === 'login' || this.#state.in === 'sasl') this.#untagged.push(filterLine(line))
      return
    }
    if (head.tag !== `VES${this.#tag}`) throw unexpected(line)
    this.#tagged(line, head.status === 'OK')
  }

  #take(words: readonly string[]): void {
    this.#capabilities = words.map((word) => word.toUpperCase())
    // A proxy behind a proxy: most likely ourselves, for ever.
    if (this.#capabilities.includes('XVES')) {
      throw new GatewayError('UPSTREAM_UNEXPECTED', { text: 'the provider of the profile is a VESmail proxy itself' })
    }
  }

  #greeted(): void {
    const { level } = this.#options.provider.tls
    if (this.#tls || level === 'none') {
      this.#withCapabilities()
      return
    }
    if (this.#preauth) {
      // RFC 9051 §7.1.4: STARTTLS is not possible any more.
      if (level === 'optional') {
        this.#withCapabilities()
        return
      }
      throw new GatewayError('UPSTREAM_TLS', { reason: 'PREAUTH without TLS' })
    }
    if (this.#capabilities !== null) {
      this.#decideTls()
      return
    }
    this.#command('CAPABILITY', { in: 'capability-before-tls' })
  }

  #decideTls(): void {
    const { level } = this.#options.provider.tls
    if (this.#has('STARTTLS')) {
      this.#command('STARTTLS', { in: 'starttls' })
      return
    }
    if (level !== 'optional') throw new GatewayError('UPSTREAM_TLS', { reason: 'the provider offers no STARTTLS' })
    this.#withCapabilities()
  }

  #withCapabilities(): void {
    if (this.#capabilities === null) {
      this.#command('CAPABILITY', { in: 'capability' })
      return
    }
    this.#authenticate()
  }

  #tagged(line: Buffer, ok: boolean): void {
    const { provider, out, framer } = this.#options
    switch (this.#state.in) {
      case 'capability-before-tls':
        if (!ok || this.#capabilities === null) throw unexpected(line)
        {
          this.#decideTls()
          return
        }
      case 'starttls':
        if (!ok) throw new GatewayError('UPSTREAM_TLS', { reason: 'STARTTLS refused' })
        if (framer.partial) throw new GatewayError('UPSTREAM_TLS', { reason: 'plaintext after STARTTLS' })
        this.#state = { in: 'handshake' }
        this.#capabilities = null
        this.#untagged = []
        {
          out.ask(
            'start-tls',
            { side: 'upstream', level: provider.tls.level },
            ({ binding }) => {
              this.#tls = true
              this.#binding = binding ?? null
              this.#withCapabilities()
            },
            (error) => this.#fail(error),
          )
          return
        }
      case 'capability':
        if (!ok || this.#capabilities === null) throw unexpected(line)
        {
          this.#authenticate()
          return
        }
      case 'login':
        if (!ok) throw refused(line)
        {
          this.#authenticated(line)
          return
        }
      case 'sasl':
        if (!ok) throw refused(line)
        this.#state.client.succeeded(null)
        {
          this.#authenticated(line)
          return
        }
      case 'capability-after':
        if (!ok || this.#capabilities === null) throw unexpected(line)
        {
          this.#finish()
          return
        }
      default:
        throw unexpected(line)
    }
  }

  #continuation(line: Buffer): void {
    const { out } = this.#options
    if (this.#state.in === 'login') {
      const next = this.#state.literals.shift()
      if (next === undefined) throw unexpected(line)
      out.send('upstream', next)
      return
    }
    if (this.#state.in !== 'sasl') throw unexpected(line)
    this.#saslStep(this.#state.client.next(line.toString('latin1', 1).trim()))
  }

  #saslStep(step: SaslClientStep): void {
    const { out } = this.#options
    if (step.do === 'respond') {
      out.send('upstream', `${step.base64}\r\n`)
      return
    }
    out.ask(
      'derive-key',
      step.ask,
      (key) => {
        if (this.#state.in !== 'sasl') return
        try {
          this.#saslStep(this.#state.client.derived(key))
        } catch (error) {
          if (!(error instanceof GatewayError)) throw error
          this.#fail(error)
        }
      },
      (error) => this.#fail(error),
    )
  }

  #authenticate(): void {
    if (this.#preauth) {
      this.#finish()
      return
    }
    const { provider, out } = this.#options
    const endpoint = isTokenEndpoint(provider.password)
    const plainLogin = provider.sasl === null && !endpoint && !this.#has('LOGINDISABLED')
    if (plainLogin) {
      this.#login(provider.login, provider.password)
      return
    }
    const offered = (this.#capabilities ?? []).filter((word) => word.startsWith('AUTH=')).map((word) => word.slice(5))
    const mechanism = chooseMechanism(offered, provider.sasl, endpoint, this.#binding !== null)
    if (!endpoint || !isOAuth(mechanism)) {
      this.#sasl(mechanism, provider.password)
      return
    }
    this.#state = { in: 'waiting' }
    out.ask(
      'token',
      { endpoint: provider.password },
      ({ token }) => this.#sasl(mechanism, token),
      (error) => this.#fail(error),
    )
  }

  #sasl(mechanism: SaslClient['mechanism'], password: Secret<string>): void {
    const { provider, random } = this.#options
    const { login, host, port } = provider
    const client = saslClient(mechanism, { login, password, host, port }, this.#binding, random(18))
    const { initial } = client
    const withInitial = initial !== null && this.#has('SASL-IR')
    this.#untagged = []
    this.#command(`AUTHENTICATE ${mechanism}${withInitial ? ` ${initial === '' ? '=' : initial}` : ''}`, {
      in: 'sasl',
      client: initial === null || withInitial ? client : new InitialLater(client, initial),
    })
  }

  /** LOGIN with quoted strings; what cannot be quoted goes as literals. */
  #login(login: string, password: Secret<string>): void {
    const literals: Buffer[] = []
    let line = `VES${++this.#tag} LOGIN`
    const plus = this.#has('LITERAL+')
    for (const value of [login, password.expose()]) {
      if (/^[\x20-\x7e]*$/.test(value)) {
        line += ` "${value.replace(/["\\]/g, '\\$&')}"`
        continue
      }
      const octets = Buffer.from(value, 'utf8')
      line += ` {${octets.length}${plus ? '+' : ''}}\r\n`
      if (plus) line += value
      else {
        literals.push(Buffer.from(line, 'utf8'))
        line = value
      }
    }
    literals.push(Buffer.from(`${line}\r\n`, 'utf8'))
    this.#untagged = []
    this.#state = { in: 'login', literals }
    this.#options.out.send('upstream', literals.shift()!)
  }

  #authenticated(line: Buffer): void {
    const space = line.indexOf(0x20)
    this.#okText = filterLine(withoutReferral(line)).subarray(space)
    if (findCapabilities(line) !== null || this.#untagged.some((each) => findCapabilities(each) !== null)) {
      this.#finish()
      return
    }
    this.#capabilities = null
    this.#command('CAPABILITY', { in: 'capability-after' })
  }

  #finish(): void {
    const capabilities = new Set(this.#capabilities ?? [])
    this.#options.done({ capabilities, okText: this.#okText, untagged: this.#untagged })
  }

  #command(text: string, state: State): void {
    this.#state = state
    this.#options.out.send('upstream', `VES${++this.#tag} ${text}\r\n`)
  }

  #has(capability: string): boolean {
    return this.#capabilities?.includes(capability) === true
  }

  #fail(error: GatewayError): void {
    this.#state = { in: 'waiting' }
    this.#options.failed(error)
  }
}

/** A mechanism with an initial response at a server that must ask for it first. */
class InitialLater implements SaslClient {
  readonly mechanism: SaslClient['mechanism']
  readonly initial: string | null
  readonly #client: SaslClient
  #sent = false

  constructor(client: SaslClient, initial: string) {
    this.mechanism = client.mechanism
    this.initial = initial
    this.#client = client
  }

  next(challenge: string): SaslClientStep {
    if (this.#sent) return this.#client.next(challenge)
    this.#sent = true
    return { do: 'respond', base64: this.initial ?? '' }
  }

  derived(key: Buffer): SaslClientStep {
    return this.#client.derived(key)
  }

  succeeded(data: string | null): void {
    this.#client.succeeded(data)
  }
}

function unexpected(line: Buffer): GatewayError {
  return new GatewayError('UPSTREAM_UNEXPECTED', { line: line.toString('latin1', 0, 80).trim() })
}

/** The provider's no, with its words for the client. */
function refused(line: Buffer): GatewayError {
  const text = line.toString('latin1').trimEnd()
  const words = /^\S+ (?:NO|BAD|BYE|OK) ?(.*)$/i.exec(text)?.[1] ?? text
  return new GatewayError('UPSTREAM_REFUSED', { text: words.replace(/^\[[^\]]*\] ?/, '') })
}
