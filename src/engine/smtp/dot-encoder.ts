/**
 * Message data towards a provider (RFC 5321 §4.5.2): stuffs dots and writes the end.
 *
 * Dots are stuffed after CRLF only, as every server undoes it. A dot behind a bare LF or CR would be the start of an
 * "end of data" for servers that take those for line ends (`LF.LF`, `LF.CRLF`, `CR.CR` …; Debian's Postfix and
 * Dovecot do): exactly there, and nowhere else, the bare octet becomes CRLF and the dot is stuffed. All servers then
 * read the same: one message, one line end instead of a bare octet.
 */
const DOT = 0x2e
const CR = 0x0d
const LF = 0x0a
const CRLF = Buffer.from('\r\n')
const LF_DOT = Buffer.from('\n.')
const CR_DOT = Buffer.from('\r.')
const STUFFED = Buffer.from('.')
const END = Buffer.from('.\r\n')

/**
 * What was pushed ends with: `line-start` CRLF (or nothing yet); `lf`, `cr` a bare octet that is held back until the
 * next one shows whether it may stay.
 */
type Tail = 'line-start' | 'middle' | 'lf' | 'cr'

export class DotEncoder {
  #tail: Tail = 'line-start'

  /** The buffer is taken over. @returns octets to send, in order */
  push(bytes: Buffer): Buffer[] {
    if (bytes.length === 0) return []
    const out: Buffer[] = []
    this.#join(bytes, out)
    let from = 0
    // Sealed bodies have no dots, and one octet is looked for many times as fast as two.
    const dot = bytes.indexOf(DOT, 1)
    let lf = dot < 0 ? -1 : bytes.indexOf(LF_DOT, dot - 1)
    let cr = dot < 0 ? -1 : bytes.indexOf(CR_DOT, dot - 1)
    while (lf >= 0 || cr >= 0) {
      // Position of the line end's last octet.
      const at = cr < 0 || (lf >= 0 && lf < cr) ? lf : cr
      const whole = at === lf && (at > 0 ? bytes[at - 1] === CR : this.#tail === 'cr')
      if (whole) {
        out.push(bytes.subarray(from, at + 1), STUFFED)
      } else {
        if (at > from) out.push(bytes.subarray(from, at))
        out.push(CRLF, STUFFED)
      }
      from = at + 1
      if (at === lf) lf = bytes.indexOf(LF_DOT, from)
      else cr = bytes.indexOf(CR_DOT, from)
    }
    this.#hold(bytes, from, out)
    return out
  }

  /** End of the message: a line end where one is missing, and the final dot. */
  end(): Buffer[] {
    const out = this.#tail === 'line-start' ? [END] : [CRLF, END]
    // A bare octet held back becomes the line end that has to stand there anyway.
    this.#tail = 'line-start'
    return out
  }

  /** What was held back, now that the first octet of the next buffer is known. */
  #join(bytes: Buffer, out: Buffer[]): void {
    const dot = bytes[0] === DOT
    if (this.#tail === 'lf' || this.#tail === 'cr') {
      out.push(dot ? CRLF : Buffer.from([this.#tail === 'lf' ? LF : CR]))
      if (dot) out.push(STUFFED)
    } else if (this.#tail === 'line-start' && dot) {
      out.push(STUFFED)
    }
  }

  #hold(bytes: Buffer, from: number, out: Buffer[]): void {
    const last = bytes.length - 1
    const octet = bytes[last]
    let end = bytes.length
    if (octet === CR) {
      this.#tail = 'cr'
      end = last
    } else if (octet === LF) {
      const before = last > 0 ? bytes[last - 1] === CR : this.#tail === 'cr'
      this.#tail = before ? 'line-start' : 'lf'
      if (!before) end = last
    } else {
      this.#tail = 'middle'
    }
    if (end > from) out.push(bytes.subarray(from, end))
  }
}
