import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByteQueue } from '../../src/base/byte-queue.ts'

const TEXT = Buffer.from('the quick brown fox jumps over the lazy dog')

function filled(size: number): ByteQueue {
  const queue = new ByteQueue()
  for (let at = 0; at < TEXT.length; at += size) queue.push(TEXT.subarray(at, at + size))
  return queue
}

test('takes the same octets whatever the pieces in which they came', () => {
  for (let size = 1; size <= TEXT.length; size++) {
    for (let n = 0; n <= TEXT.length; n++) {
      const queue = filled(size)
      assert.deepEqual(Buffer.from(queue.peek(n)), TEXT.subarray(0, n))
      assert.deepEqual(Buffer.from(queue.take(n)), TEXT.subarray(0, n))
      assert.equal(queue.length, TEXT.length - n)
      assert.deepEqual(Buffer.from(queue.takeAll()), TEXT.subarray(n))
      assert.equal(queue.length, 0)
    }
  }
})

test('finds an octet from any position, counted from the first octet not taken', () => {
  for (let size = 1; size <= TEXT.length; size++) {
    for (const taken of [0, 1, 7, 20]) {
      const queue = filled(size)
      queue.take(taken)
      const rest = TEXT.subarray(taken)
      for (let from = 0; from <= rest.length; from++) {
        assert.equal(queue.indexOf(0x6f, from), rest.indexOf(0x6f, from), `size ${size} taken ${taken} from ${from}`)
      }
    }
  }
})

test('chunks of large buffers come out without a copy and never span buffers', () => {
  const large = Buffer.concat(Array<Buffer>(100).fill(TEXT))
  const queue = new ByteQueue()
  for (let at = 0; at < large.length; at += 860) queue.push(large.subarray(at, at + 860))
  const out: Buffer[] = []
  while (queue.length > 0) out.push(queue.takeChunk(700))
  assert.ok(out.every((chunk) => chunk.length > 0 && chunk.length <= 700 && chunk.buffer === large.buffer))
  assert.deepEqual(Buffer.concat(out), large)
})

test('small buffers that pile up share one; what was given out does not change', () => {
  const queue = new ByteQueue()
  const out: Buffer[] = []
  const buffers = new Set<ArrayBufferLike>()
  for (let i = 0; i < 40_000; i++) {
    queue.push(Buffer.from([i & 0xff]))
    if (i % 1000 !== 999) continue
    const chunk = queue.takeChunk(700)
    out.push(chunk)
    buffers.add(chunk.buffer)
  }
  while (queue.length > 0) out.push(queue.takeChunk(5000))
  assert.deepEqual(Buffer.concat(out), Buffer.from(Array.from({ length: 40_000 }, (_, i) => i & 0xff)))
  assert.ok(out.length < 120, `${out.length} pieces`)
  assert.ok(buffers.size < 40, `${buffers.size} buffers`)
})

test('taking more than there is is a programming error', () => {
  assert.throws(() => filled(5).take(TEXT.length + 1), RangeError)
})
