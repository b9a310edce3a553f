/**
 * SEARCH where messages are sealed (imap.md §3), as a program: which of its keys the server can judge, and which depend on
 * what is sealed. Keys on flags, dates, sets and the fields that stay in plain are the server's. A look-up by Message-ID is
 * made exact: a sealed message carries its own id in X-VESmail-ID. The others are for {@link SearchWork}.
 */
import type { ClientCommand, InlineLiteral } from './command-reader.ts'
import { Cursor, syntax } from './cursor.ts'
import { parseSet } from './sequence-set.ts'

/** A key that is true or false by what is sealed. */
export interface ContentKey {
  readonly from: number
  readonly to: number
  /** An odd number of NOTs stands before it. */
  readonly negated: boolean
  /** `header`: in that field, or in any where it is null; `text`: header and body; null: nobody but the server knows. */
  readonly asks:
    | { readonly what: 'header'; readonly field: string; readonly value: Buffer }
    | { readonly what: 'body' | 'text'; readonly value: Buffer }
    | { readonly what: 'larger' | 'smaller'; readonly octets: number }
    | null
}

export interface SearchProgram {
  readonly command: ClientCommand
  readonly content: readonly ContentKey[]
  /** Of its strings; null = not said. */
  readonly charset: string | null
  /** `RETURN (…) ` and `CHARSET … ` as written, and where the keys begin and end. */
  readonly returnTo: number
  readonly keysAt: number
  readonly keysEnd: number
  readonly edits: readonly Edit[]
  /** RETURN asks for updates: they would follow another program. */
  readonly follows: boolean
}

/** Keys without argument, with one astring, one number, one date. */
const BARE: ReadonlySet<string> = new Set([
  'ALL',
  'ANSWERED',
  'DELETED',
  'DRAFT',
  'FLAGGED',
  'NEW',
  'OLD',
  'RECENT',
  'SEEN',
  'UNANSWERED',
  'UNDELETED',
  'UNDRAFT',
  'UNFLAGGED',
  'UNSEEN',
  'SAVEDATESUPPORTED',
])
const ONE_ARGUMENT: ReadonlySet<string> = new Set([
  'BEFORE',
  'ON',
  'SINCE',
  'SENTBEFORE',
  'SENTON',
  'SENTSINCE',
  'SAVEDBEFORE',
  'SAVEDON',
  'SAVEDSINCE',
  'KEYWORD',
  'UNKEYWORD',
  'YOUNGER',
  'OLDER',
  'MODSEQ',
  'FROM',
  'TO',
  'CC',
  'BCC',
  'EMAILID',
  'THREADID',
])
/** Sealed: SUBJECT, bodies, sizes. */
const CONTENT: ReadonlySet<string> = new Set(['SUBJECT', 'BODY', 'TEXT', 'LARGER', 'SMALLER'])
/** Root fields that sealing leaves in plain (message-format.md §4). */
const PLAIN_FIELDS: ReadonlySet<string> = new Set([
  'DATE',
  'REPLY-TO',
  'RETURN-PATH',
  'ENVELOPE-TO',
  'FROM',
  'IN-REPLY-TO',
  'IMPORTANCE',
  'PRIORITY',
  'AUTO-SUBMITTED',
  'TO',
  'CC',
  'BCC',
  'REFERENCES',
  'MIME-VERSION',
  'X-VESMAIL-ID',
])
/** Deeper programs are no mail client's. */
const MAX_DEPTH = 50

/**
 * Null: this is no search program that we read; it passes as it is.
 * @param appended the X-VESmail-ID of a message that this session has appended, by its X-TUID (mbsync looks its uploads up so)
 */
export function parseSearch(
  command: ClientCommand,
  appended: (tuid: string) => string | null = () => null,
): SearchProgram | null {
  const reader = new Reader(command, appended)
  try {
    return reader.run()
  } catch {
    // Whatever it is, the server says so.
    return null
  }
}

