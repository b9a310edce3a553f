import assert from 'node:assert/strict'
import { test } from 'node:test'
import { format, inspect } from 'node:util'
import { Secret } from '../../src/base/secret.ts'

test('a secret does not show in text, JSON or inspection, nested or not', () => {
  const secret = new Secret('hunter2')
  for (const shown of [
    `${secret}`,
    String(secret),
    JSON.stringify({ a: [secret] }),
    inspect({ secret }, { depth: 9, showHidden: true }),
    format('%s %o %j', secret, secret, secret),
  ]) {
    assert.ok(!shown.includes('hunter2'), shown)
    assert.ok(shown.includes('[secret]'), shown)
  }
  assert.equal(secret.expose(), 'hunter2')
})

test('wiping zeroes a binary secret in place', () => {
  const octets = Buffer.from('key')
  new Secret(octets).wipe()
  assert.deepEqual(octets, Buffer.alloc(3))
})
