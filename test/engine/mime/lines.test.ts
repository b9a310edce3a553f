import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { countLines } from '../../../src/engine/mime/lines.ts'

test('line feeds, wherever they stand', () => {
  const octets = fc.oneof(
    fc.uint8Array({ maxLength: 3000 }),
    fc.array(fc.constantFrom(10, 11, 0x8a, 9, 0), { maxLength: 3000 }),
  )
  fc.assert(
    fc.property(octets, fc.nat(4), (values, from) => {
      const bytes = Buffer.from(values).subarray(from)
      assert.equal(countLines(bytes), bytes.filter((octet) => octet === 10).length)
    }),
  )
  assert.equal(countLines(Buffer.alloc(100_001, '\n')), 100_001)
})
