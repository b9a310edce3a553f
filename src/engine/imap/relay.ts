/**
 * The session after login: client commands in a queue, the upstream conversation, and who each answer belongs to.
 * Commands that are not about content go up as they come, pipelined; one that we carry out ourselves (Work) waits until
 * the connection is free and has it alone. What the server says unasked goes to the client at once and in order.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Account } from '../account.ts'
import type { Asking } from '../asking.ts'
import { AppendWork } from './append-work.ts'
import { filterLine } from './capabilities.ts'
import type { ClientCommand, CommandReader, ReaderEvent } from './command-reader.ts'
import { refusal } from './commands.ts'
import { type FetchCommand, isContent, parseFetch } from './fetch-command.ts'
import { FetchWork } from './fetch-work.ts'
import type { Piece } from './framer.ts'
import { LiteralWork } from './literal-work.ts'
import { Mailbox } from './mailbox.ts'
import { joined } from './neighbours.ts'
import { OpenedCache } from './opened.ts'
import { segmentsOf } from './outgoing.ts'
import { OutlineCache } from './outline-cache.ts'
import type { LoggedIn } from './provider-login.ts'
import { imapReply } from './reply.ts'
import {
  parseCode,
  parseFetchAnswer,
  parseHead,
  type ResponseHead,
  vanishedRanges,
  withEmptyString,
} from './response.ts'
import { filterEnable, rescaleAppendLimit } from './rewrites.ts'
import { editedSearch, parseSearch, withNote } from './search.ts'
import { SearchWork } from './search-work.ts'
import { mailboxOf, SizeMemory } from './size-memory.ts'
import type { Transforms } from './transforms.ts'
import type { LiteralSink, Work, WorkHost } from './work.ts'
import { xvesReplies } from './xves.ts'

export interface RelayOptions {
  readonly account: Account
  readonly login: LoggedIn
  readonly out: Asking
  readonly reader: CommandReader
  readonly transforms: Transforms
  readonly toClient: (bytes: Buffer) => void
}

type Job =
  /** As it is, under the client's tag. */
  | { readonly kind: 'pass'; readonly command: ClientCommand; readonly incomplete?: boolean }
  | { readonly kind: 'fetch'; readonly fetch: FetchCommand }
  | { readonly kind: 'search'; readonly command: ClientCommand }
  | { readonly kind: 'work'; readonly work: Work }
  /** A line that belongs to the command before it: DONE. */
  | { readonly kind: 'line'; readonly bytes: Buffer }
  | { readonly kind: 'reply'; readonly text: string }

/** Commands read ahead of their answers. More than any client pipelines; past it the client is not read. */
const MAX_QUEUE = 200
const MAX_PENDING = 500
/**
 * More than any provider takes; an attachment of 1 GiB is 1.4 GiB in base64. Sealed it is at most 2.8 GiB, below the 4 GiB
 * that sizes in IMAP end at (RFC 9051 §9, number). Disk and memory have bounds of their own: what the file does not take
 * goes up as it is sealed.
 */
const MAX_APPEND_OCTETS = 2 * 1024 * 1024 * 1024
/**
 * A FETCH answer that we take apart: its text and literals, but for message bodies. Literals past it are left out: such a
 * message is answered in another way.
 */
const MAX_ANSWER_OCTETS = 4 * 1024 * 1024
const IGNORE: LiteralSink = () => {}

/** A FETCH answer on its way into memory. */
interface Gather {
  readonly parts: Buffer[]
  octets: number
  /** Where the octets of the current literal go instead. */
  sink: LiteralSink | null
  /** A work took a literal of it. */
  sunk: boolean
  /** A literal of it was left out. */
  cut: boolean
}