export interface Edit {
  readonly from: number
  readonly to: number
  readonly text: string
}

/** Text with the literals in it, as commands are made of. */
export class SearchText {
  readonly #from: ClientCommand
  readonly #parts: Buffer[] = []
  readonly #literals: InlineLiteral[] = []
  #octets = 0

  constructor(from: ClientCommand) {
    this.#from = from
  }

  add(text: string): this {
    return this.#push(Buffer.from(text, 'latin1'))
  }

  /** Of the client's command, literals and all. */
  copy(from: number, to: number): this {
    for (const { announcedAt, octetsAt, literal } of this.#from.literals) {
      if (announcedAt < from || announcedAt >= to) continue
      const by = this.#octets - from
      this.#literals.push({ announcedAt: announcedAt + by, octetsAt: octetsAt + by, literal })
    }
    return this.#push(this.#from.text.subarray(from, to))
  }

  /** The keys; where `constants` are given, content keys by these. */
  keys({ content, edits, keysAt, keysEnd }: SearchProgram, constants: readonly boolean[] | null): this {
    const fixed = content.map(({ from, to }, i) => ({ from, to, text: constants?.[i] === true ? 'ALL' : 'NOT ALL' }))
    const all = [...edits, ...(constants === null ? [] : fixed)].sort((a, b) => a.from - b.from)
    let at = keysAt
    for (const { from, to, text } of all) {
      if (from < at) continue
      this.copy(at, from).add(text)
      at = to
    }
    return this.copy(at, keysEnd)
  }

  end(): Pick<ClientCommand, 'text' | 'literals'> {
    this.add('\r\n')
    return { text: Buffer.concat(this.#parts), literals: this.#literals }
  }

  #push(bytes: Buffer): this {
    this.#parts.push(bytes)
    this.#octets += bytes.length
    return this
  }
}

/** The client's own command, with its edits. */
export function editedSearch(program: SearchProgram): ClientCommand {
  if (program.edits.length === 0) return program.command
  const { command, keysAt } = program
  const { text, literals } = new SearchText(command).copy(0, keysAt).keys(program, null).end()
  return { ...command, text, literals }
}

class Reader {
  readonly #edits: Edit[] = []
  readonly #content: ContentKey[] = []
  readonly #cursor: Cursor
  readonly #command: ClientCommand
  readonly #appended: (tuid: string) => string | null

  constructor(command: ClientCommand, appended: (tuid: string) => string | null) {
    this.#command = command
    this.#cursor = new Cursor(command.text, command.argsAt)
    this.#appended = appended
  }

  run(): SearchProgram {
    const cursor = this.#cursor
    cursor.space()
    let follows = false
    let charset: string | null = null
    if (this.#word() === 'RETURN') {
      this.#take()
      cursor.space()
      const from = cursor.at
      cursor.skipValue()
      follows = /UPDATE|CONTEXT/i.test(cursor.bytes.toString('latin1', from, cursor.at))
      cursor.space()
    }
    const returnTo = cursor.at
    if (this.#word() === 'CHARSET') {
      this.#take()
      cursor.space()
      charset = cursor.astring().toString('latin1')
      cursor.space()
    }
    const keysAt = cursor.at
    this.#keys(0, false)
    if (!cursor.ended) throw syntax(cursor.at)
    return {
      command: this.#command,
      content: this.#content,
      charset,
      returnTo,
      keysAt,
      keysEnd: cursor.at,
      edits: this.#edits,
      follows,
    }
  }

  #word(): string {
    const { at } = this.#cursor
    const word = this.#cursor.isNext('(') || this.#cursor.isString ? '' : this.#peekAtom()
    this.#cursor.at = at
    return word
  }

