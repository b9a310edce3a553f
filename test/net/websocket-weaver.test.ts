/** Frames of ours between those of the server behind: every border, every split, and nothing lost or torn. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { releaseFrame, WebSocketWeaver } from '../../src/net/websocket-weaver.ts'

const HEAD = Buffer.from('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX: \r\r\n\r\n')

/** As a server prints it. RFC 6455 §5.2 */
function frame(opcode: number, payload: Buffer): Buffer {
  const { length } = payload
  if (length < 126) return Buffer.concat([Buffer.from([0x80 | opcode, length]), payload])
  const head = Buffer.alloc(length < 65_536 ? 4 : 10)
  head[0] = 0x80 | opcode
  head[1] = length < 65_536 ? 126 : 127
  if (length < 65_536) head.writeUInt16BE(length, 2)
  else head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, payload])
}

/** What comes behind the answer to the upgrade. */
function framesOf(octets: Buffer): { opcode: number; payload: Buffer }[] {
  assert.ok(octets.subarray(0, HEAD.length).equals(HEAD))
  const found: { opcode: number; payload: Buffer }[] = []
  for (let at = HEAD.length; at < octets.length; ) {
    const opcode = octets[at]! & 15
    const short = octets[at + 1]!
    const from = at + (short === 126 ? 4 : short === 127 ? 10 : 2)
    const length = short === 126 ? octets.readUInt16BE(at + 2) : short === 127 ? octets.readUInt32BE(at + 6) : short
    found.push({ opcode, payload: octets.subarray(from, from + length) })
    at = from + length
    assert.ok(at <= octets.length, 'a whole frame')
  }
  return found
}

const CLOSE = frame(8, Buffer.from([3, 232]))
const PING = frame(9, Buffer.from('are you there?'))

test('nothing goes before the answer to the upgrade, and what waited goes at its end', () => {
  const weaver = new WebSocketWeaver()
  assert.deepEqual(weaver.frame(Buffer.from('hello')), [])
  assert.equal(weaver.waitingOctets, 7)
  const out = weaver.push(Buffer.concat([HEAD, CLOSE]))
  assert.equal(weaver.waitingOctets, 0)
  assert.deepEqual(
    framesOf(Buffer.concat(out)).map(({ opcode, payload }) => [opcode, payload.toString('latin1')]),
    [
      [2, 'hello'],
      [8, '\x03\xe8'],
    ],
  )
})

test('at every split of what the server sends, a frame goes between two of its', () => {
  const sent = Buffer.concat([HEAD, PING, frame(2, Buffer.alloc(300, 'a')), frame(2, Buffer.alloc(70_000, 'b')), CLOSE])
  const splits = [...Array(HEAD.length + 340).keys(), sent.length - 70_010, sent.length - 6, sent.length - 1]
  for (const split of splits) {
    const weaver = new WebSocketWeaver()
    const out = [
      ...weaver.push(sent.subarray(0, split)),
      ...weaver.frame(Buffer.from('ours')),
      ...weaver.push(sent.subarray(split)),
    ]
    const frames = framesOf(Buffer.concat(out))
    assert.equal(frames.filter(({ payload }) => payload.toString() === 'ours').length, 1, `split at ${split}`)
    const others = frames.filter(({ payload }) => payload.toString() !== 'ours')
    assert.deepEqual(
      others.map(({ opcode, payload }) => [opcode, payload.length]),
      [
        [9, 14],
        [2, 300],
        [2, 70_000],
        [8, 2],
      ],
      `split at ${split}`,
    )
  }
})

test('frames of every form of length; memory that was given back serves the next, and only then', () => {
  const weaver = new WebSocketWeaver()
  weaver.push(HEAD)
  const all: Buffer[] = [HEAD]
  const kept: Buffer[] = []
  for (const size of [0, 1, 125, 126, 20_000, 65_535, 65_536, 65_537, 200_000]) {
    const frames = weaver.frame(Buffer.alloc(size, String(size)))
    all.push(...frames.map((one) => Buffer.from(one)))
    kept.push(...frames)
  }
  assert.ok(Buffer.concat([HEAD, ...kept]).equals(Buffer.concat(all)), 'none lies in the memory of another')
  for (const one of kept) releaseFrame(one)
  const again = weaver.frame(Buffer.alloc(30_000, 'again'))
  assert.ok(kept.some(({ buffer }) => buffer === again[0]!.buffer))
  const payloads = framesOf(Buffer.concat([...all, ...again])).map(({ payload }) => payload)
  assert.deepEqual(
    payloads.map(({ length }) => length),
    [0, 1, 125, 126, 20_000, 65_535, 65_536, 65_537, 200_000, 30_000],
  )
  assert.ok(payloads[4]!.equals(Buffer.alloc(20_000, '20000')))
})

test('fuzz: whatever comes in whatever pieces, the server’s octets keep their order and ours stay whole', () => {
  const step = fc.oneof(
    fc.record({ ours: fc.uint8Array({ maxLength: 300 }) }),
    fc.record({ theirs: fc.constantFrom(PING, CLOSE, frame(10, Buffer.alloc(0)), frame(2, Buffer.alloc(400, 'z'))) }),
  )
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 20 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
      (steps, sizes) => {
        const weaver = new WebSocketWeaver()
        const out: Buffer[] = []
        const put = (octets: Buffer): void => {
          for (let at = 0; at < octets.length; ) {
            const size = sizes.next().value as number
            out.push(...weaver.push(octets.subarray(at, at + size)))
            at += size
            if (size % 7 === 0) out.push(...weaver.frame(Buffer.from('amid')))
          }
        }
        put(HEAD)
        for (const one of steps) {
          if ('ours' in one) out.push(...weaver.frame(Buffer.from(one.ours)).map((ours) => Buffer.from(ours)))
          else put(one.theirs)
        }
        assert.equal(weaver.waitingOctets, 0)
        framesOf(Buffer.concat(out))
      },
    ),
  )
})
