/** Messages whose lines end oddly, one for each way in which a part can hold such an end. */
import { ServedOctets } from '../../../src/engine/imap/view/served-octets.ts'

/** As a server gives back what it was given. */
export function served(message: Buffer): Buffer {
  const octets = new ServedOctets()
  return Buffer.concat([...octets.push(message), ...octets.end()])
}

const ODD = { 'CR CR LF': '\r\r\n', LF: '\n', 'CR CR CR LF': '\r\r\r\n' } as const

function head(type: string, encoding?: string): string {
  const transfer = encoding === undefined ? '' : `Content-Transfer-Encoding: ${encoding}\r\n`
  return `From: a@lab.test\r\nSubject: odd\r\nMIME-Version: 1.0\r\nContent-Type: ${type}\r\n${transfer}\r\n`
}

function multipart(second: string): string {
  return `${head('multipart/mixed; boundary=b')}--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\n${second}\r\n--b--\r\n`
}

/** @param lines of 70 octets or so that each has besides; base64 bodies are as long */
export function* oddMessages(lines: number): Generator<readonly [string, Buffer]> {
  const text = Array.from({ length: lines }, (_, i) => `line ${i} ${'x'.repeat(60)}\r\n`).join('')
  for (const [name, message] of cases(lines, text)) yield [name, Buffer.from(message, 'latin1')]
}

function* cases(lines: number, text: string): Generator<readonly [string, string]> {
  const base64 = (separator: string): string => {
    const octets = Buffer.from(Array.from({ length: lines * 52 }, (_, i) => (i * 31 + (i >> 8)) & 255))
    return octets.toString('base64').replace(/.{76}/g, `$&${separator}`)
  }
  for (const [name, odd] of Object.entries(ODD)) {
    const bodies = {
      early: `a${odd}${text}`,
      late: `${text}a${odd}${text.slice(0, 140)}`,
      'at the end': `${text}a${odd}`,
    }
    for (const [where, body] of Object.entries(bodies)) {
      yield [`text, ${name} ${where}`, `${head('text/plain')}${body}`]
      yield [`quoted-printable, ${name} ${where}`, `${head('text/plain', 'quoted-printable')}${body}`]
      yield [`attachment, ${name} ${where}`, `${head('application/octet-stream', '8bit')}${body}`]
      yield [`second part, ${name} ${where}`, multipart(`Content-Type: application/octet-stream\r\n\r\n${body}`)]
      const nested = `Content-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: application/x\r\n\r\n${body}`
      yield [`nested, ${name} ${where}`, multipart(nested)]
    }
    yield [`base64, ${name}`, `${head('application/octet-stream', 'base64')}${base64(odd)}${odd}`]
    const encoded = 'Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    yield [`base64 part, ${name}`, multipart(`${encoded}${base64(odd)}`)]
    yield [`header, ${name}`, `${head('application/x').replace('odd\r\n', `odd${odd}X: y\r\n`)}${text}`]
    const fields = `X-A: b${odd}Content-Type: application/octet-stream${odd}\r\n`
    yield [`header of a part, ${name}`, multipart(`${fields}${text}`)]
  }
  for (const [name, end] of Object.entries({ CR: '\r', 'CR CR': '\r\r' })) {
    yield [`text, ${name} at the very end`, `${head('text/plain')}${text}x${end}`]
    yield [`attachment, ${name} at the very end`, `${head('application/octet-stream')}${text}x${end}`]
    yield [`part, ${name} at its end`, multipart(`Content-Type: application/octet-stream\r\n\r\n${text}x${end}`)]
    yield [`base64, ${name} at the very end`, `${head('application/x', 'base64')}${base64('\r\n')}${end}`]
  }
}
