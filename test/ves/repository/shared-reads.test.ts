import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import type { Db } from '../../../src/ves/repository/store/schema.ts'
import { type Read, SharedReads } from '../../../src/ves/repository/store/shared-reads.ts'

const DB = {} as Db

/** Transactions that begin when the test says so. */
function held() {
  const begun: { readonly open: () => void; readonly fail: () => void }[] = []
  const sizes: number[] = []
  const reads = new SharedReads(async (take: () => readonly Read[]) => {
    await new Promise<void>((resolve, reject) => begun.push({ open: resolve, fail: () => reject(new Error('none')) }))
    const jobs = take()
    sizes.push(jobs.length)
    await Promise.all(jobs.map((read) => read(DB)))
  })
  return { reads, begun, sizes }
}

test('reads that wait for a transaction share it, and none joins one that has begun', async () => {
  const { reads, begun, sizes } = held()
  const answers = [1, 2, 3, 4, 5].map((n) => reads.run(async () => n))
  assert.equal(begun.length, 2)
  begun[0]!.open()
  assert.deepEqual(await Promise.all(answers), [1, 2, 3, 4, 5])
  const late = reads.run(async () => 6)
  begun[1]!.open()
  assert.equal(await late, 6)
  assert.deepEqual(sizes, [5, 1])
})

test('one transaction is not filled without end', async () => {
  const { reads, begun, sizes } = held()
  const answers = Array.from({ length: 70 }, (_, n) => reads.run(async () => n))
  for (let at = 0; at < 3; at++) {
    begun[at]!.open()
    while (sizes.length <= at) await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal((await Promise.all(answers)).length, 70)
  assert.deepEqual(sizes, [32, 32, 6])
})

test('what fails is run by itself, a refusal is told, and neither touches the others', async () => {
  const { reads, begun } = held()
  const good = reads.run(async () => 'good')
  const failed = reads.run(async () => Promise.reject(new Error('aborted')))
  const refused = reads.run(async () => Promise.reject(new GatewayError('VES_NOT_FOUND')))
  begun[0]!.open()
  assert.equal(await good, 'good')
  assert.equal(await failed, null)
  await assert.rejects(refused, { code: 'VES_NOT_FOUND' })
})

test('without a connection each looks after itself, and the next transaction is tried again', async () => {
  const { reads, begun } = held()
  const waiting = [1, 2, 3].map((n) => reads.run(async () => n))
  begun[0]!.fail()
  assert.deepEqual(await Promise.all(waiting), [null, null, null])
  begun[1]!.fail()
  await new Promise((resolve) => setImmediate(resolve))
  const next = reads.run(async () => 4)
  begun[2]!.open()
  assert.equal(await next, 4)
})
