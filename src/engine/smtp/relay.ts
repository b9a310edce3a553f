/**
 * After login: client and provider joined (smtp.md §2–4). Commands become *exchanges* in one queue, in the client's
 * order: prepared (a lookup), sent up when all before it were, answered when its turn comes. So replies keep their
 * order whoever gives them, and a provider that does not pipeline sees one command at a time.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Account, SealMode } from '../account.ts'
import type { Asking } from '../asking.ts'
import type { SessionStart } from '../session.ts'
import type { Transform } from '../transform.ts'
import { type Capabilities, ownLines, parseCapabilities } from './capabilities.ts'
import { type Command, parseHelloName, parsePathCommand, printParameters } from './command.ts'
import type { Envelope, Outcome } from './envelope.ts'
import { planMail, planRecipient } from './mail-parameters.ts'
import { MessageUpload } from './message-upload.ts'
import { isPositive, printReply, type Reply, replyOf, replyOfFault, withEnhancedCode, withLine } from './reply.ts'

/** Commands of one client under way at once; more wait unread. */
const MAX_EXCHANGES = 64
const DEFAULT_MAX_RECIPIENTS = 1000
/** smtp.md §3 */
const MAX_AUDITOR_OCTETS = 48

const MODES: readonly SealMode[] = ['PLAIN', 'FALLBACK', 'REJECT', 'XCHG', 'HIGH']

export interface RelayOptions {
  readonly start: SessionStart
  readonly account: Account
  readonly capabilities: Capabilities
  /** The client's name for itself. */
  readonly helo: string
  readonly mode: SealMode
  readonly makeSealer: (account: Account) => Transform
  /** Octets that the client has sent and nobody has read. */
  readonly unread: () => number
  /** The session ends, after this last reply. */
  readonly end: (reply: Reply | null, why: GatewayError | 'quit') => void
}

interface Exchange {
  state: 'preparing' | 'ready' | 'sent' | 'done'
  /** Line for the provider, without CRLF; null: answered here. */
  send: string | null
  /** What the client gets for the provider's reply; null: nothing, the command was ours. */
  settle: (reply: Reply) => Reply | null
  reply: Reply | null
}

/** `commands`: reading them; `opening`: DATA is with the provider; `data`; `closing`: the final dot is. */
type Stage = 'commands' | 'opening' | 'data' | 'closing' | 'over'

export class Relay {
  readonly #options: RelayOptions
  readonly #asking: Asking
  #capabilities: Capabilities
  #helo: string
  #mode: SealMode
  /** The client was told of enhanced codes, so replies have to have them. */
  #promisedEnhanced = true
  #stage: Stage = 'commands'
  readonly #queue: Exchange[] = []
  /** Of the last MAIL that was read; null outside a transaction. */
  #envelope: Envelope | null = null
  #upload: MessageUpload | null = null
  /** Is with the provider whole, and waits for its reply. */
  #awaited: MessageUpload | null = null

  constructor(options: RelayOptions, asking: Asking) {
    this.#options = options
    this.#asking = asking
    this.#capabilities = options.capabilities
    this.#helo = options.helo
    this.#mode = options.mode
  }

  /** No transaction, nothing under way. */
  get quiet(): boolean {
    return this.#stage === 'commands' && this.#queue.length === 0 && this.#envelope === null
  }

  get takesData(): boolean {
    return this.#upload?.readsOn === true
  }

  /** The provider has begun to take a message and does not have all of it. */
  get uploading(): boolean {
    return this.#upload !== null
  }

  /** Nothing was asked of anybody but the client: its silence is its own. */
  get idle(): boolean {
    return this.#queue.length === 0
  }

  get wants(): boolean {
    return this.#upload?.wants ?? true
  }

  /** False from DATA to the message's final reply: what stands behind DATA is no command (yet). */
  get readsCommands(): boolean {
    return this.#stage === 'commands'
  }

