/** Messages too long to wait for their end: what is at it comes back, and what was taken off it is missed. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { AnnouncedEnd, endOctets, printEnd } from '../../../src/engine/seal/end-record.ts'
import type { SealedSizes } from '../../../src/engine/seal/exactness.ts'
import type { MessageKey } from '../../../src/engine/seal/message-key.ts'
import { Opener, type OpenFacts } from '../../../src/engine/seal/opener.ts'
import { onEachPath } from './both-paths.ts'
import { plainOpen } from './plain-reader.ts'
import {
  KEY,
  piecesOf,
  randomPieces,
  type SealCase,
  seal,
  sealAnswer,
  sealerFor,
  seededRandom,
  through,
  whole,
} from './through.ts'

const HEAD = 'Message-ID: <end@b.example>\r\nSubject: s\r\n'
const MULTIPART = `${HEAD}Content-Type: multipart/mixed; boundary=b\r\n\r\n`
const leaf = (text: string) => `--b\r\nContent-Type: text/plain\r\n\r\n${text}\r\n`
const nested = (text: string) => `--b\r\nContent-Type: message/rfc822\r\n\r\n${text}`
const INNER = 'Subject: inner\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n'
const QUOTED = `--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n${'caf=c3=a9\n'.repeat(60)}`
const BASE64 = `--b\r\nContent-Transfer-Encoding: base64\r\n\r\n${`${'QUJD'.repeat(19)}\r\n`.repeat(20)}`

/** All that a message may end with. */
const ENDS: Readonly<Record<string, string>> = {
  closed: `${MULTIPART}${leaf('one')}${leaf('two')}--b--\r\n`,
  'closed, and an epilogue': `${MULTIPART}${leaf('one')}--b--\r\nepilogue\r\n\r\n  \r\n`,
  'closed, nothing behind it': `${MULTIPART}${leaf('one')}--b--`,
  'closed, and text on the line': `${MULTIPART}${leaf('one')}--b-- \t \r\n\t\r\n`,
  'closed, and a CR': `${MULTIPART}${leaf('one')}--b--\r`,
  'closed without a line end before it': `${MULTIPART}--b\r\n\r\n--b--\r\n`,
  'closed, and opened again': `${MULTIPART}${leaf('one')}--b--\r\n${leaf('two')}--b--\r\n`,
  'a closed alternative': `${MULTIPART.replace('mixed', 'alternative')}${leaf('one')}--b--\r\n`,
  'bare LFs': `${MULTIPART}${leaf('one')}--b--\r\n`.replaceAll('\r\n', '\n'),
  'an open leaf': `${MULTIPART}${leaf('one')}${leaf('two')}`,
  'an open leaf, no line end': `${MULTIPART}${leaf('one')}--b\r\n\r\ntwo`,
  'an open leaf that ends with a CR': `${MULTIPART}--b\r\n\r\ntwo\r`,
  'an open alternative': `${MULTIPART.replace('mixed', 'alternative')}${leaf('one')}${leaf('two')}`,
  'open quoted-printable': MULTIPART + QUOTED,
  'open base64': `${MULTIPART}${BASE64}\r\n\r\n`,
  'an empty leaf': `${MULTIPART}--b\r\nContent-Type: text/plain\r\n\r\n`,
  'headers without an end': `${MULTIPART}--b\r\nContent-Type: text/plain`,
  'headers of a multipart without an end': `${MULTIPART}--b\r\nContent-Type: multipart/mixed; boundary=d\r\n`,
  'an open preamble': `${MULTIPART}preamble\r\n`,
  'no preamble': MULTIPART,
  'an open delimiter': `${MULTIPART}${leaf('one')}--b`,
  'an open delimiter with text behind it': `${MULTIPART}${leaf('one')}--b \r`,
  'an open delimiter in an alternative': `${MULTIPART.replace('mixed', 'alternative')}${leaf('one')}--b`,
  'a delimiter': `${MULTIPART}${leaf('one')}--b\r\n`,
  'a closed multipart in an open one': `${MULTIPART}--b\r\n${INNER}--c\r\n\r\nx\r\n--c--`,
  'its epilogue': `${MULTIPART}--b\r\n${INNER}--c\r\n\r\nx\r\n--c--\r\nepilogue`,
  'a nested message': MULTIPART + nested('Subject: inner\r\n\r\ntext\r\n'),
  'a nested message without anything': `${MULTIPART}${leaf('one')}${nested('')}`,
  'a nested message in an open delimiter': `${MULTIPART}${nested(`${INNER}--c\r\n\r\nx\r\n--c`)}`,
  'a nested message with a delimiter': `${MULTIPART}${nested(`${INNER}--c\r\n\r\nx\r\n--c\r\n`)}`,
  'a second nested message in an open delimiter': `${MULTIPART}${leaf('one')}${nested(`${INNER}--c`)}`,
  'a message in an open delimiter': `${HEAD}Content-Type: message/rfc822\r\n\r\n${INNER}--c\r\n\r\nx\r\n--c`,
  'a message with a delimiter': `${HEAD}Content-Type: message/rfc822\r\n\r\n${INNER}--c\r\n\r\nx\r\n--c\r\n`,
  'a message with text behind an open delimiter': `${HEAD}Content-Type: message/rfc822\r\n\r\n${INNER}--c and more`,
  'a message': `${HEAD}Content-Type: message/rfc822\r\n\r\n${INNER}--c\r\n\r\nx\r\n--c\r\n\r\ny\r\n--c--\r\n`,
  'a leaf': `${HEAD}\r\n${'text\r\n'.repeat(50)}`,
}
const SHORT_KEY: MessageKey = { ...KEY, keyString: KEY.keyString.subarray(0, 35) }
/** All but the last octet is enough to know that it is too long. */
const long = (message: Buffer, banners: Buffer[] = [], chunks: SealCase['chunks'] = whole, key = KEY): Buffer => {
  const settings = { maxbufOctets: Math.min(message.length - 1, 300), banners }
  return seal(message, { options: { settings }, chunks, answer: { key } })
}
const BANNER = Buffer.from('Content-Type: text/plain\n\nbanner\n')

