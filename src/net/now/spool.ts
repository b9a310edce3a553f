/**
 * The spool: sealed messages kept for readers without a gateway (now.md). One interface, so that a directory and an
 * object store are the same to everyone else. It never sees plaintext, and nothing in it can be told from its name.
 */
import { hash } from 'node:crypto'

/** Where one message lies. */
export interface SpoolPlace {
  /** E-mail address of the creator's VES user, its case kept. */
  readonly creator: string
  /** Without angle brackets and suffix. */
  readonly messageId: string
}

export interface SpoolWriter {
  /** Beyond the spool's size limit octets are dropped: the copy is cut there. The buffer is borrowed until it resolves. */
  write(bytes: Buffer): Promise<void>
  /** The copy appears under its name, whole. @returns false where another one has that name */
  commit(): Promise<boolean>
  /** Nothing stays. Safe after an error and after commit. */
  abort(): Promise<void>
}

export interface SpoolCopy {
  readonly octets: number
  /** Read it to its end, or leave it early; not begun, it may hold something open. */
  readonly body: AsyncIterable<Buffer>
  /** The same where it was read already: it is short, and nothing is held open. */
  readonly whole?: Buffer
}

/** One that was read whole. */
export interface ShortCopy {
  readonly octets: Buffer
  /** Does the same still lie there? No, too, where that cannot be told at once. */
  readonly isCurrent: () => boolean
}

export interface Spool {
  /** Nothing is visible before {@link SpoolWriter.commit}. */
  create(place: SpoolPlace): Promise<SpoolWriter>
  /** @returns null where it is not (any more) */
  open(place: SpoolPlace): Promise<SpoolCopy | null>
  /** A short copy at once, where reading it holds up nobody; null, or no such way: it has to be opened. */
  readNow?(place: SpoolPlace): ShortCopy | null
  /** What lies there of one creator. @param enough counting may stop at so many copies: there may be many more */
  usage(creator: string, enough: number): Promise<SpoolUsage>
  /** Deletes what is too old or too much. @returns number of messages deleted */
  expire(nowMs: number): Promise<number>
  /** Lets go of what it holds open; it must not be used any more. */
  close(): Promise<void>
}

export interface SpoolUsage {
  readonly copies: number
  readonly octets: number
}

export interface SpoolLimits {
  /** Copies are cut here; null: uncut. */
  readonly maxOctets: number | null
  /** Older ones are deleted; null: never. */
  readonly maxAgeMs: number | null
  /** All together; the oldest go first; null: no limit. */
  readonly maxTotalOctets: number | null
}

/** Folder of a creator: separators and a leading dot would lead out of the spool, or hide it. */
export function creatorFolder(creator: string): string {
  return creator.replaceAll(/[/\\\0]/g, '_').replace(/^\./, '_')
}

const DIGITS = '0123456789abcdefghijklmnopqrstuvwxyz'

/** 32 characters of 0-9a-z: the octets of SHA-256(message id), each modulo 36 (now.md, C's layout). */
export function messageFile(messageId: string): string {
  let name = ''
  for (const octet of hash('sha256', messageId, 'buffer')) name += DIGITS[octet % DIGITS.length]
  return name
}
