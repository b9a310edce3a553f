/**
 * Message data from a mail client (RFC 5321 §4.5.2): finds its end and takes the stuffed dots out.
 *
 * The end is CRLF.CRLF and nothing else, and only a dot after CRLF was stuffed. Who takes a bare LF or CR for a line
 * end here lets a message carry a second one inside (SMTP smuggling).
 */
const DOT = 0x2e
const CR = 0x0d
const LF = 0x0a
const LINE_DOT = Buffer.from('\r\n.')

/** What the octets seen so far end with, as far as it decides about the next one. */
type Tail = 'middle' | 'cr' | 'line-start' | 'dot' | 'dot-cr' | 'ended'

export class DotDecoder {
  /** Data begins at the start of a line. */
  #tail: Tail = 'line-start'

  get ended(): boolean {
    return this.#tail === 'ended'
  }

  /**
   * The buffer is taken over: the pieces are views of it.
   * @returns the message's octets in order; `rest`: what stands behind the end of data, null before it
   */
  push(bytes: Buffer): { pieces: Buffer[]; rest: Buffer | null } {
    const pieces: Buffer[] = []
    /** Start of what is not yet in `pieces`. */
    let from = 0
    let at = 0
    while (at < bytes.length) {
      const octet = bytes[at]!
      switch (this.#tail) {
        case 'middle': {
          // A dot alone is found many times as fast, and what is attached has none.
          const dot = bytes.indexOf(DOT, at)
          const found = dot < 0 ? -1 : bytes.indexOf(LINE_DOT, Math.max(at, dot - 2))
          if (found < 0) {
            this.#tail = tailOf(bytes, at)
            at = bytes.length
            break
          }
          at = found + 2
          this.#tail = 'line-start'
          break
        }
        case 'cr':
          this.#tail = octet === LF ? 'line-start' : octet === CR ? 'cr' : 'middle'
          at++
          break
        case 'line-start':
          if (octet === DOT) {
            // Stuffed, or the first octet of the end: not data either way.
            if (at > from) pieces.push(bytes.subarray(from, at))
            from = ++at
            this.#tail = 'dot'
          } else {
            this.#tail = 'middle'
          }
          break
        case 'dot':
          if (octet === CR) {
            // Held back: data only if no LF follows.
            this.#tail = 'dot-cr'
            from = ++at
          } else {
            this.#tail = 'middle'
          }
          break
        case 'dot-cr':
          if (octet === LF) {
            this.#tail = 'ended'
            return { pieces, rest: bytes.subarray(at + 1) }
          }
          // The CR may lie in the buffer before this one.
          if (from > 0) from--
          else pieces.push(Buffer.from([CR]))
          this.#tail = octet === CR ? 'cr' : 'middle'
          if (octet === CR) at++
          break
        case 'ended':
          return { pieces, rest: bytes }
      }
    }
    if (at > from) pieces.push(bytes.subarray(from, at))
    return { pieces, rest: this.#tail === 'ended' ? bytes.subarray(at) : null }
  }
}

/** State after `bytes` from `at` on, in which no CRLF is followed by a dot. */
function tailOf(bytes: Buffer, at: number): Tail {
  const last = bytes.length - 1
  if (bytes[last] === CR) return 'cr'
  return bytes[last] === LF && last - 1 >= at && bytes[last - 1] === CR ? 'line-start' : 'middle'
}
