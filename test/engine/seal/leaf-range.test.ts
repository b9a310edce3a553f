import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  type Base64Layout,
  CANONICAL_BASE64,
  encodeBase64Layout,
} from '../../../src/engine/mime/transfer/base64-layout.ts'
import { sealStream } from '../../../src/engine/seal/ciphers.ts'
import { NOTHING_SPECIAL } from '../../../src/engine/seal/exactness.ts'
import { leafRange } from '../../../src/engine/seal/leaf-range.ts'
import { fastPath } from '../../../src/engine/seal/native.ts'

const key = { algo: 'AES256GCM1K', keyString: Buffer.alloc(44, 9) } as const

/** A plaintext of `octets`, its opened text and the sealed body as the server holds them. */
function leaf(octets: number, layout: Base64Layout): { text: Buffer; sealed: Buffer } {
  const plain = Buffer.from(Array.from({ length: octets }, (_, i) => (i * 7 + (i >> 8)) & 255))
  const stream = sealStream(key.keyString, plain, Buffer.alloc(16, 3))
  return {
    text: encodeBase64Layout(fastPath().codecs, plain, layout),
    sealed: encodeBase64Layout(fastPath().codecs, stream, CANONICAL_BASE64),
  }
}

describe('leafRange', () => {
  it('opens any range to what stands there, and fetches little more', () => {
    for (const layout of [
      CANONICAL_BASE64,
      { ...CANONICAL_BASE64, width: 60, ending: '' },
      { ...CANONICAL_BASE64, width: 64, padded: false, before: '\r\n' },
    ]) {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 9000 }), fc.nat(), fc.nat({ max: 3000 }), (octets, from, count) => {
          const { text, sealed } = leaf(octets, layout)
          const start = from % text.length
          const end = Math.min(text.length, start + count)
          const about = { key, encoding: { kind: 'base64', layout }, exact: NOTHING_SPECIAL } as const
          const range = leafRange(about, octets, start, end)!
          const fetched = sealed.subarray(range.sealedStart, range.sealedEnd)
          assert.equal(range.open(Buffer.from(fetched)).toString('latin1'), text.toString('latin1', start, end))
          assert.ok(fetched.length <= (end - start) * 1.1 + 3 * 1500, `${fetched.length} octets for ${end - start}`)
        }),
        { numRuns: 60 },
      )
    }
  })

  it('notices altered octets', () => {
    const { sealed } = leaf(5000, CANONICAL_BASE64)
    const about = { key, encoding: { kind: 'base64', layout: CANONICAL_BASE64 }, exact: NOTHING_SPECIAL } as const
    const range = leafRange(about, 5000, 3000, 3100)!
    const fetched = Buffer.from(sealed.subarray(range.sealedStart, range.sealedEnd))
    fetched[100] = fetched[100] === 0x41 ? 0x42 : 0x41
    assert.throws(() => range.open(fetched), { code: 'SEAL_BROKEN' })
    assert.throws(() => range.open(fetched.subarray(0, 500)), { code: 'SEAL_BROKEN' })
  })
})
