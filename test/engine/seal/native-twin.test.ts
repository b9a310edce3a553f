/**
 * The addon and its JavaScript twin on the same random input, in buffers of exactly the promised size, so that under
 * the sanitizers (native/README.md) one octet out of place is seen. Skips nothing: without an addon there is nothing
 * to compare, and the other tests have run the JavaScript path.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  base64EncodedOctets,
  maxBase64Decoded,
  maxQuotedPrintable,
  type TransferCodecs,
} from '../../../src/engine/mime/transfer/codecs.ts'
import { jsCodecs } from '../../../src/engine/mime/transfer/js-codecs.ts'
import { type ChunkCipher, sealedChunksOctets } from '../../../src/engine/seal/chunk-cipher.ts'
import { jsChunkCipher } from '../../../src/engine/seal/chunk-js.ts'

const file = process.env.VESMAIL_ADDON ?? fileURLToPath(new URL('../../../build/vesmail.node', import.meta.url))
const cases = Number(process.env.VESMAIL_TWIN_CASES ?? 1500)
const WORDS = [
  'a',
  'Z',
  '9',
  '+/',
  '=',
  '==',
  '\r\n',
  '\n',
  '\r',
  ' ',
  '\t',
  '=\r\n',
  '=3D',
  '=3d',
  '=C3=A9',
  '= \t\r\n',
]
const LONG_WORDS = ['\xe9', '\0', '.', 'word', ' '.repeat(78), 'x'.repeat(74), 'AAAA'.repeat(19), `${'y'.repeat(16)} `]

type Path = TransferCodecs & ChunkCipher

if (existsSync(file)) {
  const addon = createRequire(import.meta.url)(resolve(file)) as Path
  const twins: readonly Path[] = [addon, { ...jsCodecs, ...jsChunkCipher }]
  describe('the native addon and its twin', () => compare(twins))
}

function compare(twins: readonly Path[]): void {
  let seed = 20261124
  const below = (limit: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return Math.floor((seed / 2 ** 32) * limit)
  }
  const pick = <T>(from: readonly T[]): T => from[below(from.length)]!
  const exactly = (text: string) => Buffer.allocUnsafeSlow(text.length).fill(text, 'latin1')
  const random = (octets: number) => Buffer.allocUnsafeSlow(octets).map(() => below(256)) as Buffer
  const sizes = () => (below(3) === 0 ? below(5) : below(2000))
  const body = (): Buffer => {
    if (below(3) === 0) return random(sizes())
    const words = below(2) === 0 ? WORDS : [...WORDS, ...LONG_WORDS]
    if (below(2) === 0) return exactly(Array.from({ length: below(60) }, () => pick(words)).join(''))
    const text = random(sizes()).toString('base64').replace(/.{76}/g, '$&\r\n')
    const at = below(text.length)
    return exactly(below(2) === 0 ? text : `${text.slice(0, at)}*${text.slice(at)}`)
  }
  /** Runs both, each with state and room of its own, and compares all that they leave. */
  const same = (what: string, input: Buffer, octets: number, state: readonly number[], run: Run) => {
    const [one, other] = twins.map((twin) => {
      const words = Uint32Array.from(state)
      const out = Buffer.allocUnsafeSlow(octets)
      const written = run(twin, words, out)
      return { written, words: [...words], out: out.subarray(0, written).toString('latin1') }
    })
    assert.deepEqual(one, other, `${what} of ${input.toString('base64')}`)
  }

  it(`code ${cases} bodies alike`, () => {
    for (let i = 0; i < cases; i++) {
      const input = body()
      const last = below(2) === 0
      const held = below(4)
      same('decodeBase64', input, maxBase64Decoded(input.length), [below(64 ** held), held], (twin, words, out) =>
        twin.decodeBase64(input, words, last, out),
      )
      const width = pick([76, 76, 64, 75, 60, 4, 1, 0])
      const separator = exactly(pick(['\r\n', '\n', ' \r\n', '']))
      const padded = below(2) === 0
      const column = below(width + 1)
      const whole = last ? input.length : input.length - (input.length % 3)
      const room = base64EncodedOctets(whole, width, separator.length, padded, column)
      same('encodeBase64', input, room, [column], (twin, words, out) =>
        twin.encodeBase64(input, last, width, separator, padded, words, out),
      )
      same('decodeQuotedPrintable', input, input.length, [0], (twin, words, out) =>
        twin.decodeQuotedPrintable(input, last, words, out),
      )
      same('countLineFeeds', input, 0, [], (twin) => twin.countLineFeeds(input))
      same('encodeQuotedPrintable', input, maxQuotedPrintable(input.length), [below(77), 0], (twin, words, out) =>
        twin.encodeQuotedPrintable(input, last, words, out),
      )
    }
  })

  it('seal and open alike, what was altered too', () => {
    for (let i = 0; i < cases / 10; i++) {
      const key = random(44)
      const last = below(3) > 0
      const plain = random(last ? below(3000) : 1024 * below(4))
      const sealed = Buffer.allocUnsafeSlow(sealedChunksOctets(plain.length, last))
      twins[0]!.seal(key, new Uint8Array(16), plain, last, sealed)
      same('seal', plain, sealed.length, [], (twin, _words, out) =>
        twin.seal(key, new Uint8Array(16), plain, last, out),
      )
      if (sealed.length > 0 && below(2) === 0) sealed[below(sealed.length)]! ^= 1 << below(8)
      same('open', sealed, plain.length, [], (twin, _words, out) =>
        Math.max(0, twin.open(key, new Uint8Array(16), sealed, last, out)),
      )
    }
  })

  it('refuse wrong arguments and touch nothing', () => {
    const addon = twins[0]! as unknown as Record<string, (...args: unknown[]) => unknown>
    const octets = Buffer.alloc(100)
    for (const name of [
      'seal',
      'open',
      'decodeBase64',
      'encodeBase64',
      'decodeQuotedPrintable',
      'encodeQuotedPrintable',
    ]) {
      for (const args of [[], [octets], [1, 2, 3, 4, 5, 6, 7], ['a', null, {}, undefined, octets, octets, octets]]) {
        assert.throws(() => addon[name]!(...args), RangeError, `${name}(${args.length})`)
      }
    }
    assert.throws(() => addon.countLineFeeds!('text'), RangeError)
    const detached = new Uint8Array(64)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    assert.throws(() => twins[0]!.decodeBase64(octets, new Uint32Array(2), true, detached), RangeError)
    assert.throws(() => twins[0]!.decodeBase64(octets, new Uint32Array(1), true, Buffer.alloc(100)), RangeError)
    assert.throws(() => twins[0]!.decodeBase64(octets, new Uint32Array(2), true, octets), RangeError)
    assert.throws(
      () => twins[0]!.seal(octets.subarray(0, 43), new Uint8Array(16), octets, true, Buffer.alloc(200)),
      RangeError,
    )
    assert.throws(
      () => twins[0]!.seal(octets.subarray(0, 44), new Uint8Array(15), octets, true, Buffer.alloc(200)),
      RangeError,
    )
    assert.throws(
      () => twins[0]!.seal(octets.subarray(0, 44), new Uint8Array(16), octets, false, Buffer.alloc(200)),
      RangeError,
    )
  })
}

type Run = (twin: Path, words: Uint32Array, out: Buffer) => number
