/**
 * One client of the submission proxy (smtp.md): greeting, EHLO, STARTTLS, AUTH, login at the provider, and from there
 * the relay. Bytes and events in, actions out; all waiting is an `ask`.
 */
import { asGatewayError, GatewayError, unreachable } from '../../base/errors.ts'
import type { Account, SealMode } from '../account.ts'
import { Asking } from '../asking.ts'
import type { Credentials } from '../sasl/credentials.ts'
import { type SaslServer, type SaslServerStep, saslServer, serverMechanisms } from '../sasl/server.ts'
import type { Action, Event, Session, SessionStart, Side } from '../session.ts'
import type { Transform } from '../transform.ts'
import { ownLines } from './capabilities.ts'
import { ClientLogin } from './client-login.ts'
import { type Command, parseCommand, parseHelloName } from './command.ts'
import { LineFramer } from './line-framer.ts'
import type { ProviderLoginResult } from './provider-login.ts'
import { parseMode, Relay } from './relay.ts'
import { printReply, type Reply, ReplyFramer, replyOf, replyOfFault, withEnhancedCode } from './reply.ts'

/** Milliseconds of silence (smtp.md §5). */
const LOGIN_MS = 30_000
/** All of it, three failures included: an octet now and then is no silence. */
const LOGIN_IN_ALL_MS = 300_000
const COMMAND_MS = 120_000
const DATA_MS = 900_000
const MAX_FAILED_LOGINS = 3
/** Commands that we refuse before we hang up: who sends that many is no mail client. */
const MAX_BAD_COMMANDS = 20
/** Mail programs need five before they are logged in; silence alone would let others stay for ever. */
const MAX_EARLY_COMMANDS = 100
const BAD_FAULTS: readonly string[] = ['SYNTAX', 'SMTP_SEQUENCE', 'SASL_SEQUENCE', 'SASL_CANCELLED']
/** Unread input of a client that need not wait, as while a message is being sealed. */
const MAX_UNREAD_OCTETS = 64 * 1024

/**
 * `greeted`: no EHLO yet · `hello`: EHLO was answered · `sasl`: within AUTH · `login`: repository and provider are
 * asked · `secure`: TLS handshake · `joined`: with the provider · `closed`
 */
type Phase = 'greeted' | 'hello' | 'sasl' | 'login' | 'secure' | 'joined' | 'closed'

/** Legal moves (RFC 5321 §4.1.4, RFC 3207, RFC 4954); what else is known is out of sequence, the rest unknown. */
const ALLOWED = {
  greeted: ['EHLO', 'HELO', 'STARTTLS', 'RSET', 'NOOP', 'HELP', 'QUIT', 'XVES'],
  hello: ['EHLO', 'HELO', 'STARTTLS', 'AUTH', 'RSET', 'NOOP', 'HELP', 'QUIT', 'XVES'],
  sasl: [],
  login: [],
  secure: [],
  joined: ['EHLO', 'HELO', 'MAIL', 'RCPT', 'DATA', 'RSET', 'NOOP', 'HELP', 'QUIT', 'XVES', 'BDAT'],
  closed: [],
} as const satisfies Record<Phase, readonly string[]>

const KNOWN: readonly string[] = [...new Set(['BDAT', ...Object.values(ALLOWED).flat()])]
/** Known, and never done for anybody: they harvest addresses, or say who the client is. */
const NOT_IMPLEMENTED = ['VRFY', 'EXPN', 'ETRN', 'TURN', 'XCLIENT', 'XFORWARD']

export interface SmtpSessionParts {
  /** Makes the sealer of one message. */
  readonly makeSealer: (start: SessionStart, account: Account) => Transform
}

export class SmtpSession implements Session {
  readonly #start: SessionStart
  readonly #parts: SmtpSessionParts
  readonly #asking = new Asking()
  readonly #lines = new LineFramer()
  readonly #replies = new ReplyFramer()
  #phase: Phase = 'greeted'
  #tls: boolean
  #helo = ''
  #mode: SealMode | null = null
  #sasl: SaslServer | null = null
  #failedLogins = 0
  #badCommands = 0
  #earlyCommands = 0
  #clientLogin: ClientLogin | null = null
  #relay: Relay | null = null
  /** Read, but its turn has not come. */
  #held: Command | null = null
  #clientGone = false
  #draining = false
  readonly #begunMs: number
  #deadlineMs: number | null = null
  #deadlineSetMs = 0
  /** Octets came since the deadline was set. */
  #heard = false

  constructor(start: SessionStart, parts: SmtpSessionParts) {
    this.#start = start
    this.#parts = parts
    this.#tls = start.tls
    this.#begunMs = start.nowMs()
  }

