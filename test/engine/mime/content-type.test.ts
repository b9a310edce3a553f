import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lenientContentType, plainContentType, transferEncoding } from '../../../src/engine/mime/content-type.ts'
import type { HeaderField } from '../../../src/engine/mime/header-block.ts'

const field = (text: string, name = 'Content-Type'): HeaderField => ({
  name: name.toLowerCase(),
  bytes: Buffer.from(`${name}:${text}`, 'latin1'),
  eol: '\r\n',
})

test('what every reader takes the same way', () => {
  const plain = (text: string) => plainContentType(field(text))
  const mixed = (boundary: string | null) => ({ type: 'multipart/mixed', boundary })
  assert.deepEqual(plain(' multipart/mixed; boundary=abc'), mixed('abc'))
  assert.deepEqual(plain('Multipart/MIXED;\r\n\tBoundary="a b?";\r\n charset=x;'), mixed('a b?'))
  assert.deepEqual(plain(' multipart/mixed;; boundary=----=_Part_1.2/3:4'), mixed('----=_Part_1.2/3:4'))
  assert.deepEqual(plain(' multipart/mixed'), mixed(null))
  assert.deepEqual(plain(' message/rfc822; name="x.eml"'), { type: 'message/rfc822', boundary: null })
  assert.deepEqual(plain(` multipart/mixed; boundary="${'x'.repeat(200)}"`), mixed('x'.repeat(200)))
})

test('what readers may differ about is refused', () => {
  const refused = [
    '',
    'multipart',
    'multipart/mixed (comment); boundary=a',
    'multipart/mixed; boundary=a b',
    'multipart/mixed; boundary=a (b)',
    'multipart/mixed; boundary = a',
    'multipart/mixed; boundary=a; boundary=b',
    'multipart/mixed; boundary*=a',
    'multipart/mixed; boundary*0=a; boundary*1=b',
    'multipart/mixed; boundary="a\\"b"',
    'multipart/mixed; boundary="a',
    "multipart/mixed; boundary='a'",
    'multipart/mixed; boundary="\'a\'"',
    'multipart/mixed; boundary="a "',
    'multipart/mixed; boundary=""',
    'multipart/mixed; x="; boundary=b"; boundary=a',
    'multipart/mixed boundary=a',
    'multipart/mixed; boundary=a\0',
    'multipart/mixed; boundary=\xe9',
    `multipart/mixed; boundary=${'x'.repeat(201)}`,
    `multipart/mixed${'; a=b'.repeat(65)}; boundary=a`,
  ]
  for (const text of refused) assert.equal(plainContentType(field(` ${text}`)), null, text)
})

test('the lenient reading of the C gateway', () => {
  const boundary = (text: string) => lenientContentType(field(` multipart/mixed; ${text}`)).boundary
  assert.equal(boundary("boundary='a;b'"), "'a")
  assert.equal(boundary("boundary='ab'"), 'ab')
  assert.equal(boundary('boundary=a b'), 'ab')
  assert.equal(boundary('boundary = "a b"'), 'a b')
  assert.equal(boundary('boundary="a\\b"'), 'a\\b')
  assert.equal(boundary('boundary=a (b)'), 'a(b)')
  assert.equal(boundary('x=";"; boundary=a'), 'a')
  assert.equal(boundary('boundary*=a'), null)
  assert.equal(boundary('boundary='), null)
})

test('transfer encodings', () => {
  const of = (...texts: string[]) => transferEncoding(texts.map((text) => field(text, 'Content-Transfer-Encoding')))
  assert.equal(of(), 'identity')
  assert.equal(of(' 8BIT '), 'identity')
  assert.equal(of('Base64\r\n '), 'base64')
  assert.equal(of(' quoted-printable', 'Quoted-Printable'), 'quoted-printable')
  assert.equal(of(' base64', ' 7bit'), 'other')
  assert.equal(of(' base64 (x)'), 'other')
  assert.equal(of(''), 'other')
})
