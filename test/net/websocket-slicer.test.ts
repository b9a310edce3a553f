import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MAX_SLICE_OCTETS, WebSocketSlicer } from '../../src/net/websocket-slicer.ts'

/** A client's frame (RFC 6455 §5.2), its length in the shortest form or another. */
function frame(opcode: number, payload: Buffer, { fin = true, mask = [1, 2, 3, 4], form = 0 } = {}): Buffer {
  const size = payload.length
  const bits = form || (size < 126 ? 7 : size < 65_536 ? 16 : 64)
  const head = Buffer.alloc(bits === 7 ? 2 : bits === 16 ? 4 : 10)
  head[0] = (fin ? 0x80 : 0) | opcode
  head[1] = 0x80 | (bits === 7 ? size : bits === 16 ? 126 : 127)
  if (bits === 16) head.writeUInt16BE(size, 2)
  if (bits === 64) head.writeBigUInt64BE(BigInt(size), 2)
  return Buffer.concat([head, Buffer.from(mask), Buffer.from(payload.map((octet, i) => octet ^ mask[i % 4]!))])
}

/** A simple reader of what came out: whole frames only, each with FIN. */
function read(octets: Buffer): { opcode: number; payload: Buffer }[] {
  const found: { opcode: number; payload: Buffer }[] = []
  for (let at = 0; at < octets.length; ) {
    assert.equal(octets[at]! & 0xf0, 0x80, 'FIN and nothing reserved')
    const short = octets[at + 1]! & 127
    assert.equal(octets[at + 1]! & 128, 128, 'masked')
    const size = short === 126 ? octets.readUInt16BE(at + 2) : short
    assert.ok(short < 127 && size <= MAX_SLICE_OCTETS)
    const begin = at + 2 + (short === 126 ? 2 : 0)
    const mask = octets.subarray(begin, begin + 4)
    const payload = octets.subarray(begin + 4, begin + 4 + size)
    assert.equal(payload.length, size, 'whole')
    found.push({ opcode: octets[at]! & 15, payload: Buffer.from(payload.map((octet, i) => octet ^ mask[i % 4]!)) })
    at = begin + 4 + size
  }
  return found
}

function sliced(octets: Buffer, chunk = octets.length): { data: Buffer; control: string[] } {
  const slicer = new WebSocketSlicer()
  const out: Buffer[] = []
  for (let at = 0; at < octets.length; at += chunk) out.push(...slicer.push(octets.subarray(at, at + chunk)))
  const frames = read(Buffer.concat(out))
  return {
    data: Buffer.concat(frames.filter(({ opcode }) => opcode < 8).map(({ payload }) => payload)),
    control: frames
      .filter(({ opcode }) => opcode >= 8)
      .map(({ opcode, payload }) => `${opcode}:${payload.toString('hex')}`),
  }
}

test('frames of every size, in every form of length, keep their octets', () => {
  for (const size of [0, 1, 2, 3, 125, 126, 127, 32_767, 32_768, 32_769, 65_535, 65_536, 300_001]) {
    const payload = Buffer.alloc(size, 'abcdefg')
    for (const form of [7, 16, 64].filter((bits) => size < 126 || (bits === 16 && size < 65_536) || bits === 64)) {
      assert.deepEqual(sliced(frame(2, payload, { form })).data, payload, `${size} octets in ${form} bits`)
    }
  }
})

test('fragments with control frames between them, at every split', () => {
  const all = Buffer.concat([
    frame(1, Buffer.from('one '), { fin: false }),
    frame(9, Buffer.from('ping'), { mask: [9, 8, 7, 6] }),
    frame(0, Buffer.from('two '), { fin: false, mask: [0, 0, 0, 0] }),
    frame(0, Buffer.alloc(0), { fin: false }),
    frame(0, Buffer.from('three'), { mask: [255, 1, 0, 17] }),
    frame(2, Buffer.from(' four')),
    frame(8, Buffer.from([3, 0xe8])),
  ])
  const expected = { data: Buffer.from('one two three four'), control: ['9:70696e67', '8:03e8'] }
  for (let chunk = 1; chunk <= all.length; chunk++) assert.deepEqual(sliced(all, chunk), expected, `${chunk}`)
})

test('a frame is passed on as it comes, not when it is whole', () => {
  const slicer = new WebSocketSlicer()
  const all = frame(2, Buffer.alloc(1_000_000, 'x'))
  const out = Buffer.concat(slicer.push(all.subarray(0, 500_000)))
  assert.equal(
    read(out).reduce((sum, { payload }) => sum + payload.length, 0),
    500_000 - 14,
  )
})

test('a breach ends it with 1002 and nothing more', () => {
  const unmasked = frame(2, Buffer.from('x'))
  unmasked[1] = 1
  const reserved = frame(2, Buffer.from('x'))
  reserved[0] = 0xc2
  const huge = frame(2, Buffer.alloc(0), { form: 64 })
  huge.fill(0xff, 2, 10)
  for (const bad of [
    unmasked,
    reserved,
    huge,
    frame(0, Buffer.from('nothing to go on with')),
    Buffer.concat([frame(1, Buffer.from('a'), { fin: false }), frame(1, Buffer.from('b'))]),
    frame(9, Buffer.from('x'), { fin: false }),
    frame(9, Buffer.alloc(126)),
    frame(3, Buffer.from('x')),
    frame(11, Buffer.from('x')),
  ]) {
    const { control, data } = sliced(Buffer.concat([bad, frame(2, Buffer.from('after'))]))
    assert.deepEqual(control, ['8:03ea'])
    assert.ok(!data.includes('after'))
  }
  // Four octets of a mask would be waited for in vain.
  assert.deepEqual(sliced(Buffer.from([0x82, 1])).control, ['8:03ea'])
})

test('fuzz: legal frames keep their octets at every split; anything else gives whole frames', () => {
  const payload = fc.uint8Array({ maxLength: 300 }).map((octets) => Buffer.from(octets))
  const mask = fc.array(fc.nat(255), { minLength: 4, maxLength: 4 })
  fc.assert(
    fc.property(
      fc.array(fc.tuple(payload, mask), { maxLength: 6 }),
      fc.integer({ min: 1, max: 400 }),
      (parts, chunk) => {
        const frames = parts.map(([octets, key], i) =>
          frame(i === 0 ? 2 : 0, octets, { fin: i === parts.length - 1, mask: key }),
        )
        const { data, control } = sliced(Buffer.concat(frames), chunk)
        assert.deepEqual(data, Buffer.concat(parts.map(([octets]) => octets)))
        assert.deepEqual(control, [])
      },
    ),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 50 }), (octets, chunk) => {
      const slicer = new WebSocketSlicer()
      let sent = 0
      for (let at = 0; at < octets.length; at += chunk) {
        for (const out of slicer.push(Buffer.from(octets.subarray(at, at + chunk)))) sent += out.length
      }
      assert.ok(sent <= 8 * octets.length + 8)
    }),
  )
})