function opened(
  sealed: Buffer,
  key = KEY,
  chunks: (bytes: Buffer) => Iterable<Buffer> = whole,
): { readonly text: string; readonly facts: OpenFacts } {
  const opener = new Opener({ maxbufOctets: 1 << 20 })
  const text = through(opener, chunks(sealed), { key }).toString('latin1')
  return { text, facts: opener.facts }
}

const isBroken = (error: unknown) => error instanceof GatewayError && error.code === 'SEAL_BROKEN'

onEachPath('every end', () => {
  for (const [name, text] of Object.entries(ENDS)) {
    test(name, () => {
      const message = Buffer.from(text, 'latin1')
      for (const banners of [[], [BANNER, BANNER]]) {
        for (const key of [KEY, SHORT_KEY]) {
          const sealed = long(message, banners, whole, key)
          for (const octets of [1, 2, 3, 7, 64, 1000]) {
            assert.deepEqual(long(message, banners, piecesOf(octets), key), sealed)
            assert.equal(opened(sealed, key, piecesOf(octets)).text, text)
          }
          assert.deepEqual(long(message, banners, randomPieces(name), key), sealed)
          const { text: back, facts } = opened(sealed, key)
          assert.equal(back, text)
          const { missingParts, endMissing } = facts
          assert.deepEqual({ missingParts, endMissing }, { missingParts: 0, endMissing: false })
        }
      }
    })
  }
})

test('what is counted on opening is what is there', () => {
  for (const [name, text] of Object.entries(ENDS)) {
    const message = Buffer.from(text, 'latin1')
    const sealer = sealerFor({ options: { settings: { maxbufOctets: 50 } } })
    const { facts } = opened(through(sealer, whole(message), sealAnswer()))
    const known = (sizes: SealedSizes) => [sizes.body, ...sizes.parts!.map(({ octets, lines }) => ({ octets, lines }))]
    assert.deepEqual(known(facts.sizes), known(sealer.facts.sizes), name)
    assert.equal(facts.sizes.body.octets, text.length - headerOctets(text), name)
  }
})

