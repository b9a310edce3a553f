/**
 * A command with literals in it, as the server takes them: all at once where it knows `{n+}` (RFC 7888), else in
 * segments, each after the server's `+`.
 */
import type { InlineLiteral } from './command-reader.ts'

/** @returns segments; the first may be sent at once, each other one when a continuation has come */
export function segmentsOf(text: Buffer, literals: readonly InlineLiteral[], plus: boolean): Buffer[] {
  if (literals.length === 0) return [text]
  const out: Buffer[] = []
  let parts: Buffer[] = []
  let from = 0
  for (const { announcedAt, octetsAt, literal } of literals) {
    const { octets, binary } = literal
    parts.push(text.subarray(from, announcedAt))
    parts.push(Buffer.from(`${binary ? '~' : ''}{${octets}${plus ? '+' : ''}}\r\n`))
    if (!plus) {
      out.push(Buffer.concat(parts))
      parts = []
    }
    from = octetsAt
  }
  parts.push(text.subarray(from))
  out.push(Buffer.concat(parts))
  return out
}
