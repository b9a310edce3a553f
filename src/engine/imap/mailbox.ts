/**
 * What a session knows of the messages of the selected mailbox, by UID: plain or sealed. Sequence numbers are never a
 * key: they shift (EXPUNGE, VANISHED). A few bits a message, bounded; forgetting costs a question, never a wrong answer.
 */

import { PlainPrefix } from './plain-prefix.ts'

export type MessageKind = 'plain' | 'sealed'

const PLAIN = 1
const SEALED = 2
/** UIDs of one page: 1024 octets at 2 bits each. */
const PAGE_UIDS = 4096
/** 4 MiB in all; some 16 million messages when UIDs are dense. */
const MAX_PAGES = 4096
/** Sizes below this need not be remembered: such messages are read whole anyway. */
const LARGE_OCTETS = 64 * 1024
const MAX_LARGE = 20_000

export class Mailbox {
  readonly #pages = new Map<number, Uint8Array>()
  readonly #large = new Map<number, number>()
  readonly prefix = new PlainPrefix()
  #uidValidity: number | null = null
  /** As `mailboxOf` gives it; null = none, or none that we understood. */
  readonly name: string | null
  /** False: the server gives other UIDs in the next session (UIDNOTSTICKY, RFC 4315). */
  keepsUids = true

  constructor(name: string | null = null) {
    this.name = name
  }

  get uidValidity(): number | null {
    return this.#uidValidity
  }

  /** @param value from the server. @returns true when it is another one than before: all UIDs mean other messages */
  setUidValidity(value: number): boolean {
    const changed = this.#uidValidity !== null && this.#uidValidity !== value
    if (changed) {
      this.#pages.clear()
      this.#large.clear()
      this.prefix.forget()
    }
    this.#uidValidity = value
    return changed
  }

  /** null = not known */
  kind(uid: number): MessageKind | null {
    const page = this.#pages.get(Math.floor(uid / PAGE_UIDS))
    const at = uid % PAGE_UIDS
    const bits = page === undefined ? 0 : (page[at >> 2]! >> ((at & 3) * 2)) & 3
    if (bits === SEALED) return 'sealed'
    return bits === PLAIN || uid <= this.prefix.upTo ? 'plain' : null
  }

  learn(uid: number, kind: MessageKind): void {
    if (kind === 'sealed') this.prefix.endBefore(uid)
    const number = Math.floor(uid / PAGE_UIDS)
    let page = this.#pages.get(number)
    if (page === undefined) {
      if (this.#pages.size >= MAX_PAGES) {
        const [oldest] = this.#pages.keys()
        this.#pages.delete(oldest!)
      }
      page = new Uint8Array(PAGE_UIDS / 4)
      this.#pages.set(number, page)
    }
    const at = uid % PAGE_UIDS
    const shift = (at & 3) * 2
    page[at >> 2] = (page[at >> 2]! & ~(3 << shift)) | ((kind === 'plain' ? PLAIN : SEALED) << shift)
  }

  /** Octets of a sealed message as the server has it; 0 = not known, or not large. */
  sealedSize(uid: number): number {
    return this.#large.get(uid) ?? 0
  }

  learnSealedSize(uid: number, octets: number): void {
    if (octets < LARGE_OCTETS) return
    if (this.#large.size >= MAX_LARGE) this.#large.clear()
    this.#large.set(uid, octets)
  }

  /** Are all UIDs of these ranges known, and plain? */
  allPlain(ranges: readonly (readonly [number, number])[]): boolean {
    for (const [low, high] of ranges) {
      if (high <= this.prefix.upTo) continue
      if (high - low > PAGE_UIDS) return false
      for (let uid = low; uid <= high; uid++) if (this.kind(uid) !== 'plain') return false
    }
    return true
  }
}
