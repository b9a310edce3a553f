import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CANONICAL_BASE64 } from '../../../src/engine/mime/transfer/base64-layout.ts'
import {
  type Exactness,
  isNothingSpecial,
  NOTHING_SPECIAL,
  parseExactness,
  printExactness,
} from '../../../src/engine/seal/exactness.ts'

const STREAM = Buffer.from('0f1e2d3c4b5a69788796a5b4c3d2e1f0ffff', 'hex')

const FULL: Exactness = {
  messageIdAdded: true,
  lastHeaderOpen: true,
  blank: Buffer.from(' \t\r\n'),
  inserted: [
    { back: 0, bytes: Buffer.from('Content-Disposition: inline\r\n') },
    { back: 12, bytes: Buffer.from('X: \0\xff;=\n', 'latin1') },
  ],
  replaced: [{ back: 1, bytes: Buffer.from('Message-Id: <a@b>') }],
  bareDelimiter: true,
  takesRest: true,
  layout: { ...CANONICAL_BASE64, width: 60, separator: ' \t\n', before: '\r\n', ending: '', padded: false },
  endingCounted: true,
  patch: Buffer.from([0, 1, 2, 255]),
  lateNonce: Buffer.from('0f1e2d3c4b5a69788796a5b4c3d2e1f0', 'hex'),
  place: { ordinal: 12, bound: Buffer.from('00ff1e2d', 'hex') },
  leaves: Buffer.from('0f1e2d3c4b5a6978', 'hex'),
  leafCount: 1234,
  endNonce: Buffer.from('ffeeddccbbaa99887766554433221100', 'hex'),
  structureSoFar: 'AbCd+/012345',
  structure: { digest: '/ABCdefg0123', lineEnds: 2 },
  sizes: {
    body: { octets: 1234, lines: null, sealedOctets: 2345 },
    parts: [
      { kind: 'message', octets: 100, lines: 3, sealedOctets: 200 },
      { kind: 'leaf', octets: 0, lines: 0, sealedOctets: null },
    ],
  },
  padded: true,
}

test('what is printed is parsed again', () => {
  for (const eol of ['\r\n', '\n'] as const) {
    assert.deepEqual(parseExactness(printExactness(FULL, STREAM, eol), STREAM), FULL)
    assert.deepEqual(parseExactness(printExactness(NOTHING_SPECIAL, STREAM, eol), STREAM), NOTHING_SPECIAL)
  }
  const sizes = { ...FULL.sizes!, parts: null }
  assert.deepEqual(parseExactness(printExactness({ ...FULL, sizes }, STREAM, '\n'), STREAM)?.sizes, sizes)
})

test('the documented form', () => {
  assert.equal(
    printExactness({ ...NOTHING_SPECIAL, messageIdAdded: true, sizes: FULL.sizes }, STREAM, '\r\n').toString(),
    'X-VESmail-Exact: 1 0f1e2d3c; a; s=1234..2345,m100.3.200,0.0.',
  )
  const lines = printExactness(FULL, STREAM, '\n').toString().split('\n')
  assert.ok(lines.every((line) => line.length <= 78))
  assert.ok(lines.slice(1).every((line) => line.startsWith('\t')))
})

test('only a header of this very stream, and of a version that we know, counts', () => {
  const printed = printExactness(FULL, STREAM, '\r\n')
  assert.equal(parseExactness(printed, Buffer.from('1f1e2d3c4b5a6978', 'hex')), null)
  assert.equal(parseExactness(Buffer.from('X-VESmail-Exact: 2 0f1e2d3c; a'), STREAM), null)
  assert.equal(parseExactness(Buffer.from('X-Other: 1 0f1e2d3c; a'), STREAM), null)
  assert.equal(parseExactness(Buffer.from('no header'), STREAM), null)
})

test('unknown keys are passed over, and what makes no sense says nothing', () => {
  const parse = (fields: string) => parseExactness(Buffer.from(`x-vesmail-exact: 1 0f1e2d3c;${fields}`), STREAM)
  assert.ok(isNothingSpecial(parse('zz=1; future')!))
  for (const fields of [
    's=1',
    's=1.2',
    's=-1.2.3',
    's=1.2.3,x',
    'l=',
    'l=76',
    'l=0p.rn..',
    'l=76p.xyz..',
    's=1.2.9999999999999999',
    'n=1',
    'n=1.00',
    'n=1.00ff1e2x',
    'n=.00ff1e2d',
  ]) {
    assert.ok(isNothingSpecial(parse(fields)!), fields)
  }
})

test('anything at all is parsed to something, or to nothing', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'aeikdlpswncxg=;:.,*m?019rnst\n') }), (fields) => {
      const exact = parseExactness(Buffer.from(`X-VESmail-Exact: 1 0f1e2d3c;${fields}`), STREAM)!
      assert.deepEqual(parseExactness(printExactness(exact, STREAM, '\n'), STREAM), exact)
    }),
  )
})
