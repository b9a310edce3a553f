/** Messages beyond the buffer limit: exact, whether the layout holds or not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { open, seal } from './through.ts'

const HEAD = 'Subject: s\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: '

function isExact(message: string): boolean {
  const bytes = Buffer.from(message, 'latin1')
  return open(seal(bytes, { options: { settings: { maxbufOctets: 4000 } } })).equals(bytes)
}

const octets = Buffer.from(Array.from({ length: 20_000 }, (_, i) => (i * i) % 251))
function lines(width: number, eol: string, source = octets): string {
  const text = source.toString('base64')
  const rows: string[] = []
  for (let at = 0; at < text.length; at += width) rows.push(text.slice(at, at + width))
  return rows.join(eol)
}

test('long base64: any width, line end, and number of line ends at the end', () => {
  for (const [width, eol] of [
    [76, '\r\n'],
    [76, '\n'],
    [60, '\r\n'],
    [72, '\n'],
    [64, ' \r\n'],
    [1000, '\r\n'],
    [100_000, '\r\n'],
  ] as const) {
    for (const ends of [0, 1, 2, 5]) {
      for (const source of [octets, octets.subarray(1), octets.subarray(2)]) {
        const text = lines(width, eol, source) + (width > octets.length ? '\r\n' : eol).repeat(ends)
        const multipart = `Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n${HEAD}base64\r\n\r\n${text}\r\n--b--`
        for (const message of [`${HEAD}base64\r\n\r\n${text}`, multipart]) {
          assert.ok(isExact(message), `${width} ${JSON.stringify(eol)} ${ends}`)
        }
      }
    }
  }
})

test('long base64 that does not go on as it began', () => {
  const text = lines(76, '\r\n')
  for (const odd of [
    `${text.slice(0, 10_000)}\r\n${text.slice(10_000)}`,
    `${text.slice(0, 10_000)}!${text.slice(10_001)}`,
    `${text}\r\n-- \r\nfooter`,
    `${text}\r\n \r\n`,
    text.replace(/=*$/, ''),
    `${text.replace(/=*$/, '')}\r\n`,
    `${text}====`,
    `${text}\r\n${text}\r\n${lines(60, '\n')}\n`,
    `${lines(76, '\r\n', octets.subarray(1))}\r\n${lines(76, '\r\n', octets.subarray(2))}`,
    `${text}${'\r\n'.repeat(65)}`,
    `${text.slice(0, 9000)}${' \t\r\n'.repeat(40_000)}${text.slice(9000)}`,
    'no base64 at all. '.repeat(2000),
    '\t'.repeat(10_000),
    `!${text}`,
  ]) {
    assert.ok(isExact(`${HEAD}base64\r\n\r\n${odd}`), odd.slice(-40))
  }
})

test('long quoted-printable, canonical or not', () => {
  const canonical = 'caf=C3=A9 and more of it, in lines that nobody has to break anywhere\r\n'.repeat(200)
  const foreign = canonical.replaceAll('C3', 'c3')
  for (const text of [
    canonical,
    foreign,
    canonical + foreign,
    canonical.replaceAll('more', 'm=\nore=20'),
    `${canonical}=\r\n=`,
    `${canonical}= \t\r`,
    `x${'=\r\n'.repeat(60_000)}=C3=\n=\nx y`,
    `x${'=\r\n'.repeat(60_000)}`,
    `= ${' '.repeat(80)}\r\n`.repeat(2000),
    `${canonical}x`,
    canonical.trimEnd(),
    canonical.replaceAll('\r\n', ' \n'),
  ]) {
    const message = `${HEAD}quoted-printable\r\n\r\n${text}`
    assert.ok(isExact(message), text.slice(-40))
  }
})

test('any long text without an encoding is exact', () => {
  const text = octets.toString('latin1').repeat(10)
  assert.ok(isExact(`Subject: s\n\n${text}`))
})
