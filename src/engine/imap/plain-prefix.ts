/**
 * Up to which UID a mailbox is known to hold no sealed message: one number that stays true, for UIDs only grow and a
 * message never changes (RFC 9051 §2.3.1.1), so that it is remembered for other sessions too (size-memory.ts). Below it
 * commands go up as they are, and scans need no evidence.
 * Rule: it grows only over messages that were all seen, each with its evidence; which it is not told of, it doesn't know.
 */

export class PlainPrefix {
  #upTo = 0
  /** What another session knew; believed once the server's UIDNEXT does not speak against it. */
  #restored = 0
  #generation = 0
  /** As SELECT told them, and grown since. Null: not told. */
  #uidNext: number | null = null
  #exists: number | null = null
  #arrived = 0

  /** Messages with this UID and below are plain, or gone; 0: nothing is known. */
  get upTo(): number {
    return this.#upTo
  }

  /** Another one: what was seen until then counts for nothing. */
  get generation(): number {
    return this.#generation
  }

  /** Messages behind it, at most. */
  get beyond(): number {
    if (this.#uidNext === null) return Number.POSITIVE_INFINITY
    return Math.max(0, this.#uidNext - 1 - this.#upTo) + this.#arrived
  }

  /** `* n EXISTS` */
  exists(count: number): void {
    if (this.#exists !== null && count > this.#exists) this.#arrived += count - this.#exists
    this.#exists = count
  }

  /** So many messages are gone. */
  gone(count: number): void {
    if (this.#exists !== null) this.#exists = Math.max(0, this.#exists - count)
  }

  /** @returns true: what was known is not true any more */
  setUidNext(uid: number): boolean {
    this.#uidNext = uid
    return this.#doubt()
  }

  /** What another session knew. @returns true: it is not true any more */
  restore(upTo: number): boolean {
    this.#restored = upTo
    return this.#doubt()
  }

  /** @returns true: it has grown @param number of the message with that UID */
  extend(uid: number, number: number): boolean {
    if (number === this.#exists) {
      this.#arrived = 0
      if (this.#uidNext !== null) this.#uidNext = Math.max(this.#uidNext, uid + 1)
    }
    if (uid <= this.#upTo) return false
    this.#upTo = uid
    return true
  }

  /** That message is sealed. */
  endBefore(uid: number): void {
    this.#upTo = Math.min(this.#upTo, uid - 1)
    this.#restored = Math.min(this.#restored, uid - 1)
  }

  forget(): void {
    this.#upTo = 0
    this.#restored = 0
    this.#generation++
  }

  /** UIDs that were given already come again: the server was put back to an older state without telling. */
  #doubt(): boolean {
    if (this.#uidNext === null) return false
    this.#upTo = Math.max(this.#upTo, this.#restored)
    this.#restored = 0
    if (this.#uidNext > this.#upTo) return false
    this.forget()
    return true
  }
}

/** One FETCH over a mailbox: which messages it has shown to be plain, none left out between. */
export class PrefixScan {
  readonly #prefix: PlainPrefix
  readonly #generation: number
  /** The first one joins what is known. */
  #joins = false
  #number = 0
  #uid = 0
  #over = false

  constructor(prefix: PlainPrefix) {
    this.#prefix = prefix
    this.#generation = prefix.generation
  }

  /** The next answer is about this message, and it is plain. */
  plain(number: number, uid: number): void {
    if (this.#over) return
    if (this.#number === 0) this.#joins = number === 1 || uid <= this.#prefix.upTo + 1
    else if (number !== this.#number + 1 || uid <= this.#uid) {
      this.#over = true
      return
    }
    this.#number = number
    this.#uid = uid
  }

  /** What follows does not count: a message may be sealed, or numbers have shifted. */
  stop(): void {
    this.#over = true
  }

  /** @returns true: more is known than before */
  end(): boolean {
    if (this.#prefix.generation !== this.#generation) return false
    return this.#joins && this.#prefix.extend(this.#uid, this.#number)
  }
}
