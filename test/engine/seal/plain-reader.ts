/**
 * A straightforward reader of sealed mail by message-format.md §5 and nothing else, the way the C gateway reads: whole
 * strings, recursion, no knowledge of exactness, none of the product's code. What it gives, an existing installation
 * shows to its user.
 */
import { createDecipheriv, createHash } from 'node:crypto'

/** A part taken apart; text is latin1, one character an octet. */
export interface Part {
  /** Without their last line end. */
  readonly headers: string[]
  readonly eols: string[]
  readonly blank: string
  /** Of a leaf. */
  readonly body: string
  readonly boundary: string | null
  readonly preamble: string
  readonly children: { readonly delimiter: string; readonly part: Part }[]
  /** Closing delimiter and epilogue. */
  readonly rest: string
  readonly message: Part | null
}

export function readPart(text: string): Part {
  const headers: string[] = []
  const eols: string[] = []
  let at = 0
  let blank = ''
  while (at < text.length) {
    const lf = text.indexOf('\n', at)
    const end = lf < 0 ? text.length : lf + 1
    const line = text.slice(at, end)
    const eol = /\r?\n$/.exec(line)?.[0] ?? ''
    if (/^[ \t]/.test(line) && headers.length > 0) {
      headers[headers.length - 1] += eols[eols.length - 1]! + line.slice(0, line.length - eol.length)
      eols[eols.length - 1] = eol
    } else if (/^[ \t-\r]*$/.test(line)) {
      blank = line
      at = end
      break
    } else if (!line.includes(':')) break
    else {
      headers.push(line.slice(0, line.length - eol.length))
      eols.push(eol)
    }
    at = end
  }
  const part = { headers, eols, blank, body: '', boundary: null, preamble: '', children: [], rest: '', message: null }
  const body = text.slice(at)
  const type = headerOf(headers, 'content-type') ?? ''
  const boundary = boundaryOf(type)
  // RFC 2045 §6.4 allows no encoding here; where there is one all the same, and it is true, the body is one piece.
  const encoding = headerOf(headers, 'content-transfer-encoding') ?? ''
  const apart = boundary === null ? /^[A-Za-z-]+:/.test(body) : body.includes(`--${boundary}`)
  if (/^\s*(base64|quoted-printable)\s*$/i.test(encoding) && !apart) return { ...part, body }
  if (/^\s*multipart\//i.test(type) && boundary !== null) return readMultipart({ ...part, boundary }, body, boundary)
  if (/^\s*message\/rfc822\s*(;|$)/i.test(type)) return { ...part, message: readPart(body) }
  return { ...part, body }
}

function readMultipart(part: Part, body: string, boundary: string): Part {
  const delimiters = findDelimiters(body, boundary)
  if (delimiters.length === 0) return { ...part, preamble: body }
  const children: Part['children'][number][] = []
  let rest = ''
  for (const [i, found] of delimiters.entries()) {
    if (found.close) {
      rest = body.slice(found.from)
      break
    }
    const to = delimiters[i + 1]?.from ?? body.length
    children.push({ delimiter: body.slice(found.from, found.to), part: readPart(body.slice(found.to, to)) })
  }
  return { ...part, preamble: body.slice(0, delimiters[0]!.from), children, rest }
}

function findDelimiters(body: string, boundary: string): { from: number; to: number; close: boolean }[] {
  const found: { from: number; to: number; close: boolean }[] = []
  const mark = `--${boundary}`
  for (let at = body.indexOf(mark); at >= 0; at = body.indexOf(mark, at + 1)) {
    if (at > 0 && body[at - 1] !== '\n') continue
    const close = body.startsWith('--', at + mark.length)
    const from = body.slice(0, at).endsWith('\r\n') ? at - 2 : Math.max(0, at - 1)
    const lf = body.indexOf('\n', at)
    const last = found.at(-1)
    // An end of line belongs to one delimiter only.
    found.push({ from: last !== undefined && from < last.to ? at : from, to: lf < 0 ? body.length : lf + 1, close })
    if (close) break
  }
  return found
}

export function headerOf(headers: readonly string[], name: string): string | null {
  const header = headers.find((h) => nameOf(h) === name)
  return header === undefined ? null : header.slice(header.indexOf(':') + 1).replace(/\r?\n/g, '')
}

/** Of a name with white space before the colon, the first word. */
export function nameOf(header: string): string {
  return /^[^:\s]*/.exec(header)![0].toLowerCase()
}

function boundaryOf(type: string): string | null {
  const raw = /;\s*boundary\s*=\s*("[^"]*"|'[^']*'|[^;]*)/i.exec(type)?.[1]
  if (raw === undefined) return null
  const boundary = /^["']/.test(raw) ? raw.slice(1, -1) : raw.replace(/\s+/g, '')
  return boundary === '' ? null : boundary
}

// ── opening ──

type Encapsulation = 'root' | 'multi' | 'alt' | 'inj' | 'deep' | 'msg'

export function plainOpen(sealed: Buffer, keyString: Buffer): Buffer {
  return Buffer.from(openPart(readPart(sealed.toString('latin1')), 'root', null, keyString), 'latin1')
}

/** @param outerEncoding of a part in the injected container: its headers are outside */
function openPart(part: Part, encapsulation: Encapsulation, outerEncoding: string | null, key: Buffer): string {
  const mark = (headerOf(part.headers, 'x-vesmail-part') ?? '').trim()
  const plain = new Set(part.headers.map(nameOf))
  const opened: { readonly text: string; readonly eol: string; readonly sealed: boolean }[] = []
  for (const [i, text] of part.headers.entries()) {
    const eol = part.eols[i]!
    if (nameOf(text) !== 'x-vesmail-header') opened.push({ text, eol, sealed: false })
    else {
      const value = text.slice(text.indexOf(':') + 1).replace(/\s+/g, '')
      opened.push({ text: openStream(Buffer.from(value, 'base64'), key).toString('latin1'), eol, sealed: true })
    }
  }
  const sealedNames = new Set(opened.filter((o) => o.sealed).map((o) => nameOf(o.text)))
  const type = (headerOf(part.headers, 'content-type') ?? '').split(';')[0]!.trim().toLowerCase()
  const isLeaf = /^application\/(vnd\.|x-)?ves-?\.?encrypted$/.test(type)
  const header = opened
    .filter(({ text, sealed }) => {
      const name = nameOf(text)
      if (/^x-vesmail-(part|xchg|id|verify)$/.test(name) && !sealed) return false
      if (sealed) return true
      if ((name === 'subject' || name === 'content-disposition') && sealedNames.has(name)) return false
      if (name === 'content-type') return !(isLeaf || mark === 'injected')
      return !(name === 'content-transfer-encoding' && isLeaf)
    })
    .map(({ text, eol, sealed }) => openIds(text, sealed || encapsulation !== 'root') + eol)
    .join('')
  const head = outerEncoding === null ? header + part.blank : ''
  const sealedEncoding = opened.find((o) => o.sealed && nameOf(o.text) === 'content-transfer-encoding')
  const encoding =
    outerEncoding ?? (sealedEncoding === undefined ? '' : sealedEncoding.text.split(':')[1]!.trim().toLowerCase())
  if (isLeaf) return head + encode(openStream(Buffer.from(part.body, 'base64'), key), encoding)
  if (part.message !== null) return head + openPart(part.message, 'msg', null, key)
  if (part.boundary === null) return head + part.body
  const shallow = encapsulation === 'root' || encapsulation === 'multi'
  const alternative = plain.has('x-vesmail-part') && mark === 'alternative'
  const inside = !shallow ? 'deep' : mark === 'injected' ? 'inj' : alternative ? 'alt' : 'multi'
  const children = part.children.filter(({ part: child }) => {
    const isBanner = (headerOf(child.headers, 'x-vesmail-part') ?? '').trim() === 'banner'
    return !(isBanner && (inside === 'inj' || inside === 'alt'))
  })
  if (mark === 'injected') return head + openPart(children[0]!.part, 'inj', encoding, key)
  return (
    head +
    part.preamble +
    children.map(({ delimiter, part: child }) => delimiter + openPart(child, inside, null, key)).join('') +
    part.rest
  )
}

function openIds(text: string, untouched: boolean): string {
  if (untouched) return text
  if (nameOf(text) === 'message-id') return text.replace(/<(.*)\.m\.ves\.world>/, '<$1>')
  if (nameOf(text) === 'references') return text.replace(/<([^<>\s]+)>\s+<\1\.m\.ves\.world>/g, '<$1>')
  return text
}

function encode(octets: Buffer, encoding: string): string {
  if (encoding === 'base64') return octets.toString('base64').replace(/.{1,76}/g, '$&\r\n')
  if (encoding !== 'quoted-printable') return octets.toString('latin1')
  const quote = (c: string) => `=${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
  return octets
    .toString('latin1')
    .replace(/[^\x20-\x7e\r\n\t]|=/g, quote)
    .replace(/\r(?!\n)/g, quote)
    .replace(/[ \t](?=\r?\n|$)/g, quote)
    .replace(/[^\r\n]{73}(?=[^\r\n]{3})/g, (line) => {
      const cut = /=[0-9A-F]?$/.exec(line)?.index ?? line.length
      return `${line.slice(0, cut)}=\r\n${line.slice(cut)}`
    })
}

/** AES256GCM1K (message-format.md §2). */
export function openStream(sealed: Buffer, keyString: Buffer): Buffer {
  const key = keyString.subarray(0, 32)
  const seed = keyString.subarray(-12)
  let feedback = sealed.subarray(0, 16)
  const out: Buffer[] = []
  for (let at = 16; ; at += 1040) {
    const chunk = sealed.subarray(at, at + 1040)
    const iv = createHash('sha256').update(seed).update(feedback).digest().subarray(0, 12)
    const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: 16 })
    feedback = chunk.subarray(chunk.length - 16)
    decipher.setAuthTag(feedback)
    out.push(decipher.update(chunk.subarray(0, chunk.length - 16)), decipher.final())
    if (chunk.length < 1040) return Buffer.concat(out)
  }
}
