/** The digest of what stands in plain: by its definition, however it is cut, and what white space counts. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { Structure } from '../../../src/engine/seal/structure.ts'
import { randomPieces, seededRandom } from './through.ts'

function structureOf(text: string, pieces: (bytes: Buffer) => Iterable<Buffer> = (bytes) => [bytes]): Structure {
  const structure = new Structure()
  for (const piece of pieces(Buffer.from(text, 'latin1'))) structure.push(piece)
  return structure
}

/** As docs/exactness.md says. */
function defined(text: string): string {
  let rest = Buffer.from(
    text
      .replace(/[ \t\r]+/g, ' ')
      .replace(/ ?\n/g, '\n')
      .replace(/ $/, '')
      .replace(/\n+$/, ''),
    'latin1',
  )
  const sha256 = (octets: Buffer) => createHash('sha256').update(octets).digest()
  let block = rest.subarray(0, 4096)
  for (rest = rest.subarray(4096); rest.length > 0; rest = rest.subarray(4064)) {
    block = Buffer.concat([sha256(block), rest.subarray(0, 4064)])
  }
  return sha256(block).toString('base64').slice(0, 12)
}

test('the digest is as it is defined, at any length and in any pieces', () => {
  const random = seededRandom('structure')
  for (const octets of [0, 1, 511, 512, 513, 4095, 4096, 4097, 8160, 8161, 20000]) {
    const dense = random(octets).toString('base64').slice(0, octets)
    const airy = random(octets)
      .toString('latin1')
      .replace(/[\x80-\xff]/g, (c) => ' \t\r\n'[c.charCodeAt(0) & 3]!)
    for (const text of [dense, airy]) {
      assert.equal(structureOf(text).digest, defined(text), `${octets} octets`)
      assert.deepEqual(structureOf(text, randomPieces(text)).whole, structureOf(text).whole)
    }
  }
})

test('line ends and blanks that servers change count for nothing, others do', () => {
  const of = (text: string) => structureOf(text).digest
  for (const same of ['a\r\nb c\r\n', 'a \t\nb\t c\n', 'a\r\r\nb  c']) assert.equal(of(same), of('a\nb c\n'))
  for (const other of ['a\n\nb c', 'a b c', 'a\n b c', 'a\nbc', '\na\nb c', 'a\nb d'])
    assert.notEqual(of(other), of('a\nb c'))
  assert.deepEqual([structureOf('a\n\r\n \n').whole.lineEnds, structureOf('a').whole.lineEnds], [3, 0])
})
