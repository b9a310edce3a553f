/**
 * The client before it is logged in (imap.md §2): the few commands it may give, our own greeting, and the way from its
 * credentials to a provider that has taken ours. Nothing of the mailbox is known here.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import { Secret } from '../../base/secret.ts'
import type { Account, Provider } from '../account.ts'
import type { Asking } from '../asking.ts'
import type { Credentials } from '../sasl/credentials.ts'
import { type SaslServer, type SaslServerStep, saslServer, serverMechanisms } from '../sasl/server.ts'
import type { SessionStart } from '../session.ts'
import { greetingCapabilities } from './capabilities.ts'
import type { ClientCommand, CommandReader } from './command-reader.ts'
import { Cursor } from './cursor.ts'
import type { Framer } from './framer.ts'
import type { Literal } from './literal.ts'
import { type LoggedIn, ProviderLogin } from './provider-login.ts'
import { imapReply } from './reply.ts'

export interface PreAuthOptions {
  readonly start: SessionStart
  readonly out: Asking
  readonly reader: CommandReader
  readonly upstream: Framer
  readonly loggedIn: (tag: string, account: Account, result: LoggedIn) => void
  /** The session is over. */
  readonly bye: (error: GatewayError | 'quit') => void
}

/** LOGIN takes user ≤ 255 octets (imap.md §2); a VESkey is shorter than this. */
const MAX_USER = 255
const MAX_PASSWORD = 4096
/** Wrong passwords on one connection before it is closed, and how long each answer waits. */
const MAX_FAILURES = 5
/** Mail programs need five before they are logged in; silence alone would let others stay for ever. */
const MAX_COMMANDS = 100
const FAILURE_MS = 1000

export class PreAuth {
  readonly #options: PreAuthOptions
  #tls: boolean
  #sasl: { readonly tag: string; readonly server: SaslServer } | null = null
  /** A login or handshake is under way: no further command is read. */
  #busy = false
  #provider: ProviderLogin | null = null
  #failProvider: ((error: GatewayError) => void) | null = null
  #failures = 0
  #commands = 0

  constructor(options: PreAuthOptions) {
    this.#options = options
    this.#tls = options.start.tls
  }

  get busy(): boolean {
    return this.#busy
  }

  greet(): void {
    this.#say(`* OK [CAPABILITY ${this.#capabilities()}] VESmail ready.`)
  }

  /** Literals before login: only in LOGIN (and ID, whose values are strings). @throws {GatewayError} */
  static literal(command: ClientCommand, literal: Literal): 'text' {
    if (command.name !== 'LOGIN' && command.name !== 'ID') throw new GatewayError('SYNTAX', { text: 'log in first' })
    if (literal.octets > MAX_PASSWORD) throw new GatewayError('LITERAL_TOO_LARGE', { octets: literal.octets })
    return 'text'
  }

