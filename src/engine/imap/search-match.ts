/**
 * Search keys on what is sealed, judged on an opened message (RFC 9051 §6.4.4): case does not count, encoded words and
 * transfer codings are undone, text is searched in the parts that are text.
 */

import { decodeCharset, decodeWords } from '../mime/addresses.ts'
import { decodeBase64Text } from '../mime/transfer/base64-layout.ts'
import { decodeQuotedPrintableText } from '../mime/transfer/quoted-printable-text.ts'
import { fastPath } from '../seal/native.ts'
import type { ContentKey } from './search.ts'
import type { PartView } from './view/message-view.ts'

/** What is at hand of an opened message. */
export interface Searched {
  readonly root: PartView
  /** RFC822.SIZE; null = not known. */
  readonly octets: number | null
  /** All of it, as `root` has its offsets; null = not at hand. */
  readonly content: Buffer | null
}

/** @param charset of the strings sought. @returns null where what is at hand does not tell */
export function holds({ asks }: ContentKey, message: Searched, charset: string | null): boolean | null {
  if (asks === null) return null
  switch (asks.what) {
    case 'larger':
      return message.octets === null ? null : message.octets > asks.octets
    case 'smaller':
      return message.octets === null ? null : message.octets < asks.octets
    case 'header':
      return inHeader(message.root, asks.field, sought(asks.value, charset))
    case 'body':
      return inBody(message, sought(asks.value, charset))
    case 'text': {
      const text = sought(asks.value, charset)
      return inHeader(message.root, null, text) || inBody(message, text)
    }
  }
}

function sought(value: Buffer, charset: string | null): string {
  return folded(decodeCharset(value, charset ?? 'utf-8') ?? value.toString('utf8'))
}

/** One form for what reads alike (RFC 5051). */
function folded(text: string): string {
  return text.normalize('NFKD').toLowerCase()
}

/** @param field null: in any, its name included */
function inHeader(part: PartView, field: string | null, text: string): boolean {
  return part.fields.some(({ key, name, value }) => {
    if (field !== null && key !== field) return false
    // Raw 8-bit octets are UTF-8 or they are nothing that can be sought.
    const raw = Buffer.from(value.replace(/\n(?=[ \t])/g, ''), 'latin1').toString('utf8')
    const plain = folded(decodeWords(raw))
    return (field === null ? `${name.toLowerCase()}: ${plain}` : plain).includes(text)
  })
}

function inBody(message: Searched, text: string): boolean | null {
  const { content } = message
  if (content === null) return text === '' ? true : null
  return inPart(message.root, content, text)
}

function inPart(part: PartView, content: Buffer, text: string): boolean {
  if (part.kind === 'leaf') return isText(part) && folded(textOf(part, content)).includes(text)
  return part.children.some((child) => inHeader(child, null, text) || inPart(child, content, text))
}

function isText({ content: { type } }: PartView): boolean {
  return type === null || /^(text|message)$/i.test(type.type)
}

function textOf(part: PartView, content: Buffer): string {
  const from = part.start + part.header.octets
  const octets = content.subarray(from, from + part.body.octets)
  const { encoding, type } = part.content
  const { codecs } = fastPath()
  const coding = encoding?.trim().toLowerCase()
  const plain =
    coding === 'base64'
      ? decodeBase64Text(codecs, octets)
      : coding === 'quoted-printable'
        ? decodeQuotedPrintableText(codecs, octets)
        : octets
  const charset = type?.parameters.find(({ name }) => name.toLowerCase() === 'charset')?.value ?? 'utf-8'
  return decodeCharset(plain, charset) ?? plain.toString('utf8')
}
