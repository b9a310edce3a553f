/**
 * What came of a sealed message, against what its sender's gateway says was sent: which leaves, which structure, which
 * sizes, which end (docs/exactness.md). One for each message that is opened.
 *
 * Rule: what cannot have come about by delivery is an error: a sealed leaf that stands twice, or in another's place. What
 * filters, lists and relays do to mail is told, and what is left can be read.
 */
import { GatewayError } from '../../base/errors.ts'
import type { MessageEnd } from './end-record.ts'
import { boundOf, type Exactness, MAX_LISTED_PARTS, type SealedSizes } from './exactness.ts'
import { isMarked } from './leaf-mark.ts'
import type { OpenedBlock, OpeningKey } from './open-headers.ts'
import type { LedgerEntry } from './sizes-ledger.ts'
import { Structure } from './structure.ts'

/** When a message is done: what happened to it on its way, beside what is an error. */
export interface Changes {
  /** Sealed parts that were taken out, as far as the sender says what there was; {@link endMissing} counts as one. */
  readonly missingParts: number
  /** What the message ends with did not come: parts may have been taken off, or just white space. */
  readonly endMissing: boolean
  /** Parts that came beside the sealed ones, in plain: a list's footer, or anything else that the sender never saw. */
  readonly unsealedParts: number
  /** Headers of parts, delimiters or text between them are not as they were sealed, and neither of the above tells why. */
  readonly altered: boolean
}

export const NOTHING_CHANGED: Changes = { missingParts: 0, endMissing: false, unsealedParts: 0, altered: false }

/** What was seen when the message was read to its end. */
export interface Seen {
  /** The record of the end; null: there is none to be read, undefined: none was promised. */
  readonly record: MessageEnd | null | undefined
  /** Read as far as a message is written: its header ended, and so did the container that sealing put around a part. */
  readonly ended: boolean
  readonly sizes: SealedSizes
  /** Leaves whose text came in another layout: it has another size. */
  readonly layoutLost: number
}

export class Arrival {
  readonly #exact: Exactness
  readonly #opening: OpeningKey
  /** The leaves that the root lists; empty: those that say themselves which they are. Null: an older message. */
  readonly #listed: readonly string[] | null
  /** Of the message, where it is known by which digest it was sealed. */
  #structure: Structure | null
  /** How many leaves there are at least, as far as headers say. */
  #leafCount: number
  /** Of the sealed leaf that came last. */
  #ordinal = 0
  #sealedCount = 0
  /** Opened octets of the sealed leaves, in order, as far as a sender would list them. */
  readonly #sealedLeaves: LedgerEntry[] = []
  #unsealedParts = 0
  #altered = false

  /** @param root its header */
  constructor({ exact, counted }: OpenedBlock, opening: OpeningKey) {
    this.#exact = exact
    this.#opening = opening
    this.#listed = boundsOf(exact.leaves)
    this.#leafCount = exact.leafCount ?? 0
    this.#structure = exact.structure === null && exact.structureSoFar === null ? null : new Structure()
    for (const field of counted) this.#structure?.pushField(field)
    this.#compare(exact)
  }

  /** Opened octets that are no sealed leaf's. */
  text(bytes: Buffer): void {
    this.#structure?.push(bytes)
  }

  /** A part's header was read, and its octets given to {@link text}. */
  headers({ exact, exactness }: OpenedBlock): void {
    // Its body may be cut off.
    this.#leafCount = Math.max(this.#leafCount, exact.place?.ordinal ?? 0)
    this.#compare(exact)
    if (exactness !== null) this.#structure?.pushField(exactness)
  }

