/** The end of data and nothing but the end: RFC 5321 §4.1.1.4, §4.5.2, and the ways around it (SMTP smuggling). */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { DotDecoder } from '../../../src/engine/smtp/dot-decoder.ts'
import { DotEncoder } from '../../../src/engine/smtp/dot-encoder.ts'

function decode(chunks: Buffer[]): { message: string; rest: string | null } {
  const decoder = new DotDecoder()
  let message = ''
  let rest: string | null = null
  for (const chunk of chunks) {
    if (rest !== null) {
      rest += chunk.toString('latin1')
      continue
    }
    const step = decoder.push(Buffer.from(chunk))
    message += Buffer.concat(step.pieces).toString('latin1')
    if (step.rest !== null) rest = step.rest.toString('latin1')
  }
  return { message, rest }
}

function encode(chunks: Buffer[]): string {
  const encoder = new DotEncoder()
  return Buffer.concat([...chunks.flatMap((chunk) => encoder.push(Buffer.from(chunk))), ...encoder.end()]).toString(
    'latin1',
  )
}

function chunksOf(input: Buffer, octets: number): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0; at < input.length; at += octets) chunks.push(input.subarray(at, at + octets))
  return chunks
}

/** Same octets, every chunk size, and every single cut: the outcome must not change. */
function everySplit<T>(text: string, run: (chunks: Buffer[]) => T): T {
  const input = Buffer.from(text, 'latin1')
  const whole = run([input])
  for (let n = 1; n < input.length; n++) {
    assert.deepEqual(run(chunksOf(input, n)), whole, `differs in chunks of ${n} octets`)
    assert.deepEqual(run([input.subarray(0, n), input.subarray(n)]), whole, `differs when cut at ${n}`)
  }
  return whole
}

const DECODED: [string, string, string | null][] = [
  ['a\r\nb\r\n.\r\n', 'a\r\nb\r\n', ''],
  ['.\r\n', '', ''],
  ['.\r\nMAIL', '', 'MAIL'],
  ['..\r\n.\r\n', '.\r\n', ''],
  ['.a\r\n..b\r\n...c\r\n.\r\nQUIT\r\n', 'a\r\n.b\r\n..c\r\n', 'QUIT\r\n'],
  ['a.\r\n.\r\n', 'a.\r\n', ''],
  ['a\r\n', 'a\r\n', null],
  // Not the end, whoever may think so.
  ['a\n.\nb\r\n.\r\n', 'a\n.\nb\r\n', ''],
  ['a\n.\r\nb\r\n.\r\n', 'a\n.\r\nb\r\n', ''],
  ['a\r.\rb\r\n.\r\n', 'a\r.\rb\r\n', ''],
  ['a\r.\r\nb\r\n.\r\n', 'a\r.\r\nb\r\n', ''],
  ['a\r\n.\nb\r\n.\r\n', 'a\r\n\nb\r\n', ''],
  ['a\r\n.\rb\r\n.\r\n', 'a\r\n\rb\r\n', ''],
  ['a\r\n.\r\rb\r\n.\r\n', 'a\r\n\r\rb\r\n', ''],
  ['a\r\n.\r\r\nb\r\n.\r\n', 'a\r\n\r\r\nb\r\n', ''],
  ['a\r\n.\r.\r\n.\r\n', 'a\r\n\r.\r\n', ''],
  ['a\r\n. \r\nb\r\n.\r\n', 'a\r\n \r\nb\r\n', ''],
  ['a\r\n.\0\r\nb\r\n.\r\n', 'a\r\n\0\r\nb\r\n', ''],
  ['a\r\n\0.\r\nb\r\n.\r\n', 'a\r\n\0.\r\nb\r\n', ''],
  ['a\r\r\n.\r\n', 'a\r\r\n', ''],
]
for (const [input, message, rest] of DECODED) {
  test(`decode ${JSON.stringify(input)}`, () => assert.deepEqual(everySplit(input, decode), { message, rest }))
}

const ENCODED: [string, string][] = [
  ['', '.\r\n'],
  ['a\r\n', 'a\r\n.\r\n'],
  ['a', 'a\r\n.\r\n'],
  ['.', '..\r\n.\r\n'],
  ['.a\r\n.b\r\n..c\r\n', '..a\r\n..b\r\n...c\r\n.\r\n'],
  // Bare octets stay where no dot follows.
  ['a\nb\rc\r\n', 'a\nb\rc\r\n.\r\n'],
  ['a\r\r\nb\n\nc\r\n', 'a\r\r\nb\n\nc\r\n.\r\n'],
  // One behind which a dot stands becomes CRLF.
  ['a\n.\nb', 'a\r\n..\nb\r\n.\r\n'],
  ['a\n.\r\nb', 'a\r\n..\r\nb\r\n.\r\n'],
  ['a\r.\rb', 'a\r\n..\rb\r\n.\r\n'],
  ['a\r\n.\nb', 'a\r\n..\nb\r\n.\r\n'],
  ['a\r\r.\r\n', 'a\r\r\n..\r\n.\r\n'],
  ['a\r\n\n.x', 'a\r\n\r\n..x\r\n.\r\n'],
  ['a\n', 'a\r\n.\r\n'],
  ['a\r', 'a\r\n.\r\n'],
  ['\n.\n.\n.', '\r\n..\r\n..\r\n..\r\n.\r\n'],
]
for (const [input, output] of ENCODED) {
  test(`encode ${JSON.stringify(input)}`, () => assert.equal(everySplit(input, encode), output))
}

const octets = fc
  .array(fc.constantFrom('a', '.', '\r', '\n', '\r\n', '\r\n.', '\0', ' '), { maxLength: 24 })
  .map((parts) => parts.join(''))

test('decoding undoes encoding, but for line ends that a dot made CRLF', () => {
  fc.assert(
    fc.property(octets, (text) => {
      const back = decode([Buffer.from(encode([Buffer.from(text, 'latin1')]), 'latin1')])
      assert.equal(back.rest, '')
      const expected = text.replace(/\r\n|[\r\n](?=\.)/g, '\r\n')
      assert.equal(back.message, /(?:^|\r\n)$/.test(expected) ? expected : `${expected.replace(/[\r\n]$/, '')}\r\n`)
    }),
    { numRuns: 2000 },
  )
})

test('no server that takes LF or CR for line ends sees an end before ours', () => {
  fc.assert(
    fc.property(octets, (text) => {
      const sent = encode([Buffer.from(text, 'latin1')])
      assert.equal(
        sent.search(/(?:^|[\r\n])\.(?:[\r\n]|$)/) >= sent.length - '\n.\r\n'.length || sent === '.\r\n',
        true,
        JSON.stringify(sent),
      )
    }),
    { numRuns: 2000 },
  )
})

test('any octets in any chunks: the same as in one', () => {
  fc.assert(
    fc.property(octets, fc.integer({ min: 1, max: 5 }), (text, n) => {
      const input = Buffer.from(text, 'latin1')
      assert.equal(encode(chunksOf(input, n)), encode([input]))
      assert.deepEqual(decode(chunksOf(input, n)), decode([input]))
    }),
  )
})