  /** May this command be given to {@link command} now? Those that end a group wait until all before are answered. */
  takes(command: Command): boolean {
    if (this.#stage !== 'commands') return false
    const alone = ['EHLO', 'HELO', 'DATA', 'QUIT', 'BDAT'].includes(command.verb)
    return alone ? this.#queue.length === 0 : this.#queue.length < MAX_EXCHANGES
  }

  /** @returns false for a verb that is not of a transaction. @throws GatewayError to be answered in turn: {@link refuse} */
  command(command: Command): boolean {
    switch (command.verb) {
      case 'EHLO':
      case 'HELO':
        this.#hello(command)
        return true
      case 'MAIL':
        this.#mail(command.args)
        return true
      case 'RCPT':
        this.#rcpt(command.args)
        return true
      case 'DATA':
        this.#data(command.args)
        return true
      case 'RSET':
        this.#envelope = null
        this.#forward('RSET', (reply) => reply)
        return true
      case 'NOOP':
        this.#forward('NOOP', (reply) => reply)
        return true
      case 'XVES':
        this.answer(this.#xves(command.args))
        return true
      case 'BDAT':
        // Its octets follow at once: read as commands they would be somebody's second message.
        this.#over(replyOf(503, '5.5.1 BDAT is not supported'), new GatewayError('SMTP_SEQUENCE', { verb: 'BDAT' }))
        return true
      default:
        return false
    }
  }

  /** A reply of our own, in its turn. */
  answer(reply: Reply): void {
    this.#queue.push({ state: 'done', send: null, settle: (own) => own, reply })
    this.#pump()
  }

  refuse(error: GatewayError): void {
    this.answer(transactionReply(error))
  }

  /** Octets of a message, while {@link takesData}. @returns those behind its end; null: not there yet */
  data(bytes: Buffer): Buffer | null {
    return this.#upload!.push(bytes)
  }

  onReply(reply: Reply): void {
    if (this.#stage === 'data') {
      // Before the end of data only a refusal makes sense, and never an acceptance of half a message.
      const error = new GatewayError('UPSTREAM_UNEXPECTED', { at: 'DATA', code: reply.code })
      this.#upload!.break(error, reply.code >= 400 ? reply : null)
      return
    }
    const exchange = this.#queue.find(({ state }) => state === 'sent')
    if (exchange === undefined) {
      const error = new GatewayError('UPSTREAM_UNEXPECTED', { code: reply.code })
      this.#over(reply.code === 421 ? reply : lostReply(error), error)
      return
    }
    // A client that is told `3yz` where that means nothing may begin to write its message, to be read as commands here.
    if (reply.code >= 300 && reply.code < 400 && !(reply.code === 354 && exchange.send === 'DATA')) {
      this.onProviderGone(new GatewayError('UPSTREAM_UNEXPECTED', { code: reply.code }))
      return
    }
    const seen = this.#promisedEnhanced && !this.#capabilities.enhancedStatusCodes ? withEnhancedCode(reply) : reply
    // Only then done: settling may put further commands into the queue.
    exchange.reply = exchange.settle(seen)
    exchange.state = 'done'
    if (reply.code === 421) {
      this.#over(seen, new GatewayError('UPSTREAM_CONNECTION', { reason: 'the provider closes' }))
      return
    }
    this.#pump()
  }

  onProviderGone(cause: GatewayError | null): void {
    const error = cause ?? new GatewayError('UPSTREAM_CONNECTION', { reason: 'closed' })
    if (this.#stage === 'data') {
      this.#upload!.break(error, null)
      return
    }
    // Whether the provider has taken the message nobody knows: a yes could be a lie, so the client sends it again.
    if (this.#stage === 'closing') this.#send(transactionReply(error))
    this.#over(lostReply(error), error)
  }

  /** The session ends, whatever is under way. */
  onEnd(why: GatewayError | 'quit' | 'drained'): void {
    this.#awaited?.outcomeUnknown(typeof why === 'string' ? why : why.code)
    this.#awaited = null
  }

  /** @returns false: the provider has the whole message, so its reply is waited for */
  onClientGone(): boolean {
    if (this.#stage === 'closing') return false
    this.#upload?.break(new GatewayError('IO', { side: 'client' }), null)
    return true
  }

  // Commands

  #hello(command: Command): void {
    const name = parseHelloName(command.args)
    this.#helo = name
    this.#envelope = null
    const { host } = this.#options.start
    this.#forward(`EHLO ${name}`, (reply) => {
      if (!isPositive(reply)) {
        this.#reset()
        return reply
      }
      this.#capabilities = parseCapabilities(reply)
      this.#promisedEnhanced = this.#capabilities.enhancedStatusCodes
      if (command.verb === 'HELO') return replyOf(250, host)
      const sizeLimit = this.#options.start.maxMessageOctets ?? null
      return replyOf(250, ...ownLines({ host, startTls: false, auth: [], sizeLimit, provider: this.#capabilities }))
    })
  }

  #mail(args: string): void {
    if (this.#envelope !== null) throw new GatewayError('SMTP_SEQUENCE', { verb: 'MAIL' })
    const mail = parsePathCommand(args, 'FROM')
    const sizeLimit = this.#options.start.maxMessageOctets ?? null
    const { envelope, parameters } = planMail(mail, this.#mode, this.#capabilities, sizeLimit)
    this.#envelope = envelope
    this.#forward(`MAIL FROM:${mail.path.text}${printParameters(parameters)}`, (reply) => {
      if (isPositive(reply)) return this.#withWarnings(reply, envelope)
      if (this.#envelope === envelope) this.#envelope = null
      return reply
    })
  }

  #rcpt(args: string): void {
    const envelope = this.#envelope
    if (envelope === null) throw new GatewayError('SMTP_SEQUENCE', { verb: 'RCPT' })
    const rcpt = parsePathCommand(args, 'TO')
    const address = (rcpt.path.address ?? '').toLowerCase()
    const parameters = planRecipient(rcpt, this.#capabilities)
    if (++envelope.recipients > (this.#options.start.maxRecipients ?? DEFAULT_MAX_RECIPIENTS)) {
      throw new GatewayError('TOO_MANY_RECIPIENTS')
    }
    let vault: string | null = null
    const exchange: Exchange = {
      state: 'preparing',
      send: `RCPT TO:${rcpt.path.text}${printParameters(parameters)}`,
      settle: (reply) => {
        if (!isPositive(reply)) return reply
        envelope.accept(address, vault)
        return this.#withWarnings(reply, envelope)
      },
      reply: null,
    }
    this.#queue.push(exchange)
    const ready = (): void => {
      exchange.state = 'ready'
      this.#pump()
    }
    if (envelope.mode === 'PLAIN') {
      ready()
      return
    }
    this.#asking.ask(
      'recipient',
      { address, mode: envelope.mode },
      ({ uri }) => {
        vault = uri
        ready()
      },
      (error) => {
        if (envelope.mode === 'FALLBACK' && error.code === 'RECIPIENT_WITHOUT_VAULT') return ready()
        exchange.state = 'done'
        exchange.reply = transactionReply(error)
        this.#asking.log('info', 'recipient', { result: 'refused', code: error.code, address })
        this.#pump()
      },
    )
  }

  #data(args: string): void {
    const envelope = this.#envelope
    const refusal = refusalOfData(args, envelope)
    if (envelope === null || refusal !== null) {
      this.#refuseData(refusal ?? new GatewayError('SMTP_SEQUENCE', { verb: 'DATA' }))
      return
    }
    const { outcome } = envelope
    this.#stage = 'opening'
    for (const copy of this.#blindCopies(outcome)) this.#blindCopy(copy)
    this.#forward('DATA', (reply) => {
      if (reply.code === 354) {
        this.#begin(envelope, outcome)
        return reply
      }
      this.#stage = 'commands'
      this.#reset()
      if (isPositive(reply) || this.#options.unread() > 0) {
        const error = new GatewayError('UPSTREAM_UNEXPECTED', { at: 'DATA', code: reply.code })
        this.#over(isPositive(reply) ? lostReply(error) : reply, error)
        return null
      }
      return reply
    })
  }

  /** Input behind a refused DATA is a message's: to read it as commands would let it write some. */
  #refuseData(error: GatewayError): void {
    if (this.#options.unread() > 0) {
      this.#over(transactionReply(error), error)
      return
    }
    if (error.code !== 'SYNTAX' && this.#envelope !== null) this.#reset()
    throw error
  }

  #blindCopies(outcome: Outcome): string[] {
    const { bcc, bccPlain } = this.#options.account.settings
    if (outcome === 'plain' && !bccPlain) return []
    return bcc.map((copy) => /<([^<>]*)>\s*$/.exec(copy)?.[1] ?? copy.trim())
  }

  /** What it says may come from an override: it is read like a client's word. A failure is not the message's. */
  #blindCopy(address: string): void {
    let text: string
    try {
      text = parsePathCommand(`TO:<${address}>`, 'TO').path.text
    } catch (error) {
      this.#asking.log('warn', 'bcc', { result: 'no address', code: asGatewayError(error).code })
      return
    }
    this.#forward(`RCPT TO:${text}`, (reply) => {
      if (!isPositive(reply)) this.#asking.log('warn', 'bcc', { result: 'refused', address, code: reply.code })
      return null
    })
  }

  #xves(args: string): Reply {
    const [word = '', mode] = args.toUpperCase().split(/[ \t]+/)
    if (word === 'NOOP') return replyOf(250, 'XVES NOOP')
    if (word !== 'MODE') return replyOf(501, 'Unknown XVES command')
    if (mode === undefined) return replyOf(250, `XVES MODE ${this.#mode}`)
    const found = parseMode(mode)
    if (found === null) return replyOf(501, 'Unknown XVES MODE')
    this.#mode = found
    return replyOf(250, `XVES MODE ${found}`)
  }

  // The message

  #begin(envelope: Envelope, outcome: Outcome): void {
    const { start, account, makeSealer } = this.#options
    this.#stage = 'data'
    const upload: MessageUpload = new MessageUpload(
      { start, account, helo: this.#helo, envelope, outcome, makeSealer, ended: () => this.#ended(upload) },
      this.#asking,
    )
    this.#upload = upload
  }

  #ended(upload: MessageUpload): void {
    this.#upload = null
    this.#envelope = null
    if (upload.breakdown !== null) {
      const { error, reply } = upload.breakdown
      this.#send(reply ?? transactionReply(error))
      this.#over(lostReply(error), error)
      return
    }
    this.#stage = 'closing'
    this.#awaited = upload
    this.#queue.push({
      state: 'sent',
      send: null,
      settle: (reply) => {
        this.#stage = 'commands'
        this.#awaited = null
        return upload.finalReply(reply)
      },
      reply: null,
    })
  }

  // The queue

  #forward(line: string, settle: (reply: Reply) => Reply | null): void {
    this.#queue.push({ state: 'ready', send: line, settle, reply: null })
    this.#pump()
  }

  /** Forgets the transaction at the provider too; its answer is ours alone. */
  #reset(): void {
    this.#envelope = null
    this.#forward('RSET', () => null)
  }

  #pump(): void {
    while (this.#queue[0]?.state === 'done') {
      const { reply } = this.#queue.shift()!
      if (reply !== null) this.#send(reply)
    }
    for (const exchange of this.#queue) {
      if (exchange.state === 'preparing') return
      if (exchange.state === 'sent' && !this.#capabilities.pipelining) return
      if (exchange.state !== 'ready') continue
      exchange.state = 'sent'
      this.#asking.send('upstream', `${exchange.send}\r\n`)
      if (!this.#capabilities.pipelining) return
    }
  }

  #withWarnings(reply: Reply, envelope: Envelope): Reply {
    if (envelope.outcome === 'plain') return withLine(reply, 'VESmail WARNING: This email will NOT be encrypted')
    return this.#options.account.settings.audit.reduce(
      (longer, auditor) => withLine(longer, `VESmail WARNING: Big Brother <${cut(auditor, MAX_AUDITOR_OCTETS)}>`),
      reply,
    )
  }

  #send(reply: Reply): void {
    this.#asking.send('client', printReply(reply))
  }

  #over(reply: Reply | null, why: GatewayError): void {
    if (this.#stage === 'over') return
    this.#stage = 'over'
    this.#queue.length = 0
    this.#options.end(reply, why)
  }
}