export class Relay {
  readonly #options: RelayOptions
  readonly #out: Asking
  readonly #host: WorkHost & { mailbox: Mailbox }
  readonly #queue: Job[] = []
  /** Passed commands without their tagged answer, in order. */
  readonly #pending: { readonly tag: string; readonly name: string; readonly incomplete: boolean }[] = []
  #active: Work | null = null
  #append: AppendWork | null = null
  #ownTag = 0
  /** Of the response being read. */
  #head: ResponseHead = { type: 'other' }
  #gather: Gather | null = null
  #byeSeen = false
  /** What waits for the end of a streamed answer; null: none is under way. */
  #behindStream: Buffer[] | null = null
  #broken = false
  #pumping = false

  constructor(options: RelayOptions) {
    this.#options = options
    this.#out = options.out
    const { settings } = options.account
    const sizes = options.account.profile.imap?.sizes ?? settings.sizes
    const { capabilities } = options.login
    this.#host = {
      out: options.out,
      mailbox: new Mailbox(),
      opened: new OpenedCache(settings.maxbufOctets),
      outlines: new OutlineCache(),
      mimeBug: false,
      settings,
      transforms: options.transforms,
      literalPlus: capabilities.has('LITERAL+'),
      sizes,
      memory: new SizeMemory(options.out),
      appended: new Map(),
      beyondEnd: 0,
      placeholder: options.account.profile.imap?.unavailable === 'placeholder',
      keepOrder: false,
      exactSizes: sizes === 'exact',
      spill: { octets: 0, users: 0 },
      nextTag: () => `VES${++this.#ownTag}`,
      toUpstream: (bytes) => options.out.send('upstream', bytes),
      toClient: (bytes) => {
        const octets = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
        if (this.#behindStream === null) options.toClient(octets)
        else this.#behindStream.push(octets)
      },
      stream: (bytes) => {
        this.#behindStream ??= []
        options.toClient(bytes)
      },
      streamed: (complete) => {
        const behind = this.#behindStream ?? []
        if (!complete) {
          this.#broken = true
          return
        }
        this.#behindStream = null
        for (const octets of behind) options.toClient(octets)
      },
      hangUp: () => {
        options.out.push({ do: 'hang-up', abort: true })
        this.#broken = true
      },
      finished: () => {
        this.#active = null
        this.#pump()
      },
    }
  }

  /** In the middle of an answer to the client: not even a goodbye may stand there. */
  get streaming(): boolean {
    return this.#behindStream !== null
  }

  /** An answer could not be completed: the session must end. */
  get broken(): boolean {
    return this.#broken
  }

  /** The server has said goodbye itself. */
  get byeSeen(): boolean {
    return this.#byeSeen
  }

  /** Nothing is open but IDLE, nothing of ours under way. */
  get quiet(): boolean {
    return (
      this.#active === null &&
      this.#append === null &&
      this.#queue.length === 0 &&
      this.#gather === null &&
      this.#pending.every(({ name }) => name === 'IDLE')
    )
  }

  /** A command that keeps the server busy is open: silence of the client is no idleness. */
  get busy(): boolean {
    return this.#active !== null || this.#append !== null || this.#pending.some(({ name }) => name !== 'IDLE')
  }

  /** FETCH answers go to the client as they are. */
  get passesFetch(): boolean {
    return this.#active?.passing !== false
  }

  get wantsClient(): boolean {
    return this.#queue.length < MAX_QUEUE && this.#append?.wantsClient !== false
  }

  get wantsUpstream(): boolean {
    return this.#active?.wantsUpstream !== false
  }

