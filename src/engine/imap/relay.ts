/**
 * The session after login. What the client says becomes jobs (command-intake.ts), which go up or are carried out by works
 * in their order (command-queue.ts); here is who each of the server's responses belongs to. What the server says unasked
 * goes to the client at once and in order (client-output.ts); a FETCH answer that a work may claim is gathered whole first
 * (answer-gather.ts).
 */
import { GatewayError } from '../../base/errors.ts'
import type { Account } from '../account.ts'
import type { Asking } from '../asking.ts'
import { AnswerGather, type GatheredAnswer } from './answer-gather.ts'
import { filterLine } from './capabilities.ts'
import { ClientOutput } from './client-output.ts'
import { CommandIntake } from './command-intake.ts'
import { CommandQueue } from './command-queue.ts'
import type { CommandReader, ReaderEvent } from './command-reader.ts'
import { FetchWork } from './fetch-work.ts'
import type { Piece } from './framer.ts'
import { Mailbox } from './mailbox.ts'
import { OpenedCache } from './opened.ts'
import { OutlineCache } from './outline-cache.ts'
import type { LoggedIn } from './provider-login.ts'
import { parseCode, parseFetchAnswer, parseHead, type ResponseHead, vanishedRanges } from './response.ts'
import { rescaleAppendLimit, withoutReferral } from './rewrites.ts'
import { SearchWork } from './search-work.ts'
import { countOf } from './sequence-set.ts'
import { SizeMemory } from './size-memory.ts'
import type { Transforms } from './transforms.ts'
import type { WorkHost } from './work.ts'

export interface RelayOptions {
  readonly account: Account
  readonly login: LoggedIn
  readonly out: Asking
  readonly reader: CommandReader
  readonly transforms: Transforms
  readonly toClient: (bytes: Buffer) => void
}

/** Some answers in their order, however small the buffers are. */
const MIN_HELD_OCTETS = 64 * 1024

export class Relay {
  readonly #host: WorkHost & { mailbox: Mailbox }
  readonly #output: ClientOutput
  /** Octets that a work may let wait for the order's sake; as much again is for what the server says unasked. */
  readonly #heldLimit: number
  readonly #queue: CommandQueue
  readonly #intake: CommandIntake
  #ownTag = 0
  /** Of the response being read. */
  #head: ResponseHead = { type: 'other' }
  #gather: AnswerGather | null = null
  #byeSeen = false

  constructor(options: RelayOptions) {
    const { account, out, reader } = options
    const { maxbufOctets } = account.settings
    this.#heldLimit = Math.max(MIN_HELD_OCTETS, maxbufOctets / 2)
    this.#output = new ClientOutput(options.toClient, 2 * this.#heldLimit, () => this.#queue.active?.placesGivenUp?.())
    this.#host = this.#hostFor(options)
    this.#queue = new CommandQueue({ account, out, reader, host: this.#host })
    this.#intake = new CommandIntake(this.#host, this.#queue, reader)
  }

