import assert from 'node:assert/strict'
import { createCipheriv } from 'node:crypto'
import { it } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../../src/base/errors.ts'
import { CANONICAL_BASE64 } from '../../../src/engine/mime/transfer/base64-layout.ts'
import { type BodyDecoding, type BodyState, runBatch, startOpen, startSeal } from '../../../src/engine/seal/batch.ts'
import type { BodyEncoding } from '../../../src/engine/seal/body-encoding.ts'
import { openWhole, sealWhole } from '../../../src/engine/seal/ciphers.ts'
import type { MessageKey } from '../../../src/engine/seal/message-key.ts'
import {
  plainDecodeBase64,
  plainDecodeQuotedPrintable,
  plainEncodeBase64,
  plainEncodeQuotedPrintable,
} from '../mime/transfer/twins.ts'
import { inForce, onEachPath } from './both-paths.ts'

const key: MessageKey = { algo: 'AES256GCM1K', keyString: Buffer.from(Array.from({ length: 44 }, (_, i) => i * 5)) }
const fb0 = Buffer.from('0123456789abcdef')
const isBroken = (error: unknown) => error instanceof GatewayError && error.code === 'SEAL_BROKEN'

/** Runs a body through batches of these sizes (repeated); the state crosses a thread border between any two. */
function inBatches(start: BodyState, input: Buffer, sizes: readonly number[]): Buffer {
  const outputs: Uint8Array[] = []
  let state = start
  let at = 0
  for (let i = 0; ; i++) {
    const end = sizes.length === 0 ? input.length : Math.min(at + sizes[i % sizes.length]!, input.length)
    const last = end === input.length
    const before = structuredClone(state)
    const kind = state.kind === 'seal' ? 'seal-body' : 'open-body'
    const result = runBatch({ kind, state, input: Buffer.from(input.subarray(at, end)), last })
    assert.deepEqual(structuredClone(state), before, 'the state that was given is left as it was')
    outputs.push(Buffer.from(result.output))
    state = structuredClone(result.state)
    at = end
    if (last) return Buffer.concat(outputs)
  }
}

const seal = (input: Buffer, decoding: BodyDecoding, sizes: readonly number[] = []) =>
  inBatches(startSeal(key, decoding, fb0), input, sizes)
const open = (input: Buffer, encoding: BodyEncoding, sizes: readonly number[] = [], withKey = key) =>
  inBatches(startOpen(withKey, encoding), input, sizes)

const canonical: BodyEncoding = { kind: 'base64', layout: CANONICAL_BASE64 }
const sizes = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 0, maxLength: 4 })
const body = fc
  .tuple(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 5000 }))
  .map(([head, more]) => Buffer.concat([head, Buffer.alloc(more, 'Some text=3D, soft=\r\nbreak \r\n')]))

