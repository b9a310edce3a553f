/**
 * Literal announcements at the end of a line: `{42}`, `{42+}` (RFC 9051 §4.3, RFC 7888) and `~{42}` (RFC 3516).
 * Not the octets themselves: those are the framers'.
 */
import { syntax } from './cursor.ts'

export interface Literal {
  readonly octets: number
  /** The sender waits for `+` before the octets. */
  readonly sync: boolean
  /** literal8: may hold NUL. */
  readonly binary: boolean
}

const OPEN = 0x7b
const CLOSE = 0x7d
const PLUS = 0x2b
const TILDE = 0x7e
const ZERO = 0x30
const CR = 0x0d
const LF = 0x0a

/**
 * @param line octets of one line, its LF (and CR) included; borrowed
 * @returns null when the line completes the command or response
 * @throws {GatewayError} SYNTAX when the size is no safe number: the end of such a literal cannot be found
 */
export function literalAtEnd(line: Buffer): Literal | null {
  let at = line.length - 1
  if (line[at] === LF) at--
  if (line[at] === CR) at--
  if (line[at--] !== CLOSE) return null
  const sync = line[at] !== PLUS
  if (!sync) at--
  let octets = 0
  let scale = 1
  let digits = 0
  for (; ; at--, digits++, scale *= 10) {
    const digit = (line[at] ?? 0) - ZERO
    if (digit < 0 || digit > 9) break
    // Zero-padding is legal and unbounded: adding only what counts keeps 0 × Infinity out.
    if (digit !== 0) octets += digit * scale
  }
  if (digits === 0 || line[at] !== OPEN) return null
  if (!Number.isSafeInteger(octets)) throw syntax(at)
  return { octets, sync, binary: line[at - 1] === TILDE }
}

/** Is a quoted string open at the end of this text? Then a literal announcement there is none: sender and server would differ. */
export function endsInQuotes(line: Buffer): boolean {
  let open = false
  for (let i = 0; i < line.length; i++) {
    const c = line[i]
    if (c === 0x22) open = !open
    else if (c === 0x5c && open) i++
  }
  return open
}
