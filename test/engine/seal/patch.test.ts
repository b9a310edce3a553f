import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../../src/base/errors.ts'
import { examineBase64, examineQuotedPrintable, looksEncoded } from '../../../src/engine/seal/body-examine.ts'
import { applyPatch, PatchBuilder, PatchReader } from '../../../src/engine/seal/patch.ts'

const built = (steps: (patch: PatchBuilder) => void) => {
  const patch = new PatchBuilder()
  steps(patch)
  return patch.build()
}

test('keeps, skips, puts in', () => {
  const patch = built((p) => {
    p.insert(Buffer.from('>'))
    p.keep(2)
    p.skip(3)
    p.insert(Buffer.from('XY'))
    p.insert(Buffer.from('Z'))
    p.keep(1)
  })
  assert.equal(applyPatch(patch, Buffer.from('abcdefgh')).toString(), '>abXYZfgh')
  assert.throws(
    () => applyPatch(patch, Buffer.from('abcd')),
    (e: GatewayError) => e.code === 'SEAL_BROKEN',
  )
})

test('the result does not depend on how the original comes', () => {
  const original = Buffer.from('0123456789'.repeat(20))
  const patch = built((p) => {
    for (let i = 0; i < 15; i++) {
      p.keep(i)
      p.skip(i % 4)
      p.insert(Buffer.from('-'.repeat(i % 3)))
    }
  })
  const whole = applyPatch(patch, original)
  for (let octets = 1; octets < original.length; octets++) {
    const reader = new PatchReader(patch)
    const out: Buffer[] = []
    for (let at = 0; at < original.length; at += octets) out.push(...reader.push(original.subarray(at, at + octets)))
    out.push(...reader.end())
    assert.deepEqual(Buffer.concat(out), whole, `differs at ${octets}`)
  }
})

test('a patch that is none is refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.uint8Array(), (patch, original) => {
      try {
        applyPatch(patch, Buffer.from(original))
      } catch (error) {
        assert.ok(error instanceof GatewayError && error.code === 'SEAL_BROKEN')
      }
    }),
  )
})

test('a mail program’s style costs next to nothing, at any size', () => {
  const line = 'caf=c3=a9 and so on, soft broken where this program likes to break them='
  const text = Buffer.from(`${line}\n`.repeat(14_000))
  const { patch } = examineQuotedPrintable(text)
  assert.ok(patch != null && patch.length < text.length / 50, `${patch?.length} octets for ${text.length}`)
})

test('every text has a layout or a patch', () => {
  const texts = fc.oneof(
    fc.string({ unit: fc.constantFrom(...'=\r\n aA3f'.split('')) }),
    fc.string({ unit: fc.constantFrom('QUJD', 'QQ==', '=', '\r\n', '\n', ' ', '-', 'A') }),
    fc.string({ unit: 'binary' }),
  )
  // The examination proves what it gives, by applying it; it throws if it does not fit.
  fc.assert(fc.property(texts, (text) => void examineBase64(Buffer.from(text, 'latin1'))))
  fc.assert(fc.property(texts, (text) => void examineQuotedPrintable(Buffer.from(text, 'latin1'))))
})

test('a claim of an encoding that the text denies', () => {
  assert.ok(looksEncoded(Buffer.from('QUJD\r\nQQ==\r\n'), 'base64'))
  assert.ok(!looksEncoded(Buffer.from('--b\r\nContent-Type: text/plain'), 'base64'))
  assert.ok(looksEncoded(Buffer.from('caf=C3=A9 =\r\nx=3D'), 'quoted-printable'))
  assert.ok(!looksEncoded(Buffer.from('Content-Type: text/plain; charset=utf-8'), 'quoted-printable'))
})
