/**
 * A client command that we carry out with queries of our own: FETCH on sealed messages, APPEND. While one is active the
 * upstream connection is its alone: no other client command is outstanding there, so that an answer's owner is never in
 * doubt. Untagged responses that are not its own go to the client as they come.
 */

import type { Sizes } from '../account.ts'
import type { Asking } from '../asking.ts'
import type { MailSettings } from '../settings.ts'
import type { Place } from './client-output.ts'
import type { Mailbox } from './mailbox.ts'
import type { OpenedCache } from './opened.ts'
import type { OutlineCache } from './outline-cache.ts'
import type { FetchAnswer } from './response.ts'
import type { SizeMemory } from './size-memory.ts'
import type { Transforms } from './transforms.ts'

export type LiteralSink = (bytes: Buffer, last: boolean) => void

export interface Work {
  start(): void
  /** The tagged answer to a command with a tag of `host.nextTag()`. */
  tagged(tag: string, ok: boolean, line: Buffer): void
  /** FETCH answers belong to the client as they are. */
  readonly passing: boolean
  /** Where it does not, literals stand in the answers that `fetch` gets. */
  readonly takesLiterals?: boolean
  /** A literal in a FETCH answer: where its octets go, null = into the answer. @param text of the answer so far */
  literalSink(text: Buffer, octets: number): LiteralSink | null
  /** A whole FETCH answer; true: it was ours. @param cut literals in it were too much, and stand as empty strings */
  fetch(answer: FetchAnswer, bytes: Buffer, cut: boolean): boolean
  /** FETCH answers that can be taken together. @param front begins with a response; borrowed @returns octets taken */
  answers?(front: Buffer): number
  continuation(line: Buffer): void
  expunged(number: number): void
  vanished(ranges: readonly (readonly [number, number])[]): void
  /** What waited behind its places was too much: they are none any more. */
  placesGivenUp?(): void
  readonly wantsUpstream: boolean
  /** The client's connection or the session is over. */
  dispose(): void
}

export interface WorkHost {
  readonly out: Asking
  readonly mailbox: Mailbox
  readonly opened: OpenedCache
  readonly settings: MailSettings
  readonly transforms: Transforms
  readonly outlines: OutlineCache
  /** The server leaves fields out of BODY[n.MIME]: part headers are to be had from the whole message only. */
  mimeBug: boolean
  /** The server takes `{n+}`. */
  readonly literalPlus: boolean
  readonly sizes: Sizes
  readonly memory: SizeMemory
  /** X-VESmail-ID of messages that this session has appended, by X-TUID. */
  readonly appended: Map<string, string>
  /** Ranges asked for beyond the end. */
  beyondEnd: number
  /** A message without its key is shown as a short text in its place, instead of being left out. */
  readonly placeholder: boolean
  /** XVES CALC, `sizes: exact`: no size is ever estimated. */
  exactSizes: boolean
  /** XVES ORDER: answers in the server's order of messages. */
  keepOrder: boolean
  /** The session's file: octets written, and works that have some there. */
  readonly spill: { octets: number; users: number }
  nextTag(): string
  toUpstream(bytes: Buffer | string): void
  toClient(bytes: Buffer | string): void
  /** Keeps the place of an answer in the order of what goes to the client; not to be used beside `stream`. @param octets kept to fill it */
  place(octets: number): Place
  /** Octets that wait behind places, and how many a work should let wait. */
  readonly held: { readonly octets: number; readonly limitOctets: number }
  /** A response that is too large to be held begins: until `streamed(true)` nothing else goes to the client. */
  stream(bytes: Buffer): void
  /** It is complete; `false`: it never will be, and the session must end. */
  streamed(complete: boolean): void
  /** The upstream stream cannot be kept in order: the session ends, in the middle of what the server reads. */
  hangUp(): void
  /** This work is done; the next command may go. */
  finished(): void
}
