/**
 * Words of structured header values: white space with comments, atoms, MIME tokens, quoted strings, phrases, domains
 * (RFC 5322 §3.2, §3.4, §4; RFC 2045 §5.1), read as leniently as Dovecot 2.3 reads them. Works on latin1 strings.
 * Every reader says how it ended: see {@link Outcome}. All are linear: none goes back.
 */
import { NUL_REPLACEMENT } from './strings.ts'

/** `more`: something follows; `end`: the value is used up; `bad`: does not fit the grammar, `at` is where it was seen. */
export type Outcome = 'more' | 'end' | 'bad'

/** 1: atext and token; 2: atext but a special in MIME tokens (`/ = ?`). Octets from 0x80 count as letters. */
const CLASSES = buildClasses()

function buildClasses(): Uint8Array {
  const classes = new Uint8Array(256)
  for (let c = 0x30; c <= 0x39; c++) classes[c] = 1
  for (let c = 0x41; c <= 0x5a; c++) classes[c] = classes[c + 32] = 1
  for (let c = 0x80; c <= 0xff; c++) classes[c] = 1
  for (const c of "!#$%&'*+-^_`{|}~") classes[c.charCodeAt(0)] = 1
  for (const c of '/=?') classes[c.charCodeAt(0)] = 2
  return classes
}

export const isAtext = (code: number): boolean => CLASSES[code] !== 0 && !Number.isNaN(code)
const isToken = (code: number): boolean => CLASSES[code] === 1

export class Words {
  readonly text: string
  at = 0
  /** Text of the last comment passed, without its outer parentheses. */
  comment = ''
  readonly #maskNul: boolean

  /** @param maskNul show NULs as U+FFFD (addresses); otherwise they are dropped with what follows in their word */
  constructor(text: string, maskNul = false) {
    this.text = text
    this.#maskNul = maskNul
  }

  get done(): boolean {
    return this.at >= this.text.length
  }

  /** Character here; empty at the end. */
  get next(): string {
    return this.text.charAt(this.at)
  }

  /** Is this character next? (A method: the compiler would take a getter's value for settled.) */
  is(character: string): boolean {
    return this.text[this.at] === character
  }

  get code(): number {
    return this.text.charCodeAt(this.at)
  }

