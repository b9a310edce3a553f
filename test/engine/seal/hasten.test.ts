/** What is hastened comes earlier, and is the same. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { runBatch } from '../../../src/engine/seal/batch.ts'
import { Opener } from '../../../src/engine/seal/opener.ts'
import type { TransformAction } from '../../../src/engine/transform.ts'
import { KEY, seal } from './through.ts'

const TEXT = Array.from({ length: 9000 }, (_, i) => `line ${i} with =C3=BC`).join('\r\n')
const MESSAGE = Buffer.from(
  'Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n' +
    `--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n${TEXT}\r\n` +
    `--b\r\nContent-Type: text/plain\r\n\r\n${TEXT}\r\n--b--\r\n`,
)
const SEALED = seal(MESSAGE)

class Opening {
  readonly opener = new Opener({ maxbufOctets: 1 << 20 })
  readonly #out: Buffer[] = []

  perform(actions: TransformAction[]): void {
    const queue = [...actions]
    for (const action of queue) {
      if (action.do === 'write') this.#out.push(action.bytes)
      else if (action.do === 'ask') {
        const answer = action.kind === 'batch' ? runBatch(action.ask) : { key: KEY }
        queue.push(...this.opener.answer(action.id, answer))
      }
    }
  }

  get result(): Buffer {
    return Buffer.concat(this.#out)
  }
}

describe('hasten', () => {
  it('changes nothing, wherever it comes', () => {
    const step = fc.record({ octets: fc.integer({ min: 1, max: 200_000 }), hasten: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 20 }), (steps) => {
        const opening = new Opening()
        let at = 0
        for (let i = 0; at < SEALED.length; i++) {
          const { octets, hasten } = steps[i % steps.length]!
          opening.perform(opening.opener.push(Buffer.from(SEALED.subarray(at, at + octets))))
          at += octets
          if (hasten) opening.perform(opening.opener.hasten())
        }
        opening.perform(opening.opener.end())
        assert.ok(opening.result.equals(MESSAGE))
      }),
      { numRuns: 40, examples: [[[{ octets: 1000, hasten: true }]]] },
    )
  })

  it('gives what was pushed without more of it', () => {
    const opening = new Opening()
    opening.perform(opening.opener.push(Buffer.from(SEALED.subarray(0, 40_000))))
    const before = opening.result.length
    opening.perform(opening.opener.hasten())
    assert.ok(opening.result.length > before + 20_000, `${before} → ${opening.result.length}`)
    assert.ok(MESSAGE.subarray(0, opening.result.length).equals(opening.result))
  })
})
