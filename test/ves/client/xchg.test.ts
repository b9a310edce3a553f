import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Secret } from '../../../src/base/secret.ts'
import { parseXchg, printXchg } from '../../../src/ves/client/xchg.ts'

const entry = (userId: number, keyId: number, veskey: string) => ({
  userId,
  keyId,
  veskey: new Secret(Buffer.from(veskey)),
})
const open = (entries: ReturnType<typeof parseXchg>) =>
  entries.map(({ userId, keyId, veskey }) => [userId, keyId, veskey.expose().toString()])

describe('X-VESmail-Xchg', () => {
  test('is written as the specification says', () => {
    assert.equal(printXchg([entry(1, 2, 'abc')]), '[[1,2,"abc"]]')
    assert.equal(printXchg([entry(1, 2, 'abc'), entry(3, 4, 'd"e')]), '[[1,2,"abc"],\r\n\t[3,4,"d\\"e"]]')
    assert.equal(printXchg([]), null)
  })

  test('comes back, folded or not', () => {
    const printed = printXchg([entry(1, 2, 'abc'), entry(3, 4, 'é\r\nBcc: x')])!
    assert.ok(!printed.replaceAll(',\r\n\t', '').includes('\n'))
    assert.deepEqual(open(parseXchg(printed)), [
      [1, 2, 'abc'],
      [3, 4, 'é\r\nBcc: x'],
    ])
    assert.deepEqual(open(parseXchg(printed.replaceAll('\r\n\t', '\n '))), open(parseXchg(printed)))
  })

  test('what makes no sense is ignored', () => {
    for (const value of [
      '',
      '[',
      '{}',
      'null',
      '[1,2]',
      '[["1",2,"a"]]',
      '[[1,2]]',
      '[[1.5,2,"a"]]',
      'x'.repeat(300_000),
    ]) {
      assert.deepEqual(parseXchg(value), [], value.slice(0, 20))
    }
    assert.deepEqual(open(parseXchg('[[1,2,null],[3,4,"ok"],7]')), [[3, 4, 'ok']])
  })

  test('fuzz: never more than a list', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (value) => Array.isArray(parseXchg(value))))
  })
})
