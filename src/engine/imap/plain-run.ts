/**
 * The short way of a header scan: answers of plain messages that lie one behind the other in what a read gave, each with
 * the evidence that we asked for (evidence.ts). They are looked through by octet, no object or string is made for any, and
 * what is the client's leaves in one piece.
 * Not a parser: whatever is not written in the very way that servers mostly write it ends the run, and is read by
 * `parseFetchAnswer` (response.ts), which decides. Rule: linear, never beyond the octets that are there.
 */
import { holdsMark } from './sealed-mark.ts'

/** Where the evidence stands in an answer; labels with the space behind them. */
export interface RunShape {
  /** Label of the item that is ours alone: the last one, and left out. Null: there is none. */
  readonly mark: string | null
  /** Label of a list of the client's that has our name in it, and where in the label that stands. */
  readonly list: { readonly label: string; readonly cut: readonly [number, number] } | null
  /** ENVELOPE must be there: it tells the Message-ID. */
  readonly envelope: boolean
  /** No evidence in the answer: the UID is enough, which is not above this one. Null: it isn't. */
  readonly upTo: number | null
}

export interface PlainRun {
  /** The answers without what the client did not ask for; a buffer of its own. */
  readonly bytes: Buffer
  /** Octets of the input that the run is of. */
  readonly octets: number
}

const HEAD = Buffer.from(' FETCH (')
const UID = Buffer.from('UID ')
const ENVELOPE = Buffer.from('ENVELOPE ')
const CLOSE = Buffer.from(')\r\n')
/** How names of content begin: BODY, ENVELOPE, PREVIEW, RFC822. */
const CONTENT: readonly number[] = [0x62, 0x65, 0x70, 0x72]
/** Larger answers may have literals that are left out (answer-gather.ts). */
const MAX_OCTETS = 64 * 1024
const [CR, LF, SP, DQUOTE, BACKSLASH] = [0x0d, 0x0a, 0x20, 0x22, 0x5c]
/** Digits of a number in IMAP (RFC 9051 §9: below 2^32). */
const MAX_DIGITS = 10

/**
 * @param input begins with a response; borrowed
 * @param dropsUid the client did not ask for the UID
 * @param learn called with UID and number of each plain message
 * @returns null: not even the first one is plain and written so
 */
export function plainRun(
  input: Buffer,
  shape: RunShape,
  dropsUid: boolean,
  learn: (uid: number, number: number) => void,
): PlainRun | null {
  const scan = new Scan(input, shape)
  /** Of each answer: its head, what stays before the cut, what stays behind it; each as begin and end. */
  const stays: number[] = []
  let end = 0
  while (end < input.length && scan.answer(end)) {
    const from = dropsUid ? scan.uidEnd + 1 : scan.itemsAt
    // Left out, the UID must be the first item, and not all there is.
    if (dropsUid && (scan.uidAt !== scan.itemsAt || from > scan.cutAt || !scan.tellsContent)) break
    stays.push(end, scan.itemsAt, from, scan.cutAt, scan.cutEnd, scan.at)
    learn(scan.uid, scan.number)
    end = scan.at
  }
  if (end === 0) return null
  // One copy of all, and small moves within it: a copy for each costs several times as much.
  const out = Buffer.from(input.subarray(0, end))
  let to = 0
  for (let i = 0; i < stays.length; i += 2) to = move(out, to, stays[i]!, stays[i + 1]!)
  return { bytes: out.subarray(0, to), octets: end }
}

/** @returns where the next ones go */
function move(bytes: Buffer, to: number, from: number, end: number): number {
  // A few octets are quicker by hand.
  if (end - from < 32) for (let i = 0; i < end - from; i++) bytes[to + i] = bytes[from + i]!
  else if (to !== from) bytes.copyWithin(to, from, end)
  return to + end - from
}

class Scan {
  readonly #bytes: Buffer
  readonly #mark: Buffer | null
  readonly #list: Buffer | null
  readonly #cut: readonly [number, number]
  readonly #envelope: boolean
  readonly #upTo: number | null
  /** The value read last within the last item. */
  #lastAt = 0
  /** Behind the answer. */
  at = 0
  number = 0
  itemsAt = 0
  uid = 0
  uidAt = 0
  uidEnd = 0
  /** What is ours. */
  cutAt = 0
  cutEnd = 0
  /** Not only attributes, which the server may tell unasked. */
  tellsContent = false

  constructor(bytes: Buffer, { mark, list, envelope, upTo }: RunShape) {
    this.#bytes = bytes
    this.#mark = mark === null ? null : Buffer.from(mark, 'latin1')
    this.#list = list === null ? null : Buffer.from(list.label, 'latin1')
    this.#cut = list?.cut ?? [0, 0]
    this.#envelope = envelope
    this.#upTo = upTo
  }

  /** Is there a whole answer of a plain message? Then the fields say where. */
  answer(from: number): boolean {
    const bytes = this.#bytes
    if (bytes[from] !== 0x2a || bytes[from + 1] !== SP) return false
    this.at = from + 2
    this.number = this.#number()
    if (this.number < 0 || !this.#is(HEAD)) return false
    this.itemsAt = this.at + HEAD.length
    this.at = this.itemsAt
    this.uid = -1
    this.cutAt = -1
    this.tellsContent = this.#upTo === null
    let needsEnvelope = this.#envelope
    for (;;) {
      const itemAt = this.at
      if (this.#mark !== null && this.#is(this.#mark)) {
        if (itemAt === this.itemsAt || !this.#evidence(this.#mark)) return false
        this.cutAt = itemAt - 1
        this.cutEnd = this.at
        break
      }
      if (this.#list !== null && this.#is(this.#list)) {
        if (this.cutAt >= 0 || !this.#evidence(this.#list)) return false
        this.cutAt = itemAt + this.#cut[0]
        this.cutEnd = itemAt + this.#cut[1]
      } else if (this.#is(UID)) {
        if (this.uid >= 0) return false
        this.at += UID.length
        this.uid = this.#number()
        if (this.uid < 0) return false
        this.uidAt = itemAt
        this.uidEnd = this.at
      } else if (needsEnvelope && this.#is(ENVELOPE)) {
        needsEnvelope = false
        this.at += ENVELOPE.length
        if (bytes[this.at] !== 0x28 || !this.#value() || holdsMark(bytes, this.#lastAt, this.at)) return false
      } else {
        this.tellsContent ||= CONTENT.includes(bytes[itemAt]! | 0x20)
        if (!this.#label() || !this.#value()) return false
      }
      if (this.#mark === null && bytes[this.at] === 0x29) break
      if (bytes[this.at++] !== SP) return false
    }
    if (this.#upTo !== null) {
      if (this.uid > this.#upTo) return false
      this.cutAt = this.at
      this.cutEnd = this.at
    }
    if (this.uid < 0 || this.cutAt < 0 || needsEnvelope || !this.#is(CLOSE)) return false
    this.at += CLOSE.length
    return this.at - from <= MAX_OCTETS
  }

  /** A literal without a mark in it. With one it may be a sealed message's: who decides looks closer. */
  #evidence(label: Buffer): boolean {
    this.at += label.length
    const from = this.at
    return this.#bytes[from] === 0x7b && this.#literal() && !holdsMark(this.#bytes, from, this.at)
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
      if (c !== SP && c !== 0x29) this.#lastAt = this.at
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
