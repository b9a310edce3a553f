import assert from 'node:assert/strict'
import { test } from 'node:test'
import { warningsOf } from '../../src/cli/decrypt.ts'
import { Opener } from '../../src/engine/seal/opener.ts'

const { facts } = new Opener({ maxbufOctets: 1000 })

test('a message that is whole gives no warning', () => {
  assert.deepEqual(warningsOf(null), [])
  assert.deepEqual(warningsOf({ facts }), [])
})

test('parts that are missing, and layouts that are lost, are counted', () => {
  const [one] = warningsOf({ facts: { ...facts, missingParts: 1 } })
  assert.match(one!, /^warning: a part of the message, as it was sealed, is missing/)
  const two = warningsOf({ facts: { ...facts, missingParts: 2, layoutLost: 3 } })
  assert.match(two[0]!, /2 parts of the message, as it was sealed, are missing/)
  assert.match(two[1]!, /3 large parts are laid out otherwise/)
})

test('an end that is missing is told as that', () => {
  const [end, ...none] = warningsOf({ facts: { ...facts, missingParts: 1, endMissing: true } })
  assert.match(end!, /^warning: the end of the message, as it was sealed, is missing/)
  assert.deepEqual(none, [])
  assert.equal(warningsOf({ facts: { ...facts, missingParts: 2, endMissing: true } }).length, 2)
})

test('parts that are not sealed, and what was altered around the sealed ones, are told', () => {
  const [one, ...none] = warningsOf({ facts: { ...facts, unsealedParts: 1 } })
  assert.match(one!, /^warning: a part of the message was not sealed/)
  assert.deepEqual(none, [])
  assert.match(warningsOf({ facts: { ...facts, unsealedParts: 2 } })[0]!, /2 parts of the message were not sealed/)
  assert.match(warningsOf({ facts: { ...facts, altered: true } })[0]!, /was altered on the way$/)
})
