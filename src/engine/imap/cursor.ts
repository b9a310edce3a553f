/**
 * Reads the tokens of one whole command or response (RFC 9051 §9), literals in their place. Not a framer: the octets are
 * all there, so a token that does not end is a syntax error, never "need more".
 * Rule: linear in the input, every loop moves on.
 */
import { GatewayError } from '../../base/errors.ts'

const SP = 0x20
const CR = 0x0d
const DQUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_BRACE = 0x7b
const TILDE = 0x7e

/** `ATOM-CHAR` may not be one of these; `]` may (RFC 9051 §9: resp-specials only inside response codes). */
const NOT_ATOM = new Uint8Array(256)
for (let c = 0; c <= 0x20; c++) NOT_ATOM[c] = 1
NOT_ATOM[0x7f] = 1
for (const c of '(){%*"\\') NOT_ATOM[c.charCodeAt(0)] = 1

export class Cursor {
  readonly bytes: Buffer
  at: number

  /** The buffer is borrowed; what the methods return are views into it unless they say otherwise. */
  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes
    this.at = at
  }

  /** At the end: nothing left, or only the CRLF that closes the line. */
  get ended(): boolean {
    const left = this.bytes.length - this.at
    return left <= 0 || this.bytes[this.at] === CR || this.bytes[this.at] === 0x0a
  }

  get next(): number {
    return this.bytes[this.at] ?? -1
  }

  isNext(char: string): boolean {
    return this.bytes[this.at] === char.charCodeAt(0)
  }

  /** Takes the character if it is next. */
  skip(char: string): boolean {
    if (!this.isNext(char)) return false
    this.at++
    return true
  }

  /** @throws {GatewayError} SYNTAX */
  expect(char: string): void {
    if (!this.skip(char)) throw syntax(this.at)
  }

  /** One space; more are taken too, as servers do. @throws {GatewayError} SYNTAX */
  space(): void {
    this.expect(' ')
    while (this.next === SP) this.at++
  }

  /** `1*ATOM-CHAR`, also with what `stops` names as further ends. @throws {GatewayError} SYNTAX when empty */
  atom(stops = ''): string {
    const from = this.at
    const stop0 = stops.length > 0 ? stops.charCodeAt(0) : -1
    const stop1 = stops.length > 1 ? stops.charCodeAt(1) : -1
    for (; this.at < this.bytes.length; this.at++) {
      const c = this.bytes[this.at]!
      if (NOT_ATOM[c] === 1 || c === stop0 || c === stop1) break
    }
    if (this.at === from) throw syntax(this.at)
    return this.bytes.toString('latin1', from, this.at)
  }

  /** `atom` in upper case: names compare without case. */
  keyword(stops = ''): string {
    return this.atom(stops).toUpperCase()
  }

  /** A decimal number below 2^53; more digits are a syntax error. */
  number(): number {
    const from = this.at
    let value = 0
    for (; this.at < this.bytes.length; this.at++) {
      const digit = this.bytes[this.at]! - 0x30
      if (digit < 0 || digit > 9) break
      value = value * 10 + digit
    }
    if (this.at === from || !Number.isSafeInteger(value)) throw syntax(from)
    return value
  }

  /** `string`: quoted or literal (literal8 too); the content, quoting undone (a copy only where it has backslashes). */
  string(): Buffer {
    const c = this.next
    if (c === DQUOTE) return this.#quoted()
    if (c === OPEN_BRACE || c === TILDE) return this.literal()
    throw syntax(this.at)
  }

  get isString(): boolean {
    const c = this.next
    return c === DQUOTE || c === OPEN_BRACE || (c === TILDE && this.bytes[this.at + 1] === OPEN_BRACE)
  }

  /** `astring` as octets. */
  astring(): Buffer {
    if (this.isString) return this.string()
    const from = this.at
    this.atom()
    return this.bytes.subarray(from, this.at)
  }

  /** `list-mailbox`: like astring with `%` and `*`. */
  listMailbox(): Buffer {
    if (this.isString) return this.string()
    const from = this.at
    while (this.at < this.bytes.length) {
      const c = this.bytes[this.at]!
      if (NOT_ATOM[c] === 1 && c !== 0x25 && c !== 0x2a) break
      this.at++
    }
    if (this.at === from) throw syntax(from)
    return this.bytes.subarray(from, this.at)
  }

  /** `["~"] "{" n ["+"] "}" CRLF *OCTET` in its place. */
  literal(): Buffer {
    this.skip('~')
    this.expect('{')
    const octets = this.number()
    this.skip('+')
    this.expect('}')
    if (this.next === CR) this.at++
    this.expect('\n')
    if (octets > this.bytes.length - this.at) throw syntax(this.at)
    const value = this.bytes.subarray(this.at, this.at + octets)
    this.at += octets
    return value
  }

  #quoted(): Buffer {
    const from = ++this.at
    let escapes = 0
    for (; ; this.at++) {
      const c = this.bytes[this.at]
      if (c === undefined || c === CR || c === 0x0a) throw syntax(this.at)
      if (c === DQUOTE) break
      if (c === BACKSLASH) {
        escapes++
        this.at++
      }
    }
    const raw = this.bytes.subarray(from, this.at++)
    if (escapes === 0) return raw
    const out = Buffer.allocUnsafe(raw.length - escapes)
    for (let i = 0, o = 0; i < raw.length; i++) {
      if (raw[i] === BACKSLASH) i++
      out[o++] = raw[i]!
    }
    return out
  }

  /**
   * One value of any form: atom, number, string, NIL or a parenthesised list of such, and section names with `[…]`.
   * Returns nothing, only moves past it.
   */
  skipValue(): void {
    let depth = 0
    do {
      const c = this.next
      if (c === 0x28) {
        depth++
        this.at++
      } else if (c === 0x29) {
        if (--depth < 0) throw syntax(this.at)
        this.at++
      } else if (c === SP && depth > 0) this.at++
      else if (c === DQUOTE) this.#skipQuoted()
      else if (this.isString) this.string()
      else this.#bareword()
    } while (depth > 0)
  }

  #skipQuoted(): void {
    for (this.at++; ; this.at++) {
      const c = this.bytes[this.at]
      if (c === undefined || c === CR || c === 0x0a) throw syntax(this.at)
      if (c === BACKSLASH) this.at++
      else if (c === DQUOTE) break
    }
    this.at++
  }

  /** Anything a server may write bare inside a FETCH answer: atoms, `\Flags`, `*`. */
  #bareword(): void {
    const from = this.at
    for (; this.at < this.bytes.length; this.at++) {
      const c = this.bytes[this.at]!
      if (c <= SP || c === 0x28 || c === 0x29 || c === DQUOTE || c === 0x7f) break
    }
    if (this.at === from) throw syntax(from)
  }
}

export function syntax(at: number): GatewayError {
  return new GatewayError('SYNTAX', { at })
}

/** The string (or NIL, then nothing) that stands at a place, as octets. @throws {GatewayError} SYNTAX */
export function stringAt(bytes: Buffer, at: number): Buffer {
  const cursor = new Cursor(bytes, at)
  return cursor.isString ? cursor.string() : Buffer.alloc(0)
}
