/** Multiparts whose parts never come: what they hold is sealed, not passed as a preamble. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_PREAMBLE_OCTETS } from '../../../src/engine/mime/limits.ts'
import { plainAnswer, RealMail } from '../imap/real-mail.ts'
import { KEY as IMAP_KEY } from '../imap/stage.ts'
import { plainOpen } from './plain-reader.ts'
import { KEY, open, piecesOf, randomPieces, seal } from './through.ts'

const HEAD = 'Message-ID: <none@b.example>\r\nSubject: s\r\n'
const multipart = (boundary: string) => `Content-Type: multipart/mixed; boundary=${boundary}\r\n\r\n`
const SECRET = 'a secret of many words\r\n'
const long = (octets: number) => SECRET.repeat(Math.ceil(octets / SECRET.length))
const exactly = (octets: number) => `${'x'.repeat(octets - 2)}\r\n`

const SEALED: Readonly<Record<string, string>> = {
  'another delimiter than announced': `${HEAD}${multipart('b')}--c\r\n\r\n${SECRET}--c--\r\n`,
  'closed at once': `${HEAD}${multipart('b')}--b--\r\n${SECRET}`,
  'closed behind a preamble': `${HEAD}${multipart('b')}${SECRET}--b--`,
  'no delimiter': `${HEAD}${multipart('b')}${SECRET}`,
  'no line end': `${HEAD}${multipart('b')}${SECRET.trim()}`,
  'a delimiter far behind': `${HEAD}${multipart('b')}${long(MAX_PREAMBLE_OCTETS)}--b\r\n\r\nx\r\n--b--\r\n`,
  'its delimiter just too late': `${HEAD}${multipart('b')}${SECRET}${exactly(MAX_PREAMBLE_OCTETS - SECRET.length)}--b\r\n\r\n`,
  'in another multipart': `${HEAD}${multipart('b')}--b\r\n${multipart('c')}${SECRET}--b\r\n\r\nx\r\n--c\r\n--b--\r\n`,
  'in a message': `${HEAD}Content-Type: message/rfc822\r\n\r\n${HEAD}${multipart('c')}${SECRET}`,
  'bare line ends': `${HEAD}${multipart('b')}--c\r\n\r\n${SECRET}--c--\r\n`.replaceAll('\r\n', '\n'),
  'a line inside of which the delimiter stands': `${HEAD}${multipart('b')}${SECRET} --b\r\n${SECRET}`,
}
const IN_PLAIN: Readonly<Record<string, string>> = {
  'a preamble': `${HEAD}${multipart('b')}${SECRET}--b\r\n\r\nx\r\n--b--\r\n`,
  'the longest preamble': `${HEAD}${multipart('b')}${SECRET}${exactly(MAX_PREAMBLE_OCTETS - 1 - SECRET.length)}--b\r\n\r\n`,
  'a delimiter at the end': `${HEAD}${multipart('b')}${SECRET}--b`,
}

const sealedAt = (message: Buffer, maxbufOctets: number, chunks = (bytes: Buffer): Iterable<Buffer> => [bytes]) =>
  seal(message, { options: { settings: { banners: [], maxbufOctets } }, chunks })

for (const [isSealed, cases] of [
  [true, SEALED],
  [false, IN_PLAIN],
] as const) {
  for (const [name, text] of Object.entries(cases)) {
    test(`${name}: ${isSealed ? 'sealed' : 'a preamble stays in plain'}`, () => {
      const message = Buffer.from(text, 'latin1')
      for (const maxbufOctets of [10, 100, 1 << 20]) {
        const sealed = sealedAt(message, maxbufOctets)
        assert.equal(sealed.includes(SECRET.trim()), !isSealed)
        assert.equal(open(sealed).toString('latin1'), text)
        for (const chunks of [piecesOf(1), piecesOf(7), piecesOf(1000), randomPieces(name)]) {
          assert.ok(sealedAt(message, maxbufOctets, chunks).equals(sealed), 'in pieces')
        }
        assert.ok(plainOpen(sealed, KEY.keyString).includes(SECRET.trim()), 'by another reader')
      }
    })
  }
}

test('an IMAP server would tell its structure and sizes as ours are told', () => {
  const attached = `--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n${'QUJD'.repeat(10_000)}\r\n`
  const message = Buffer.from(`${HEAD}${multipart('b')}${attached}--b\r\n${multipart('c')}${SECRET}\r\n--b--\r\n`)
  for (const maxbufOctets of [1000, 1 << 20]) {
    const settings = { banners: [], maxbufOctets }
    const sealed = seal(message, { options: { settings }, answer: { key: IMAP_KEY } })
    for (const items of ['(RFC822.SIZE BODYSTRUCTURE)', '(BODY)', '(BODY.PEEK[2])', '(BODY.PEEK[])']) {
      const mail = new RealMail([sealed], { settings: { sizes: 'exact' } })
      assert.equal(mail.ask(`FETCH 1 ${items}`), plainAnswer(message, items))
    }
  }
})
