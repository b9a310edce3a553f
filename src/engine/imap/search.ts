/**
 * SEARCH where messages are sealed (imap.md §3): the server sees ciphertext, so what depends on content is true for plain
 * messages only. Keys on flags, dates, sets and the fields that stay in plain are the server's. A look-up by Message-ID is
 * made exact: a sealed message carries its own id in X-VESmail-ID. What else asks for content is said to be incomplete in
 * the tagged OK: silence would be a lie.
 */
import type { ClientCommand } from './command-reader.ts'
import { Cursor, syntax } from './cursor.ts'
import { parseSet } from './sequence-set.ts'

export interface SearchCommand {
  /** As it goes up. */
  readonly command: ClientCommand
  /** A key depends on what is sealed. */
  readonly incomplete: boolean
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

/** Null: this is no search program that we read; it passes as it is. */
export function parseSearch(command: ClientCommand): SearchCommand | null {
  const reader = new Reader(command)
  try {
    reader.run()
  } catch {
    // Whatever it is, the server says so.
    return null
  }
  const { edits, incomplete } = reader
  return { command: edits.length === 0 ? command : edited(command, edits), incomplete }
}

interface Edit {
  readonly from: number
  readonly to: number
  readonly text: Buffer
}

class Reader {
  readonly edits: Edit[] = []
  incomplete = false
  readonly #cursor: Cursor
  readonly #editable: boolean

  constructor({ text, argsAt, literals }: ClientCommand) {
    this.#cursor = new Cursor(text, argsAt)
    // Literals would have to be moved along; such a program passes as it is.
    this.#editable = literals.length === 0
  }

  run(): void {
    const cursor = this.#cursor
    cursor.space()
    if (this.#word() === 'RETURN') {
      this.#take()
      cursor.space()
      cursor.skipValue()
      cursor.space()
    }
    if (this.#word() === 'CHARSET') {
      this.#take()
      cursor.space()
      cursor.astring()
      cursor.space()
    }
    this.#keys(0)
    if (!cursor.ended) throw syntax(cursor.at)
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

  #keys(depth: number): void {
    this.#key(depth)
    while (this.#cursor.isNext(' ')) {
      this.#cursor.space()
      this.#key(depth)
    }
  }

  #key(depth: number): void {
    const cursor = this.#cursor
    if (depth > MAX_DEPTH) throw syntax(cursor.at)
    if (cursor.skip('(')) {
      this.#keys(depth + 1)
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
    if (word === 'NOT' || word === 'FUZZY') this.#key(depth + 1)
    else if (word === 'OR') {
      this.#key(depth + 1)
      cursor.space()
      this.#key(depth + 1)
    } else if (word === 'UID') parseSet(cursor)
    else if (word === 'HEADER') this.#header(from)
    else if (word === 'MODSEQ') this.#modseq()
    else if (CONTENT.has(word) || word === 'X-GM-RAW') {
      this.incomplete = true
      cursor.astring()
    } else if (ONE_ARGUMENT.has(word)) cursor.astring()
    else throw syntax(from)
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

  #header(from: number): void {
    const cursor = this.#cursor
    const field = cursor.astring().toString('latin1').toUpperCase()
    cursor.space()
    const valueAt = cursor.at
    cursor.astring()
    const value = cursor.bytes.subarray(valueAt, cursor.at)
    if (field !== 'MESSAGE-ID') {
      if (!PLAIN_FIELDS.has(field)) this.incomplete = true
      return
    }
    if (!this.#editable) return
    const key = Buffer.from(cursor.bytes.subarray(from, cursor.at))
    const text = Buffer.concat([Buffer.from('OR '), key, Buffer.from(' HEADER X-VESMAIL-ID '), value])
    this.edits.push({ from, to: cursor.at, text })
  }
}

function edited(command: ClientCommand, edits: readonly Edit[]): ClientCommand {
  const parts: Buffer[] = []
  let at = 0
  for (const { from, to, text } of edits) {
    parts.push(command.text.subarray(at, from), text)
    at = to
  }
  parts.push(command.text.subarray(at))
  return { ...command, text: Buffer.concat(parts) }
}

const NOTE = ' (encrypted messages: by plain header fields only)'

/** The tagged OK of an incomplete search says that it is. */
export function withNote(line: Buffer): Buffer {
  const text = line.toString('latin1')
  return / OK /i.test(text.slice(0, 300)) ? Buffer.from(text.replace(/\r?\n$/, `${NOTE}\r\n`), 'latin1') : line
}
