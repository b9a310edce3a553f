/**
 * Octets of a mail as text for people: charsets, encoded words (RFC 2047), parameter values (RFC 2231). Never throws: what
 * cannot be decoded is shown as well as it goes.
 */
import type { Parameter } from '../../engine/imap/view/parameters.ts'

/** Real mail labels its charset wrongly often enough: anything unknown is read as what it most likely is. */
const LIKELY = 'windows-1252'
const ENCODED_WORD = /=\?([^?\s]{1,40})\?([bq])\?([^?]*)\?=/gi
/** Between two encoded words white space is none (RFC 2047 §6.2). */
const BETWEEN_WORDS = /^[ \t]*$/

/** @param charset as labelled; null = none: UTF-8 where that is what it is */
export function decodeText(octets: Uint8Array, charset: string | null): string {
  const label = charset?.split('*')[0]?.trim().toLowerCase() ?? ''
  const decoder = label === '' || label === 'us-ascii' ? null : decoderOf(label)
  if (decoder !== null) return decoder.decode(octets)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(octets)
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    return new TextDecoder(LIKELY).decode(octets)
  }
}

function decoderOf(label: string): InstanceType<typeof TextDecoder> | null {
  try {
    return new TextDecoder(label)
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

/** @param value of a header, one character an octet */
export function decodeWords(value: string): string {
  let shown = ''
  let at = 0
  // A character may be cut in two by the end of a word: words of one charset are decoded together.
  let open: { charset: string; octets: Uint8Array[] } | null = null
  const flush = (): void => {
    if (open !== null) shown += decodeText(Buffer.concat(open.octets), open.charset)
    open = null
  }
  for (const match of value.matchAll(ENCODED_WORD)) {
    const [word, charset = '', coding = '', body = ''] = match
    const between = value.slice(at, match.index)
    const before = open as { charset: string; octets: Uint8Array[] } | null
    if (before === null || !BETWEEN_WORDS.test(between)) {
      flush()
      shown += plainText(between)
    } else if (before.charset !== charset.toLowerCase()) flush()
    const octets =
      coding.toLowerCase() === 'b' ? Buffer.from(body, 'base64') : quotedOctets(body.replaceAll('_', ' '), '=')
    const going = open as { charset: string; octets: Uint8Array[] } | null
    open = { charset: charset.toLowerCase(), octets: [...(going?.octets ?? []), octets] }
    at = match.index + word.length
  }
  flush()
  return (shown + plainText(value.slice(at))).trim()
}

/** The first parameter of that name, decoded; those of RFC 2231 (`name*`) win. null = there is none */
export function parameterOf(parameters: readonly Parameter[], name: string): string | null {
  const find = (wanted: string): string | undefined =>
    parameters.find((parameter) => parameter.name.toLowerCase() === wanted)?.value
  const extended = find(`${name}*`)
  if (extended !== undefined) {
    const parts = /^([^']*)'[^']*'(.*)$/s.exec(extended)
    if (parts !== null) return decodeText(quotedOctets(parts[2]!, '%'), parts[1]!)
  }
  const plain = find(name) ?? extended
  // Encoded words do not belong here, and stand here all the time.
  return plain === undefined ? null : decodeWords(plain)
}

function quotedOctets(text: string, mark: '=' | '%'): Buffer {
  const pattern = mark === '=' ? /=([0-9a-f]{2})/gi : /%([0-9a-f]{2})/gi
  return Buffer.from(
    text.replace(pattern, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  )
}

function plainText(latin1: string): string {
  return /[\x80-\xff]/.test(latin1) ? decodeText(Buffer.from(latin1, 'latin1'), null) : latin1
}