  command(command: ClientCommand): void {
    const { tag } = command
    if (this.#isTooMuch()) return
    try {
      switch (command.name) {
        case 'CAPABILITY':
          this.#say(`* CAPABILITY ${this.#capabilities()}`)
          this.#say(`${tag} OK CAPABILITY completed`)
          break
        case 'NOOP':
          this.#say(`${tag} OK NOOP completed`)
          break
        case 'ID':
          this.#say(`* ID ("name" "VESmail" "version" "${this.#options.start.version.replace(/["\\]/g, '')}")`)
          this.#say(`${tag} OK ID completed`)
          break
        case 'XVES':
          this.#say(xvesReply(command) ?? `${tag} BAD log in first`)
          break
        case 'LOGOUT':
          this.#say('* BYE VESmail logging out')
          this.#say(`${tag} OK LOGOUT completed`)
          this.#options.bye('quit')
          break
        case 'STARTTLS':
          this.#startTls(tag)
          break
        case 'LOGIN':
          this.#login(command)
          break
        case 'AUTHENTICATE':
          this.#authenticate(command)
          break
        default:
          this.#say(`${tag} BAD Unknown command, or not before login`)
      }
    } catch (error) {
      this.#say(imapReply(tag, asGatewayError(error)))
    }
  }

  /** A command that was read past: its literal was not to be taken. */
  refused(tag: string, error: GatewayError): void {
    if (!this.#isTooMuch()) this.#say(imapReply(tag, error))
  }

  #isTooMuch(): boolean {
    if (++this.#commands <= MAX_COMMANDS) return false
    const error = new GatewayError('SYNTAX', { text: 'too many commands before login' })
    this.#options.bye(error)
    return true
  }

  /** The client's line in a SASL exchange. */
  line(bytes: Buffer): void {
    const sasl = this.#sasl
    if (sasl === null) return
    this.#sasl = null
    this.#saslStep(sasl.tag, sasl.server, () => sasl.server.next(bytes.toString('latin1').trim()))
  }

  providerLine(line: Buffer): void {
    this.#provider?.line(line)
  }

  providerClosed(error: GatewayError | null): void {
    this.#failProvider?.(error ?? new GatewayError('UPSTREAM_CONNECTION', { reason: 'closed' }))
  }

  /** The provider takes too long. False: nothing was under way with it. */
  providerLate(): boolean {
    if (this.#failProvider === null) return false
    this.#failProvider(new GatewayError('UPSTREAM_CONNECTION', { reason: 'timeout' }))
    return true
  }

  #capabilities(): string {
    return greetingCapabilities({ startTls: this.#canStartTls, mechanisms: this.#plaintext ? this.#mechanisms : [] })
  }

  get #mechanisms(): readonly string[] {
    return serverMechanisms(this.#options.start.oauth === true)
  }

  get #canStartTls(): boolean {
    return !this.#tls && this.#options.start.tlsLevel !== 'none'
  }

  /** May passwords come over this connection as it is? */
  get #plaintext(): boolean {
    const { tlsLevel, plaintextLogin } = this.#options.start
    return this.#tls || plaintextLogin === true || tlsLevel === 'none' || tlsLevel === 'optional'
  }

  #startTls(tag: string): void {
    const { out, reader, start } = this.#options
    if (!this.#canStartTls) throw new GatewayError('SYNTAX', { text: 'STARTTLS is not possible here' })
    if (reader.partial) {
      // Octets behind STARTTLS in plaintext are somebody else's (CVE-2011-0411 class).
      reader.clear()
      this.#options.bye(new GatewayError('SYNTAX', { text: 'octets after STARTTLS' }))
      return
    }
    this.#say(`${tag} OK Begin TLS negotiation now`)
    this.#busy = true
    out.ask(
      'start-tls',
      { side: 'client', level: start.tlsLevel },
      () => {
        this.#tls = true
        this.#busy = false
      },
      (error) => this.#options.bye(error),
    )
  }

  #login(command: ClientCommand): void {
    const cursor = new Cursor(command.text, command.argsAt)
    cursor.space()
    const user = cursor.astring()
    cursor.space()
    const password = cursor.astring()
    if (!cursor.ended || user.length > MAX_USER || password.length > MAX_PASSWORD) throw new GatewayError('SYNTAX')
    if (!this.#plaintext) throw new GatewayError('STARTTLS_FIRST')
    this.#enter(command.tag, { account: user.toString('utf8'), password: new Secret(Buffer.from(password)) })
  }

  #authenticate(command: ClientCommand): void {
    const cursor = new Cursor(command.text, command.argsAt)
    cursor.space()
    const name = cursor.atom()
    let initial: string | null = null
    if (!cursor.ended) {
      cursor.space()
      initial = cursor.atom()
    }
    if (!cursor.ended) throw new GatewayError('SYNTAX')
    if (!this.#plaintext) throw new GatewayError('STARTTLS_FIRST')
    const server = saslServer(name, this.#options.start.oauth === true)
    if (server === null) throw new GatewayError('SASL_SEQUENCE', { text: 'mechanism not offered' })
    this.#saslStep(command.tag, server, () => server.start(initial))
  }

  #saslStep(tag: string, server: SaslServer, take: () => SaslServerStep): void {
    try {
      const step = take()
      if (step.is === 'challenge') {
        this.#sasl = { tag, server }
        this.#options.reader.expectLine()
        this.#say(`+ ${step.base64}`)
      } else this.#enter(tag, step.credentials)
    } catch (error) {
      this.#say(imapReply(tag, asGatewayError(error)))
    }
  }

  #enter(tag: string, credentials: Credentials): void {
    const { out } = this.#options
    this.#busy = true
    out.ask(
      'login',
      credentials,
      (account) => {
        credentials.password.wipe()
        const provider = account.profile.imap
        if (provider === null) this.#failed(tag, account.name, new GatewayError('PROFILE_INVALID'))
        else this.#connect(tag, account, provider)
      },
      (error) => {
        credentials.password.wipe()
        this.#failed(tag, credentials.account, error)
      },
    )
  }

  #connect(tag: string, account: Account, provider: Provider): void {
    const { out, upstream, start } = this.#options
    const failed = (error: GatewayError): void => {
      this.#provider = null
      this.#failProvider = null
      upstream.reset()
      out.push({ do: 'hang-up', abort: true })
      this.#failed(tag, account.name, error)
    }
    const { host, port, tls } = provider
    out.ask(
      'connect',
      { host, port, level: tls.level, persist: tls.persist },
      ({ tls: isTls, binding }) => {
        this.#failProvider = failed
        this.#provider = new ProviderLogin({
          provider,
          tls: isTls,
          binding: binding ?? null,
          random: start.random,
          out,
          framer: upstream,
          failed,
          done: (result) => {
            this.#provider = null
            this.#failProvider = null
            this.#busy = false
            out.log('info', 'login', { result: 'ok', account: account.name, user: account.user })
            this.#options.loggedIn(tag, account, result)
          },
        })
      },
      (error) => this.#failed(tag, account.name, error),
    )
  }

  #failed(tag: string, account: string, error: GatewayError): void {
    const { out, bye } = this.#options
    const denied = error.code === 'ACCESS_DENIED' || error.code === 'ABUSE'
    out.log('warn', 'login', {
      result: denied ? 'denied' : 'failed',
      code: error.code,
      reason: typeof error.detail.reason === 'string' ? error.detail.reason : null,
      account,
    })
    const guessed = error.code === 'BAD_CREDENTIALS'
    if (guessed) this.#failures++
    const answer = (): void => {
      this.#busy = false
      this.#say(imapReply(tag, error))
      if (this.#failures >= MAX_FAILURES) bye(error)
    }
    if (guessed) out.ask('wait', { ms: FAILURE_MS * this.#failures }, answer, answer)
    else answer()
  }

  #say(line: string): void {
    this.#options.out.send('client', `${line}\r\n`)
  }
}

/** `XVES NOOP`; the switches need a login. */
function xvesReply({ tag, text, argsAt }: ClientCommand): string | null {
  return / NOOP\r?\n$/i.test(text.toString('latin1', argsAt)) ? `${tag} OK XVES NOOP completed` : null
}
