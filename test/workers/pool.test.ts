import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { type FaultCode, GatewayError } from '../../src/base/errors.ts'
import { type BatchJob, type BatchResult, runBatch, startOpen, startSeal } from '../../src/engine/seal/batch.ts'
import type { MessageKey } from '../../src/engine/seal/message-key.ts'
import type { VaultKey } from '../../src/engine/seal/vault-key.ts'
import { IN_PLACE_OCTETS, ThreadPool } from '../../src/workers/pool.ts'

const key: MessageKey = { algo: 'AES256GCM1K', keyString: Buffer.from(Array.from({ length: 44 }, (_, i) => i)) }
const plain = Buffer.alloc(150_000, 'a line of text for the threads\r\n')
const sealJob = (input: Uint8Array = new Uint8Array(plain)): BatchJob => ({
  kind: 'seal-body',
  state: startSeal(key, 'none', Buffer.alloc(16, 7)),
  input,
  last: true,
})
const sealed = runBatch(sealJob()).output
const openJob = (input: Uint8Array): BatchJob => ({
  kind: 'open-body',
  state: startOpen(key, { kind: 'none' }),
  input,
  last: true,
})
const hasCode = (code: FaultCode) => (error: unknown) => error instanceof GatewayError && error.code === code
const outputOf = ({ output }: BatchResult) => Buffer.from(output).toString('latin1')
const unruly = new URL('./fixtures/unruly-entry.ts', import.meta.url)

function pool(options: { threads: number; queue?: number; entry?: URL; taskTimeoutMs?: number }): ThreadPool {
  const made = new ThreadPool(options)
  after(() => made.close())
  return made
}

const misbehave = (threads: ThreadPool, how: string) =>
  threads.run('unlock', { privateKey: how, veskey: Buffer.alloc(0), sealed: [] })

describe('thread pool', () => {
  it('gives what runs in place gives, and takes the input away', async () => {
    const threads = pool({ threads: 2 })
    const job = sealJob()
    const results = await Promise.all([threads.batch(job), threads.batch(openJob(new Uint8Array(sealed)))])
    assert.equal(outputOf(results[0]!), Buffer.from(sealed).toString('latin1'))
    assert.equal(outputOf(results[1]!), plain.toString('latin1'))
    assert.equal(job.input.length, 0, 'moved')
    assert.equal(results[0]!.spent.length, plain.length, 'and comes back as memory')
    assert.equal(threads.metrics.inPlace, 0)
    assert.equal(threads.metrics.completed, 2)
  })

  it('chains batches of one body through different threads', async () => {
    const threads = pool({ threads: 2 })
    let { state } = sealJob()
    let text = ''
    for (let at = 0; at < plain.length; at += IN_PLACE_OCTETS) {
      const input = new Uint8Array(plain.subarray(at, at + IN_PLACE_OCTETS))
      const last = at + IN_PLACE_OCTETS >= plain.length
      const result = await threads.batch({ kind: 'seal-body', state, input, last })
      text += outputOf(result)
      state = result.state
    }
    assert.equal(text, Buffer.from(sealed).toString('latin1'))
  })

  it('is full when as many batches wait as may', async () => {
    const threads = pool({ threads: 1, queue: 2 })
    const jobs = [1, 2, 3].map((waiting) => {
      const job = threads.batch(sealJob())
      return { isFull: threads.isFull, octets: threads.metrics.octets, waiting, job }
    })
    assert.deepEqual(
      jobs.map(({ isFull, octets, waiting }) => [isFull, octets === waiting * plain.length]),
      [
        [false, true],
        [false, true],
        [true, true],
      ],
    )
    await Promise.all(jobs.map(({ job }) => job))
    assert.deepEqual([threads.isFull, threads.metrics.octets], [false, 0])
  })

  it('leaves the neighbours of a view alone', async () => {
    const threads = pool({ threads: 1 })
    const shared = new Uint8Array(Buffer.concat([Buffer.from('before'), plain, Buffer.from('after')]))
    const result = await threads.batch(sealJob(shared.subarray(6, 6 + plain.length)))
    assert.equal(outputOf(result), Buffer.from(sealed).toString('latin1'))
    assert.equal(Buffer.from(shared.subarray(0, 6)).toString(), 'before')
  })

  it('gives a thread no more of a buffer than the key operation needs', async () => {
    const threads = pool({ threads: 1, entry: new URL('./fixtures/weighing-entry.ts', import.meta.url) })
    const socketBuffer = new Uint8Array(64 * 1024)
    const sealed = [socketBuffer.subarray(100, 164), socketBuffer.subarray(0, 20), new Uint8Array(30)]
    const { values } = await threads.run('open', { key: { algo: 'ECDH' } as VaultKey, sealed })
    assert.deepEqual(
      values.map((value) => Buffer.from(value).toString()),
      ['64', '20', '30'],
    )
  })

  it('runs small batches in place', async () => {
    const threads = pool({ threads: 1 })
    await threads.batch(sealJob(new Uint8Array(100)))
    assert.equal(threads.metrics.inPlace, 1)
  })

  it('brings back the code of a failure', async () => {
    const threads = pool({ threads: 1 })
    const altered = new Uint8Array(sealed)
    altered[5000]! ^= 1
    await assert.rejects(threads.batch(openJob(altered)), hasCode('SEAL_BROKEN'))
    await assert.rejects(misbehave(threads, 'no key'), GatewayError)
    assert.equal(outputOf(await threads.batch(sealJob())), Buffer.from(sealed).toString('latin1'))
    assert.equal(threads.metrics.failed, 2)
  })

  it('does all in place without threads', async () => {
    const threads = pool({ threads: 0 })
    assert.equal(outputOf(await threads.batch(sealJob())), Buffer.from(sealed).toString('latin1'))
    await assert.rejects(threads.batch(openJob(new Uint8Array(100))), hasCode('SEAL_BROKEN'))
    assert.deepEqual(
      { ...threads.metrics, runMs: 0 },
      { ...threads.metrics, runMs: 0, inPlace: 2, failed: 1, completed: 1 },
    )
  })
})

