/**
 * Gathers the client's commands: text and small literals in one buffer, message literals as a stream of octets. Decides
 * before the octets come (policy), asks for them (`go-on`), and keeps its place in the stream when a command is refused.
 * Not the meaning of commands: that is the session's.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import { Cursor, syntax } from './cursor.ts'
import { Framer } from './framer.ts'
import { endsInQuotes, type Literal, literalAtEnd } from './literal.ts'

/** A literal inside `ClientCommand.text`: the announcement `{n}CRLF` and the octets behind it. */
export interface InlineLiteral {
  readonly announcedAt: number
  readonly octetsAt: number
  readonly literal: Literal
}

export interface ClientCommand {
  readonly tag: string
  /** Upper-cased; with UID: `UID FETCH`. */
  readonly name: string
  /** The whole command, CRLF included; without the message literals of APPEND. */
  readonly text: Buffer
  /** Where the arguments begin, at the space before them (or the CRLF). */
  readonly argsAt: number
  readonly literals: readonly InlineLiteral[]
}

/** A literal that is a message: what stands before it (since the message before), announcement included. */
export interface MessageStart {
  readonly command: ClientCommand
  readonly before: Buffer
  readonly literals: readonly InlineLiteral[]
  readonly literal: Literal
}

export type ReaderEvent =
  | { readonly is: 'command'; readonly command: ClientCommand }
  /** A line that is no command (an answer to `+`, DONE), line end included. */
  | { readonly is: 'line'; readonly bytes: Buffer }
  /** Tell the client to send the literal. */
  | { readonly is: 'go-on' }
  /** A message literal is announced; before anything else call `acceptMessage` or `refuse`. */
  | { readonly is: 'message'; readonly start: MessageStart }
  | { readonly is: 'octets'; readonly bytes: Buffer; readonly last: boolean }
  /** The command with messages is complete; `after`: its last text, from the last message on. */
  | { readonly is: 'messages-end'; readonly after: Buffer }
  /** A whole command was read past; `open`: it had begun to stream a message. */
  | { readonly is: 'refused'; readonly tag: string; readonly error: GatewayError; readonly open: boolean }

/** @returns what a literal is for. @throws {GatewayError} to refuse the command */
export type LiteralPolicy = (command: ClientCommand, literal: Literal, messages: number) => 'text' | 'message'

export interface ReaderOptions {
  readonly policy: LiteralPolicy
  /** Text and inline literals of one command. */
  readonly maxCommandOctets: () => number
}

/** RFC 9051 names no limit; longer tags only cost memory. */
const MAX_TAG = 255
const MAX_LITERALS = 1000
/** A refused literal that was sent without asking is read past, up to this; then the session ends. */
const MAX_DISCARD_OCTETS = 4 * 1024 * 1024 * 1024

type State =
  | { readonly in: 'text' }
  /** Octets of an inline literal are coming. */
  | { readonly in: 'literal' }
  | { readonly in: 'deciding'; readonly start: MessageStart }
  | { readonly in: 'message' }
  | { readonly in: 'discarding'; readonly error: GatewayError }

export class CommandReader {
  readonly #options: ReaderOptions
  readonly #framer: Framer
  #state: State = { in: 'text' }
  #parts: Buffer[] = []
  #octets = 0
  #literals: InlineLiteral[] = []
  /** The command's head, once its first line is there. */
  #command: ClientCommand | null = null
  #messages = 0
  #lineWanted = false