onEachPath('batches', (path) => {
  it('seals to base64 lines of 76 and CRLF, the last too, that hold the stream', () => {
    for (const octets of [0, 1, 25, 26, 1023, 1024, 1025, 65_536, 200_000]) {
      const plain = Buffer.alloc(octets, 'some 8-bit text \xe9\r\n', 'latin1')
      const text = inForce(path, () => seal(plain, 'none'))
      assert.match(text.toString('latin1'), /^([A-Za-z0-9+/]{76}\r\n)*[A-Za-z0-9+/]{1,76}={0,2}\r\n$/)
      const stream = Buffer.from(text.toString('latin1'), 'base64')
      assert.deepEqual(stream.subarray(0, 16), fb0)
      assert.deepEqual(
        stream,
        sealWhole(key, plain, () => fb0),
      )
      assert.deepEqual(openWhole(key, stream), plain)
    }
  })

  it('undoes the transfer encoding before', () => {
    fc.assert(
      fc.property(body, sizes, (input, cuts) => {
        inForce(path, () => {
          const streamOf = (text: Buffer) => openWhole(key, Buffer.from(text.toString('latin1'), 'base64'))
          assert.deepEqual(streamOf(seal(input, 'none', cuts)), input)
          assert.deepEqual(streamOf(seal(input, 'base64', cuts)), plainDecodeBase64(input))
          assert.deepEqual(streamOf(seal(input, 'quoted-printable', cuts)), plainDecodeQuotedPrintable(input))
        })
      }),
    )
  })

  it('gives the same octets however the body is cut, with every encoding', () => {
    const layouts = [CANONICAL_BASE64, { width: 61, separator: ' \n', before: '\r\n', ending: '', padded: false }]
    fc.assert(
      fc.property(body, sizes, sizes, fc.constantFrom(...layouts), (plain, sealCuts, openCuts, layout) => {
        inForce(path, () => {
          const sealed = seal(plain, 'none', sealCuts)
          assert.deepEqual(sealed, seal(plain, 'none'))
          assert.deepEqual(open(sealed, { kind: 'none' }, openCuts), plain)
          const qp = open(sealed, { kind: 'quoted-printable' }, openCuts)
          assert.equal(qp.toString('latin1'), plainEncodeQuotedPrintable(plain))
          const base64 = open(sealed, { kind: 'base64', layout }, openCuts).toString('latin1')
          const { width, separator, before, ending, padded } = layout
          const lines = plainEncodeBase64(plain, width, separator, padded)
          assert.equal(base64, plain.length === 0 ? before : before + lines + ending)
        })
      }),
    )
  })

  it('cuts anywhere: every split of a short body', () => {
    const plain = Buffer.from('=C3=A9 caf=\r\n\r\nsoft=  \r\nx', 'latin1')
    inForce(path, () => {
      for (const decoding of ['none', 'base64', 'quoted-printable'] as const) {
        const whole = seal(plain, decoding)
        for (let at = 1; at < plain.length; at++) {
          assert.deepEqual(seal(plain, decoding, [at, plain.length]), whole, `${decoding} at ${at}`)
        }
        const opened = open(whole, canonical)
        for (let at = 1; at < whole.length; at++) {
          assert.deepEqual(open(whole, canonical, [at, whole.length]), opened, `${decoding} at ${at}`)
        }
      }
    })
  })

  it('opens base64 of any line layout', () => {
    const plain = Buffer.alloc(70_000, 'text to be laid out otherwise ')
    inForce(path, () => {
      const stream = sealWhole(key, plain, () => fb0)
      for (const [width, separator] of [
        [76, '\n'],
        [64, '\r\n'],
        [0, ''],
        [75, ' \r\n\t'],
        [1, '\n'],
      ] as const) {
        const text = Buffer.from(plainEncodeBase64(stream, width, separator, false), 'latin1')
        assert.deepEqual(open(text, { kind: 'none' }, [50_000]), plain, `width ${width}`)
      }
    })
  })

  it('refuses a body cut short, altered or without its first octets; what left before was authentic and complete', () => {
    const plain = Buffer.from(Array.from({ length: 5000 }, (_, i) => i % 251))
    inForce(path, () => {
      const stream = sealWhole(key, plain, () => fb0)
      const textOf = (octets: Buffer) => Buffer.from(plainEncodeBase64(octets, 76, '\r\n', true), 'latin1')
      for (let end = 0; end < stream.length; end += 16) {
        assert.throws(() => open(textOf(stream.subarray(0, end)), { kind: 'none' }), isBroken, `cut at ${end}`)
      }
      for (let at = 0; at < stream.length; at += 97) {
        const altered = Buffer.from(stream)
        altered[at]! ^= 0x40
        assert.throws(() => open(textOf(altered), { kind: 'none' }), isBroken, `altered at ${at}`)
      }
      // Batch by batch: the chunks before the altered one come out, then the error.
      const altered = Buffer.from(stream)
      altered[3500]! ^= 1
      const text = textOf(altered)
      let state = startOpen(key, { kind: 'none' })
      const outputs: Buffer[] = []
      assert.throws(() => {
        for (let at = 0; at < text.length; at += 500) {
          const input = text.subarray(at, at + 500)
          const result = runBatch({ kind: 'open-body', state, input, last: at + 500 >= text.length })
          outputs.push(Buffer.from(result.output))
          state = result.state
        }
      }, isBroken)
      assert.deepEqual(Buffer.concat(outputs), plain.subarray(0, 3 * 1024))
    })
  })

  it('opens older bodies: AES256CFB, and the other algorithms too', () => {
    const plain = Buffer.alloc(3333, 'older mail, sealed before chunks\r\n')
    const keyString = Buffer.from(Array.from({ length: 64 }, (_, i) => 255 - i))
    const cipher = createCipheriv('aes-256-cfb', keyString.subarray(0, 32), keyString.subarray(32, 48))
    const old: [MessageKey, Buffer][] = [
      [{ algo: 'AES256CFB', keyString }, cipher.update(plain)],
      [{ algo: 'NULL', keyString: Buffer.alloc(0) }, plain],
      [{ algo: 'AES256GCMp', keyString }, sealWhole({ algo: 'AES256GCMp', keyString }, plain, () => fb0)],
    ]
    inForce(path, () => {
      for (const [oldKey, sealed] of old) {
        const text = Buffer.from(plainEncodeBase64(sealed, 76, '\r\n', true), 'latin1')
        for (const cuts of [[], [1000], [77, 230], [3, 1100]]) {
          assert.deepEqual(open(text, { kind: 'none' }, cuts, oldKey), plain, `${oldKey.algo} ${cuts}`)
        }
        assert.deepEqual(open(Buffer.alloc(0), { kind: 'none' }, [], { ...oldKey, algo: 'NULL' }), Buffer.alloc(0))
      }
    })
  })

  it('bounds what an algorithm without chunks makes it hold', () => {
    const whole: MessageKey = { algo: 'AES256GCMp', keyString: key.keyString }
    inForce(path, () => {
      assert.throws(
        () => open(Buffer.alloc(3_000_000, 'A'), { kind: 'none' }, [100_000], whole),
        (error: unknown) => error instanceof GatewayError && error.code === 'BUFFER_EXCEEDED',
      )
    })
  })

  it('seals with nothing but AES256GCM1K', () => {
    for (const algo of ['AES256CFB', 'NULL', 'AES256GCMp'] as const) {
      assert.throws(() => startSeal({ algo, keyString: Buffer.alloc(64) }, 'none', fb0), GatewayError)
    }
  })

  it('opens any octets or says SEAL_BROKEN', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), sizes, (input, cuts) => {
        inForce(path, () => {
          assert.throws(() => open(Buffer.from(input), canonical, cuts), isBroken)
        })
      }),
    )
  })
})
