/**
 * One IMAP session (imap.md): a client, and after its login a provider. Joins the parts: reader and framer for the two
 * streams, the login (pre-auth.ts), the relay after it (relay.ts), time, drain and the end. Sans-IO: events in, actions out.
 */
import { asGatewayError, GatewayError, unreachable } from '../../base/errors.ts'
import { Asking } from '../asking.ts'
import type { Action, Event, Session, SessionStart, Side } from '../session.ts'
import { CommandReader, type ReaderEvent } from './command-reader.ts'
import { literalAfterLogin } from './commands.ts'
import { Framer } from './framer.ts'
import { PreAuth } from './pre-auth.ts'
import { Relay } from './relay.ts'
import { byeLine } from './reply.ts'
import { isVanishedEarlier, literalOfResponse, parseHead } from './response.ts'
import { sealTransforms } from './seal-transforms.ts'
import type { MakeTransforms } from './transforms.ts'

/** Before login (imap.md §2). */
const LOGIN_MS = 30_000
/** All of it, failures included: an octet now and then is no silence. */
const LOGIN_IN_ALL_MS = 300_000
/** Greeting, TLS and login at the provider. */
const PROVIDER_MS = 60_000
/** RFC 9051 §5.4: at least 30 minutes. */
const IDLE_MS = 30 * 60_000
/** The timer is set anew at most this often. */
const REARM_MS = 5_000
/** Text of one command: long UID sets, header lists. */
const MAX_COMMAND_OCTETS = 256 * 1024
const MAX_COMMAND_BEFORE_LOGIN = 16 * 1024
/** Octets for the client up to this are copied together. */
const SMALL_OCTETS = 4096
const MAX_GATHERED_OCTETS = 64 * 1024
/** A line that is taken apart; others may be longer and come in fragments. */
const MAX_RESPONSE_LINE = 1024 * 1024
/** FETCH answers up to this are taken in one piece where they come so: what a socket gives at a time. */
const MAX_WHOLE_OCTETS = 64 * 1024