  #hostFor({ account, login, out, transforms }: RelayOptions): WorkHost & { mailbox: Mailbox } {
    const { settings } = account
    const sizes = account.profile.imap?.sizes ?? settings.sizes
    const output = this.#output
    const limitOctets = this.#heldLimit
    return {
      out,
      mailbox: new Mailbox(),
      opened: new OpenedCache(settings.maxbufOctets),
      outlines: new OutlineCache(),
      mimeBug: false,
      settings,
      transforms,
      literalPlus: login.capabilities.has('LITERAL+'),
      sizes,
      memory: new SizeMemory(out),
      appended: new Map(),
      beyondEnd: 0,
      placeholder: account.profile.imap?.unavailable === 'placeholder',
      keepOrder: false,
      exactSizes: sizes === 'exact',
      spill: { octets: 0, users: 0 },
      nextTag: () => `VES${++this.#ownTag}`,
      toUpstream: (bytes) => out.send('upstream', bytes),
      toClient: (bytes) => output.send(bytes),
      place: (octets) => output.place(octets),
      held: {
        limitOctets,
        get octets() {
          return output.heldOctets
        },
      },
      stream: (bytes) => output.stream(bytes),
      streamed: (complete) => output.streamed(complete),
      hangUp: () => {
        out.push({ do: 'hang-up', abort: true })
        output.break()
      },
      finished: () => this.#queue.finished(),
    }
  }

  /** In the middle of an answer to the client: not even a goodbye may stand there. */
  get streaming(): boolean {
    return this.#output.streaming
  }

  /** An answer could not be completed: the session must end. */
  get broken(): boolean {
    return this.#output.broken
  }

  /** The server has said goodbye itself. */
  get byeSeen(): boolean {
    return this.#byeSeen
  }

  /** Nothing is open but IDLE, nothing of ours under way. */
  get quiet(): boolean {
    return this.#queue.quiet && !this.#intake.open && this.#gather === null && !this.#output.streaming
  }

  /** A command that keeps the server busy is open: silence of the client is no idleness. */
  get busy(): boolean {
    return this.#queue.busy || this.#intake.open
  }

  /** FETCH answers go to the client as they are. */
  get passesFetch(): boolean {
    return this.#queue.active?.passing !== false
  }

  get wantsClient(): boolean {
    return this.#queue.hasRoom && this.#intake.wants && !this.#output.waiting
  }

  get wantsUpstream(): boolean {
    return this.#queue.active?.wantsUpstream !== false
  }

  client(event: ReaderEvent): void {
    this.#intake.take(event)
  }

  /** A FETCH answer would be gathered whole, every literal of it: then it may as well come so ({@link wholeAnswer}). */
  get gathersAll(): boolean {
    const { active } = this.#queue
    return active !== null && !active.passing && active.takesLiterals !== true && this.#gather === null
  }

  /** Answers that the work takes as they lie in what has come. @returns octets taken, of whole answers */
  answers(front: Buffer): number {
    return this.#queue.active?.answers?.(front) ?? 0
  }

  /** @param bytes of one FETCH answer, with its literals */
  wholeAnswer(bytes: Buffer): void {
    this.#answered({ bytes, sunk: false, cut: false })
  }

  /** One piece of the server's stream. */
  upstream(piece: Piece): void {
    if (piece.is !== 'octets' && piece.first) {
      this.#head = parseHead(piece.bytes)
      this.#first(piece)
      return
    }
    if (this.#gather !== null) this.#gathered(this.#gather, piece)
    else if (this.#head.type === 'search' && this.#searching !== null) this.#searching.found(piece.bytes)
    else if (this.#head.type === 'status-of' && piece.is === 'line') this.#pass(piece, rescaleAppendLimit(piece.bytes))
    else this.#pass(piece)
  }

  /** The session ends: what waits for an answer goes without it. */
  release(): void {
    this.#output.release()
  }

  dispose(): void {
    this.release()
    this.#queue.dispose()
    this.#intake.dispose()
  }

  /** Whose `* SEARCH` it is; null: the client's. */
  get #searching(): SearchWork | null {
    const { active } = this.#queue
    return active instanceof SearchWork && active.takesSearch ? active : null
  }

  #first(piece: Exclude<Piece, { is: 'octets' }>): void {
    const head = this.#head
    const { active } = this.#queue
    const { bytes } = piece
    switch (head.type) {
      case 'tagged':
        this.#queue.tagged(head.tag, head.status === 'OK', withoutReferral(bytes))
        return
      case 'continuation':
        if (active === null || active instanceof FetchWork) this.#toClient(bytes)
        else active.continuation(bytes)
        return
      case 'fetch':
        if (active === null || active.passing || piece.is === 'fragment') break
        this.#gather = new AnswerGather()
        this.#gathered(this.#gather, piece)
        return
      case 'status':
        this.#status(bytes)
        return
      case 'capability':
        if (piece.is === 'fragment') break
        this.#pass(piece, filterLine(bytes))
        return
      case 'status-of':
        if (piece.is === 'line' && piece.literal !== null) break
        this.#pass(piece, rescaleAppendLimit(bytes))
        return
      case 'search':
        if (this.#searching === null) break
        this.#searching.found(bytes)
        return
      case 'exists':
        this.#host.mailbox.prefix.exists(head.number)
        break
      case 'expunge':
        this.#host.mailbox.prefix.gone(1)
        active?.expunged(head.number)
        break
      case 'vanished': {
        const ranges = vanishedRanges(bytes)
        this.#host.mailbox.prefix.gone(countOf(ranges, Number.MAX_SAFE_INTEGER))
        active?.vanished(ranges)
        break
      }
      default:
        break
    }
    this.#pass(piece)
  }

  #status(line: Buffer): void {
    const code = parseCode(line)
    if (code?.name === 'UIDVALIDITY') this.#uidValidity(Number(code.text))
    const { mailbox, memory } = this.#host
    if (code?.name === 'UIDNEXT' && mailbox.prefix.setUidNext(Number(code.text))) memory.keepPrefix(mailbox)
    if (code?.name === 'UIDNOTSTICKY') {
      mailbox.keepsUids = false
      mailbox.prefix.forget()
    }
    if (/^\* BYE/i.test(line.toString('latin1', 0, 5))) this.#byeSeen = true
    this.#toClient(filterLine(withoutReferral(line)))
  }

  #uidValidity(value: number): void {
    const { mailbox, memory } = this.#host
    const known = mailbox.uidValidity
    if (mailbox.setUidValidity(value)) {
      this.#host.opened.clear()
      this.#host.outlines.clear()
    }
    if (known !== value) memory.recallPrefix(mailbox)
  }

  #gathered(gather: AnswerGather, piece: Piece): void {
    const answer = gather.take(piece, this.#queue.active)
    if (answer === null) return
    this.#gather = null
    this.#answered(answer)
  }

  #answered({ bytes, sunk, cut }: GatheredAnswer): void {
    const ours = this.#queue.active?.fetch(parseFetchAnswer(bytes), bytes, cut) === true
    if (ours) return
    if (sunk || cut) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'answer for another message' })
    this.#toClient(bytes)
  }

  #toClient(bytes: Buffer | string): void {
    this.#output.send(bytes)
  }

  /** Goes on as it is, or with what we change of it. */
  #pass(piece: Piece, bytes = piece.bytes): void {
    this.#output.pass(bytes, piece.is !== 'line' || piece.literal !== null)
  }
}