describe('threads that fail', () => {
  for (const how of ['exit', 'eat', 'throw']) {
    it(`cost one task and no more: ${how}`, async () => {
      const threads = pool({ threads: 1, entry: unruly })
      const bad = misbehave(threads, how)
      const good = [1, 2, 3].map(() => threads.batch(sealJob()))
      await assert.rejects(bad, hasCode('INTERNAL'))
      for (const result of await Promise.all(good))
        assert.equal(outputOf(result), Buffer.from(sealed).toString('latin1'))
      assert.equal(threads.metrics.running, 0)
      assert.equal(threads.metrics.threadDeaths, 1)
    })
  }

  it('are ended when a task hangs', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const threads = pool({ threads: 1, entry: unruly, taskTimeoutMs: 60_000 })
    await misbehave(threads, 'well')
    const bad = assert.rejects(misbehave(threads, 'hang'), hasCode('INTERNAL'))
    const good = threads.batch(sealJob())
    t.mock.timers.tick(60_000)
    await bad
    assert.equal(outputOf(await good), Buffer.from(sealed).toString('latin1'))
    assert.equal(threads.metrics.threadDeaths, 1)
  })

  it('are done without when they cannot start', async () => {
    const threads = pool({ threads: 1, entry: new URL('./fixtures/broken-entry.ts', import.meta.url) })
    // What was given to a thread that never came up is lost; what comes after is not.
    await threads.batch(sealJob()).catch((error) => assert.ok(hasCode('INTERNAL')(error)))
    for (let i = 0; i < 3; i++) {
      assert.equal(outputOf(await threads.batch(sealJob())), Buffer.from(sealed).toString('latin1'))
    }
    assert.ok(threads.metrics.inPlace >= 1)
  })
})

describe('waiting for a thread', () => {
  it('lets key operations go first, and keeps each kind in order', async () => {
    const threads = pool({ threads: 1, entry: unruly })
    const order: string[] = []
    const noted = (name: string, task: Promise<unknown>) => task.then(() => order.push(name))
    const tasks = [
      noted('running', threads.batch(sealJob())),
      noted('body 1', threads.batch(sealJob())),
      noted('body 2', threads.batch(sealJob())),
      noted('key 1', misbehave(threads, 'well')),
      noted('key 2', misbehave(threads, 'well')),
    ]
    assert.deepEqual([threads.metrics.running, threads.metrics.waiting], [1, 4])
    await Promise.all(tasks)
    assert.deepEqual(order, ['running', 'key 1', 'key 2', 'body 1', 'body 2'])
    assert.equal(threads.metrics.waiting, 0)
  })

  it('ends with the session that waits', async () => {
    const threads = pool({ threads: 1 })
    const session = new AbortController()
    const mine = [threads.batch(sealJob(), session.signal), threads.batch(sealJob(), session.signal)]
    const other = threads.batch(sealJob())
    session.abort()
    for (const task of mine) await assert.rejects(task, hasCode('SHUTDOWN'))
    assert.equal(outputOf(await other), Buffer.from(sealed).toString('latin1'))
    await assert.rejects(threads.batch(sealJob(), session.signal), hasCode('SHUTDOWN'))
    assert.equal(threads.metrics.threadDeaths, 0)
  })

  it('ends when the pool is closed', async () => {
    const threads = pool({ threads: 1 })
    const running = threads.batch(sealJob())
    const waiting = threads.batch(sealJob())
    const refused = assert.rejects(waiting, hasCode('SHUTDOWN'))
    await threads.close()
    await refused
    assert.equal(outputOf(await running), Buffer.from(sealed).toString('latin1'))
    await assert.rejects(threads.batch(sealJob()), hasCode('SHUTDOWN'))
  })
})
