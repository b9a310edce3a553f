/** Messages of more parts, or header fields, than are sealed each for itself: the same octets, and no more than a few MiB. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_FIELDS, MAX_LEAVES } from '../../../src/engine/mime/limits.ts'
import { plainAnswer, RealMail } from '../imap/real-mail.ts'
import { KEY as IMAP_KEY } from '../imap/stage.ts'
import { plainOpen } from './plain-reader.ts'
import { KEY, open, randomPieces, seal, sealAnswer, sealerFor, through, whole } from './through.ts'

const HEAD = 'Message-ID: <many@parts.example>\nSubject: s\n'
const MULTIPART = `${HEAD}Content-Type: multipart/mixed; boundary=b\n\n`
const PART = '--b\n\n'

const sealedAt = (maxbufOctets: number, message: Buffer, chunks = whole as (bytes: Buffer) => Iterable<Buffer>) =>
  seal(message, { options: { settings: { banners: [], maxbufOctets } }, chunks })

/** @returns it sealed as one that is gathered, and as one that is not */
function sealedBothWays(message: Buffer): Buffer[] {
  const both = [sealedAt(message.length, message), sealedAt(1000, message)]
  for (const sealed of both) assert.ok(open(sealed).equals(message), 'opened')
  return both
}

const leavesOf = (sealed: Buffer) =>
  sealed.toString('latin1').split('Content-Type: application/vnd.ves.encrypted').length - 1

test('a megabyte of empty parts', () => {
  const message = Buffer.from(MULTIPART + PART.repeat(200_000))
  const both = sealedBothWays(message)
  assert.ok(sealedAt(1000, message, randomPieces('many')).equals(both[1]!), 'in pieces')
  assert.ok(open(both[1]!, KEY, randomPieces('open')).equals(message), 'opened in pieces')
  for (const sealed of both) {
    assert.equal(leavesOf(sealed), MAX_LEAVES)
    assert.ok(sealed.length < 6e6, `${sealed.length} octets`)
  }
})

test('a megabyte of empty fields', () => {
  const message = Buffer.from(MULTIPART + `--b\n${'a:\n'.repeat(MAX_FIELDS / 2)}\n`.repeat(8))
  for (const sealed of sealedBothWays(message)) {
    assert.equal(leavesOf(sealed), 3)
    assert.ok(sealed.length < 14e6, `${sealed.length} octets`)
  }
})

test('the last part that is one for itself', () => {
  for (const [parts, leaves] of [
    [MAX_LEAVES - 1, MAX_LEAVES - 1],
    [MAX_LEAVES, MAX_LEAVES],
    [MAX_LEAVES + 1, MAX_LEAVES],
  ] as const) {
    const message = Buffer.from(`${MULTIPART}${PART.repeat(parts)}--b--\nepilogue`)
    for (const sealed of sealedBothWays(message)) assert.equal(leavesOf(sealed), leaves)
  }
})

/** What may stand where the limit is reached. */
const LAST: Readonly<Record<string, string>> = {
  base64: `--b\nContent-Transfer-Encoding: base64\n\n${`${'QUJD'.repeat(19)}\n`.repeat(50)}${PART}`,
  'quoted-printable': `--b\nContent-Transfer-Encoding: quoted-printable\n\n${'caf=C3=A9 \n'.repeat(50)}${PART}`,
  'no blank line': `--b\nSubject: x\n${PART}`,
  'a multipart': `--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\n\nx\n--c--\n--b--\n`,
  'a message': `--b\nContent-Type: message/rfc822\n\nSubject: inner\n\ntext\n--b--\n`,
  'a message in a message, closed behind it': `--b\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--c--\n--b--\n`,
  nothing: '--b\n\n',
}

test('whatever takes the rest', () => {
  for (const [i, [name, last]] of Object.entries(LAST).entries()) {
    const message = Buffer.from(MULTIPART + PART.repeat(MAX_LEAVES - 1) + last)
    const sealed = sealedAt(i % 2 === 0 ? message.length : 1000, message)
    assert.equal(leavesOf(sealed), MAX_LEAVES, name)
    assert.ok(open(sealed).equals(message), name)
    // Another reader finds all of the parts, too.
    if (i % 3 !== 0) continue
    const plain = plainOpen(sealed, KEY.keyString).toString('latin1')
    assert.ok(plain.split('\n--b').length >= message.toString('latin1').split('\n--b').length, name)
  }
})

test('sizes and structure are those of the opened message, though few parts of it were sealed', () => {
  // Fields that stay in plain, so that there are few octets of headers for so many.
  const part = `--b\r\nContent-Type: application/zip\r\n${'Content-Disposition: a\r\n'.repeat(MAX_FIELDS / 25)}\r\nx\r\n`
  const rest = '--b\r\nContent-Type: image/png\r\n\r\nx\r\n'.repeat(3)
  const message = Buffer.from(`${MULTIPART.replaceAll('\n', '\r\n')}${part.repeat(25)}${rest}--b--\r\n`)
  const settings = { banners: [], maxbufOctets: 1000 }
  const sealer = sealerFor({ options: { settings } })
  const sealed = through(sealer, whole(message), sealAnswer({ key: IMAP_KEY }))
  assert.equal(leavesOf(sealed), 26)
  const items = '(RFC822.SIZE BODYSTRUCTURE)'
  const mail = new RealMail([sealed], { settings: { sizes: 'exact', maxbufOctets: 1 << 25 } })
  assert.equal(mail.ask(`FETCH 1 ${items}`), plainAnswer(message, items))
})
