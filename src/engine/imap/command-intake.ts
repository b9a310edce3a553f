/**
 * What the client says, as jobs for the queue: refused commands are answered, messages of an APPEND go to its work as they
 * come, everything else gets its kind. Nothing goes up from here.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import { AppendWork } from './append-work.ts'
import type { CommandQueue } from './command-queue.ts'
import type { ClientCommand, CommandReader, ReaderEvent } from './command-reader.ts'
import { refusal } from './commands.ts'
import { isContent, parseFetch } from './fetch-command.ts'
import { imapReply } from './reply.ts'
import { filterEnable } from './rewrites.ts'
import type { WorkHost } from './work.ts'
import { xvesReplies } from './xves.ts'

/**
 * More than any provider takes; an attachment of 1 GiB is 1.4 GiB in base64. Sealed it is at most 2.8 GiB, below the 4 GiB
 * that sizes in IMAP end at (RFC 9051 §9, number). Disk and memory have bounds of their own: what the file does not take
 * goes up as it is sealed.
 */
const MAX_APPEND_OCTETS = 2 * 1024 * 1024 * 1024

export class CommandIntake {
  readonly #host: WorkHost
  readonly #queue: CommandQueue
  readonly #reader: CommandReader
  /** Its messages are being read; it may already be at work. */
  #append: AppendWork | null = null

  constructor(host: WorkHost, queue: CommandQueue, reader: CommandReader) {
    this.#host = host
    this.#queue = queue
    this.#reader = reader
  }

  /** An APPEND is being read. */
  get open(): boolean {
    return this.#append !== null
  }

  get wants(): boolean {
    return this.#append?.wantsClient !== false
  }

  take(event: ReaderEvent): void {
    switch (event.is) {
      case 'command':
        this.#command(event.command)
        break
      case 'line':
        this.#queue.add({ kind: 'line', bytes: event.bytes })
        break
      case 'go-on':
        this.#host.toClient('+ OK\r\n')
        break
      case 'message':
        this.#message(event)
        break
      case 'octets':
        this.#append?.octets(event.bytes, event.last)
        break
      case 'messages-end': {
        const append = this.#append
        this.#append = null
        append?.complete(event.after)
        break
      }
      case 'refused': {
        const append = this.#append
        this.#append = null
        if (event.open && append !== null) append.abandon(event.error)
        else this.#reply(imapReply(event.tag, event.error))
        break
      }
    }
  }

  dispose(): void {
    this.#append?.dispose()
  }

  #message(event: Extract<ReaderEvent, { is: 'message' }>): void {
    const { start } = event
    const { maxbufOctets } = this.#host.settings
    const { octets } = start.literal
    const held = this.#append?.heldOctets ?? 0
    const tooLarge = octets > MAX_APPEND_OCTETS
    const error = this.#append?.failure ?? (tooLarge ? new GatewayError('LITERAL_TOO_LARGE', { octets }) : null)
    if (error === null) {
      if (this.#append === null) {
        this.#append = new AppendWork(this.#host, start.command.tag)
        this.#queue.add({ kind: 'work', work: this.#append })
      }
      this.#append.message(start, octets > maxbufOctets || held + octets > maxbufOctets)
    }
    const next = error === null ? this.#reader.acceptMessage() : this.#reader.refuse(error)
    if (next !== null) this.take(next)
  }

  #command(command: ClientCommand): void {
    try {
      this.#accept(command)
    } catch (error) {
      this.#reply(imapReply(command.tag, asGatewayError(error)))
    }
  }

  #accept(command: ClientCommand): void {
    const refused = refusal(command.name)
    if (refused !== null) throw refused
    switch (command.name) {
      case 'FETCH':
      case 'UID FETCH':
        this.#fetch(command)
        break
      case 'ENABLE':
        this.#queue.add({ kind: 'pass', command: filterEnable(command) })
        break
      case 'APPEND':
        throw new GatewayError('SYNTAX', { text: 'APPEND needs a literal' })
      case 'XVES':
        for (const line of xvesReplies(command, this.#host)) this.#reply(line)
        break
      case 'SEARCH':
      case 'UID SEARCH':
        this.#queue.add({ kind: 'search', command })
        break
      case 'IDLE':
        this.#reader.expectLine()
        this.#queue.add({ kind: 'pass', command })
        break
      default:
        this.#queue.add({ kind: 'pass', command })
    }
  }

  #fetch(command: ClientCommand): void {
    const fetch = parseFetch(command)
    if (fetch.items.some(({ kind }) => kind === 'binary' || kind === 'binary-size' || kind === 'preview')) {
      throw new GatewayError('SYNTAX', { text: 'item not offered' })
    }
    this.#queue.add(fetch.items.some(isContent) ? { kind: 'fetch', fetch } : { kind: 'pass', command })
  }

  #reply(text: string): void {
    this.#queue.add({ kind: 'reply', text: `${text}\r\n` })
  }
}
