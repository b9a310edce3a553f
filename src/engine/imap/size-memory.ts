/**
 * What is known of sizes beyond a single command (imap.md §5). Two things: what this session has *told*, which must not
 * change while it lasts, though it were an estimate; and what all sessions have *learned*, which is true and is kept by
 * whoever answers the question `sizes`. Both go by mailbox, UIDVALIDITY and UID, and know nothing where one is missing.
 */
import type { Asking } from '../asking.ts'
import type { ClientCommand } from './command-reader.ts'
import { Cursor } from './cursor.ts'
import type { Mailbox } from './mailbox.ts'
import { DISTRUSTED, decodeSizes, encodeSizes, type MessageSizes } from './message-sizes.ts'

/** Messages with sizes of their own in this session; beyond it sizes are read, since one once told must not change. */
const MAX_TOLD = 2000
/** A UID. */
const PREFIX_OCTETS = 4

export class SizeMemory {
  readonly #out: Asking
  readonly #told = new Map<string, MessageSizes>()

  constructor(out: Asking) {
    this.#out = out
  }

  /** To be told for this message to the end of the session; null: the truth. */
  told({ name, uidValidity }: Mailbox, uid: number): MessageSizes | null {
    if (this.#told.size === 0) return null
    return this.#told.get(keyOf(name, uidValidity, uid)) ?? null
  }

  /** False: there is no room to remember it, so it must not be told. */
  tell({ name, uidValidity }: Mailbox, uid: number, sizes: MessageSizes): boolean {
    if (this.#told.size >= MAX_TOLD) return false
    this.#told.set(keyOf(name, uidValidity, uid), sizes)
    return true
  }

  /** @param done is called once, perhaps at once. @param uid null: not known */
  recall(mailbox: Mailbox, uid: number | null, done: (sizes: MessageSizes | null) => void): void {
    this.#recall(mailbox, uid, (value) => done(value === null ? null : decodeSizes(value)))
  }

  /** Learned by reading the message. */
  keep({ name, uidValidity, keepsUids }: Mailbox, uid: number | null, sizes: MessageSizes): void {
    if (name === null || uidValidity === null || uid === null || !keepsUids) return
    this.keepAppended(name, uidValidity, uid, sizes)
  }

  /** What tells the sizes of this message is wrong: it is to be read before they are told again. */
  distrust(mailbox: Mailbox, uid: number | null): void {
    this.keep(mailbox, uid, DISTRUSTED)
  }

  /** What sessions before have seen of the mailbox as a whole ({@link PlainPrefix}), under the UID that no message has. */
  recallPrefix(mailbox: Mailbox): void {
    const { uidValidity } = mailbox
    this.#recall(mailbox, 0, (value) => {
      if (value?.length !== PREFIX_OCTETS || !mailbox.keepsUids || mailbox.uidValidity !== uidValidity) return
      if (mailbox.prefix.restore(value.readUInt32BE())) this.keepPrefix(mailbox)
    })
  }

  keepPrefix({ name, uidValidity, keepsUids, prefix }: Mailbox): void {
    if (name === null || uidValidity === null || !keepsUids) return
    const value = Buffer.alloc(PREFIX_OCTETS)
    value.writeUInt32BE(prefix.upTo)
    this.#keep(name, uidValidity, 0, value)
  }

  /** Known because it was written through us. @param name of the mailbox, see {@link mailboxOf} */
  keepAppended(name: string, uidValidity: number, uid: number, sizes: MessageSizes): void {
    const value = encodeSizes(sizes)
    if (value !== null) this.#keep(name, uidValidity, uid, value)
  }

  #recall({ name, uidValidity, keepsUids }: Mailbox, uid: number | null, done: (value: Buffer | null) => void): void {
    if (name === null || uidValidity === null || uid === null || !keepsUids) {
      done(null)
      return
    }
    this.#out.ask(
      'sizes',
      { op: 'recall', mailbox: name, uidValidity, uid },
      ({ sizes }) => done(sizes),
      () => done(null),
    )
  }

  #keep(name: string, uidValidity: number, uid: number, sizes: Buffer): void {
    const ignore = (): void => {}
    this.#out.ask('sizes', { op: 'keep', mailbox: name, uidValidity, uid, sizes }, ignore, ignore)
  }
}

/** The mailbox that a command names first: SELECT, EXAMINE, APPEND. Null: the server will not understand it either. */
export function mailboxOf({ text, argsAt }: Pick<ClientCommand, 'text' | 'argsAt'>): string | null {
  const cursor = new Cursor(text, argsAt)
  try {
    cursor.space()
    return mailboxName(cursor.astring())
  } catch {
    return null
  }
}

/** One name for one mailbox: INBOX is the only one whose case does not count (RFC 9051 §5.1). Octets as Latin1. */
function mailboxName(name: Buffer): string {
  const text = name.toString('latin1')
  return /^inbox$/i.test(text) ? 'INBOX' : text
}

function keyOf(name: string | null, uidValidity: number | null, uid: number): string {
  return `${uidValidity} ${uid} ${name}`
}
