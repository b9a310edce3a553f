/** The codings once more, as plainly as they can be written: what the fast ones are compared with. */

/** RFC 2045 §6.8 as `codecs.ts` states it. */
export function plainDecodeBase64(text: Buffer): Buffer {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  const groups = text
    .toString('latin1')
    .replace(/[^A-Za-z0-9+/=]/g, '')
    .split('=')
  const octets: number[] = []
  for (const group of groups) {
    let bits = ''
    for (const character of group) bits += alphabet.indexOf(character).toString(2).padStart(6, '0')
    for (let at = 0; at + 8 <= bits.length; at += 8) octets.push(Number.parseInt(bits.slice(at, at + 8), 2))
  }
  return Buffer.from(octets)
}

export function plainEncodeBase64(octets: Buffer, width: number, separator: string, padded: boolean): string {
  const text = octets.toString('base64')
  const characters = padded ? text : text.replace(/=+$/, '')
  if (width === 0) return characters
  const lines: string[] = []
  for (let at = 0; at < characters.length; at += width) lines.push(characters.slice(at, at + width))
  return lines.join(separator)
}

/** RFC 2045 §6.7 as `codecs.ts` states it. */
export function plainDecodeQuotedPrintable(text: Buffer): Buffer {
  const decoded = text
    .toString('latin1')
    .replace(/=(?:[ \t]{0,76}(?:\r\n|\n|\r?$(?![\s\S]))|([0-9A-Fa-f]{2}))/g, (_all, hex?: string) =>
      hex === undefined ? '' : String.fromCharCode(Number.parseInt(hex, 16)),
    )
  return Buffer.from(decoded, 'latin1')
}

export function plainEncodeQuotedPrintable(octets: Buffer): string {
  const lines = octets.toString('latin1').split(/(\r\n|\n)/)
  let out = ''
  for (let i = 0; i < lines.length; i += 2) {
    const [text, end] = [lines[i]!, lines[i + 1] ?? '']
    let column = 0
    for (let at = 0; at < text.length; at++) {
      const character = text[at]!
      const isLast = at + 1 === text.length
      const isBlank = character === ' ' || character === '\t'
      const isEscaped = isBlank ? isLast && end === '' : !/[!-<>-~]/.test(character)
      const token = isEscaped ? `=${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}` : character
      const needsSoftBreakAfter = isBlank && isLast && end !== ''
      if (column + token.length > (isLast && !needsSoftBreakAfter ? 76 : 75)) {
        out += '=\r\n'
        column = 0
      }
      out += token
      column += token.length
      if (needsSoftBreakAfter) out += '=\r\n'
    }
    out += end
  }
  return out
}
