import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type BatchJob, type BatchResult, runBatch, startSeal } from '../../../src/engine/seal/batch.ts'
import { BodyStream } from '../../../src/engine/seal/body-stream.ts'
import { KEY, seededRandom } from './through.ts'

/** Pushes and answers in turns; the text of all pieces, and how many were asked for. */
function stream(body: Buffer, cuts: Iterable<number>, answerEvery: number): { text: string; asked: number } {
  const waiting: { readonly job: BatchJob; readonly answered: (result: BatchResult) => void }[] = []
  const out: Buffer[] = []
  let asked = 0
  let ended = false
  const questions = {
    askBatch(job: BatchJob, answered: (result: BatchResult) => void) {
      asked++
      waiting.push({ job, answered })
    },
  }
  const sink = {
    write: (bytes: Buffer) => void out.push(bytes),
    end: () => {
      ended = true
    },
  }
  const bodies = new BodyStream(questions, 'seal-body', startSeal(KEY, 'none', seededRandom('x')(16)), sink)
  const answer = () => {
    const { job, answered } = waiting.shift()!
    answered(runBatch(job))
  }
  let at = 0
  let pushes = 0
  for (const octets of cuts) {
    if (at >= body.length) break
    bodies.push(Buffer.from(body.subarray(at, at + octets)))
    at += octets
    if (++pushes % answerEvery === 0 && waiting.length > 0) answer()
  }
  bodies.end()
  while (waiting.length > 0) answer()
  assert.ok(ended)
  return { text: Buffer.concat(out).toString('latin1'), asked }
}

function* repeat(...octets: number[]): Iterable<number> {
  for (;;) yield* octets
}

test('how a body is cut and when answers come does not show', () => {
  const body = Buffer.from(Array.from({ length: 1_300_000 }, (_, i) => (i * 7) % 253))
  const whole = stream(body, [body.length], 1)
  assert.equal(whole.asked, 2)
  for (const cuts of [[1], [3, 1000], [1023, 1024, 1], [70_000], [600_000], [1_100_000], [1, 65_536]]) {
    for (const answerEvery of [1, 1000, Number.POSITIVE_INFINITY]) {
      if (answerEvery === 1 && cuts[0] === 1) continue
      assert.ok(stream(body, repeat(...cuts), answerEvery).text === whole.text, `${cuts} ${answerEvery}`)
    }
  }
})

test('a short body is done in place', () => {
  for (const octets of [0, 1, 1023, 65_535]) {
    const body = Buffer.alloc(octets, 'x')
    const { text, asked } = stream(body, [octets || 1], 1)
    assert.equal(asked, 0)
    assert.equal(stream(body, repeat(100), 1).text, text)
  }
  assert.equal(stream(Buffer.alloc(65_536), [65_536], 1).asked, 1)
})
