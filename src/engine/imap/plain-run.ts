/**
 * The short way of a header scan: answers of plain messages that lie one behind the other in what a read gave, each with
 * the mark that we asked for as its last item (sealed-mark.ts). They are looked through by octet, no object or string is
 * made for any, and what is the client's leaves in one piece.
 * Not a parser: whatever is not written in the very way that servers mostly write it ends the run, and is read by
 * `parseFetchAnswer` (response.ts), which decides. Rule: linear, never beyond the octets that are there.
 */
import { holdsVes, MARK_LABEL } from './sealed-mark.ts'

export interface PlainRun {
  /** The answers without what the client did not ask for; a buffer of its own. */
  readonly bytes: Buffer
  /** Octets of the input that the run is of. */
  readonly octets: number
}

const HEAD = Buffer.from(' FETCH (')
const UID = Buffer.from('UID ')
const MARK = Buffer.from(`${MARK_LABEL} `)
const CLOSE = Buffer.from(')\r\n')
/** Larger answers may have literals that are left out (relay.ts). */
const MAX_OCTETS = 64 * 1024
const [CR, LF, SP, DQUOTE, BACKSLASH] = [0x0d, 0x0a, 0x20, 0x22, 0x5c]
/** Digits of a number in IMAP (RFC 9051 §9: below 2^32). */
const MAX_DIGITS = 10

/**
 * @param input begins with a response; borrowed
 * @param dropsUid the client did not ask for the UID
 * @param learn called with the UID of each plain message
 * @returns null: not even the first one is plain and written so
 */
export function plainRun(input: Buffer, dropsUid: boolean, learn: (uid: number) => void): PlainRun | null {
  const scan = new Scan(input)
  /** Of each answer: its begin, what stays of it behind its head, its end. */
  const cuts: number[] = []
  let end = 0
  while (end < input.length && scan.answer(end)) {
    const from = dropsUid ? scan.uidEnd + 1 : scan.itemsAt
    // Left out, the UID must be the first item, and not all there is.
    if (dropsUid && (scan.uidAt !== scan.itemsAt || from >= scan.markAt)) break
    cuts.push(end, scan.itemsAt, from, scan.markAt - 1)
    learn(scan.uid)
    end = scan.at
  }
  if (end === 0) return null
  // One copy of all, and small moves within it: a copy for each costs several times as much.
  const out = Buffer.from(input.subarray(0, end))
  let to = 0
  for (let i = 0; i < cuts.length; i += 4) {
    to = move(out, to, cuts[i]!, cuts[i + 1]!)
    to = move(out, to, cuts[i + 2]!, cuts[i + 3]!)
    for (let c = 0; c < 3; c++) out[to++] = CLOSE[c]!
  }
  return { bytes: out.subarray(0, to), octets: end }
}

/** @returns where the next ones go */
function move(bytes: Buffer, to: number, from: number, end: number): number {
  if (to !== from) bytes.copyWithin(to, from, end)
  return to + end - from
}

class Scan {
  readonly #bytes: Buffer
  /** Behind the answer. */
  at = 0
  itemsAt = 0
  uid = 0
  uidAt = 0
  uidEnd = 0
  markAt = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Is there a whole answer of a plain message? Then the fields say where. */
  answer(from: number): boolean {
    const bytes = this.#bytes
    if (bytes[from] !== 0x2a || bytes[from + 1] !== SP) return false
    this.at = from + 2
    if (this.#number() < 0 || !this.#is(HEAD)) return false
    this.itemsAt = this.at + HEAD.length
    this.at = this.itemsAt
    this.uid = -1
    for (;;) {
      const itemAt = this.at
      if (this.#is(MARK)) {
        this.markAt = itemAt
        this.at += MARK.length
        break
      }
      if (this.#is(UID)) {
        if (this.uid >= 0) return false
        this.at += UID.length
        this.uid = this.#number()
        if (this.uid < 0) return false
        this.uidAt = itemAt
        this.uidEnd = this.at
      } else if (!this.#label() || !this.#value()) return false
      if (bytes[this.at++] !== SP) return false
    }
    if (this.uid < 0 || this.markAt === this.itemsAt || bytes[this.at] !== 0x7b) return false
    const valueAt = this.at
    if (!this.#literal() || !this.#is(CLOSE)) return false
    // It may be a sealed one's, then: who decides looks closer.
    if (holdsVes(bytes, valueAt, this.at)) return false
    this.at += CLOSE.length
    return this.at - from <= MAX_OCTETS
  }

  #is(text: Buffer): boolean {
    const bytes = this.#bytes
    for (let i = 0; i < text.length; i++) if (bytes[this.at + i] !== text[i]) return false
    return true
  }

  /** -1: none, or a long one. */
  #number(): number {
    const from = this.at
    let value = 0
    for (; ; this.at++) {
      const digit = (this.#bytes[this.at] ?? 0) - 0x30
      if (!(digit >= 0 && digit <= 9)) break
      value = value * 10 + digit
    }
    return this.at === from || this.at - from > MAX_DIGITS ? -1 : value
  }

  /** `NAME ` or `NAME[…] `: letters, digits, dots, hyphens; in brackets spaces and parentheses too. */
  #label(): boolean {
    const bytes = this.#bytes
    const from = this.at
    let inSection = false
    for (; ; this.at++) {
      const c = bytes[this.at]
      if (c === undefined) return false
      if ((c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a) || (c >= 0x2d && c <= 0x39)) continue
      if (inSection && (c === SP || c === 0x28 || c === 0x29)) continue
      if (c === 0x5b && !inSection && this.at > from) inSection = true
      else if (c === 0x5d && inSection) {
        this.at++
        break
      } else if (c === SP && this.at > from) break
      else return false
    }
    return bytes[this.at++] === SP
  }

  /** An atom, a string or a list. */
  #value(): boolean {
    const bytes = this.#bytes
    let depth = 0
    do {
      const c = bytes[this.at]
      if (c === 0x28) {
        depth++
        this.at++
      } else if (c === 0x29) {
        if (--depth < 0) return false
        this.at++
      } else if (c === SP && depth > 0) this.at++
      else if (c === DQUOTE) {
        if (!this.#quoted()) return false
      } else if (c === 0x7b) {
        if (!this.#literal()) return false
      } else if (!this.#atom()) return false
    } while (depth > 0)
    return true
  }

  #atom(): boolean {
    const from = this.at
    for (; ; this.at++) {
      const c = this.#bytes[this.at]
      if (c === SP || c === 0x29) break
      // Not only what ends one: a brace or tilde in front may begin a literal, and nobody writes `a"b`.
      if (c === undefined || c < SP || c === 0x28 || c === DQUOTE || c === 0x7b || c === 0x7e || c === 0x7f)
        return false
    }
    return this.at > from
  }

  #quoted(): boolean {
    for (this.at++; ; this.at++) {
      const c = this.#bytes[this.at]
      if (c === undefined || c === CR || c === LF) return false
      if (c === DQUOTE) break
      if (c === BACKSLASH) this.at++
    }
    this.at++
    return true
  }

  /** `{n}` CRLF and its octets, all there. */
  #literal(): boolean {
    const bytes = this.#bytes
    this.at++
    const octets = this.#number()
    if (octets < 0 || bytes[this.at] !== 0x7d || bytes[this.at + 1] !== CR || bytes[this.at + 2] !== LF) return false
    this.at += 3 + octets
    return this.at <= bytes.length
  }
}
