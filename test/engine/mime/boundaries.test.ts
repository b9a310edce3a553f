import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BoundarySet } from '../../../src/engine/mime/boundaries.ts'

const match = (set: BoundarySet, line: string, final = true) => set.match(Buffer.from(line), 0, line.length, final)

test('of several boundaries that a line begins with, the longest counts', () => {
  const set = new BoundarySet()
  set.open('a', 0)
  set.open('ab', 1)
  assert.deepEqual(match(set, '--abc'), { found: 'yes', frame: 1, octets: 4, close: false })
  assert.deepEqual(match(set, '--a--'), { found: 'yes', frame: 0, octets: 5, close: true })
  set.close(1)
  assert.deepEqual(match(set, '--ab'), { found: 'yes', frame: 0, octets: 3, close: false })
})

test('of two equal boundaries the inner one counts', () => {
  const set = new BoundarySet()
  set.open('a', 0)
  set.open('a', 3)
  assert.deepEqual(match(set, '--a'), { found: 'yes', frame: 3, octets: 3, close: false })
  set.close(3)
  assert.deepEqual(match(set, '--a'), { found: 'yes', frame: 0, octets: 3, close: false })
  set.close(0)
  assert.deepEqual(match(set, '--a'), { found: 'no' })
  assert.equal(set.size, 0)
})

test('an unfinished line waits only while it may still be a delimiter', () => {
  const set = new BoundarySet()
  set.open('ab', 0)
  for (const line of ['', '-', '--', '--a', '--ab', '--ab-']) assert.equal(match(set, line, false).found, 'maybe', line)
  for (const line of ['x', '-x', '--x', '--ax']) assert.equal(match(set, line, false).found, 'no', line)
  for (const line of ['--abx', '--ab-x', '--ab--']) assert.equal(match(set, line, false).found, 'yes', line)
})

test('boundaries that begin with each other clash, both ways', () => {
  const set = new BoundarySet()
  assert.equal(set.clashes('b'), false)
  set.open('bb', 0)
  for (const boundary of ['b', 'bb', 'bbb']) assert.equal(set.clashes(boundary), true, boundary)
  for (const boundary of ['a', 'ba']) assert.equal(set.clashes(boundary), false, boundary)
})
