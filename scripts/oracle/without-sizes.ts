/**
 * A FETCH answer with its sizes and line counts made alike: what an estimate may change (imap.md §5).
 */

/** Bare numbers after RFC822.SIZE and inside BODY and BODYSTRUCTURE become `#`; strings and literals stay. */
export function withoutSizes(reply: Buffer): Buffer {
  const text = reply.toString('latin1')
  const out: string[] = []
  let at = 0
  /** Depth of parentheses inside a structure; 0: outside. */
  let depth = 0
  while (at < text.length) {
    const rest = text.slice(at, at + 40)
    const literal = /^\{(\d+)\}\r\n/.exec(rest)
    const start = depth === 0 ? /^(?:BODY|BODYSTRUCTURE) \(/.exec(rest) : null
    const size = depth === 0 ? /^RFC822\.SIZE \d+/.exec(rest) : null
    let taken = text[at]!
    if (literal !== null) taken = text.slice(at, at + literal[0].length + Number(literal[1]))
    else if (taken === '"') taken = /^"(?:[^"\\]|\\.)*"/s.exec(text.slice(at))?.[0] ?? taken
    else if (size !== null) taken = size[0]
    else if (start !== null) {
      depth = 1
      taken = start[0]
    } else if (depth > 0 && /\d/.test(taken)) taken = /^\d+/.exec(text.slice(at))?.[0] ?? taken
    else if (depth > 0 && taken === '(') depth++
    else if (depth > 0 && taken === ')') depth--
    out.push(size !== null ? 'RFC822.SIZE #' : depth > 0 && /^\d+$/.test(taken) ? '#' : taken)
    at += taken.length
  }
  return Buffer.from(out.join(''), 'latin1')
}
