import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../src/base/errors.ts'
import { parseAccountName, vesUri } from '../../src/engine/account-name.ts'

const CASES: [string, string, string | null][] = [
  ['acme@example.com', 'ves://vesmail/acme@example.com/', 'ves://vesmail/acme@example.com%21'],
  ['acme@example.com!', 'ves://vesmail/acme@example.com/', 'ves://vesmail/acme@example.com%21'],
  ['acme@example.com!p1', 'ves://vesmail/acme@example.com/', 'ves://vesmail/acme@example.com%21p1'],
  ['acme@example.com#p1', 'ves://vesmail/acme@example.com/', 'ves://vesmail/acme@example.com%23p1'],
  ['acme@example.com##p1', 'ves://vesmail/acme@example.com/', 'ves://vesmail/p1'],
  ['acme@example.com##', 'ves://vesmail/acme@example.com/', 'ves://vesmail/acme@example.com%21'],
  ['Acme@Example.COM!P1', 'ves://vesmail/acme@example.com/', 'ves://vesmail/acme@example.com%21P1'],
  ['acme@example.com!a/b#c', 'ves://vesmail/acme@example.com/', 'ves://vesmail/acme@example.com%21a%2Fb%23c'],
  ['žofie@example.com', 'ves://vesmail/žofie@example.com/', 'ves://vesmail/žofie@example.com%21'],
  ['a+b@example.com', 'ves://vesmail/a%2Bb@example.com/', 'ves://vesmail/a%2Bb@example.com%21'],
  ['ves://vesmail/acme@example.com/', 'ves://vesmail/acme@example.com/', null],
  ['ves://vesmail/acme@example.com/##p1', 'ves://vesmail/acme@example.com/', 'ves://vesmail/p1'],
  ['ves://x-other/id/##p1', 'ves://x-other/id/', 'ves://x-other/p1'],
  ['ves://x-other/id##p1', 'ves://x-other/id/', 'ves://x-other/p1'],
  ['//x-other/id/##p1', 'ves://x-other/id/', 'ves://x-other/p1'],
  ['ves://x-other/id/#p1', 'ves://x-other/id/', null],
  ['ves://x-other/id/!p1', 'ves://x-other/id/', null],
  ['ves:///123/##p1', 'ves:///123/', 'ves://vesmail/p1'],
  ['ves:////jane@x.org##p1', 'ves:////jane@x.org', 'ves://vesmail/p1'],
]

for (const [name, vaultUri, profileUri] of CASES) {
  test(`account name ${name}`, () => assert.deepEqual(parseAccountName(name), { vaultUri, profileUri }))
}

test('names that can name no vault are bad credentials, like any unknown one', () => {
  for (const name of [
    '',
    '!',
    '!p1',
    '#p1',
    '##p1',
    'a b@x',
    'a@x\r\n',
    'a\0b',
    'foo/bar',
    '/',
    '//',
    '//x',
    'x'.repeat(1025),
  ]) {
    assert.throws(() => parseAccountName(name), { code: 'BAD_CREDENTIALS' }, JSON.stringify(name))
  }
})

test('another domain', () => {
  assert.deepEqual(parseAccountName('a@x', 'demo'), { vaultUri: 'ves://demo/a@x/', profileUri: 'ves://demo/a@x%21' })
})

test('external ids: octets that stand for themselves', () => {
  const plain = ',-.:;@^_`{|}~azAZ09ž'
  assert.equal(vesUri('d', plain), `ves://d/${plain}`)
  assert.equal(
    vesUri('d', '!"#$%&\'()*+/<=>?[\\] \x7f'),
    'ves://d/%21%22%23%24%25%26%27%28%29%2A%2B%2F%3C%3D%3E%3F%5B%5C%5D%20%7F',
  )
})

test('any string: a result or a GatewayError', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), (name) => {
      try {
        const { vaultUri } = parseAccountName(name)
        assert.match(vaultUri, /^ves:\/\//i)
      } catch (error) {
        assert(error instanceof GatewayError, String(error))
      }
    }),
  )
})