test('sealed octets are counted on sealing as they are on opening', () => {
  const sealedOctets = ({ body, parts }: SealedSizes) => [body, ...parts!].map((part) => part.sealedOctets)
  const inMessage = `${HEAD}Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\n${INNER}--c`
  for (const [name, text] of Object.entries({ ...ENDS, 'a message in a message in an open delimiter': inMessage })) {
    for (const maxbufOctets of [50, 1 << 20]) {
      for (const banners of [[], [BANNER]]) {
        const sealer = sealerFor({ options: { settings: { maxbufOctets, banners } } })
        const { facts } = opened(through(sealer, whole(Buffer.from(text, 'latin1')), sealAnswer()))
        assert.deepEqual(sealedOctets(facts.sizes), sealedOctets(sealer.facts.sizes), `${name}, ${maxbufOctets}`)
      }
    }
  }
})

const headerOctets = (text: string) => /^[\s\S]*?\n\r?\n/.exec(text)![0].length

test('another reader finds the same message, and white space behind its closing delimiter', () => {
  for (const [name, text] of Object.entries(ENDS)) {
    const plain = (maxbufOctets: number) => {
      const sealed = seal(Buffer.from(text, 'latin1'), { options: { settings: { maxbufOctets } } })
      return plainOpen(sealed, KEY.keyString)
        .toString('latin1')
        .replace(/^X-VESmail-Exact: .*\r?\n(?:\t.*\r?\n)*/gm, '')
    }
    const withoutRecord = (text: string) => text.replace(/\r\n[ \t]{76}\r\n[ \t]{76}\r\n[ \t]{48} */, '')
    const ownEnd = (text: string) => text.replace(/(\s*--b--)?\s*$/, '')
    // What sealing cannot tell others to leave out (a line end behind an open delimiter) was there before, too.
    assert.equal(ownEnd(withoutRecord(plain(50))), ownEnd(plain(1 << 20)), name)
  }
})

/** Sealed in three parts; where the record ends, and where the first part begins. */
function threeParts(): { readonly message: string; readonly sealed: string; readonly recordEnd: number } {
  const message = `${MULTIPART}${leaf('one')}${leaf('two')}${leaf('three')}--b--\r\nepilogue\r\n`
  const sealed = long(Buffer.from(message)).toString('latin1')
  const record = /\r\n--b--\r\n[ \t]{76}\r\n[ \t]{76}\r\n[ \t]{48}/.exec(sealed)!
  return { message, sealed, recordEnd: record.index + record[0].length }
}

test('a message cut anywhere: refused, or its end is missing', () => {
  const { sealed, recordEnd } = threeParts()
  let refused = 0
  for (let octets = sealed.indexOf('\r\n\r\n') + 4; octets < sealed.length; octets++) {
    try {
      const { missingParts, endMissing } = opened(Buffer.from(sealed.slice(0, octets), 'latin1')).facts
      assert.equal(endMissing, octets < recordEnd, `${octets} octets`)
      assert.equal(missingParts > 0, octets < recordEnd)
    } catch (error) {
      assert.ok(isBroken(error) && octets < recordEnd)
      refused++
    }
  }
  assert.ok(refused > 500)
})

test('a long leaf cut anywhere, in front of its body, too', () => {
  const sealed = long(Buffer.from(ENDS['a leaf']!), [BANNER]).toString('latin1')
  const bodyEnd = /=*\r\n\r\n--/.exec(sealed.slice(sealed.indexOf('X-VESmail-Part: body')))!
  const ciphertextEnd = sealed.indexOf(bodyEnd[0], sealed.indexOf('X-VESmail-Part: body'))
  for (let octets = sealed.indexOf('\r\n\r\n') + 4; octets < ciphertextEnd; octets++) {
    let outcome: number | 'refused'
    try {
      outcome = opened(Buffer.from(sealed.slice(0, octets), 'latin1')).facts.missingParts
    } catch (error) {
      assert.ok(isBroken(error), `${octets} octets: ${error}`)
      outcome = 'refused'
    }
    assert.ok(outcome === 1 || outcome === 'refused', `${octets} octets: ${outcome}`)
  }
})

