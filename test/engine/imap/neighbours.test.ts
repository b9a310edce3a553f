import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { joined } from '../../../src/engine/imap/neighbours.ts'

describe('joined', () => {
  it('gives a view of neighbours, a copy of others, and always the same octets', () => {
    const whole = Buffer.from(Array.from({ length: 64 }, (_, i) => i))
    fc.assert(
      fc.property(fc.array(fc.nat(64)), fc.boolean(), (at, torn) => {
        const cuts = [0, ...at.sort((a, b) => a - b), 64]
        const parts = cuts.slice(1).map((end, i) => whole.subarray(cuts[i], end))
        const own = torn ? parts.map((part) => Buffer.from(part)) : parts
        const result = joined(own)
        assert.deepEqual(result, whole)
        if (!torn) assert.equal(result.buffer, whole.buffer)
      }),
    )
    assert.equal(joined([]).length, 0)
  })

  it('does not take for neighbours what only touches in another order', () => {
    const whole = Buffer.from('abcdef')
    assert.equal(joined([whole.subarray(3), whole.subarray(0, 3)]).toString(), 'defabc')
  })
})