  #peekAtom(): string {
    const c = this.#cursor.next
    return (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a) ? this.#cursor.keyword() : ''
  }

  #take(): string {
    return this.#cursor.keyword()
  }

  #keys(depth: number, negated: boolean): void {
    this.#key(depth, negated)
    while (this.#cursor.isNext(' ')) {
      this.#cursor.space()
      this.#key(depth, negated)
    }
  }

  #key(depth: number, negated: boolean): void {
    const cursor = this.#cursor
    if (depth > MAX_DEPTH) throw syntax(cursor.at)
    if (cursor.skip('(')) {
      this.#keys(depth + 1, negated)
      cursor.expect(')')
      return
    }
    const from = cursor.at
    const word = this.#word()
    if (word === '') {
      parseSet(cursor)
      return
    }
    this.#take()
    if (BARE.has(word)) return
    cursor.space()
    if (word === 'NOT') this.#key(depth + 1, !negated)
    else if (word === 'FUZZY') {
      this.#key(depth + 1, negated)
      const content = this.#content.at(-1)
      // How near is near enough only the server knows.
      if (content !== undefined && content.from > from)
        this.#content[this.#content.length - 1] = { ...content, from, asks: null }
    } else if (word === 'OR') {
      this.#key(depth + 1, negated)
      cursor.space()
      this.#key(depth + 1, negated)
    } else if (word === 'UID') parseSet(cursor)
    else if (word === 'HEADER') this.#header(from, negated)
    else if (word === 'MODSEQ') this.#modseq()
    else if (CONTENT.has(word) || word === 'X-GM-RAW') this.#contentKey(word, from, negated)
    else if (ONE_ARGUMENT.has(word)) cursor.astring()
    else throw syntax(from)
  }

  #contentKey(word: string, from: number, negated: boolean): void {
    const cursor = this.#cursor
    const size = word === 'LARGER' ? 'larger' : word === 'SMALLER' ? 'smaller' : null
    const asks = (): ContentKey['asks'] => {
      if (size !== null) return { what: size, octets: cursor.number() }
      const value = cursor.astring()
      if (word === 'SUBJECT') return { what: 'header', field: 'subject', value }
      return word === 'BODY' ? { what: 'body', value } : word === 'TEXT' ? { what: 'text', value } : null
    }
    const what = asks()
    this.#content.push({ from, to: cursor.at, negated, asks: what })
  }

  /** `MODSEQ [entry-name entry-type] number` (RFC 7162 §3.1.5). */
  #modseq(): void {
    const cursor = this.#cursor
    if (cursor.isString) {
      cursor.string()
      cursor.space()
      cursor.atom()
      cursor.space()
    }
    cursor.number()
  }

  #header(from: number, negated: boolean): void {
    const cursor = this.#cursor
    const field = cursor.astring().toString('latin1')
    cursor.space()
    const valueAt = cursor.at
    const value = cursor.astring()
    const to = cursor.at
    const name = field.toUpperCase()
    const hasLiteral = this.#command.literals.some(({ announcedAt }) => announcedAt >= from && announcedAt < to)
    const written = cursor.bytes.toString('latin1', from, to)
    if (name === 'MESSAGE-ID') {
      const sought = cursor.bytes.toString('latin1', valueAt, to)
      if (!hasLiteral) this.#edits.push({ from, to, text: `OR ${written} HEADER X-VESMAIL-ID ${sought}` })
      return
    }
    const own = name === 'X-TUID' && !hasLiteral ? this.#appended(value.toString('latin1')) : null
    if (own !== null) this.#edits.push({ from, to, text: `OR ${written} HEADER X-VESMAIL-ID "${own}"` })
    else if (!PLAIN_FIELDS.has(name)) {
      this.#content.push({ from, to, negated, asks: { what: 'header', field: field.toLowerCase(), value } })
    }
  }
}

const NOTE = ' (incomplete: not all encrypted messages were looked into)'

/** The tagged OK of an incomplete search says that it is. */
export function withNote(line: Buffer): Buffer {
  const text = line.toString('latin1')
  return / OK /i.test(text.slice(0, 300)) ? Buffer.from(text.replace(/\r?\n$/, `${NOTE}\r\n`), 'latin1') : line
}
