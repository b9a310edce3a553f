/**
 * APPEND (imap.md §3): every message in it is sealed for the account itself, then the command goes up with the sealed
 * octets and their exact size. Begins while the message is still coming; goes up when all of it is sealed. There is no way
 * from here to the server for a message that was not sealed.
 *
 * Octets that memory is not for go through the session's file. Where that has no space, they go to the server as they
 * come, under a guessed size that padding fills; where the guess was too small the connection ends before the literal does.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Transform, TransformAction } from '../transform.ts'
import { reannounce } from './append.ts'
import { AppendMessage } from './append-message.ts'
import type { MessageStart } from './command-reader.ts'
import { type MessageSizes, sizesOf } from './message-sizes.ts'
import { segmentsOf } from './outgoing.ts'
import { imapReply } from './reply.ts'
import { parseCode } from './response.ts'
import { listUids } from './sequence-set.ts'
import { mailboxOf } from './size-memory.ts'
import type { Work, WorkHost } from './work.ts'

/** What goes up, in order: octets at hand, octets from the file, or the server's `+`. */
type Outgoing = Buffer | { readonly at: number; readonly octets: number } | 'continuation'

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
  readonly #messages: AppendMessage[] = []
  /** Messages that are all in `outgoing`, or sent. */
  #sentMessages = 0
  /** Its octets go up as they come. */
  #live: AppendMessage | null = null
  /** What follows the last message; null while the command is not complete. */
  #after: Buffer | null = null
  #failure: GatewayError | null = null
  /** Why there was no space for the file. */
  #noSpace: GatewayError | null = null
  /** Our turn at the upstream connection. */
  #started = false
  #upstreamTag: string | null = null
  #outgoing: Outgoing[] = []
  /** All of the command is in `outgoing`, or sent. */
  #complete = false
  /** A part of the file is being read. */
  #reading = false
  /** The server's tagged answer, while octets that it counts on are still to be sent. */
  #answer: Buffer | null = null
  #spilling = 0
  #spilled = false
  #over = false
  /** Of the messages that went up, as far as they were counted. */
  readonly #sizes: (MessageSizes | null)[] = []

  constructor(host: WorkHost, tag: string) {
    this.#host = host
    this.#tag = tag
  }

  /** May more octets of the message come from the client? */
  get wantsClient(): boolean {
    const message = this.#messages.at(-1)
    if (this.#failure !== null || this.#over || message === undefined || message.ended) return true
    if (message.sealer?.wants !== true) return false
    if (message === this.#live) return this.#outgoing.length === 0
    if (message.place === 'server') return message.octets <= this.#host.settings.maxbufOctets
    return this.#spilling < MAX_SPILLING_OCTETS
  }

  /** Sealed, not yet sent, and in memory. */
  get heldOctets(): number {
    const held = this.#messages.slice(this.#sentMessages).filter(({ place }) => place !== 'file')
    return held.reduce((sum, message) => sum + (message === this.#live ? 0 : message.octets), 0)
  }

  get failure(): GatewayError | null {
    return this.#failure
  }

  /** @param large the sealed octets do not fit memory */
  message(begin: MessageStart, large: boolean): void {
    const message = new AppendMessage(begin, large)
    const { octets } = begin.literal
    const { transforms, spill, out } = this.#host
    this.#messages.push(message)
    if (!large) {
      message.sealer = transforms.sealer(octets, false)
      return
    }
    out.ask(
      'spill',
      { op: 'reserve', octets: Math.ceil(octets * SEALED_GROWTH) },
      () => {
        if (!this.#spilled) spill.users++
        this.#spilled = true
        message.place = 'file'
        message.sealer = transforms.sealer(octets, false)
      },
      (error) => {
        out.log('warn', 'append without a file', { code: error.code, octets })
        this.#noSpace = error
        message.place = 'server'
        message.sealer = transforms.sealer(octets, true)
      },
    )
  }

  octets(bytes: Buffer, last: boolean): void {
    const message = this.#messages.at(-1)
    if (message === undefined || this.#over) return
    message.sees(bytes)
    if (bytes.length > 0) this.#run(message, (sealer) => sealer.push(bytes))
    if (!last) return
    message.ended = true
    this.#run(message, (sealer) => sealer.end())
  }

  /** The command is complete; `after` ends it. Nothing may stand there: it would be a message without a literal (CATENATE). */
  complete(after: Buffer): void {
    if (!/^\s*$/.test(after.toString('latin1'))) {
      this.abandon(new GatewayError('SYNTAX', { text: 'APPEND takes flags, date and one literal' }))
      return
    }
    this.#after = after
    this.#go()
  }

  /** The client's command was refused half way. */
  abandon(error: GatewayError): void {
    this.#after = Buffer.alloc(0)
    this.#stop(error)
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
    if (ok) {
      this.#keepSizes(line)
      this.#keepIds()
    }
    this.#answer = Buffer.concat([Buffer.from(this.#tag, 'latin1'), line.subarray(tag.length)])
    // Refused before the octets: they are not sent. Behind an announcement they are owed whatever the answer.
    if (this.#outgoing[0] === 'continuation') this.#end(this.#answer)
    else this.#sendOn()
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

  /** The server says by APPENDUID (RFC 4315) which messages they have become. */
  #keepSizes(line: Buffer): void {
    const code = parseCode(line)
    const mailbox = this.#messages[0] === undefined ? null : mailboxOf(this.#messages[0].begin.command)
    if (code?.name !== 'APPENDUID' || mailbox === null) return
    const [uidValidity, set = ''] = code.text.split(' ')
    const uids = listUids(set, this.#sizes.length)
    if (uids.length !== this.#sizes.length) return
    for (const [i, sizes] of this.#sizes.entries()) {
      if (sizes !== null) this.#host.memory.keepAppended(mailbox, Number(uidValidity), uids[i]!, sizes)
    }
  }

  #keepIds(): void {
    const { appended } = this.#host
    for (const { tuid, sealer } of this.#messages) {
      const id = sealer?.facts.messageId ?? ''
      // It stands in a quoted string later.
      if (tuid !== null && /^[!#-[\]-~]{1,500}$/.test(id)) appended.set(tuid, id)
      const [oldest] = appended.keys()
      if (appended.size > MAX_APPENDED && oldest !== undefined) appended.delete(oldest)
    }
  }

  #run(message: AppendMessage, step: (sealer: Transform) => TransformAction[]): void {
    const { sealer } = message
    if (this.#failure !== null || this.#over || sealer === null) return
    try {
      for (const action of step(sealer)) if (!this.#over) this.#perform(message, action)
    } catch (error) {
      this.#fail(asGatewayError(error))
    }
    this.#go()
  }

  #perform(message: AppendMessage, action: TransformAction): void {
    switch (action.do) {
      case 'write':
        this.#sealed(message, action.bytes)
        break
      case 'ask': {
        const answered = (answer: unknown): void => this.#run(message, (sealer) => sealer.answer(action.id, answer))
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

  #sealed(message: AppendMessage, bytes: Buffer): void {
    message.octets += bytes.length
    if (message.place === 'file') this.#spillOut(message, bytes)
    else if (message !== this.#live) message.inMemory.push(bytes)
    else if (message.isBeyondGuess) throw this.#noSpace ?? new GatewayError('BUFFER_EXCEEDED')
    else this.#outgoing.push(bytes)
  }

  #spillOut(message: AppendMessage, bytes: Buffer): void {
    const { out, spill } = this.#host
    const { length } = bytes
    message.wroteToFile(spill.octets, length)
    spill.octets += length
    this.#spilling += length
    out.ask(
      'spill',
      { op: 'write', bytes },
      () => {
        this.#spilling -= length
        this.#go()
      },
      (error) => this.#fail(error),
    )
  }

  #fail(error: GatewayError): void {
    if (this.#over || this.#failure !== null) return
    this.#host.out.log('warn', 'message not sealed', { code: error.code, command: 'APPEND' })
    this.#stop(error)
  }

  #stop(error: GatewayError): void {
    if (this.#over) return
    this.#failure ??= error
    if (this.#upstreamTag === null) {
      this.#messages.length = 0
      this.#go()
      return
    }
    // The server counts on octets that will not come: the connection has to end (never cut, imap.md §3).
    this.#over = true
    this.#outgoing = []
    this.#host.toClient(`${imapReply(this.#tag, this.#failure)}\r\n`)
    this.#host.hangUp()
  }

  #go(): void {
    if (!this.#started || this.#over || this.#complete) return
    if (this.#failure !== null) {
      if (this.#after !== null) this.#end(Buffer.from(`${imapReply(this.#tag, this.#failure)}\r\n`))
      return
    }
    const isSealed = this.#after !== null && this.#spilling === 0 && this.#messages.every(({ done }) => done)
    if (isSealed || this.#upstreamTag !== null || this.#overflows) this.#queueUp(isSealed)
    this.#sendOn()
  }

  /** A message with no place to wait in until all of it is sealed. */
  get #overflows(): boolean {
    const message = this.#messages.at(-1)
    if (message?.place !== 'server' || message.done || this.#spilling > 0) return false
    return message.octets > this.#host.settings.maxbufOctets
  }

  /** What can go up now. */
  #queueUp(isSealed: boolean): void {
    if (this.#live !== null) {
      if (!this.#live.done) return
      this.#outgoing.push(...this.#live.padding())
      this.#close(this.#live)
      this.#live = null
    }
    for (let message = this.#next; message !== undefined; message = this.#next) {
      if (message.done && this.#spilling === 0) {
        this.#announce(message, message.octets)
        this.#outgoing.push(...message.inMemory.splice(0), ...message.inFile)
        this.#close(message)
      } else if (this.#overflows && message === this.#messages.at(-1)) {
        this.#announce(message, message.guess())
        this.#outgoing.push(...message.inMemory.splice(0))
        this.#live = message
        return
      } else return
    }
    if (!isSealed || this.#after === null) return
    this.#outgoing.push(this.#after)
    this.#complete = true
  }

  get #next(): AppendMessage | undefined {
    return this.#messages[this.#sentMessages]
  }

  #close({ scan, octets, announced }: AppendMessage): void {
    const view = scan?.end() ?? null
    this.#sizes.push(view === null ? null : sizesOf(view, announced ?? octets))
    this.#sentMessages++
  }

  #announce({ begin }: AppendMessage, octets: number): void {
    const plus = this.#host.literalPlus
    const texts = segmentsOf(begin.before, begin.literals, plus)
    if (this.#upstreamTag === null) {
      this.#upstreamTag = this.#host.nextTag()
      texts[0] = Buffer.concat([Buffer.from(this.#upstreamTag), texts[0]!.subarray(this.#tag.length)])
    }
    const unasked = plus && octets <= UNASKED_OCTETS
    texts.push(reannounce(texts.pop()!, octets, !unasked))
    for (const [n, text] of texts.entries()) {
      this.#outgoing.push(text)
      if (n < texts.length - 1 || !unasked) this.#outgoing.push('continuation')
    }
  }

  #sendOn(): void {
    for (let next = this.#outgoing[0]; next !== undefined && !this.#reading; next = this.#outgoing[0]) {
      if (next === 'continuation') return
      this.#outgoing.shift()
      if (Buffer.isBuffer(next)) this.#host.toUpstream(next)
      else this.#read(next.at, next.octets)
    }
    if (this.#answer !== null && !this.#reading && this.#outgoing.length === 0 && this.#complete)
      this.#end(this.#answer)
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
      (error) => this.#stop(error),
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

/** Uploads that may still be looked for. */
const MAX_APPENDED = 1000
/** What a message may take in the file: more is refused there. */
const SEALED_GROWTH = 1.4