export class ImapSession implements Session {
  readonly #start: SessionStart
  readonly #makeTransforms: MakeTransforms
  readonly #out = new Asking()
  readonly #reader: CommandReader
  readonly #upstream = new Framer({
    maxLineOctets: MAX_RESPONSE_LINE,
    literalOf: literalOfResponse,
    mayFragment: (start) => this.#mayFragment(start),
  })
  readonly #preAuth: PreAuth
  #relay: Relay | null = null
  /** Octets for the client, gathered within a step: neighbours in memory leave as one, and so do small ones. */
  readonly #pendingOut: Buffer[] = []
  #pendingSmall = 0
  #over = false
  #clientEnded = false
  /** The provider's connection is gone; told once everything from it is read. */
  #upstreamGone: { readonly error: GatewayError | null } | null = null
  #draining = false
  readonly #begunMs: number
  #armedAt = 0
  #armedFor = ''
  #pulling = false

  constructor(start: SessionStart, makeTransforms: MakeTransforms = sealTransforms(start)) {
    this.#start = start
    this.#begunMs = start.nowMs()
    this.#makeTransforms = makeTransforms
    this.#reader = new CommandReader({
      policy: (command, literal, messages) =>
        this.#relay === null ? PreAuth.literal(command, literal) : literalAfterLogin(command, literal, messages),
      maxCommandOctets: () => (this.#relay === null ? MAX_COMMAND_BEFORE_LOGIN : MAX_COMMAND_OCTETS),
    })
    this.#preAuth = new PreAuth({
      start,
      out: this.#out,
      reader: this.#reader,
      upstream: this.#upstream,
      bye: (why) => {
        if (why !== 'quit') this.#out.send('client', `${byeLine(why)}\r\n`)
        this.#close(why)
      },
      loggedIn: (tag, account, login) => {
        this.#relay = new Relay({
          account,
          login,
          out: this.#out,
          reader: this.#reader,
          transforms: this.#makeTransforms(account.settings),
          toClient: (bytes) => this.#toClient(bytes),
        })
        for (const line of login.untagged) this.#toClient(line)
        this.#toClient(Buffer.concat([Buffer.from(tag, 'latin1'), login.okText]))
      },
    })
  }

  start(): Action[] {
    this.#preAuth.greet()
    this.#rearm(true)
    return this.#out.takeActions()
  }

  wants(side: Side): boolean {
    if (this.#over) return false
    if (side === 'upstream') return this.#relay?.wantsUpstream !== false
    return this.#takesCommands && this.#reader.held < MAX_COMMAND_OCTETS
  }

  step(event: Event): Action[] {
    if (this.#over) return []
    try {
      this.#take(event)
      if (!this.#over) this.#pullUpstream()
      if (!this.#over) this.#pull()
      if (!this.#over) this.#afterStep()
    } catch (error) {
      this.#broken(asGatewayError(error))
    }
    this.#flush()
    return this.#out.takeActions()
  }

  #take(event: Event): void {
    switch (event.on) {
      case 'bytes':
        if (event.side === 'client') {
          this.#reader.push(event.bytes)
          this.#rearm(false)
        } else this.#fromUpstream(event.bytes)
        break
      case 'closed':
        this.#closed(event.side, event.error)
        break
      case 'answer':
      case 'refused':
        this.#out.settle(event)
        break
      case 'deadline':
        this.#late()
        break
      case 'drain':
        if (event.forced) this.#bye(new GatewayError('SHUTDOWN'), 'drained')
        else this.#draining = true
        break
      default:
        unreachable(event)
    }
  }

  get #takesCommands(): boolean {
    return this.#relay === null ? !this.#preAuth.busy : this.#relay.wantsClient
  }

  /** Takes from the client what can be taken now. */
  #pull(): void {
    if (this.#pulling) return
    this.#pulling = true
    while (!this.#over && this.#takesCommands) {
      const event = this.#nextEvent()
      if (event === null) break
      if (this.#relay !== null) this.#relay.client(event)
      else this.#beforeLogin(event)
    }
    this.#pulling = false
  }

  #nextEvent(): ReaderEvent | null {
    try {
      return this.#reader.next()
    } catch (error) {
      this.#bye(asGatewayError(error), asGatewayError(error))
      return null
    }
  }

  /** Lists of a whole mailbox may be long, and FETCH answers that nobody looks into. */
  #mayFragment(start: Buffer): boolean {
    const { type } = parseHead(start)
    if (type === 'fetch') return this.#relay?.passesFetch === true
    return type === 'search' || type === 'esearch' || type === 'other' || isVanishedEarlier(start)
  }

  #beforeLogin(event: ReaderEvent): void {
    switch (event.is) {
      case 'command':
        this.#preAuth.command(event.command)
        break
      case 'line':
        this.#preAuth.line(event.bytes)
        break
      case 'go-on':
        this.#out.send('client', '+ OK\r\n')
        break
      case 'refused':
        this.#preAuth.refused(event.tag, event.error)
        break
      default:
        throw new GatewayError('INTERNAL', { event: event.is })
    }
  }

  #fromUpstream(bytes: Buffer): void {
    this.#upstream.push(bytes)
    if (this.#relay?.busy === true) this.#rearm(false)
  }

  /** Takes from the provider what can be taken now. */
  #pullUpstream(): void {
    while (!this.#over && this.#relay?.wantsUpstream !== false) {
      const relay = this.#relay
      if (relay?.gathersAll === true) {
        if (this.#upstream.nextRun((front) => relay.answers(front))) continue
        const answer = this.#upstream.nextWhole(isFetch, MAX_WHOLE_OCTETS)
        if (answer !== null) {
          relay.wholeAnswer(answer)
          continue
        }
      }
      const piece = this.#upstream.next()
      if (piece === null) break
      if (this.#relay !== null) this.#relay.upstream(piece)
      else if (piece.is === 'line') this.#preAuth.providerLine(piece.bytes)
      else throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'literal before login' })
    }
    if (this.#over || !this.#upstreamGone || this.#upstream.held > 0) return
    this.#upstreamClosed()
  }

  #closed(side: Side, error: GatewayError | null): void {
    if (side === 'client') {
      // Half-closed: what was asked is still answered. Torn: nobody is there.
      if (error === null) this.#clientEnded = true
      else this.#close(error)
      return
    }
    this.#upstreamGone = { error }
    // What it sent before may still have to be read.
    if (this.#relay === null || this.#relay.wantsUpstream) return
    if (this.#upstream.held === 0) this.#upstreamClosed()
  }

  #upstreamClosed(): void {
    const error = this.#upstreamGone?.error ?? null
    this.#upstreamGone = null
    if (this.#relay === null) {
      this.#preAuth.providerClosed(error)
      return
    }
    const why = error ?? new GatewayError('UPSTREAM_CONNECTION', { reason: 'closed by the server' })
    if (this.#relay.byeSeen) this.#close(error ?? 'quit')
    else this.#bye(why, why)
  }

  #late(): void {
    if (this.#relay === null && this.#preAuth.providerLate()) return
    const error = new GatewayError('TIMEOUT')
    this.#bye(error, error)
  }

  #afterStep(): void {
    if (this.#relay?.broken === true) {
      this.#close(new GatewayError('SEAL_BROKEN', { reason: 'answer cut short' }))
      return
    }
    const quiet = this.#relay === null ? !this.#preAuth.busy : this.#relay.quiet
    if (quiet && this.#clientEnded && !this.#over) this.#close('quit')
    else if (quiet && this.#draining && !this.#reader.partial) this.#bye(new GatewayError('SHUTDOWN'), 'drained')
    else if (this.#armedFor !== this.#phase) this.#rearm(true)
  }

  get #phase(): 'login' | 'provider' | 'mail' {
    if (this.#relay !== null) return 'mail'
    return this.#preAuth.busy ? 'provider' : 'login'
  }

  #rearm(now: boolean): void {
    const nowMs = this.#start.nowMs()
    if (!now && nowMs - this.#armedAt < REARM_MS && this.#armedFor === this.#phase) return
    this.#armedAt = nowMs
    this.#armedFor = this.#phase
    const loginMs = Math.min(LOGIN_MS, Math.max(0, this.#begunMs + LOGIN_IN_ALL_MS - nowMs))
    const ms = { login: loginMs, provider: PROVIDER_MS, mail: IDLE_MS }[this.#phase]
    this.#out.push({ do: 'deadline', ms })
  }

  /** Either stream has lost its order, or a bug showed: the session cannot go on. */
  #broken(error: GatewayError): void {
    if (this.#over) return
    if (error.code === 'INTERNAL')
      this.#out.log('error', 'session failed', { code: error.code, reason: placeOf(error) })
    const told = error.fault.blame === 'client' ? new GatewayError('UPSTREAM_UNEXPECTED', error.detail, error) : error
    this.#bye(told, told)
  }

  #bye(say: GatewayError, why: GatewayError | 'drained'): void {
    this.#relay?.release()
    if (this.#relay?.streaming !== true) this.#toClient(Buffer.from(`${byeLine(say)}\r\n`))
    this.#close(why)
  }

  #close(why: GatewayError | 'quit' | 'drained'): void {
    if (this.#over) return
    this.#over = true
    this.#relay?.dispose()
    this.#out.forget()
    this.#flush()
    this.#out.push({ do: 'close', why })
  }

  #toClient(bytes: Buffer): void {
    const pending = this.#pendingOut
    const last = pending.at(-1)
    if (last !== undefined && last.buffer === bytes.buffer && last.byteOffset + last.length === bytes.byteOffset) {
      pending[pending.length - 1] = Buffer.from(last.buffer, last.byteOffset, last.length + bytes.length)
      return
    }
    if (bytes.length > SMALL_OCTETS || (last !== undefined && last.length > SMALL_OCTETS)) this.#flush()
    pending.push(bytes)
    this.#pendingSmall += bytes.length
    if (this.#pendingSmall >= MAX_GATHERED_OCTETS) this.#flush()
  }

  #flush(): void {
    const pending = this.#pendingOut
    const [first] = pending
    if (first === undefined) return
    // A write of its own costs more than a copy: lists of a mailbox are a hundred thousand answers.
    this.#out.send('client', pending.length === 1 ? first : Buffer.concat(pending))
    pending.length = 0
    this.#pendingSmall = 0
  }
}

function isFetch(front: Buffer): boolean {
  return parseHead(front).type === 'fetch'
}

/** Where a bug showed, never what it held. */
function placeOf(error: GatewayError): string | null {
  return error.cause instanceof Error ? (error.cause.stack?.split('\n')[1]?.trim() ?? null) : null
}
