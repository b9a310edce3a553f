import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { mailboxes } from '../../../src/engine/mime/addresses.ts'

const of = (...values: string[]) =>
  mailboxes(values.map((v) => ({ name: 'to', bytes: Buffer.from(`To:${v}`, 'utf8'), eol: '\r\n' as const }))).map(
    ({ address, name }) => (name === null ? address : `${name} <${address}>`),
  )

test('addresses and names', () => {
  assert.deepEqual(of(' a@b, Bob <BOB@X.example>,"Last, First" <c@d>'), [
    'a@b',
    'Bob <bob@x.example>',
    'Last, First <c@d>',
  ])
  assert.deepEqual(of(' =?utf-8?q?Andr=C3=A9?= =?utf-8?B?IFg=?= <a@b>'), ['André X <a@b>'])
  assert.deepEqual(of(' =?no-such-set?q?x?= <a@b>'), ['=?no-such-set?q?x?= <a@b>'])
  assert.deepEqual(of(' undisclosed-recipients:;'), [])
  assert.deepEqual(of(' Team: a@b, c@d (Carl);, e@f'), ['a@b', 'c@d', 'e@f'])
  assert.deepEqual(of(' <@route,@x:a@b>, "quoted local"@x'), ['a@b'])
  assert.deepEqual(of(' A\r\n <a@b>', 'a@b, c@d'), ['A <a@b>', 'c@d'])
  assert.deepEqual(of(' Ünï <a@b>'), ['Ünï <a@b>'])
})

test('a megabyte of white space, quotes or brackets takes no longer than a megabyte of names', () => {
  for (const part of [' ', '"', '<', '(', '@', ':', '=?a?q?b?= ', '\\']) {
    assert.deepEqual(of(` x${part.repeat(1_000_000 / part.length)}y@`), [])
  }
})

test('any value gives addresses or none', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'a@b<>",;:()\\ =?q\r\n') }), (value) => {
      for (const { address } of mailboxes([{ name: 'to', bytes: Buffer.from(`To:${value}`), eol: '' }])) {
        assert.match(address, /^[^@\s]+@[^@\s]+$/)
      }
    }),
  )
})
