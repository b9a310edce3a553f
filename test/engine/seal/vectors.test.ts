/** Sealing and opening against what the C gateway made (message-format.md §4, §5, §6). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GatewayError } from '../../../src/base/errors.ts'
import { contentOf } from './content.ts'
import { openStream, plainOpen, readPart } from './plain-reader.ts'
import { KEY, open, seal } from './through.ts'
import { VECTOR_MESSAGES, type VectorMessage } from './vectors.ts'

/** The C gateway cut its ciphertext (test/vectors/README.md). */
const CUT = '13-unterminated'
/** It sealed the last header as body, where no blank line follows; and took an inner boundary for the outer one. */
const MISREAD: ReadonlySet<string> = new Set(['15-no-blank-line', '22-boundary-prefix'])

const byName = (name: string) => VECTOR_MESSAGES.find((v) => v.name === name)!

/** The default banners, as they stand in a message of the C gateway. */
const C_BANNERS = byName('01-plain')
  .encrypted.toString('latin1')
  .split(/\r\n----VESmail-injected-[0-9a-f]{40}(?:--)?\r\n/)
  .filter((part) => part.startsWith('X-VESmail-Part: banner\r\n'))
  .map((part) => Buffer.from(part.slice('X-VESmail-Part: banner\r\n'.length), 'latin1'))

const sealAsC = (vector: VectorMessage) =>
  seal(vector.plain, {
    options: { settings: { banners: C_BANNERS } },
    answer: { key: vector.key, verify: /X-VESmail-Verify: (.*)\r\n/.exec(vector.encrypted.toString('latin1'))![1]! },
  })

test('what the C gateway sealed opens to the content of the original', () => {
  assert.equal(VECTOR_MESSAGES.length, 24)
  for (const { name, plain, encrypted, key } of VECTOR_MESSAGES) {
    if (name === CUT) continue
    const opened = open(encrypted, key)
    if (MISREAD.has(name)) assert.deepEqual(opened, byName(name).decrypted, name)
    else assert.deepEqual(contentOf(opened), contentOf(plain), name)
  }
})

test('a ciphertext that the C gateway cut short is refused', () => {
  const { encrypted, key } = byName(CUT)
  assert.throws(
    () => open(encrypted, key),
    (error: GatewayError) => error.code === 'SEAL_BROKEN',
  )
})

test('what we seal opens to the very octets', () => {
  for (const { name, plain } of VECTOR_MESSAGES) assert.deepEqual(open(seal(plain)), plain, name)
})

test('what we seal, a reader that knows only §5 opens to the same content', () => {
  for (const { name, plain } of VECTOR_MESSAGES) {
    const opened = plainOpen(seal(plain), KEY.keyString)
    assert.deepEqual(contentOf(opened), contentOf(plain), name)
  }
})

test('a §5 reader shows at most one extra header, and only where there is one', () => {
  for (const { name, plain } of VECTOR_MESSAGES) {
    const text = plainOpen(seal(plain), KEY.keyString).toString('latin1')
    const root = readPart(text).headers.filter((h) => h.startsWith('X-VESmail-'))
    assert.deepEqual(
      root.map((h) => h.split(':')[0]),
      ['X-VESmail-Exact'],
      name,
    )
  }
})

test('what we seal has the structure that the C gateway gives it, header by header', () => {
  // With us nothing is cut or misread, and signed parts are leaves (§3).
  const ours = new Set([CUT, ...MISREAD, '24-signed'])
  for (const vector of VECTOR_MESSAGES) {
    if (ours.has(vector.name)) continue
    const expected = structure(vector.encrypted, vector.key.keyString)
    assert.deepEqual(structure(sealAsC(vector), vector.key.keyString), expected, vector.name)
  }
})

/** The sealed text, with what is random replaced by what it means; our exactness headers left out. */
function structure(sealed: Buffer, key: Buffer): string[] {
  const boundaries = new Map<string, string>()
  const text = sealed
    .toString('latin1')
    .replace(/--VESmail-injected-[0-9a-f]{40}/g, (b) => {
      if (!boundaries.has(b)) boundaries.set(b, `(injected ${boundaries.size})`)
      return boundaries.get(b)!
    })
    .replace(/X-VESmail-Header: ([A-Za-z0-9+/=\s]*?)(\r?\n)(?![\t ])/g, (_, value: string, eol: string) => {
      const plain = openStream(Buffer.from(value, 'base64'), key).toString('latin1')
      return plain.startsWith('X-VESmail-Exact:') ? '' : `sealed ${JSON.stringify(plain)} ${value.length}${eol}`
    })
    .replace(
      /(Content-Transfer-Encoding: base64\r?\n\r?\n)([A-Za-z0-9+/=\r\n]*?)(?=\r?\n(?:\r?\n)*--|$)/g,
      (_, head: string, body: string) => {
        const plain = openStream(Buffer.from(body, 'base64'), key).toString('base64')
        return `${head}sealed body ${plain}, ${body.length} octets`
      },
    )
  return text.split('\n')
}
