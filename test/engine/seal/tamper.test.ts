/** Altered ciphertext: nothing unauthenticated leaves, but complete chunks in front of the error where a body streams. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { Opener } from '../../../src/engine/seal/opener.ts'
import { diceOf, mutate } from './generate.ts'
import { KEY, open, piecesOf, seal, through, whole } from './through.ts'
import { VECTOR_MESSAGES } from './vectors.ts'

const isBroken = (error: unknown) => error instanceof GatewayError && error.code === 'SEAL_BROKEN'

const BODY = Array.from({ length: 400 }, (_, i) => `line ${i} of the secret text, never to leave altered\r\n`).join('')
const MESSAGE = Buffer.from(`Subject: s\r\nMessage-ID: <a@b>\r\nContent-Type: text/plain\r\n\r\n${BODY}`)
const SEALED = seal(MESSAGE)

/** The leaf's ciphertext, and the message around another one. */
const [, BEFORE, CIPHERTEXT, AFTER] = /^([\s\S]*base64\r\n\r\n)([A-Za-z0-9+/=\r\n]+?)(\r\n--[\s\S]*)$/.exec(
  SEALED.toString('latin1'),
)!
const stream = Buffer.from(CIPHERTEXT!, 'base64')
const withStream = (octets: Buffer) =>
  Buffer.from(BEFORE! + octets.toString('base64').replace(/.{76}/g, '$&\r\n') + AFTER!, 'latin1')
const CHUNK = 1040
const chunks = Array.from({ length: Math.ceil((stream.length - 16) / CHUNK) }, (_, i) =>
  stream.subarray(16 + i * CHUNK, 16 + (i + 1) * CHUNK),
)
const ofChunks = (list: readonly Buffer[]) => withStream(Buffer.concat([stream.subarray(0, 16), ...list]))

test('the message taken apart and put together again opens', () => {
  assert.ok(chunks.length > 15)
  assert.deepEqual(open(ofChunks(chunks)), MESSAGE)
})

test('an altered octet anywhere in the ciphertext', () => {
  for (let at = 0; at < stream.length; at += 97) {
    const altered = Buffer.from(stream)
    altered[at]! ^= 1
    assert.throws(() => open(withStream(altered)), isBroken, `octet ${at}`)
  }
})

test('a stream cut short, between chunks and inside of them', () => {
  for (let octets = 0; octets < stream.length; octets += 13) {
    assert.throws(() => open(withStream(stream.subarray(0, octets))), isBroken, `${octets} octets`)
  }
  for (let n = 0; n < chunks.length; n++) assert.throws(() => open(ofChunks(chunks.slice(0, n))), isBroken)
})

test('chunks reordered, repeated, left out', () => {
  for (let i = 0; i + 1 < chunks.length; i++) {
    const swapped = [...chunks]
    ;[swapped[i], swapped[i + 1]] = [swapped[i + 1]!, swapped[i]!]
    assert.throws(() => open(ofChunks(swapped)), isBroken)
    assert.throws(() => open(ofChunks(chunks.toSpliced(i, 0, chunks[i]!))), isBroken)
    assert.throws(() => open(ofChunks(chunks.toSpliced(i, 1))), isBroken)
  }
})

test('an altered, or exchanged, encrypted header', () => {
  const text = SEALED.toString('latin1')
  const values = [...text.matchAll(/X-VESmail-Header: ([A-Za-z0-9+/=\s]*?)\r\n(?![\t ])/g)].map((m) => m[1]!)
  assert.equal(values.length, 3)
  for (const value of values) {
    const octets = Buffer.from(value, 'base64')
    for (const at of [0, 15, 16, octets.length - 1]) {
      const altered = Buffer.from(octets)
      altered[at]! ^= 0x80
      assert.throws(() => open(Buffer.from(text.replace(value, altered.toString('base64')))), isBroken)
    }
    assert.throws(() => open(Buffer.from(text.replace(value, ''))), isBroken)
  }
})

test('another key', () => {
  const key = { ...KEY, keyString: Buffer.from(KEY.keyString).reverse() }
  assert.throws(() => open(SEALED, key), isBroken)
})

/** A multipart of three, its parts sealed; each part with the delimiter in front of it. */
function partsOf(maxbufOctets = 1 << 20): { readonly head: string; readonly parts: string[]; readonly tail: string } {
  const leaf = (text: string) => `--b\r\nContent-Type: text/plain\r\n\r\n${text}\r\n`
  const message = `Content-Type: multipart/mixed; boundary=b\r\n\r\n${leaf('one')}${leaf('second')}${leaf('the third')}--b--\r\n`
  const settings = { banners: [], maxbufOctets }
  const sealed = seal(Buffer.from(message), { options: { settings } }).toString('latin1')
  const [head = '', ...rest] = sealed.split(/(?=^--b)/m)
  return { head, parts: rest.slice(0, -1), tail: rest.at(-1)! }
}