  #compare({ structureSoFar }: Exactness): void {
    if (structureSoFar === null || this.#structure === null) return
    if (this.#structure.digest !== structureSoFar) this.#altered = true
  }

  sealedLeaf(entry: LedgerEntry): void {
    if (this.#sealedLeaves.length <= MAX_LISTED_PARTS) this.#sealedLeaves.push(entry)
  }

  get unsealedParts(): number {
    return this.#unsealedParts
  }

  /** A leaf came that is not sealed: none of the message's. There is no more to learn from its structure. */
  unsealedLeaf(): void {
    this.#unsealedParts++
    this.#structure = null
  }

  /**
   * @param feedback what a sealed leaf's stream begins with
   * @throws GatewayError SEAL_BROKEN where it is none of the message's, or not behind the one before it
   */
  place(exact: Exactness, feedback: Buffer): void {
    if (this.#listed === null) {
      const { key, keyAndSeed } = this.#opening
      if (key.algo === 'AES256GCM1K' && isMarked(keyAndSeed, feedback)) this.#altered = true
      return
    }
    const ordinal = exact.place?.ordinal ?? this.#listed.indexOf(boundOf(feedback), this.#ordinal) + 1
    if (ordinal <= this.#ordinal) throw new GatewayError('SEAL_BROKEN', { what: 'parts repeated or exchanged' })
    this.#ordinal = ordinal
    this.#sealedCount++
  }

  /**
   * Each leaf is authentic, but all have the same key: that they are the message's leaves in the message's order, its
   * root says. One that is not there may have been taken out by a filter, and what is left is to be read.
   * @throws GatewayError SEAL_BROKEN where one stands twice, or in another's place
   */
  finish(seen: Seen): Changes {
    const missingLeaves = this.#listed === null ? this.#missingBySize() : this.#missing(this.#listed, seen.record)
    const structure = this.#structureDiffers()
    const endMissing = structure === null ? seen.record === null || !seen.ended : structure === 'end'
    const missingParts = missingLeaves + (endMissing ? 1 : 0)
    const unsealedParts = this.#unsealedParts
    const altered = this.#altered || structure === 'all' || (structure === null && this.#sizesDiffer(seen))
    return { missingParts, endMissing, unsealedParts, altered: altered && missingParts === 0 && unsealedParts === 0 }
  }

  #missing(listed: readonly string[], record: Seen['record']): number {
    const leaves = record?.leaves ?? null
    if (leaves !== null && leaves < this.#ordinal) {
      throw new GatewayError('SEAL_BROKEN', { what: 'parts that are none of the message' })
    }
    return Math.max(listed.length, this.#leafCount, this.#ordinal, leaves ?? 0) - this.#sealedCount
  }

  #missingBySize(): number {
    const listed = this.#exact.sizes?.parts ?? null
    if (listed === null) return 0
    // One without sealed octets is no part, but a place where none is.
    const expected = listed.filter(({ kind, sealedOctets }) => kind === 'leaf' && sealedOctets !== 0)
    let at = 0
    for (const { octets } of this.#sealedLeaves) {
      while (at < expected.length && (expected[at]!.octets ?? octets) !== octets) at++
      if (at === expected.length) throw new GatewayError('SEAL_BROKEN', { what: 'parts repeated or exchanged' })
      at++
    }
    return expected.length - this.#sealedLeaves.length
  }

  /** Null: the sender does not say what it was, or it is known that it is another. */
  #structureDiffers(): 'not' | 'end' | 'all' | null {
    const { structure } = this.#exact
    if (structure === null || this.#structure === null) return null
    const { digest, lineEnds } = this.#structure.whole
    if (digest !== structure.digest) return 'all'
    return lineEnds < structure.lineEnds ? 'end' : 'not'
  }

  /**
   * Line ends outside of the leaves may have been made others on the way, and white space in front of them trimmed: lines
   * stay as many. Blank lines may have been put behind the end.
   */
  #sizesDiffer({ sizes, layoutLost }: Seen): boolean {
    const { body } = this.#exact.sizes ?? { body: null }
    if (body === null || body.octets === null || layoutLost > 0) return false
    const lines = sizes.body.lines ?? 0
    const octets = (sizes.body.octets ?? 0) - body.octets
    const isPadded = this.#exact.padded
    if (body.lines !== null && (isPadded ? lines < body.lines : lines !== body.lines)) return true
    if (octets < -lines) return true
    const blankLines = this.#structure?.whole.lineEnds ?? 0
    return octets > lines + CRLF_OCTETS * blankLines && !isPadded
  }
}

const CRLF_OCTETS = 2

function boundsOf(leaves: Buffer | null): readonly string[] | null {
  return leaves === null ? null : (leaves.toString('hex').match(/.{8}/g) ?? [])
}