test('parts taken off the end, the closing delimiter left, or put in their place', () => {
  const { message, sealed } = threeParts()
  const [head = '', one = '', two = '', three = '', tail = ''] = sealed.split(/(?=^--b)/m)
  const after = (...parts: string[]) => opened(Buffer.from([head, ...parts].join(''), 'latin1')).facts
  assert.equal(after(one, two, three, tail).missingParts, 0)
  const bare = '--b--\r\nepilogue\r\n'
  assert.deepEqual([after(one, two, bare).missingParts, after(one, two, bare).endMissing], [1, true])
  // The record itself says how many there were.
  assert.deepEqual([after(one, two, tail).missingParts, after(one, two, tail).endMissing], [1, false])
  assert.equal(after(one, tail).missingParts, 2)
  assert.equal(after(tail).missingParts, 3)
  // A part behind the closing delimiter is none.
  assert.equal(after(one, two, tail.replace(/epilogue\r\n/, ''), three).missingParts, 1)
  const options = { settings: { banners: [], maxbufOctets: 300 }, random: seededRandom('another') }
  const other = seal(Buffer.from(message), { options }).toString('latin1')
  const othersTail = other.slice(other.lastIndexOf('--b--'))
  assert.deepEqual(after(one, two, othersTail).endMissing, true)
})

test('a record of fewer parts than there are', () => {
  const { sealed } = threeParts()
  const nonce = endNonceOf(sealed)
  const print = (leaves: number) => {
    const end = { leaves, delimiterAdded: false, lineEndAdded: false }
    return printEnd(KEY.keyString, nonce, end, endOctets('--b--')).toString('latin1')
  }
  assert.ok(sealed.includes(print(3)))
  assert.throws(() => opened(Buffer.from(sealed.replace(print(3), print(2)), 'latin1')), isBroken)
  assert.equal(opened(Buffer.from(sealed.replace(print(3), print(4)), 'latin1')).facts.missingParts, 1)
})

/** By another reader. */
function endNonceOf(sealed: string): Buffer {
  const text = plainOpen(Buffer.from(sealed, 'latin1'), KEY.keyString).toString('latin1')
  const exact = /^X-VESmail-Exact: (.*\r\n(?:\t.*\r\n)*)/m.exec(text)![1]!.replace(/\s+/g, '')
  return Buffer.from(/;z=([^;]*)/.exec(exact)![1]!, 'base64')
}

test('the last octets of a message show its record, behind closing delimiters that have none', () => {
  const { sealed, recordEnd } = threeParts()
  const nonce = endNonceOf(sealed)
  const announced = new AnnouncedEnd(KEY.keyString, nonce, 'b', true)
  const octetsIn = (tail: string) => announced.octetsIn(Buffer.from(tail, 'latin1'))
  const tail = sealed.slice(sealed.lastIndexOf('\r\n--b--'))
  assert.equal(octetsIn(tail), endOctets('--b--'))
  // A delimiter of a part that is sealed as it is, say.
  assert.equal(octetsIn(`\r\n--b--\r\nnone here${tail}`), endOctets('--b--'))
  assert.equal(octetsIn(`\r\n--b--${' '.repeat(300)}${tail}`), endOctets('--b--'))
  assert.equal(octetsIn('\r\n--b--\r\nnone here'), null)
  assert.equal(octetsIn(sealed.slice(recordEnd)), null)
})

