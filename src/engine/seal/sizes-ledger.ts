/**
 * Sizes of a message being sealed or opened, counted as it passes: the whole body, each leaf, each nested message
 * (message-format.md §6, Sizes).
 */
import type { ListedPart, SealedSizes } from './exactness.ts'
import { MAX_LISTED_PARTS } from './exactness.ts'

export interface LedgerEntry {
  readonly kind: 'body' | ListedPart['kind']
  octets: number
  lines: number
  sealedOctets: number
}

/** Parts beyond what is listed are counted nowhere: memory stays bounded. */
export class SizesLedger {
  readonly body: LedgerEntry = entry('body')
  readonly #parts: LedgerEntry[] = []
  /** Body and nested messages that are open. */
  #open: readonly LedgerEntry[] = []

  /** The root's header is over. */
  start(): void {
    this.#open = [this.body]
  }

  /** A leaf or nested message begins here. */
  add(kind: ListedPart['kind']): LedgerEntry {
    const added = entry(kind)
    if (this.#parts.length <= MAX_LISTED_PARTS) this.#parts.push(added)
    return added
  }

  enter(message: LedgerEntry): void {
    this.#open = [...this.#open, message]
  }

  leave(): LedgerEntry {
    const left = this.#open[this.#open.length - 1]!
    this.#open = this.#open.slice(0, -1)
    return left
  }

  /** What is open now, for octets that come later. */
  get open(): readonly LedgerEntry[] {
    return this.#open
  }

  countOpened(octets: number, lines: number): void {
    for (const each of this.#open) {
      each.octets += octets
      each.lines += lines
    }
  }

  countSealed(octets: number): void {
    for (const each of this.#open) each.sealedOctets += octets
  }

  sizes(): SealedSizes {
    const parts = this.#parts.length > MAX_LISTED_PARTS ? null : this.#parts.map((part) => ({ ...part }) as ListedPart)
    const { octets, lines, sealedOctets } = this.body
    return { body: { octets, lines, sealedOctets }, parts }
  }
}

function entry(kind: LedgerEntry['kind']): LedgerEntry {
  return { kind, octets: 0, lines: 0, sealedOctets: 0 }
}
