import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../src/base/errors.ts'
import { decodeVesPath, encodeVesPath, parseVesUri, printVesUri, type VesUri } from '../../src/ves/uri.ts'

const KNOWN: [string, VesUri][] = [
  ['ves://vesmail/abc@x.org', { kind: 'item', domain: 'vesmail', externalId: 'abc@x.org' }],
  ['ves://vesmail/jane@x.org/', { kind: 'vault', domain: 'vesmail', externalId: 'jane@x.org', owner: null }],
  ['ves://vesmail/jane@x.org%21', { kind: 'item', domain: 'vesmail', externalId: 'jane@x.org!' }],
  ['ves://vesmail/jane@x.org%23p1', { kind: 'item', domain: 'vesmail', externalId: 'jane@x.org#p1' }],
  ['ves://demo/a%2Fb%20c', { kind: 'item', domain: 'demo', externalId: 'a/b c' }],
  ['ves://.admin/jane@x.org/', { kind: 'vault', domain: '.admin', externalId: 'jane@x.org', owner: null }],
  [
    'ves://demo/id/Jane Doe <jane@x.org>',
    { kind: 'vault', domain: 'demo', externalId: 'id', owner: 'Jane Doe <jane@x.org>' },
  ],
  ['ves:////jane@x.org', { kind: 'primary', user: 'jane@x.org' }],
  ['ves:///123', { kind: 'item-id', id: 123 }],
  ['ves:///123/', { kind: 'vault-id', id: 123 }],
]

test('each form parses to what it names and prints back the same', () => {
  for (const [text, uri] of KNOWN) {
    assert.deepEqual(parseVesUri(text), uri, text)
    assert.equal(printVesUri(uri), text)
  }
})

test('scheme and domain may be left out', () => {
  assert.deepEqual(parseVesUri('//demo/x'), { kind: 'item', domain: 'demo', externalId: 'x' })
  assert.deepEqual(parseVesUri('x%21', 'd'), { kind: 'item', domain: 'd', externalId: 'x!' })
  assert.deepEqual(parseVesUri('/x/'), { kind: 'vault', domain: 'vesmail', externalId: 'x', owner: null })
  assert.deepEqual(parseVesUri('VES://demo/x'), { kind: 'item', domain: 'demo', externalId: 'x' })
})

test('exactly the octets that the rule names stand for themselves', () => {
  const plain = new Set<number>()
  const between = (from: number, to: number): void => {
    for (let octet = from; octet <= to; octet++) plain.add(octet)
  }
  between(0x30, 0x39)
  between(0x41, 0x5a)
  between(0x61, 0x7a)
  between(0x2c, 0x2e)
  between(0x3a, 0x3b)
  between(0x40, 0x40)
  between(0x5e, 0x60)
  between(0x7b, 0x7e)
  for (let octet = 1; octet < 0x80; octet++) {
    const character = String.fromCharCode(octet)
    const escaped = `%${octet.toString(16).toUpperCase().padStart(2, '0')}`
    assert.equal(encodeVesPath(character), plain.has(octet) ? character : escaped)
    assert.equal(decodeVesPath(escaped), character)
  }
  assert.equal(encodeVesPath('grüße 🔑'), 'grüße%20🔑')
})

test('what names nothing is refused', () => {
  for (const text of [
    '',
    'ves:',
    '//',
    '//x',
    '///',
    '///0',
    '///9007199254740993',
    '///12x',
    '////',
    'a%zz',
    '%ff',
    '%00',
  ]) {
    assert.throws(() => parseVesUri(text), GatewayError, text)
  }
  assert.throws(() => parseVesUri('a'.repeat(5000)), GatewayError)
})

test('fuzz: a URI or a GatewayError, and what parses prints and parses to the same', () => {
  const piece = fc.string({ unit: fc.constantFrom('/', '%', '2', 'F', 'ves:', '//', '!', 'a@b', '1', 'é', '\ud800') })
  fc.assert(
    fc.property(fc.oneof(piece, fc.string({ unit: 'binary' })), (text) => {
      let uri: VesUri
      try {
        uri = parseVesUri(text)
      } catch (error) {
        assert.ok(error instanceof GatewayError)
        return
      }
      assert.deepEqual(parseVesUri(printVesUri(uri)), uri)
    }),
  )
})
