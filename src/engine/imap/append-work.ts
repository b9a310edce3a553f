/**
 * APPEND (imap.md §3): every message in it is sealed for the account itself, then the command goes up with the sealed
 * octets and their exact size. Begins while the message is still coming; goes up when all of it is sealed. There is no way
 * from here to the server for a message that was not sealed.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Transform, TransformAction } from '../transform.ts'
import { reannounce } from './append.ts'
import type { MessageStart } from './command-reader.ts'
import { type MessageSizes, sizesOf } from './message-sizes.ts'
import { segmentsOf } from './outgoing.ts'
import { imapReply } from './reply.ts'
import { parseCode } from './response.ts'
import { listUids } from './sequence-set.ts'
import { mailboxOf } from './size-memory.ts'
import { ServedScan } from './view/served-scan.ts'
import type { Work, WorkHost } from './work.ts'

interface Message {
  readonly begin: MessageStart
  readonly sealer: Transform
  readonly sealed: Buffer[]
  /** Where in the session's file its sealed octets are; null = in memory. */
  readonly spillAt: number | null
  octets: number
  /** What an IMAP server will say of it; of large ones, which nobody wants to read again for it. */
  readonly scan: ServedScan | null
  /** All of it was given to the sealer. */
  ended: boolean
  done: boolean
}

/** What goes up, in order: octets at hand, octets from the file, or the server's `+`. */
type Outgoing = Buffer | { readonly spillAt: number; readonly octets: number } | 'continuation'

/** Octets on their way to the file before the client is asked to wait. */
const MAX_SPILLING_OCTETS = 1024 * 1024
const SPILL_READ_OCTETS = 256 * 1024
/** Below this a server that takes `{n+}` gets it; above, its refusal (quota, no such mailbox) comes before the octets. */
const UNASKED_OCTETS = 64 * 1024

export class AppendWork implements Work {
  readonly passing = false
  readonly wantsUpstream = true
  readonly #host: WorkHost
  readonly #tag: string
  readonly #messages: Message[] = []
  /** What follows the last message; null while the command is not complete. */
  #after: Buffer | null = null
  #failure: GatewayError | null = null
  /** Our turn at the upstream connection. */
  #started = false
  #upstreamTag: string | null = null
  #outgoing: Outgoing[] = []
  /** Of the messages that went up, as far as they were counted. */
  #sizes: (MessageSizes | null)[] = []
  #mailbox: string | null = null
  /** A part of the file is being read. */
  #reading = false
  /** The server's tagged answer, while octets that it counts on are still to be sent. */
  #answer: Buffer | null = null
  #spilling = 0
  #spilled = false
  #over = false

  constructor(host: WorkHost, tag: string) {
    this.#host = host
    this.#tag = tag
  }

