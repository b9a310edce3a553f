import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { countLines, OddLineEnds } from '../../../src/engine/mime/lines.ts'

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

test('odd line ends, however cut: no CR before an LF, more than one, a CR at the end', () => {
  const cases = [
    ['', false, false],
    ['a\r\nb\r\n\r\n', false, false],
    ['a\rb\r\r c\r\n', false, false],
    ['a\n', true, true],
    ['a\r\n\nb\r\n', true, true],
    ['a\r\r\nb\r\n', true, true],
    ['\r\r\r\n', true, true],
    ['\n', true, true],
    ['a\r\nb\r', false, true],
    ['a\r\r', false, true],
  ] as const
  for (const [text, found, foundAtEnd] of cases) {
    const octets = Buffer.from(text)
    for (const size of [1, 2, 3, 64]) {
      const odd = new OddLineEnds()
      for (let at = 0; at < octets.length; at += size) odd.push(octets.subarray(at, at + size))
      assert.deepEqual([odd.found, odd.foundAtEnd], [found, foundAtEnd], JSON.stringify([text, size]))
    }
  }
})
