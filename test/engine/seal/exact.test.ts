/** Every message comes back octet for octet, and a §5 reader sees the same content (message-format.md §6). */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { contentOf } from './content.ts'
import { diceOf, generateMessage, mutate } from './generate.ts'
import { plainOpen } from './plain-reader.ts'
import { KEY, open, piecesOf, randomPieces, seal } from './through.ts'
import { VECTOR_MESSAGES } from './vectors.ts'

const FIXTURES = new URL('fixtures/', import.meta.url)
/** Of the specification material, where it lies beside the project. */
const CORPUS = new URL('../../../../shared/corpus/', import.meta.url)
const REGRESSIONS = new URL('regressions/', import.meta.url)

const filesIn = (folder: URL): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'README.md')
    .map((entry) => `${entry.parentPath}/${entry.name}`)

const withLineEnds = (message: Buffer, eol: string) =>
  Buffer.from(message.toString('latin1').replace(/\r?\n/g, eol), 'latin1')

const asIsAndConverted = (message: Buffer) => [message, withLineEnds(message, '\r\n'), withLineEnds(message, '\n')]

/** Sealed and opened in one piece and in pieces, the result always the same. */
function assertExact(message: Buffer, name: string, pieces: readonly number[] = []): void {
  const sealed = seal(message)
  assert.ok(open(sealed).equals(message), `${name}: differs`)
  for (const octets of pieces) {
    const chunks = octets === 0 ? randomPieces(name) : piecesOf(octets)
    assert.ok(seal(message, { chunks }).equals(sealed), `${name}: sealed differs in pieces of ${octets}`)
    assert.ok(open(sealed, KEY, chunks).equals(message), `${name}: opened differs in pieces of ${octets}`)
  }
}

/** 0 = random. */
const PIECES = [1, 2, 3, 7, 64, 1000, 4096, 0]

test('the vectors, as they are and with line ends converted, in pieces of every size', () => {
  for (const { name, plain } of VECTOR_MESSAGES) {
    for (const message of asIsAndConverted(plain)) assertExact(message, name, PIECES)
  }
})

test('one vector, at every split', () => {
  const { plain } = VECTOR_MESSAGES.find(({ name }) => name === '08-mixed-alt-nested')!
  const sealed = seal(plain)
  const at = (octets: number) => (bytes: Buffer) => [bytes.subarray(0, octets), bytes.subarray(octets)]
  for (let octets = 1; octets < plain.length; octets++) {
    assert.ok(seal(plain, { chunks: at(octets) }).equals(sealed), `sealed differs at ${octets}`)
  }
  for (let octets = 1; octets < sealed.length; octets++) {
    assert.ok(open(sealed, KEY, at(octets)).equals(plain), `opened differs at ${octets}`)
  }
})

test('real messages', () => {
  for (const file of filesIn(FIXTURES)) {
    for (const message of asIsAndConverted(readFileSync(file))) assertExact(message, file, [7, 0])
  }
})

test('real messages, read by §5 alone', () => {
  for (const file of filesIn(FIXTURES)) {
    for (const message of asIsAndConverted(readFileSync(file))) {
      assert.deepEqual(contentOf(plainOpen(seal(message), KEY.keyString)), contentOf(message), file)
    }
  }
})

test('the whole corpus, where it is there', { skip: !existsSync(CORPUS) && 'no ../shared/corpus' }, () => {
  const files = filesIn(CORPUS)
  assert.ok(files.length > 800)
  for (const file of files) {
    const original = readFileSync(file)
    for (const message of asIsAndConverted(original)) assertExact(message, file, [0])
    assert.deepEqual(contentOf(plainOpen(seal(original), KEY.keyString)), contentOf(original), file)
  }
})

test('what fuzzing found once', () => {
  for (const file of filesIn(REGRESSIONS)) assertExact(readFileSync(file), file, PIECES)
})

test('messages grown and made worse', () => {
  for (let seed = 1; seed <= 3000; seed++) {
    const dice = diceOf(seed)
    const message = generateMessage(dice)
    assertExact(dice.oneIn(3) ? mutate(message, dice) : message, `seed ${seed}`, dice.oneIn(4) ? [0] : [])
  }
})

const MULTIPART = 'Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n'