  client(event: ReaderEvent): void {
    switch (event.is) {
      case 'command':
        this.#command(event.command)
        break
      case 'line':
        this.#add({ kind: 'line', bytes: event.bytes })
        break
      case 'go-on':
        this.#toClient('+ OK\r\n')
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

  #message(event: Extract<ReaderEvent, { is: 'message' }>): void {
    const { reader } = this.#options
    const { start } = event
    const { maxbufOctets } = this.#host.settings
    const { octets } = start.literal
    const held = this.#append?.heldOctets ?? 0
    const tooLarge = octets > MAX_APPEND_OCTETS
    const error = this.#append?.failure ?? (tooLarge ? new GatewayError('LITERAL_TOO_LARGE', { octets }) : null)
    if (error === null) {
      if (this.#append === null) {
        this.#append = new AppendWork(this.#host, start.command.tag)
        this.#add({ kind: 'work', work: this.#append })
      }
      this.#append.message(start, octets > maxbufOctets || held + octets > maxbufOctets)
    }
    const next = error === null ? reader.acceptMessage() : reader.refuse(error)
    if (next !== null) this.client(next)
  }

  /** A FETCH answer would be gathered whole, every literal of it: then it may as well come so ({@link wholeAnswer}). */
  get gathersAll(): boolean {
    const active = this.#active
    return active !== null && !active.passing && active.takesLiterals !== true && this.#gather === null
  }

  /** Answers that the work takes as they lie in what has come. @returns octets taken, of whole answers */
  answers(front: Buffer): number {
    return this.#active?.answers?.(front) ?? 0
  }

  /** @param bytes of one FETCH answer, with its literals */
  wholeAnswer(bytes: Buffer): void {
    this.#answered(bytes, { sunk: false, cut: false })
  }

  /** One piece of the server's stream. */
  upstream(piece: Piece): void {
    if (piece.is !== 'octets' && piece.first) {
      this.#head = parseHead(piece.bytes)
      this.#first(piece)
      return
    }
    if (this.#gather !== null) this.#gathered(piece)
    else if (this.#head.type === 'search' && this.#searching !== null) this.#searching.found(piece.bytes)
    else if (this.#head.type === 'status-of' && piece.is === 'line') this.#toClient(rescaleAppendLimit(piece.bytes))
    else this.#toClient(piece.bytes)
  }

  dispose(): void {
    this.#active?.dispose()
    this.#append?.dispose()
    this.#queue.length = 0
  }

  /** Whose `* SEARCH` it is; null: the client's. */
  get #searching(): SearchWork | null {
    return this.#active instanceof SearchWork && this.#active.takesSearch ? this.#active : null
  }

  #first(piece: Exclude<Piece, { is: 'octets' }>): void {
    const head = this.#head
    const active = this.#active
    const { bytes } = piece
    switch (head.type) {
      case 'tagged':
        this.#tagged(head.tag, head.status === 'OK', bytes)
        return
      case 'continuation':
        if (active === null || active instanceof FetchWork) this.#toClient(bytes)
        else active.continuation(bytes)
        return
      case 'fetch':
        if (active === null || active.passing || piece.is === 'fragment') break
        this.#gather = { parts: [], octets: 0, sink: null, sunk: false, cut: false }
        this.#gathered(piece)
        return
      case 'status':
        this.#status(bytes)
        return
      case 'capability':
        if (piece.is === 'fragment') break
        this.#toClient(filterLine(bytes))
        return
      case 'status-of':
        if (piece.is === 'line' && piece.literal !== null) break
        this.#toClient(rescaleAppendLimit(bytes))
        return
      case 'search':
        if (this.#searching === null) break
        this.#searching.found(bytes)
        return
      case 'expunge':
        active?.expunged(head.number)
        break
      case 'vanished':
        active?.vanished(vanishedRanges(bytes))
        break
      default:
        break
    }
    this.#toClient(bytes)
  }

  #status(line: Buffer): void {
    const code = parseCode(line)
    if (code?.name === 'UIDVALIDITY') this.#uidValidity(Number(code.text))
    if (code?.name === 'UIDNOTSTICKY') this.#host.mailbox.keepsUids = false
    if (/^\* BYE/i.test(line.toString('latin1', 0, 5))) this.#byeSeen = true
    if (code?.name === 'REFERRAL') {
      this.#toClient(Buffer.concat([line.subarray(0, code.from), line.subarray(code.to + 1)]))
    } else this.#toClient(filterLine(line))
  }

  #uidValidity(value: number): void {
    if (!this.#host.mailbox.setUidValidity(value)) return
    this.#host.opened.clear()
    this.#host.outlines.clear()
  }

  /** A FETCH answer while a work may claim it: gathered whole, but for the literals that the work takes as they come. */
  #gathered(piece: Piece): void {
    const gather = this.#gather!
    if (piece.is === 'octets' && gather.sink !== null) {
      const { sink } = gather
      if (piece.last) gather.sink = null
      sink(piece.bytes, piece.last)
      return
    }
    gather.octets += piece.bytes.length
    if (gather.octets > MAX_ANSWER_OCTETS) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'answer too large' })
    gather.parts.push(piece.bytes)
    if (piece.is !== 'line') return
    if (piece.literal === null) {
      this.#gather = null
      this.#answered(joined(gather.parts), gather)
      return
    }
    const isLarge = gather.octets + piece.literal.octets > MAX_ANSWER_OCTETS
    if (this.#active?.takesLiterals !== true && !isLarge) return
    const text = joined(gather.parts)
    gather.sink = this.#active?.literalSink(text, piece.literal.octets) ?? null
    if (gather.sink !== null) gather.sunk = true
    else if (isLarge) {
      gather.cut = true
      gather.sink = IGNORE
    } else return
    gather.parts.length = 0
    gather.parts.push(withEmptyString(text))
  }