  /** May more octets of the message come from the client? */
  get wantsClient(): boolean {
    if (this.#failure !== null) return true
    return this.#messages.at(-1)?.sealer.wants !== false && this.#spilling < MAX_SPILLING_OCTETS
  }

  /** Sealed, not yet sent, and in memory. */
  get heldOctets(): number {
    return this.#messages.reduce((sum, message) => sum + (message.spillAt === null ? message.octets : 0), 0)
  }

  get failure(): GatewayError | null {
    return this.#failure
  }

  /** @param spill the sealed octets do not fit memory */
  message(begin: MessageStart, spill: boolean): void {
    const { transforms, spill: file } = this.#host
    const sealer = transforms.sealer(begin.literal.octets)
    if (spill && !this.#spilled) file.users++
    this.#spilled ||= spill
    const spillAt = spill ? file.octets : null
    const scan = spill ? new ServedScan() : null
    this.#messages.push({ begin, sealer, sealed: [], spillAt, octets: 0, scan, ended: false, done: false })
  }

  octets(bytes: Buffer, last: boolean): void {
    const message = this.#messages.at(-1)
    if (message === undefined) return
    message.scan?.push(bytes)
    if (bytes.length > 0) this.#run(message, () => message.sealer.push(bytes))
    if (!last) return
    message.ended = true
    this.#run(message, () => message.sealer.end())
  }

  /** The command is complete; `after` ends it. */
  complete(after: Buffer): void {
    this.#after = after
    this.#go()
  }

  /** The client's command was refused half way; its answer is given elsewhere. */
  abandon(error: GatewayError): void {
    this.#failure ??= error
    this.#after = Buffer.alloc(0)
    this.#go()
  }

  start(): void {
    this.#started = true
    this.#go()
  }

  continuation(): void {
    if (this.#outgoing[0] !== 'continuation') throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'continuation' })
    this.#outgoing.shift()
    this.#sendOn()
  }

  tagged(tag: string, ok: boolean, line: Buffer): void {
    if (tag !== this.#upstreamTag) return
    if (ok) this.#keepSizes(line)
    this.#answer = Buffer.concat([Buffer.from(this.#tag, 'latin1'), line.subarray(tag.length)])
    // Refused before the octets: they are not sent. Behind an announcement they are owed whatever the answer.
    if (this.#outgoing[0] === 'continuation') this.#outgoing = []
    if (this.#outgoing.length === 0 && !this.#reading) this.#end(this.#answer)
  }

  /** The server says by APPENDUID (RFC 4315) which messages they have become. */
  #keepSizes(line: Buffer): void {
    const code = parseCode(line)
    if (code?.name !== 'APPENDUID' || this.#mailbox === null) return
    const [uidValidity, set = ''] = code.text.split(' ')
    const uids = listUids(set, this.#sizes.length)
    for (const [i, sizes] of this.#sizes.entries()) {
      const uid = uids[i]
      if (sizes !== null && uid !== undefined && uids.length === this.#sizes.length)
        this.#host.memory.keepAppended(this.#mailbox, Number(uidValidity), uid, sizes)
    }
  }

  literalSink(): null {
    return null
  }

  fetch(): boolean {
    return false
  }

  expunged(): void {}
  vanished(): void {}

  dispose(): void {
    this.#over = true
    this.#messages.length = 0
    this.#outgoing = []
  }

  #spillOut(bytes: Buffer): void {
    const { out, spill } = this.#host
    spill.octets += bytes.length
    this.#spilling += bytes.length
    out.ask(
      'spill',
      { op: 'write', bytes },
      () => {
        this.#spilling -= bytes.length
        this.#go()
      },
      (error) => this.#fail(error),
    )
  }

  #run(message: Message, step: () => TransformAction[]): void {
    if (this.#failure !== null || this.#over) return
    try {
      for (const action of step()) this.#perform(message, action)
    } catch (error) {
      this.#fail(asGatewayError(error))
    }
  }

  #perform(message: Message, action: TransformAction): void {
    switch (action.do) {
      case 'write':
        message.octets += action.bytes.length
        if (message.spillAt === null) message.sealed.push(action.bytes)
        else this.#spillOut(action.bytes)
        break
      case 'ask': {
        const answered = (answer: unknown): void => {
          this.#run(message, () => message.sealer.answer(action.id, answer))
          this.#go()
        }
        const refused = (error: GatewayError): void => this.#fail(error)
        const { out } = this.#host
        if (action.kind === 'seal-key') {
          out.ask('seal-key', { ...action.ask, recipients: [], mode: 'HIGH' }, answered, refused)
        } else if (action.kind === 'batch') out.ask('batch', action.ask, answered, refused)
        else throw new GatewayError('INTERNAL', { question: action.kind })
        break
      }
      case 'done':
        if (!message.ended) throw new GatewayError('INTERNAL', { reason: 'sealed before its end' })
        message.done = true
    }
  }

  #fail(error: GatewayError): void {
    this.#failure ??= error
    this.#host.out.log('warn', 'message not sealed', { code: error.code, command: 'APPEND' })
    this.#messages.length = 0
    this.#go()
  }

  #go(): void {
    if (!this.#started || this.#after === null || this.#upstreamTag !== null || this.#over) return
    if (this.#failure !== null) {
      this.#end(Buffer.from(`${imapReply(this.#tag, this.#failure)}\r\n`))
      return
    }
    if (this.#spilling > 0 || !this.#messages.every(({ done }) => done)) return
    this.#send(this.#after)
  }

  #send(after: Buffer): void {
    const tag = this.#host.nextTag()
    this.#upstreamTag = tag
    const plus = this.#host.literalPlus
    this.#messages.forEach(({ begin, sealed, octets, spillAt }, i) => {
      const texts = segmentsOf(begin.before, begin.literals, plus)
      if (i === 0) texts[0] = Buffer.concat([Buffer.from(tag), texts[0]!.subarray(this.#tag.length)])
      const unasked = plus && octets <= UNASKED_OCTETS
      texts.push(reannounce(texts.pop()!, octets, !unasked))
      for (const [n, text] of texts.entries()) {
        this.#outgoing.push(text)
        if (n < texts.length - 1 || !unasked) this.#outgoing.push('continuation')
      }
      if (spillAt === null) this.#outgoing.push(...sealed)
      else this.#outgoing.push({ spillAt, octets })
    })
    this.#outgoing.push(after)
    this.#sizes = this.#messages.map(({ scan, octets }) => {
      const view = scan?.end() ?? null
      return view === null ? null : sizesOf(view, octets)
    })
    this.#mailbox = mailboxOf(this.#messages[0]!.begin.command)
    this.#messages.length = 0
    this.#sendOn()
  }

  #sendOn(): void {
    for (let next = this.#outgoing[0]; next !== undefined && !this.#reading; next = this.#outgoing[0]) {
      if (next === 'continuation') return
      this.#outgoing.shift()
      if (Buffer.isBuffer(next)) this.#host.toUpstream(next)
      else this.#read(next.spillAt, next.octets)
    }
    if (this.#answer !== null && !this.#reading && this.#outgoing.length === 0) this.#end(this.#answer)
  }

  #read(offset: number, left: number): void {
    const octets = Math.min(left, SPILL_READ_OCTETS)
    this.#reading = true
    this.#host.out.ask(
      'spill',
      { op: 'read', offset, octets },
      ({ bytes }) => {
        if (this.#over || bytes === null) return
        this.#host.toUpstream(bytes)
        this.#reading = false
        if (left > octets) this.#read(offset + octets, left - octets)
        else this.#sendOn()
      },
      // The server counts on octets that are lost: the connection has to end (never cut, imap.md §3).
      () => this.#host.hangUp(),
    )
  }

  #end(line: Buffer): void {
    if (this.#over) return
    this.#over = true
    const { spill, out } = this.#host
    if (this.#spilled && --spill.users === 0) {
      spill.octets = 0
      const ignore = (): void => {}
      out.ask('spill', { op: 'clear' }, ignore, ignore)
    }
    this.#host.toClient(line)
    this.#host.finished()
  }
}
