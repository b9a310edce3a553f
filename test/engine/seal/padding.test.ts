/** Blank lines behind a message that are none of it are cut off; text never is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Padding } from '../../../src/engine/seal/padding.ts'
import { open, piecesOf, seal } from './through.ts'

const cutOff = (text: string, octets: number, step: number) => {
  const padding = new Padding(octets)
  return [...piecesOf(step)(Buffer.from(text))].flatMap((piece) => padding.take(piece)).join('')
}

test('white space behind the length goes, text and what stands before it stays, in any pieces', () => {
  for (const step of [1, 2, 5, 100]) {
    assert.equal(cutOff('text\r\n \r\n\r\n', 6, step), 'text\r\n')
    assert.equal(cutOff('text\r\n', 100, step), 'text\r\n')
    assert.equal(cutOff('text\r\nmore\r\n\r\nend\r\n\r\n', 6, step), 'text\r\nmore\r\n\r\nend')
  }
})

test('white space without end is not held', () => {
  const padding = new Padding(0)
  const blank = Buffer.alloc(1 << 16, '\r\n')
  for (let i = 0; i < 100; i++) assert.deepEqual(padding.take(blank), [])
  assert.equal(Buffer.concat(padding.take(Buffer.from('text'))).length, (1 << 16) + 4)
})

test('a message with bare LFs, padded, whose line ends a server made CRLF, keeps its last words', () => {
  const text = 'Message-ID: <a@b>\nContent-Type: multipart/mixed; boundary=b\n\np\n--b\n\none\n--b--\nthe last words\n'
  const message = Buffer.from(text)
  for (const maxbufOctets of [1 << 20, 50]) {
    const options = { settings: { maxbufOctets, banners: [] }, totalOctets: message.length, padded: true }
    const padded = `${seal(message, { options }).toString('latin1')} \r\n${'\r\n'.repeat(30)}`
    assert.deepEqual(open(Buffer.from(padded, 'latin1')), message)
    const served = open(Buffer.from(padded.replace(/(?<!\r)\n/g, '\r\n'), 'latin1'))
    assert.equal(served.toString().replaceAll('\r\n', '\n'), text.trimEnd())
  }
})