const CASES: Readonly<Record<string, string>> = {
  empty: '',
  'one octet': 'x',
  'a blank line': '\r\n',
  'an LF': '\n',
  'a CR': '\r',
  'headers and the end': 'Subject: x',
  'a header that ends with CR': 'From: x\nDate: y\r',
  'no header': '\r\nbody',
  'a blank line of white space': ' \t\r\nbody',
  'Message-ID with other spelling': 'Message-Id:<a@b> (c)\r\n\r\nx',
  'Message-ID without an id': 'Message-ID: nothing\r\nMessage-ID: <>\r\n\r\nx',
  'two Message-IDs': 'Message-ID: <a@b>\r\nMessage-ID: <c@d>\r\n\r\nx',
  'two subjects': 'Subject: a\r\nSubject: b\r\n\r\nx',
  'References with pairs':
    'References: <a@b>\r\n <a@b.m.ves.world> <c@d>\r\nReferences: <e@f>  <e@f.m.ves.world>\r\n\r\nx',
  'dispositions with and without parameters': 'Content-Disposition: inline\r\nContent-Disposition: x; y=z\r\n\r\nx',
  'a disposition that moves': 'From: a@b\r\nContent-Disposition: inline\r\nTo: c@d\r\n\r\nx',
  'an encoding that moves': 'Content-Transfer-Encoding: 8bit\nContent-Type: message/rfc822\n\nSubject: x\n\ny',
  'line ends mixed': 'A: 1\nB: 2\r\nC: 3\r\r\nSubject: 4\n\r\nbody\r\n\n\r',
  'NUL and 8 bits': 'From: \0\xff\r\nSubject: \0\r\n\r\n\0\xff\r\n',
  'an mbox line': 'From a@b Mon Nov 23 16:00:00 2026\nSubject: x\n\ny\n',
  'a base64 of 60 columns, LF': `Content-Transfer-Encoding: base64\n\n${'QUJD'.repeat(15)}\nQUI=\n\n`,
  'a base64 with words in it': 'Content-Transfer-Encoding: base64\r\n\r\nQUJD\r\n-- \r\nsent from a list\r\nQQ==',
  'a base64 of several': 'Content-Transfer-Encoding: base64\r\n\r\nQQ==\r\nQUI=\r\nQUJD\r\n',
  'a base64 with bits to spare': 'Content-Transfer-Encoding: base64\r\n\r\nQR==',
  'no base64 at all': 'Content-Transfer-Encoding: base64\r\n\r\nHello, world!\r\n',
  'quoted-printable, not canonical': 'Content-Transfer-Encoding: quoted-printable\n\n=e9 =\nx=3d=\r\n =20 \t\n=zz=',
  'an unterminated multipart': `${MULTIPART}--b\r\n\r\none\r\n--b\r\n\r\ntwo`,
  'a multipart without delimiters': `${MULTIPART}--c\r\nx`,
  'empty parts': `${MULTIPART}--b\r\n\r\n--b\r\nX: 1\r\n--b\r\n--b\r\n\r\n\r\n--b--`,
  'an open delimiter at the end': `${MULTIPART}--b\r\n\r\nx\r\n--b`,
  'the same in a message': 'Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b',
  'an empty message in a message': 'Content-Type: message/rfc822\r\n\r\n',
  'an alternative with empty ends': 'Content-Type: multipart/alternative; boundary=b\n\n--b\n\n--b--',
  'an alternative with LF': 'Content-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--b\n\ny\n--b--\nz',
  'boundaries with quotes, prefixes, dashes': `Content-Type: multipart/mixed; boundary="-"\r\n\r\n---\r\n${MULTIPART}--b--\r\n-----`,
  'quotes of the C gateway':
    "Content-Type: multipart/mixed; boundary='b'\r\n\r\n--'b'\r\n\r\nx\r\n--b\r\n\r\ny\r\n--'b'--",
  'a boundary like the injected one’s beginning':
    'Content-Type: multipart/mixed; boundary="--VESmail-injected-"\r\n\r\n----VESmail-injected-\r\n\r\nx\r\n',
  'a multipart without boundary': 'Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx',
  'an encoded multipart': `Content-Transfer-Encoding: base64\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nLS1iDQoNCng=`,
  'a multipart that only claims to be encoded': `Content-Transfer-Encoding: quoted-printable\r\n${MULTIPART}--b\r\nX: charset=utf-8\r\n\r\nx\r\n--b--`,
  'an encoded message': 'Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA0KDQp5',
  'headers named like ours': 'X-VESmail-Header: AAAA\r\nX-VESmail-Part: banner\r\nX-VESmail-Exact: 1 00; a\r\n\r\nx',
}

for (const [name, message] of Object.entries(CASES)) {
  test(`exact: ${name}`, () => assertExact(Buffer.from(message, 'latin1'), name, PIECES))
}

test('what is encrypted already gets one layer more, and loses one', () => {
  for (const { name, encrypted } of VECTOR_MESSAGES) assertExact(encrypted, name, [0])
  let message = VECTOR_MESSAGES.find(({ name }) => name === '06-mixed-attach-76')!.plain
  const layers = [message]
  for (let i = 0; i < 3; i++) {
    message = seal(message)
    layers.push(message)
  }
  for (const layer of layers.reverse().slice(1)) {
    message = open(message)
    assert.deepEqual(message, layer)
  }
})
