import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_KEPT_OCTETS, RecentCopies } from '../../../src/net/now/recent-copies.ts'

test('a copy is there for a second, and not again without being read anew', () => {
  const copies = new RecentCopies()
  const octets = Buffer.from('sealed')
  copies.keep('a', octets, 0)
  assert.equal(copies.get('a', 999), octets)
  assert.equal(copies.get('b', 999), null)
  assert.equal(copies.get('a', 1000), null)
  assert.equal(copies.heldOctets, 0)
})

test('neither many, nor large, nor old ones fill the memory', () => {
  const copies = new RecentCopies()
  for (let i = 0; i < 1000; i++) copies.keep(`large ${i}`, Buffer.alloc(MAX_KEPT_OCTETS), i / 1000)
  assert.equal(copies.heldOctets, 1024 * 1024)
  assert.equal(copies.get('large 0', 1), null)
  assert.notEqual(copies.get('large 999', 1), null)
  copies.keep('larger', Buffer.alloc(MAX_KEPT_OCTETS + 1), 1)
  assert.equal(copies.get('larger', 1), null)
  copies.keep('later', Buffer.from('x'), 5000)
  assert.equal(copies.heldOctets, 1)
  for (let i = 0; i < 1000; i++) copies.keep(`small ${i}`, Buffer.from('x'), 5000)
  assert.equal(copies.heldOctets, 256)
  copies.keep('small 999', Buffer.from('xy'), 5000)
  assert.equal(copies.heldOctets, 257)
  copies.clear()
  assert.equal(copies.heldOctets, 0)
  assert.equal(copies.get('small 999', 5000), null)
})