  get #left(): Outcome {
    return this.done ? 'end' : 'more'
  }

  #shown(from: number, to: number): string {
    const part = this.text.slice(from, to)
    return this.#maskNul && part.includes('\0') ? part.replaceAll('\0', NUL_REPLACEMENT) : part
  }

  /** `CFWS`: spaces, tabs, line ends, comments. */
  skipSpace(): Outcome {
    for (;;) {
      const c = this.next
      if (c === ' ' || c === '\t' || c === '\r' || c === '\n') this.at++
      else if (c === '(') {
        if (this.#skipComment() === 'bad') return 'bad'
      } else return this.#left
    }
  }

  #skipComment(): Outcome {
    this.comment = ''
    let level = 1
    let from = ++this.at
    for (; !this.done; this.at++) {
      const c = this.next
      if (c === '(') level++
      else if (c === ')') {
        if (--level > 0) continue
        this.comment += this.#shown(from, this.at)
        this.at++
        return this.#left
      } else if (c === '\\' && !this.#beforeLineEnd) {
        this.at++
        if (this.done) return 'bad'
        this.comment += this.#shown(from, this.at - 1)
        from = this.at
      } else if (c === '\n' && this.#goesOn) {
        this.comment += this.#shown(from, this.#lineEnd(from))
        from = this.at + 1
      }
    }
    return 'bad'
  }

  /** At a backslash that stands at the end of its line: it escapes nothing. */
  get #beforeLineEnd(): boolean {
    return this.text[this.at + 1] === '\n' || this.text.startsWith('\r\n', this.at + 1)
  }

  /** At LF. QUIRK: a last line of one character is none. */
  get #goesOn(): boolean {
    return this.at + 2 < this.text.length
  }

  /** At LF: where the line that began at `from` ends, its CR left out. */
  #lineEnd(from: number): number {
    return this.at > from && this.text[this.at - 1] === '\r' ? this.at - 1 : this.at
  }

  /** `atom`, then CFWS. Null outcome text stays empty when there is none. */
  atom(out: string[]): Outcome {
    if (!isAtext(this.code)) return 'bad'
    const from = this.at
    while (isAtext(this.code)) this.at++
    out.push(this.text.slice(from, this.at))
    return this.done ? 'end' : this.skipSpace()
  }

  /** `dot-atom`, with CFWS around the dots (RFC 822). */
  dotAtom(out: string[]): Outcome {
    if (!isAtext(this.code)) return 'bad'
    let from = this.at
    for (;;) {
      while (isAtext(this.code)) this.at++
      out.push(this.text.slice(from, this.at))
      if (this.done) return 'end'
      const space = this.skipSpace()
      if (space !== 'more') return space
      if (!this.is('.')) return 'more'
      this.at++
      out.push('.')
      if (this.skipSpace() !== 'more' || !isAtext(this.code)) return 'bad'
      from = this.at
    }
  }

  /** As a dot-atom, but dots may stand anywhere: local parts of real mail. */
  looseDotAtom(out: string[]): Outcome {
    let ended: Outcome = 'bad'
    do {
      while (this.is('.')) {
        out.push('.')
        this.at++
        if (this.done) return 'end'
        ended = 'more'
      }
      if (this.is('@')) return ended
      ended = this.atom(out)
    } while (ended === 'more' && this.is('.'))
    return ended
  }

  /** MIME `token`, dots included, perhaps empty; then CFWS. */
  token(out: string[]): Outcome {
    const from = this.at
    while (isToken(this.code) || this.is('.')) this.at++
    out.push(this.text.slice(from, this.at))
    return this.done ? 'end' : this.skipSpace()
  }

  /** At `"`: the string without quotes, escapes and line ends; then CFWS. */
  quotedString(out: string[]): Outcome {
    let from = ++this.at
    for (; !this.done; this.at++) {
      const c = this.next
      if (c === '"') {
        out.push(this.#shown(from, this.at))
        this.at++
        return this.skipSpace()
      }
      if (c === '\n' && this.#goesOn) {
        out.push(this.#shown(from, this.#lineEnd(from)))
        from = this.at + 1
      } else if (c === '\\') {
        this.at++
        if (this.done) break
        out.push(this.#shown(from, this.at - 1))
        from = this.at
      }
    }
    return 'bad'
  }

  /** `phrase`: words, each pair joined by one space. */
  phrase(out: string[]): Outcome {
    if (this.done) return 'end'
    if (this.is('.')) return 'bad'
    for (;;) {
      const ended = this.is('"') ? this.quotedString(out) : this.#atomOrDots(out)
      if (ended !== 'more') return ended
      if (!isAtext(this.code) && !this.is('"') && !this.is('.')) return this.skipSpace()
      out.push(' ')
    }
  }

  #atomOrDots(out: string[]): Outcome {
    const from = this.at
    while (isAtext(this.code) || this.is('.')) this.at++
    out.push(this.text.slice(from, this.at))
    return this.done ? 'end' : this.skipSpace()
  }

  /** At `@`: `domain`, dot-atom or literal. */
  domain(out: string[]): Outcome {
    this.at++
    if (this.skipSpace() !== 'more') return 'bad'
    return this.is('[') ? this.#domainLiteral(out) : this.dotAtom(out)
  }

  #domainLiteral(out: string[]): Outcome {
    const from = this.at
    for (; !this.done; this.at++) {
      const c = this.next
      if (c === '[' && this.at > from) return 'bad'
      if (c === '\\') {
        this.at++
        if (this.done) break
      } else if (c === ']') {
        this.at++
        out.push(this.#shown(from, this.at))
        return this.skipSpace()
      }
    }
    return 'bad'
  }
}