  #answered(bytes: Buffer, { sunk, cut }: Pick<Gather, 'sunk' | 'cut'>): void {
    const ours = this.#active?.fetch(parseFetchAnswer(bytes), bytes, cut) === true
    if (ours) return
    if (sunk || cut) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'answer for another message' })
    this.#toClient(bytes)
  }

  #tagged(tag: string, ok: boolean, line: Buffer): void {
    if (this.#active !== null) {
      this.#active.tagged(tag, ok, line)
      return
    }
    const at = this.#pending.findIndex((each) => each.tag === tag)
    if (at < 0) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'tag' })
    const [command] = this.#pending.splice(at, 1)
    this.#completed(command!.name, ok)
    this.#toClient(command!.incomplete ? withNote(line) : filterLine(line))
    this.#pump()
  }

  #completed(name: string, ok: boolean): void {
    if ((name === 'CLOSE' || name === 'UNSELECT') && ok) this.#leaveMailbox()
    if ((name === 'SELECT' || name === 'EXAMINE') && !ok) this.#leaveMailbox()
    if (name === 'IDLE' && !this.#idleAhead) this.#options.reader.expectCommand()
  }

  /** Another IDLE was read already: the line that is waited for is its DONE. */
  get #idleAhead(): boolean {
    return (
      this.#pending.some(({ name }) => name === 'IDLE') ||
      this.#queue.some((job) => job.kind === 'pass' && job.command.name === 'IDLE')
    )
  }

  #leaveMailbox(next: string | null = null): void {
    this.#host.mailbox = new Mailbox(next)
    this.#host.opened.clear()
    this.#host.outlines.clear()
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
      case 'UID FETCH': {
        const fetch = parseFetch(command)
        if (
          fetch.items.some((item) => item.kind === 'binary' || item.kind === 'binary-size' || item.kind === 'preview')
        ) {
          throw new GatewayError('SYNTAX', { text: 'item not offered' })
        }
        this.#add(fetch.items.some(isContent) ? { kind: 'fetch', fetch } : { kind: 'pass', command })
        break
      }
      case 'ENABLE':
        this.#add({ kind: 'pass', command: filterEnable(command) })
        break
      case 'APPEND':
        throw new GatewayError('SYNTAX', { text: 'APPEND needs a literal' })
      case 'XVES':
        this.#xves(command)
        break
      case 'SEARCH':
      case 'UID SEARCH':
        this.#add({ kind: 'search', command })
        break
      case 'IDLE':
        this.#options.reader.expectLine()
        this.#add({ kind: 'pass', command })
        break
      default:
        this.#add({ kind: 'pass', command })
    }
  }

  #xves(command: ClientCommand): void {
    for (const line of xvesReplies(command, this.#host)) this.#reply(line)
  }

  #reply(text: string): void {
    this.#add({ kind: 'reply', text: `${text}\r\n` })
  }

  #add(job: Job): void {
    this.#queue.push(job)
    this.#pump()
  }

  #pump(): void {
    // A work may finish inside its own start: the loop below goes on then, not a nested one.
    if (this.#pumping) return
    this.#pumping = true
    while (this.#active === null && this.#queue.length > 0) if (!this.#advance(this.#queue[0]!)) break
    this.#pumping = false
  }

  /** Starts the first job if it may; true: it is out of the queue. */
  #advance(job: Job): boolean {
    switch (job.kind) {
      case 'reply':
        this.#queue.shift()
        this.#toClient(job.text)
        return true
      case 'line':
        this.#queue.shift()
        this.#out.send('upstream', job.bytes)
        return true
      case 'pass':
        if (this.#pending.length >= MAX_PENDING) return false
        if (job.command.literals.length > 0 && !this.#host.literalPlus)
          return this.#startWork(this.#literalWork(job.command, job.incomplete === true))
        this.#queue.shift()
        this.#pass(job.command, job.incomplete === true)
        return true
      case 'fetch': {
        const { fetch } = job
        const { ranges } = fetch.set
        if (fetch.uid && ranges !== null && this.#host.mailbox.allPlain(ranges)) {
          this.#queue[0] = { kind: 'pass', command: fetch.command }
          return true
        }
        const work = new FetchWork(this.#host, fetch, (command) => {
          this.#active = null
          this.#queue.unshift({ kind: 'pass', command })
          this.#pump()
        })
        return this.#startWork(work)
      }
      case 'search':
        return this.#search(job.command)
      case 'work':
        return this.#startWork(job.work)
    }
  }

  #search(command: ClientCommand): boolean {
    const { appended } = this.#host
    const program = parseSearch(command, (tuid) => appended.get(tuid) ?? null)
    if (program === null || program.content.length === 0 || program.follows) {
      const incomplete = (program?.content.length ?? 0) > 0
      this.#queue[0] = { kind: 'pass', command: program === null ? command : editedSearch(program), incomplete }
      return true
    }
    const opens = this.#options.account.profile.imap?.search === 'open'
    const answered = (_ok: boolean, line: Buffer, incomplete: boolean): void =>
      this.#toClient(incomplete ? withNote(line) : filterLine(line))
    return this.#startWork(new SearchWork(this.#host, program, opens, answered))
  }

  #startWork(work: Work): boolean {
    if (this.#pending.length > 0) return false
    this.#queue.shift()
    this.#active = work
    work.start()
    return true
  }

  #literalWork(command: ClientCommand, incomplete: boolean): LiteralWork {
    this.#entering(command)
    return new LiteralWork(this.#host, command, (ok, line) => {
      this.#completed(command.name, ok)
      this.#toClient(incomplete ? withNote(line) : filterLine(line))
    })
  }

  #pass(command: ClientCommand, incomplete: boolean): void {
    const { tag, name, text, literals } = command
    this.#entering(command)
    this.#pending.push({ tag, name, incomplete })
    for (const segment of segmentsOf(text, literals, true)) this.#out.send('upstream', segment)
  }

  #entering(command: ClientCommand): void {
    // Even one that fails leaves the mailbox that was selected (RFC 9051 §6.3.2).
    if (command.name === 'SELECT' || command.name === 'EXAMINE') this.#leaveMailbox(mailboxOf(command))
  }

  #toClient(bytes: Buffer | string): void {
    this.#host.toClient(bytes)
  }
}