  start(): Action[] {
    this.#reply(replyOf(220, `${this.#start.host} ESMTP VESmail ready.`))
    this.#setDeadline()
    return this.#asking.takeActions()
  }

  step(event: Event): Action[] {
    if (this.#phase !== 'closed') this.#on(event)
    // What waited for this event: commands in the queue's way, a drain for the end of the transaction.
    if (this.#phase !== 'closed') this.#read()
    if (this.#phase !== 'closed') this.#drainIfQuiet()
    this.#setDeadline()
    return this.#asking.takeActions()
  }

  wants(side: Side): boolean {
    if (this.#phase === 'closed') return false
    if (side === 'upstream') return true
    return this.#lines.length < MAX_UNREAD_OCTETS && (this.#relay?.wants ?? true)
  }

  #on(event: Event): void {
    switch (event.on) {
      case 'bytes':
        this.#heard = true
        if (event.side === 'client') this.#lines.push(event.bytes)
        else this.#onUpstream(event.bytes)
        return
      case 'closed':
        if (event.side === 'client') this.#onClientGone()
        else if (this.#relay !== null) this.#relay.onProviderGone(event.error)
        else this.#clientLogin?.onGone()
        return
      case 'answer':
      case 'refused':
        this.#asking.settle(event)
        return
      case 'deadline':
        this.#reply(replyOf(420, 'Timeout'))
        this.#close(new GatewayError('TIMEOUT'))
        return
      case 'drain':
        this.#draining = true
        if (event.forced) this.#goodbye()
        return
      default:
        unreachable(event)
    }
  }

  // Input of the client

  #read(): void {
    while (this.#phase !== 'closed') {
      if (this.#relay?.takesData === true) {
        if (this.#lines.length === 0) return
        const rest = this.#relay.data(this.#lines.takeRest())
        if (rest === null) return
        this.#lines.push(rest)
        continue
      }
      // Nothing is read while AUTH or STARTTLS is under way: what stands behind them waits.
      if (this.#phase === 'login' || this.#phase === 'secure') return
      try {
        if (!this.#readOne()) return
      } catch (error) {
        this.#refuse(asGatewayError(error))
      }
    }
  }

  /** @returns false when there is nothing to do for now */
  #readOne(): boolean {
    if (this.#held === null) {
      if (this.#relay?.readsCommands === false) return false
      const line = this.#lines.next()
      if (line === null) return false
      if (this.#phase === 'sasl') {
        this.#onSasl(() => this.#sasl!.next(line.toString('latin1').trim()))
        return true
      }
      this.#held = parseCommand(line)
    }
    const command = this.#held
    if (this.#relay !== null && !this.#relay.takes(command)) return false
    // The decision to drain comes before what is read after it.
    if (this.#draining && (this.#relay?.quiet ?? true)) return false
    this.#held = null
    this.#command(command)
    return true
  }

  #refuse(error: GatewayError): void {
    const { code } = error
    if (code === 'LINE_TOO_LONG') {
      this.#reply(replyOfFault(error.fault.smtp, error.wireText))
      this.#close(error)
      return
    }
    if (code === 'INTERNAL') throw error
    if (this.#relay !== null) this.#relay.refuse(error)
    else this.#reply(replyOfFault(error.fault.smtp, error.wireText))
    if (BAD_FAULTS.includes(code)) this.#bad()
  }

  #bad(): void {
    if (++this.#badCommands >= MAX_BAD_COMMANDS) this.#tooMany('errors')
  }

  #tooMany(what: string): void {
    this.#reply(replyOf(421, `4.7.0 Too many ${what}`))
    this.#close(new GatewayError('SYNTAX', { reason: `too many ${what}` }))
  }

  #command(command: Command): void {
    const { verb, args } = command
    if (this.#relay === null && ++this.#earlyCommands > MAX_EARLY_COMMANDS) {
      this.#tooMany('commands before login')
      return
    }
    const allowed: readonly string[] = ALLOWED[this.#phase]
    if (!allowed.includes(verb)) {
      this.#outOfPlace(verb)
      return
    }
    if (this.#relay?.command(command) === true) return
    switch (verb) {
      case 'EHLO':
      case 'HELO':
        this.#hello(verb, args)
        return
      case 'STARTTLS':
        this.#startTls(args)
        return
      case 'AUTH':
        this.#auth(args)
        return
      case 'XVES':
        this.#xves(args)
        return
      case 'QUIT':
        this.#quit()
        return
      case 'HELP':
        this.#answer(replyOf(214, '2.0.0 https://datatracker.ietf.org/doc/html/rfc5321'))
        return
      default:
        this.#answer(replyOf(250, '2.0.0 OK'))
        return
    }
  }

  #outOfPlace(verb: string): void {
    if (NOT_IMPLEMENTED.includes(verb)) this.#answer(replyOf(502, '5.5.1 Command not implemented'))
    else if (KNOWN.includes(verb)) this.#answer(this.#sequenceReply(verb))
    else this.#answer(replyOf(500, '5.5.1 Command not recognized'))
    this.#bad()
    // Its octets follow at once, and would be read as commands.
    if (verb === 'BDAT') this.#close(new GatewayError('SMTP_SEQUENCE', { verb }))
  }

  #sequenceReply(verb: string): Reply {
    if (this.#phase === 'joined') return replyOf(503, `5.5.1 ${verb} is not permitted any more`)
    if (verb === 'AUTH') return replyOf(503, '5.5.1 EHLO first')
    return replyOf(503, '5.5.1 Authentication first')
  }

  // Before login

  get #plaintextAllowed(): boolean {
    const { tlsLevel, plaintextLogin } = this.#start
    return this.#tls || tlsLevel === 'none' || tlsLevel === 'optional' || plaintextLogin === true
  }

  get #tlsPossible(): boolean {
    return !this.#tls && this.#start.tlsLevel !== 'none'
  }

  #hello(verb: string, args: string): void {
    this.#helo = parseHelloName(args)
    const { host, oauth } = this.#start
    if (verb === 'HELO') {
      this.#phase = 'greeted'
      this.#reply(replyOf(250, host))
      return
    }
    this.#phase = 'hello'
    const lines = ownLines({
      host,
      startTls: this.#tlsPossible,
      auth: this.#plaintextAllowed ? serverMechanisms(oauth === true) : [],
      sizeLimit: this.#start.maxMessageOctets ?? null,
      provider: null,
    })
    this.#reply(replyOf(250, ...lines))
  }

  #startTls(args: string): void {
    if (!this.#tlsPossible) {
      this.#reply(replyOf(this.#tls ? 503 : 502, '5.5.1 STARTTLS is not available'))
      return
    }
    if (args !== '') throw new GatewayError('SYNTAX', { reason: 'STARTTLS takes no parameters' })
    if (this.#lines.length > 0) {
      // Sent in plaintext to be run as if TLS had protected it (CVE-2011-0411).
      const error = new GatewayError('TLS_INJECTION')
      this.#reply(replyOfFault(error.fault.smtp, error.wireText))
      this.#asking.log('warn', 'tls', { side: 'client', code: error.code })
      this.#close(error)
      return
    }
    this.#reply(replyOf(220, '2.0.0 Ready to start TLS'))
    this.#phase = 'secure'
    this.#asking.ask(
      'start-tls',
      { side: 'client', level: this.#start.tlsLevel },
      () => {
        // RFC 3207 §4.2: all that was said before is forgotten.
        this.#phase = 'greeted'
        this.#tls = true
        this.#helo = ''
        this.#mode = null
      },
      (error) => this.#close(error),
    )
  }

  /** XVES before login: there is no profile to overrule yet. */
  #xves(args: string): void {
    const [word = '', name] = args.toUpperCase().split(/[ \t]+/)
    if (word === 'NOOP') {
      this.#reply(replyOf(250, 'XVES NOOP'))
      return
    }
    if (word !== 'MODE') {
      this.#reply(replyOf(501, 'Unknown XVES command'))
      return
    }
    if (name !== undefined) {
      const mode = parseMode(name)
      if (mode === null) {
        this.#reply(replyOf(501, 'Unknown XVES MODE'))
        return
      }
      this.#mode = mode
    }
    this.#reply(replyOf(250, `XVES MODE ${this.#mode ?? 'REJECT'}`))
  }

  #auth(args: string): void {
    if (!this.#plaintextAllowed) throw new GatewayError('STARTTLS_FIRST')
    const [name = '', initial = null, ...more] = args.split(/[ \t]+/)
    if (name === '' || more.length > 0) throw new GatewayError('SYNTAX', { reason: 'AUTH' })
    const sasl = saslServer(name, this.#start.oauth === true)
    if (sasl === null) {
      this.#reply(replyOf(504, '5.5.4 Unrecognized authentication type'))
      this.#bad()
      return
    }
    this.#sasl = sasl
    this.#phase = 'sasl'
    this.#onSasl(() => sasl.start(initial))
  }

  #onSasl(run: () => SaslServerStep): void {
    try {
      const step = run()
      if (step.is === 'challenge') {
        this.#reply(replyOf(334, step.base64))
        return
      }
      this.#login(step.credentials)
    } catch (error) {
      this.#sasl = null
      this.#phase = 'hello'
      throw error
    }
  }

  // Login

  #login(credentials: Credentials): void {
    this.#phase = 'login'
    this.#sasl = null
    this.#clientLogin = new ClientLogin(
      {
        credentials,
        helo: this.#helo,
        random: this.#start.random,
        joined: (account, result) => this.#joined(account, result),
        failed: (error, reply) => {
          this.#clientLogin = null
          this.#phase = 'hello'
          this.#reply(reply)
          if (++this.#failedLogins < MAX_FAILED_LOGINS) return
          this.#reply(replyOf(421, '4.7.0 Too many failed logins'))
          this.#close(error)
        },
      },
      this.#asking,
    )
  }

  #joined(account: Account, { capabilities, reply }: ProviderLoginResult): void {
    this.#clientLogin = null
    this.#phase = 'joined'
    this.#badCommands = 0
    this.#reply(capabilities.enhancedStatusCodes ? reply : withEnhancedCode(reply))
    this.#relay = new Relay(
      {
        start: this.#start,
        account,
        capabilities,
        helo: this.#helo,
        mode: account.profile.smtp?.mode ?? this.#mode ?? 'REJECT',
        makeSealer: (owner) => this.#parts.makeSealer(this.#start, owner),
        unread: () => this.#lines.length,
        end: (last, why) => {
          if (last !== null) this.#reply(last)
          this.#close(why)
        },
      },
      this.#asking,
    )
  }

  // The provider

  #onUpstream(bytes: Buffer): void {
    this.#replies.push(bytes)
    try {
      for (let reply = this.#replies.next(); reply !== null; reply = this.#replies.next()) {
        if (this.#relay !== null) this.#relay.onReply(reply)
        else this.#clientLogin?.onReply(reply, this.#replies.length > 0)
        if (this.#phase === 'closed') return
      }
    } catch (thrown) {
      const error = asGatewayError(thrown)
      if (error.code === 'INTERNAL') throw error
      if (this.#relay !== null) this.#relay.onProviderGone(error)
      else this.#clientLogin?.onGone()
    }
  }

  // The end

  #onClientGone(): void {
    this.#clientGone = true
    // The provider has the whole message: it is let finish, so that its log and ours agree.
    if (this.#relay !== null && !this.#relay.onClientGone()) return
    this.#close('quit')
  }

  #quit(): void {
    this.#reply(replyOf(221, '2.0.0 Bye'))
    if (this.#relay !== null) this.#asking.send('upstream', 'QUIT\r\n')
    this.#close('quit')
  }

  #drainIfQuiet(): void {
    const quiet = this.#relay === null ? this.#phase !== 'login' && this.#phase !== 'secure' : this.#relay.quiet
    if (this.#draining && quiet) this.#goodbye()
    else if (this.#clientGone && this.#relay?.idle === true) this.#close('quit')
  }

  #goodbye(): void {
    this.#reply(lostShutdown())
    if (this.#relay?.quiet === true) this.#asking.send('upstream', 'QUIT\r\n')
    this.#close('drained')
  }

  #close(why: GatewayError | 'quit' | 'drained'): void {
    if (this.#phase === 'closed') return
    // A message under way must not be taken for whole.
    if (this.#relay?.uploading === true) this.#asking.push({ do: 'hang-up', abort: true })
    this.#phase = 'closed'
    this.#relay?.onEnd(why)
    this.#clientLogin?.abandon()
    this.#asking.forget()
    this.#asking.push({ do: 'deadline', ms: null })
    this.#asking.push({ do: 'close', why })
  }

  /** In its turn, once there is a queue. */
  #answer(reply: Reply): void {
    if (this.#relay === null) this.#reply(reply)
    else this.#relay.answer(reply)
  }

  #reply(reply: Reply): void {
    if (!this.#clientGone) this.#asking.send('client', printReply(reply))
  }

  /** Silence is counted from the last octets of either side; the timer is set anew at most once a second. */
  #setDeadline(): void {
    if (this.#phase === 'closed') return
    const relay = this.#relay
    const nowMs = this.#start.nowMs()
    const loginMs = Math.min(LOGIN_MS, Math.max(0, this.#begunMs + LOGIN_IN_ALL_MS - nowMs))
    const ms = relay === null ? loginMs : relay.uploading || !relay.idle ? DATA_MS : COMMAND_MS
    if (ms === this.#deadlineMs && !(this.#heard && nowMs - this.#deadlineSetMs >= 1000)) return
    this.#heard = false
    this.#deadlineMs = ms
    this.#deadlineSetMs = nowMs
    this.#asking.push({ do: 'deadline', ms })
  }
}

function lostShutdown(): Reply {
  const error = new GatewayError('SHUTDOWN')
  return replyOfFault(error.fault.smtp, error.wireText)
}