const openParts = (head: string, parts: readonly string[], tail: string) => {
  const opener = new Opener({ maxbufOctets: 1 << 20 })
  const opened = through(opener, whole(Buffer.from(head + parts.join('') + tail, 'latin1')), { key: KEY })
  return { text: opened.toString('latin1'), missing: opener.facts.missingParts }
}

const bodyOf = (part: string) => part.slice(part.indexOf('\r\n\r\n'))

test('whole parts repeated, exchanged, or put in from elsewhere', () => {
  const { head, parts, tail } = partsOf()
  const [one, two, three] = parts as [string, string, string]
  assert.equal(openParts(head, parts, tail).missing, 0)
  for (const order of [
    [two, one, three],
    [one, three, two],
    [one, one, two, three],
    [one, two, three, one],
    [...parts, ...parts],
  ]) {
    assert.throws(() => openParts(head, order, tail), isBroken)
  }
  const exchanged = [two.replace(bodyOf(two), () => bodyOf(three)), three.replace(bodyOf(three), () => bodyOf(two))]
  assert.throws(() => openParts(head, [one, ...exchanged], tail), isBroken)
})

test('whole parts taken out: what is left can be read, and it is known how many are missing', () => {
  const { head, parts, tail } = partsOf()
  const { text, missing } = openParts(head, [parts[0]!, parts[2]!], tail)
  assert.equal(missing, 1)
  assert.match(text, /one\r\n--b[\s\S]*the third/)
  assert.equal(openParts(head, parts.slice(0, 1), '').missing, 2)
  // One that somebody put in, in plain, changes nothing of that.
  const footer = '--b\r\nContent-Type: text/plain\r\n\r\nof the list\r\n'
  assert.equal(openParts(head, [...parts, footer], tail).missing, 0)
})

test('the same of a long message, but for what its end is', () => {
  const { head, parts, tail } = partsOf(100)
  const [one, two, three] = parts as [string, string, string]
  assert.equal(openParts(head, parts, tail).missing, 0)
  for (const order of [
    [two, one, three],
    [one, three, two],
    [one, one, two, three],
    [one, two, three, one],
  ]) {
    assert.throws(() => openParts(head, order, tail), isBroken)
  }
  const swapped = [two.replace(bodyOf(two), () => bodyOf(three)), three]
  assert.throws(() => openParts(head, [one, ...swapped], tail), isBroken)
  // A part that says nothing of its place is none of the message's.
  const exactness = /(?:X-VESmail-Header: [^\r]*\r\n(?:\t[^\r]*\r\n)*)(?=Content-Type: application)/
  const nameless = two.replace(exactness, '')
  assert.ok(nameless.length < two.length)
  assert.throws(() => openParts(head, [one, nameless, three], tail), isBroken)
  assert.equal(openParts(head, [one, three], tail).missing, 1)
  assert.equal(openParts(head, [three], tail).missing, 2)
})

test('parts of the same size, repeated or exchanged', () => {
  const leaf = '--b\r\nContent-Type: text/plain\r\n\r\nsame\r\n'
  const message = `Content-Type: multipart/mixed; boundary=b\r\n\r\n${leaf}${leaf}${leaf}--b--\r\n`
  const sealed = seal(Buffer.from(message), { options: { settings: { banners: [] } } }).toString('latin1')
  const [head = '', one = '', two = '', three = '', tail = ''] = sealed.split(/(?=^--b)/m)
  assert.equal(openParts(head, [one, two, three], tail).missing, 0)
  assert.throws(() => openParts(head, [one, three, two], tail), isBroken)
  assert.throws(() => openParts(head, [one, two, two], tail), isBroken)
  assert.equal(openParts(head, [one, three], tail).missing, 1)
})

test('what leaves before the error is the beginning of the message, whole chunks of it', () => {
  const altered = Buffer.from(stream)
  altered[16 + 9 * CHUNK + 5]! ^= 1
  const opener = new Opener({ maxbufOctets: 1000 })
  const out: Buffer[] = []
  assert.throws(() => through(opener, piecesOf(100)(withStream(altered)), { key: KEY }, out), isBroken)
  const left = Buffer.concat(out)
  assert.deepEqual(left, MESSAGE.subarray(0, left.length))
  const bodyOctets = left.length - MESSAGE.indexOf('line 0')
  assert.ok(bodyOctets <= 9 * 1024 && bodyOctets % 1024 === 0, `${bodyOctets} octets`)
})

test('any change to a sealed message: opened, or refused with a typed error', () => {
  const sealed = VECTOR_MESSAGES.map(({ plain }) => seal(plain))
  let refused = 0
  for (let seed = 1; seed <= 2000; seed++) {
    const dice = diceOf(seed)
    try {
      open(mutate(dice.pick(sealed), dice))
    } catch (error) {
      assert.ok(error instanceof GatewayError, `seed ${seed}: ${error}`)
      refused++
    }
  }
  assert.ok(refused > 500)
})