/** What is wrong with a DATA within this transaction; null: nothing, where there is one. */
function refusalOfData(args: string, envelope: Envelope | null): GatewayError | null {
  if (args !== '') return new GatewayError('SYNTAX', { reason: 'DATA takes no parameters' })
  if (envelope === null) return null
  if (envelope.accepted.length === 0) return new GatewayError('NO_RECIPIENTS')
  const isRefused = envelope.outcome === 'plain' && envelope.mustBeSevenBit
  return isRefused ? new GatewayError('EIGHT_BIT_UNSUPPORTED') : null
}

export function parseMode(text: string): SealMode | null {
  return MODES.find((mode) => mode === text.toUpperCase()) ?? null
}

/** What a failure is called within a transaction: login's 535 makes no sense there. */
export function transactionReply(error: GatewayError): Reply {
  const { smtp } = error.fault
  return replyOfFault(smtp.startsWith('535') || smtp.startsWith('421') ? '451 4.3.0' : smtp, error.wireText)
}

/** The session has lost its provider. */
export function lostReply(error: GatewayError): Reply {
  return replyOf(421, `4.4.2 ${error.wireText}`)
}

/** At most so many octets, no character cut in two. */
function cut(text: string, octets: number): string {
  const bytes = Buffer.from(text, 'utf8')
  return bytes.length <= octets
    ? text
    : bytes
        .subarray(0, octets)
        .toString('utf8')
        .replace(/\ufffd+$/, '')
}
