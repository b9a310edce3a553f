/** What a reader sees of a message: headers and decoded bodies. For comparing what a §5 reader gives with the original. */
import { nameOf, type Part, readPart } from './plain-reader.ts'

export interface Content {
  readonly headers: readonly string[]
  readonly body: string
  readonly preamble: string
  readonly children: readonly Content[]
  readonly message: Content | null
}

/** @param lost names of headers that the format itself lets the C gateway lose, and what it adds */
export function contentOf(message: Buffer): Content {
  return content(readPart(message.toString('latin1')))
}

function content(part: Part): Content {
  const encoding = part.headers
    .findLast((h) => nameOf(h) === 'content-transfer-encoding')
    ?.split(':')[1]
    ?.trim()
    .toLowerCase()
  return {
    headers: part.headers.flatMap((header) => comparable(header, part.children.length > 0)),
    body: decode(part.body, encoding ?? ''),
    preamble: part.preamble,
    children: part.children.map((child) => content(child.part)),
    message: part.message === null ? null : content(part.message),
  }
}

function comparable(header: string, composite: boolean): string[] {
  switch (nameOf(header)) {
    case 'x-vesmail-exact':
      return []
    // A multipart's is not true (RFC 2045 §6.4), and a §5 reader would encode by it. Identity encodings and dispositions without parameters move into the injected part, and go with its headers.
    case 'content-transfer-encoding':
      return composite || /:\s*(7bit|8bit|binary)\s*$/i.test(header) ? [] : [header]
    case 'content-disposition':
      return header.includes(';') ? [header] : []
    // One without a usable id is replaced by a made one; of others the spelling goes.
    case 'message-id':
      return []
    case 'references':
      return [[...header.matchAll(/<[^<>\s]+>/g)].join(' ').replaceAll(/(<[^<>\s]+)> \1\.m\.ves\.world>/g, '$1>')]
    default:
      // A line of white space is not sealed where it stands: it says nothing, and a server that trims it ends the header.
      return [
        header.replace(/\n(?:[ \t]+\r?\n)+(?=[ \t])|\r?\n[ \t]+$/g, (lines) => (lines.endsWith('\n') ? '\n' : '')),
      ]
  }
}

function decode(body: string, encoding: string): string {
  if (encoding === 'base64') return decodeBase64(body)
  if (encoding !== 'quoted-printable') return body
  return body
    .replace(/=[ \t]*(\r?\n|$)/g, '')
    .replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** Padding ends a group, so that concatenated encodings decode in full; other octets count for nothing. */
function decodeBase64(body: string): string {
  return body
    .replace(/[^A-Za-z0-9+/=]/g, '')
    .split(/=+/)
    .map((group) => Buffer.from(group, 'base64').toString('latin1'))
    .join('')
}