test('a record altered in any place: the message is as it was, but for that its end is not known', () => {
  const { message, sealed, recordEnd } = threeParts()
  for (let at = recordEnd - 206; at < recordEnd; at++) {
    if (!/[ \t]/.test(sealed[at]!)) continue
    const altered = sealed.slice(0, at) + (sealed[at] === ' ' ? '\t' : ' ') + sealed.slice(at + 1)
    const { text, facts } = opened(Buffer.from(altered, 'latin1'))
    assert.equal(text.trimEnd(), message.trimEnd())
    assert.deepEqual([facts.missingParts, facts.endMissing], [1, true])
  }
})

test('what servers do at the end of a message: it can be read, whatever they did', () => {
  const { message, sealed } = threeParts()
  const sealedAs = (edit: (sealed: string) => string) => opened(Buffer.from(edit(sealed), 'latin1'))
  const trimmed = sealedAs((text) => text.replace(/[ \t]+$/gm, ''))
  assert.deepEqual([trimmed.text, trimmed.facts.endMissing], [message, true])
  const collapsed = sealedAs((text) => text.replace(/^[ \t]+$/gm, ' '))
  assert.deepEqual([collapsed.text, collapsed.facts.endMissing], [message, true])
  const withoutEpilogue = sealedAs((text) => text.replace(/--b--[\s\S]*$/, '--b--\r\n'))
  assert.deepEqual(
    [withoutEpilogue.text.trimEnd(), withoutEpilogue.facts.endMissing],
    [message.split('\r\nepil')[0], true],
  )
  const footer = sealedAs((text) => `${text}-- \r\nof the list\r\n`)
  assert.deepEqual([footer.text, footer.facts.endMissing], [`${message}-- \r\nof the list\r\n`, false])
  const part = leaf('of the list')
  const added = sealedAs((text) => text.replace('--b--', () => `${part}--b--`))
  assert.deepEqual([added.text, added.facts.missingParts], [message.replace('--b--', () => `${part}--b--`), 0])
  const stored = sealedAs((text) => text.replaceAll('\r\n', '\n'))
  assert.equal(stored.facts.missingParts, 0)
  assert.match(stored.text, /--b--\nepilogue\n$/)
  // A submission server wants a line end behind the last line.
  const open = long(Buffer.from(`${MULTIPART}${leaf('one')}`))
  assert.equal(open.subarray(-2).toString(), '\r\n')
})

test('blank lines behind a message that were announced are cut off', () => {
  for (const [name, text] of Object.entries(ENDS)) {
    const message = Buffer.from(text, 'latin1')
    const options = { settings: { maxbufOctets: 50 }, totalOctets: message.length, padded: true }
    const sealed = seal(message, { options })
    for (const lines of [0, 1, 500]) {
      const padded = Buffer.concat([sealed, Buffer.from('\r\n'.repeat(lines))])
      const { text: back, facts } = opened(padded)
      assert.equal(back, text, name)
      assert.equal(facts.missingParts, 0)
    }
  }
})

test('parts off the end of a message with more than its root lists', () => {
  const message = `${MULTIPART}${leaf('x').repeat(1002)}--b--\r\n`
  const sealed = seal(Buffer.from(message), { options: { settings: { banners: [] } } }).toString('latin1')
  const parts = sealed.split(/(?=^--b)/m)
  const tail = parts.pop()!
  const missing = (text: string) => opened(Buffer.from(text, 'latin1')).facts.missingParts
  assert.equal(missing(sealed), 0)
  assert.equal(missing(parts.slice(0, -1).join('') + tail), 1)
  assert.equal(missing(parts.slice(0, -2).join('')), 2)
})

test('what earlier versions sealed', () => {
  const folder = new URL('earlier/', import.meta.url)
  const names = readdirSync(folder).filter((name) => name.endsWith('.sealed.eml'))
  assert.equal(names.length, 5)
  for (const name of names) {
    const plain = readFileSync(new URL(name.replace('.sealed', '.plain'), folder))
    const { text, facts } = opened(readFileSync(new URL(name, folder)))
    assert.equal(text, plain.toString('latin1'))
    assert.deepEqual([facts.missingParts, facts.endMissing, facts.layoutLost], [0, false, 0])
  }
})