  constructor(options: ReaderOptions) {
    this.#options = options
    this.#framer = new Framer({
      maxLineOctets: options.maxCommandOctets,
      literalOf: (line) => {
        if (this.#lineWanted) return null
        const literal = literalAtEnd(line)
        // What we take for a literal the server might take for text, and its octets for commands.
        if (literal !== null && endsInQuotes(line)) throw syntax(line.length)
        return literal
      },
    })
  }

  get partial(): boolean {
    return this.#framer.partial || this.#command !== null
  }

  get held(): number {
    return this.#framer.held
  }

  push(bytes: Buffer): void {
    this.#framer.push(bytes)
  }

  /** The next line is no command (IDLE's DONE, a SASL response). */
  expectLine(): void {
    this.#lineWanted = true
  }

  /** IDLE ended without its DONE: what comes is a command again. */
  expectCommand(): void {
    this.#lineWanted = false
  }

  clear(): void {
    this.#framer.clear()
    this.#reset()
  }

  /** @throws {GatewayError} where the place in the stream is lost: the session must end */
  next(): ReaderEvent | null {
    for (;;) {
      if (this.#state.in === 'deciding') return null
      const piece = this.#framer.next()
      if (piece === null) return null
      if (piece.is === 'fragment') throw new GatewayError('LINE_TOO_LONG')
      const event = piece.is === 'line' ? this.#line(piece.bytes, piece.literal) : this.#piece(piece.bytes, piece.last)
      if (event !== null) return event
    }
  }

  acceptMessage(): ReaderEvent | null {
    if (this.#state.in !== 'deciding') throw new Error('no message literal to accept')
    const { literal } = this.#state.start
    this.#state = { in: 'message' }
    this.#messages++
    return literal.sync ? { is: 'go-on' } : null
  }

  /** Refuses the command whose message literal was just announced, or is being read. */
  refuse(error: GatewayError): ReaderEvent | null {
    if (this.#state.in === 'deciding') return this.#refuse(error, this.#state.start.literal)
    this.#state = { in: 'discarding', error }
    return null
  }

  #line(bytes: Buffer, literal: Literal | null): ReaderEvent | null {
    if (this.#lineWanted) {
      this.#lineWanted = false
      return { is: 'line', bytes }
    }
    if (this.#state.in === 'discarding') {
      if (literal !== null) return this.#refuse(this.#state.error, literal)
      return this.#refused(this.#state.error)
    }
    if (this.#octets + bytes.length > this.#options.maxCommandOctets()) {
      return this.#refuse(new GatewayError('LINE_TOO_LONG'), literal)
    }
    const at = this.#octets
    this.#parts.push(bytes)
    this.#octets += bytes.length
    let command = this.#command
    if (command === null) {
      try {
        command = parseHead(bytes)
      } catch (error) {
        return this.#refuse(asGatewayError(error), literal)
      }
      this.#command = command
    }
    if (literal === null) return this.#complete(command)
    return this.#announced(command, literal, at + bytes.length)
  }

  #announced(command: ClientCommand, literal: Literal, octetsAt: number): ReaderEvent | null {
    const before = this.#text()
    const soFar: ClientCommand = { ...command, text: before, literals: this.#literals }
    let purpose: 'text' | 'message'
    try {
      purpose = this.#options.policy(soFar, literal, this.#messages)
      if (purpose === 'text') {
        if (this.#literals.length >= MAX_LITERALS) throw new GatewayError('LITERAL_TOO_LARGE')
        if (literal.octets > this.#options.maxCommandOctets() - this.#octets) {
          throw new GatewayError('LITERAL_TOO_LARGE', { octets: literal.octets })
        }
      }
    } catch (error) {
      return this.#refuse(asGatewayError(error), literal)
    }
    const announcedAt = before.lastIndexOf(0x7b) - (literal.binary ? 1 : 0)
    if (purpose === 'message') {
      const start = { command: soFar, before, literals: this.#literals, literal }
      this.#parts = []
      this.#octets = 0
      this.#literals = []
      this.#state = { in: 'deciding', start }
      return { is: 'message', start }
    }
    this.#literals.push({ announcedAt, octetsAt, literal })
    this.#state = { in: 'literal' }
    return literal.sync ? { is: 'go-on' } : null
  }

  #piece(bytes: Buffer, last: boolean): ReaderEvent | null {
    switch (this.#state.in) {
      case 'literal':
        this.#parts.push(bytes)
        this.#octets += bytes.length
        if (last) this.#state = { in: 'text' }
        return null
      case 'message':
        if (last) this.#state = { in: 'text' }
        return { is: 'octets', bytes, last }
      default:
        return null
    }
  }

  #complete(command: ClientCommand): ReaderEvent {
    const text = this.#text()
    const literals = this.#literals
    const messages = this.#messages
    this.#reset()
    if (messages > 0) return { is: 'messages-end', after: text }
    return { is: 'command', command: { ...command, text, literals } }
  }

  /** Leaves the command out of the stream: at once where its sender waits for us, else after reading past it. */
  #refuse(error: GatewayError, literal: Literal | null): ReaderEvent | null {
    if (literal === null) return this.#refused(error)
    if (literal.sync) {
      this.#framer.skipLiteral()
      return this.#refused(error)
    }
    if (literal.octets > MAX_DISCARD_OCTETS) throw error
    this.#state = { in: 'discarding', error }
    return null
  }

  #refused(error: GatewayError): ReaderEvent {
    const tag = this.#command?.tag ?? '*'
    const open = this.#messages > 0
    this.#reset()
    return { is: 'refused', tag, error, open }
  }

  #text(): Buffer {
    const [only] = this.#parts
    if (only !== undefined && this.#parts.length === 1) return only
    const text = Buffer.concat(this.#parts)
    this.#parts = [text]
    return text
  }

  #reset(): void {
    this.#state = { in: 'text' }
    this.#parts = []
    this.#octets = 0
    this.#literals = []
    this.#command = null
    this.#messages = 0
  }
}

/** `tag SP command-name`, tag = 1*<any ASTRING-CHAR except "+">. @throws {GatewayError} SYNTAX */
function parseHead(line: Buffer): ClientCommand {
  const cursor = new Cursor(line)
  const tag = cursor.atom()
  if (tag.includes('+') || tag.length > MAX_TAG) throw syntax(0)
  cursor.space()
  let name = cursor.keyword()
  if (name === 'UID' && cursor.isNext(' ')) {
    cursor.space()
    name = `UID ${cursor.keyword()}`
  }
  return { tag, name, text: line, argsAt: cursor.at, literals: [] }
}
