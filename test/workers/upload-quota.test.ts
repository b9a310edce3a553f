import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { GatewayError } from '../../src/base/errors.ts'
import { silentLog } from '../../src/base/log.ts'
import type { HttpRequest } from '../../src/net/http.ts'
import type { Spool } from '../../src/net/now/spool.ts'
import { DirectorySpool } from '../../src/net/now/spool-directory.ts'
import { type UploadPlace, upload } from '../../src/net/now/upload.ts'
import { LocalState } from '../../src/workers/shared-state.ts'
import { StateFile } from '../../src/workers/state-file.ts'
import { type UploadLimits, UploadQuota } from '../../src/workers/upload-quota.ts'

const FREE: UploadLimits = { perMinute: null, messages: null, octets: null }

/** A spool that tells what is set, and how often it was asked. */
function counted(copies: number, octets: number) {
  const spool = { copies, octets, asked: 0, usage: async () => ({ copies: spool.copies, octets: spool.octets }) }
  const usage = async () => {
    spool.asked++
    return { copies: spool.copies, octets: spool.octets }
  }
  return Object.assign(spool, { usage }) as typeof spool & Spool
}

const isPlace = (given: object): given is UploadPlace => 'grow' in given

async function placeOf(quota: UploadQuota, creator = 'a@x'): Promise<UploadPlace> {
  const place = await quota.admit(creator)
  assert.ok(isPlace(place), JSON.stringify(place))
  return place
}

test('so many a minute and creator, over all workers; who is refused does not lose more by trying', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'vesmail-quota-'))
  let nowMs = 1_000_000
  const states = ['1', '2'].map((name) => new StateFile(join(folder, 'state'), name, silentLog, () => nowMs))
  t.after(async () => {
    for (const state of states) await state.close()
    rmSync(folder, { recursive: true })
  })
  const workers = states.map((state) => new UploadQuota(counted(0, 0), state, { ...FREE, perMinute: 6 }, () => nowMs))
  for (let n = 0; n < 6; n++) await placeOf(workers[n % 2]!)
  for (let n = 0; n < 20; n++) assert.deepEqual(await workers[n % 2]!.admit('A@x'), { tooMany: 'uploads' })
  await placeOf(workers[0]!, 'b@x')
  nowMs += 10_000
  await placeOf(workers[0]!)
  assert.deepEqual(await workers[1]!.admit('a@x'), { tooMany: 'uploads' })
  nowMs += 60_000
  const together = await Promise.all(Array.from({ length: 20 }, (_, n) => workers[n % 2]!.admit('a@x')))
  assert.equal(together.filter(isPlace).length, 6)
})

test('so many messages of a creator, those under way included', async () => {
  let nowMs = 0
  const spool = counted(7, 0)
  const quota = new UploadQuota(spool, new LocalState(), { ...FREE, messages: 10 }, () => nowMs)
  const together = await Promise.all(Array.from({ length: 9 }, () => quota.admit('a@x')))
  const places = together.filter(isPlace)
  assert.equal(places.length, 3)
  assert.equal(spool.asked, 1)
  places[0]!.end(true)
  assert.deepEqual(await quota.admit('a@x'), { tooMany: 'messages' })
  places[1]!.end(false)
  const next = await placeOf(quota)
  // Counted anew: what is still under way is not forgotten by it.
  nowMs += 31_000
  spool.copies = 8
  assert.deepEqual(await quota.admit('a@x'), { tooMany: 'messages' })
  next.end(false)
  places[2]!.end(false)
  spool.copies = 3
  nowMs += 31_000
  await placeOf(quota)
})

test('so many octets of a creator, over all that come at once', async () => {
  const quota = new UploadQuota(counted(1, 600), new LocalState(), { ...FREE, octets: 1000 })
  const [a, b] = [await placeOf(quota), await placeOf(quota)]
  assert.equal(a.grow(300), true)
  assert.equal(b.grow(101), false)
  assert.equal(b.grow(100), true)
  assert.equal(a.grow(1), false)
  b.end(false)
  a.end(true)
  const c = await placeOf(quota)
  assert.equal(c.grow(101), false)
  assert.equal(c.grow(100), true)
})

test('a spool that cannot be counted takes nothing, and is counted again the next time', async () => {
  let fails = true
  const usage = async () => {
    if (fails) throw new GatewayError('IO')
    return { copies: 0, octets: 0 }
  }
  const quota = new UploadQuota({ usage } as unknown as Spool, new LocalState(), { ...FREE, messages: 1 })
  await assert.rejects(quota.admit('a@x'), GatewayError)
  fails = false
  await placeOf(quota)
})

test('an upload beyond the quota is 503 with what is the matter, and leaves nothing', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'vesmail-quota-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const spool = new DirectorySpool(folder, { maxOctets: null, maxAgeMs: null, maxTotalOctets: null })
  const sending = (limits: Partial<UploadLimits>) => {
    const quota = new UploadQuota(spool, new LocalState(() => 0), { ...FREE, ...limits })
    return async (id: string, octets: number) => {
      const head = `X-VESmail-ID: <${id}>\r\nX-VESmail-Verify: token\r\n\r\n`
      const stream = Readable.from([Buffer.from(head), Buffer.alloc(octets, 'x')])
      const answer = await upload({ stream } as unknown as HttpRequest, {
        spool,
        maxOctets: 10_000,
        uploadedItem: async () => ({ creator: 'a@x', isShared: true }),
        admit: (creator) => quota.admit(creator),
      })
      return [answer.status, String(answer.body)] as const
    }
  }
  const put = sending({ messages: 2, octets: 5000 })
  assert.equal((await put('m1@x', 1000))[0], 201)
  assert.equal((await put('m1@x', 1000))[0], 403)
  const [status, text] = await put('m2@x', 4000)
  assert.equal(status, 503)
  assert.match(text, /all the room/)
  assert.equal(await spool.open({ creator: 'a@x', messageId: 'm2@x' }), null)
  assert.equal((await put('m2@x', 10))[0], 201)
  assert.deepEqual(await put('m3@x', 10), [
    503,
    'So many messages of this creator are spooled here that no more are taken\n',
  ])
  const slow = sending({ perMinute: 1 })
  assert.equal((await slow('m4@x', 10))[0], 201)
  assert.match((await slow('m5@x', 10))[1], /try later/)
  assert.equal((await spool.usage('a@x', 10)).copies, 3)
})
