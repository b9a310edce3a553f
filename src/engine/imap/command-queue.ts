/**
 * The client's commands in their order, and the upstream connection that they share. Commands that are not about content
 * go up as they come, pipelined; one that we carry out ourselves (a work) waits until the connection is free and has it
 * alone. Here is decided which of the two a FETCH or SEARCH is, since that depends on what was learned before it.
 */
import { GatewayError } from '../../base/errors.ts'
import type { Account } from '../account.ts'
import type { Asking } from '../asking.ts'
import { filterLine } from './capabilities.ts'
import type { ClientCommand, CommandReader } from './command-reader.ts'
import type { FetchCommand } from './fetch-command.ts'
import { FetchWork } from './fetch-work.ts'
import { LiteralWork } from './literal-work.ts'
import { Mailbox } from './mailbox.ts'
import { segmentsOf } from './outgoing.ts'
import { editedSearch, parseSearch, withNote } from './search.ts'
import { SearchWork } from './search-work.ts'
import { mailboxOf } from './size-memory.ts'
import type { Work, WorkHost } from './work.ts'

export type Job =
  /** As it is, under the client's tag. */
  | { readonly kind: 'pass'; readonly command: ClientCommand; readonly incomplete?: boolean }
  | { readonly kind: 'fetch'; readonly fetch: FetchCommand }
  | { readonly kind: 'search'; readonly command: ClientCommand }
  | { readonly kind: 'work'; readonly work: Work }
  /** A line that belongs to the command before it: DONE. */
  | { readonly kind: 'line'; readonly bytes: Buffer }
  | { readonly kind: 'reply'; readonly text: string }

export interface CommandQueueOptions {
  readonly account: Account
  readonly out: Asking
  readonly reader: CommandReader
  /** The mailbox is exchanged when another one is selected. */
  readonly host: WorkHost & { mailbox: Mailbox }
}

/** Commands read ahead of their answers. More than any client pipelines; past it the client is not read. */
const MAX_QUEUE = 200
const MAX_PENDING = 500

export class CommandQueue {
  readonly #options: CommandQueueOptions
  readonly #out: Asking
  readonly #host: WorkHost & { mailbox: Mailbox }
  readonly #queue: Job[] = []
  /** Passed commands without their tagged answer, in order. */
  readonly #pending: { readonly tag: string; readonly name: string; readonly incomplete: boolean }[] = []
  #active: Work | null = null
  #pumping = false

  constructor(options: CommandQueueOptions) {
    this.#options = options
    this.#out = options.out
    this.#host = options.host
  }

  /** The work that has the connection; null: commands pass. */
  get active(): Work | null {
    return this.#active
  }

  /** Nothing is open but IDLE. */
  get quiet(): boolean {
    return this.#active === null && this.#queue.length === 0 && this.#pending.every(({ name }) => name === 'IDLE')
  }

  /** A command that keeps the server busy is open. */
  get busy(): boolean {
    return this.#active !== null || this.#pending.some(({ name }) => name !== 'IDLE')
  }

  get hasRoom(): boolean {
    return this.#queue.length < MAX_QUEUE
  }

  add(job: Job): void {
    this.#queue.push(job)
    this.#pump()
  }

  /** The active work is done. */
  finished(): void {
    this.#active = null
    this.#pump()
  }

  /** A tagged line of the server. @throws {GatewayError} UPSTREAM_UNEXPECTED */
  tagged(tag: string, ok: boolean, line: Buffer): void {
    if (this.#active !== null) {
      this.#active.tagged(tag, ok, line)
      return
    }
    const at = this.#pending.findIndex((each) => each.tag === tag)
    if (at < 0) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'tag' })
    const [command] = this.#pending.splice(at, 1)
    this.#completed(command!.name, ok)
    this.#host.toClient(command!.incomplete ? withNote(line) : filterLine(line))
    this.#pump()
  }

  dispose(): void {
    this.#active?.dispose()
    this.#queue.length = 0
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

  #pump(): void {
    // A work may finish inside its own start: the loop below goes on then, not a nested one.
    if (this.#pumping) return
    this.#pumping = true
    while (this.#active === null && this.#queue.length > 0) if (!this.#advance(this.#queue[0]!)) break
    this.#pumping = false
  }

  /** Starts the first job if it may; true: it is out of the queue, or another one in its place. */
  #advance(job: Job): boolean {
    switch (job.kind) {
      case 'reply':
        this.#queue.shift()
        this.#host.toClient(job.text)
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
      case 'fetch':
        return this.#fetch(job.fetch)
      case 'search':
        return this.#search(job.command)
      case 'work':
        return this.#startWork(job.work)
    }
  }

  #fetch(fetch: FetchCommand): boolean {
    const { ranges } = fetch.set
    if (fetch.uid && ranges !== null && !this.#selecting && this.#host.mailbox.allPlain(ranges)) {
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

  /** What is told of a mailbox may still be of the one selected before. */
  get #selecting(): boolean {
    return this.#pending.some(({ name }) => name === 'SELECT' || name === 'EXAMINE')
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
      this.#host.toClient(incomplete ? withNote(line) : filterLine(line))
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
      this.#host.toClient(incomplete ? withNote(line) : filterLine(line))
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
}
