import assert from 'node:assert/strict'
import { test } from 'node:test'
import { logChanges } from '../../../src/engine/imap/changes.ts'
import type { OpenTransform } from '../../../src/engine/imap/transforms.ts'
import { Opener } from '../../../src/engine/seal/opener.ts'
import { KEY, seal, through, whole } from '../seal/through.ts'

const leaf = (text: string) => `--b\r\nContent-Type: text/plain\r\n\r\n${text}\r\n`
const MESSAGE = `Message-ID: <a@b>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n${leaf('one')}${leaf('two')}--b--\r\n`

function logged(sealed: string): unknown[] {
  const opener = new Opener({ maxbufOctets: 1 << 20 })
  through(opener, whole(Buffer.from(sealed, 'latin1')), { key: KEY })
  const lines: unknown[] = []
  logChanges({ log: (...line) => lines.push(line) }, opener satisfies OpenTransform, 7)
  return lines
}

test('a part taken out of a message is told to the log, a message that is whole is not', () => {
  const sealed = seal(Buffer.from(MESSAGE), { options: { settings: { banners: [] } } }).toString('latin1')
  assert.deepEqual(logged(sealed), [])
  const [head, one, , tail] = sealed.split(/(?=^--b)/m)
  assert.deepEqual(logged([head, one, tail].join('')), [
    ['warn', 'sealed message incomplete', { missingParts: 1, endMissing: false, uid: 7, messageId: 'a@b' }],
  ])
})

test('the end taken off a long message is told', () => {
  const how = { options: { settings: { banners: [], maxbufOctets: 100 } } }
  const sealed = seal(Buffer.from(MESSAGE), how).toString('latin1')
  assert.deepEqual(logged(sealed), [])
  const [head, one] = sealed.split(/(?=^--b)/m)
  assert.deepEqual(logged([head, one].join('')), [
    ['warn', 'sealed message incomplete', { missingParts: 1, endMissing: true, uid: 7, messageId: 'a@b' }],
  ])
})

test('white space that a server trimmed is told', () => {
  const text = `${'caf=c3=a9 '.repeat(6)}\r\n`.repeat(100)
  const message = `Message-ID: <a@b>\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n${text}`
  const sealed = seal(Buffer.from(message), { options: { settings: { maxbufOctets: 1000 } } }).toString('latin1')
  assert.deepEqual(logged(sealed), [])
  // Of the patches one line is gone.
  assert.deepEqual(logged(sealed.replace(/^[ \t]{76}\r\n/m, '\r\n')), [
    ['warn', 'sealed message laid out anew', { parts: 1, uid: 7, messageId: 'a@b' }],
  ])
})

test('a part put in, and a header that was altered, are told', () => {
  const sealed = seal(Buffer.from(MESSAGE), { options: { settings: { banners: [] } } }).toString('latin1')
  assert.deepEqual(logged(sealed.replace(/^--b--/m, `${leaf('of the list')}--b--`)), [
    ['warn', 'sealed message with parts in plain', { parts: 1, uid: 7, messageId: 'a@b' }],
  ])
  assert.deepEqual(logged(sealed.replace(/^--b\r\n/m, '--b\r\nX: y\r\n')), [
    ['warn', 'sealed message altered', { uid: 7, messageId: 'a@b' }],
  ])
})
