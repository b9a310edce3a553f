import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { publicRandom } from '../../../src/engine/seal/random.ts'

describe('random octets that may be seen', () => {
  it('are never given twice, in any sizes', () => {
    const seen = new Set<string>()
    const regions = new Map<ArrayBufferLike, number>()
    for (let i = 0; i < 5000; i++) {
      const octets = publicRandom([16, 12, 20, 64, 16][i % 5]!)
      assert.equal(seen.has(octets.toString('hex')), false)
      seen.add(octets.toString('hex'))
      // Views of one stock follow each other and do not overlap.
      assert.ok(octets.byteOffset >= (regions.get(octets.buffer) ?? 0))
      regions.set(octets.buffer, octets.byteOffset + octets.length)
    }
    assert.ok(regions.size > 10)
  })

  it('come in any number', () => {
    for (const octets of [0, 1, 64, 65, 4096, 10_000]) assert.equal(publicRandom(octets).length, octets)
  })
})
