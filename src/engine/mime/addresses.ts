/**
 * Addresses of To, Cc and Bcc (RFC 5322 §3.4), read leniently: what sharing a message's key needs, no more. Groups are
 * opened, comments dropped, encoded words decoded (RFC 2047).
 */
import { type HeaderField, unfoldedValue } from './header-block.ts'

export interface Mailbox {
  /** Lower-cased `local@domain`. */
  readonly address: string
  readonly name: string | null
}

/** More recipients than that are taken from nobody's header. */
const MAX_MAILBOXES = 10_000

/** @param fields all To, Cc and Bcc fields. Linear; each address once, in order */
export function mailboxes(fields: readonly HeaderField[]): Mailbox[] {
  const found = new Map<string, Mailbox>()
  for (const field of fields) {
    const value = Buffer.from(unfoldedValue(field), 'latin1').toString('utf8')
    for (const mailbox of readList(value)) {
      if (found.size >= MAX_MAILBOXES) return [...found.values()]
      if (!found.has(mailbox.address)) found.set(mailbox.address, mailbox)
    }
  }
  return [...found.values()]
}

function readList(value: string): Mailbox[] {
  const found: Mailbox[] = []
  let words = ''
  let angle: string | null = null
  const flush = () => {
    const address = (angle ?? words)
      .replace(/\s+/g, ' ')
      .replace(/ ?([@.:]) ?/g, '$1')
      .trim()
      .toLowerCase()
    // An obsolete route, `@a,@b:user@c`, ends at its colon.
    const plain = address.startsWith('@') ? address.slice(address.lastIndexOf(':') + 1) : address
    const name = angle === null ? '' : decodeWords(words.trim())
    if (/^[^@\s]+@[^@\s]+$/.test(plain)) found.push({ address: plain, name: name === '' ? null : name })
    words = ''
    angle = null
  }
  for (let at = 0; at < value.length; at++) {
    const char = value[at]!
    if (char === '"') {
      const end = quotedEnd(value, at)
      const quoted = value.slice(at + 1, end).replace(/\\(.)/g, '$1')
      // A quoted local part stays quoted, a display name does not.
      words += value[end + 1] === '@' ? `"${quoted}"` : quoted
      at = end
    } else if (char === '(') at = commentEnd(value, at)
    else if (char === '<') {
      const end = value.indexOf('>', at)
      if (end < 0) break
      angle = value.slice(at + 1, end)
      at = end
    } else if (char === ',' || char === ';') flush()
    else if (char === ':' && angle === null) words = ''
    else words += char
  }
  flush()
  return found
}

function quotedEnd(value: string, from: number): number {
  let at = from + 1
  while (at < value.length && value[at] !== '"') at += value[at] === '\\' ? 2 : 1
  return Math.min(at, value.length)
}

function commentEnd(value: string, from: number): number {
  let depth = 0
  for (let at = from; at < value.length; at++) {
    if (value[at] === '\\') at++
    else if (value[at] === '(') depth++
    else if (value[at] === ')' && --depth === 0) return at
  }
  return value.length
}

const ENCODED_WORD = /=\?([^?\s]{1,40})\?([bq])\?([^?\s]*)\?=/gi

/** RFC 2047; what cannot be decoded stays as it is. */
export function decodeWords(text: string): string {
  return text
    .replace(/(=\?[^?\s]{1,40}\?[bq]\?[^?\s]*\?=)\s+(?==\?)/gi, '$1')
    .replace(ENCODED_WORD, (word, charset: string, coding: string, body: string) => {
      const octets =
        coding.toLowerCase() === 'b'
          ? Buffer.from(body, 'base64')
          : Buffer.from(
              body
                .replace(/_/g, ' ')
                .replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
              'latin1',
            )
      return decodeCharset(octets, charset) ?? word
    })
}

/** Null: a charset that nobody knows. */
export function decodeCharset(octets: Buffer, charset: string): string | null {
  const label = charset.split('*')[0]!
  // TextDecoder throws for a charset it does not know: that one name then stays encoded.
  try {
    return new TextDecoder(label).decode(octets)
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}
