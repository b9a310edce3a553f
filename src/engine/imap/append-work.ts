/**
 * APPEND (imap.md §3): every message in it is sealed for the account itself, then the command goes up with the sealed
 * octets and their exact size. Begins while the message is still coming; goes up when all of it is sealed. There is no way
 * from here to the server for a message that was not sealed.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Transform, TransformAction } from '../transform.ts'
import { reannounce } from './append.ts'
import type { MessageStart } from './command-reader.ts'
import { segmentsOf } from './outgoing.ts'
import { imapReply } from './reply.ts'
import type { Work, WorkHost } from './work.ts'

interface Message {
  readonly begin: MessageStart
  readonly sealer: Transform
  readonly sealed: Buffer[]
  octets: number
  /** All of it was given to the sealer. */
  ended: boolean
  done: boolean
}

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
  /** Waiting for `+`, one for each message. */
  #segments: Buffer[][] = []
  #over = false

  constructor(host: WorkHost, tag: string) {
    this.#host = host
    this.#tag = tag
  }

  /** May more octets of the message come from the client? */
  get wantsClient(): boolean {
    return this.#failure !== null || this.#messages.at(-1)?.sealer.wants !== false
  }

  /** Sealed and not yet sent. */
  get heldOctets(): number {
    return this.#messages.reduce((sum, message) => sum + message.octets, 0)
  }

  get failure(): GatewayError | null {
    return this.#failure
  }

  message(begin: MessageStart): void {
    const sealer = this.#host.transforms.sealer(begin.literal.octets)
    this.#messages.push({ begin, sealer, sealed: [], octets: 0, ended: false, done: false })
  }

  octets(bytes: Buffer, last: boolean): void {
    const message = this.#messages.at(-1)
    if (message === undefined) return
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
    const segment = this.#segments.shift()
    if (segment === undefined) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'continuation' })
    for (const bytes of segment) this.#host.toUpstream(bytes)
  }

  tagged(tag: string, _ok: boolean, line: Buffer): void {
    if (tag !== this.#upstreamTag) return
    this.#end(Buffer.concat([Buffer.from(this.#tag, 'latin1'), line.subarray(tag.length)]))
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
        message.sealed.push(action.bytes)
        message.octets += action.bytes.length
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
    if (!this.#messages.every(({ done }) => done)) return
    this.#send(this.#after)
  }

  #send(after: Buffer): void {
    const tag = this.#host.nextTag()
    this.#upstreamTag = tag
    const plus = this.#host.literalPlus
    let segment: Buffer[] = []
    this.#messages.forEach(({ begin, sealed, octets }, i) => {
      const texts = segmentsOf(begin.before, begin.literals, plus)
      if (i === 0) texts[0] = Buffer.concat([Buffer.from(tag), texts[0]!.subarray(this.#tag.length)])
      texts.push(reannounce(texts.pop()!, octets, !plus))
      for (const text of texts) {
        segment.push(text)
        this.#segments.push(segment)
        segment = []
      }
      segment = sealed
    })
    segment.push(after)
    this.#segments.push(segment)
    this.#messages.length = 0
    this.continuation()
    if (plus) while (this.#segments.length > 0) this.continuation()
  }

  #end(line: Buffer): void {
    this.#over = true
    this.#host.toClient(line)
    this.#host.finished()
  }
}
