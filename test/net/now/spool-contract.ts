/** What every spool store has to do, run for each of them: `spool-directory.test.ts`, `spool-s3.test.ts`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Spool, SpoolLimits, SpoolPlace } from '../../../src/net/now/spool.ts'

export const NO_LIMITS: SpoolLimits = { maxOctets: null, maxAgeMs: null, maxTotalOctets: null }
export const DAY_MS = 86_400_000

export async function put(spool: Spool, place: SpoolPlace, text: string | Buffer): Promise<boolean> {
  const writer = await spool.create(place)
  await writer.write(Buffer.from(text))
  const isOurs = await writer.commit()
  await writer.abort()
  return isOurs
}

export async function get(spool: Spool, place: SpoolPlace): Promise<string | null> {
  const found = await spool.open(place)
  if (found === null) return null
  const parts: Buffer[] = []
  for await (const part of found.body) parts.push(part)
  assert.equal(Buffer.concat(parts).length, found.octets)
  return Buffer.concat(parts).toString()
}

/** @param make an empty spool each time */
export function spoolContract(name: string, make: (limits: SpoolLimits) => Promise<Spool>): void {
  test(`${name}: a copy appears whole or not at all, and never over another`, async () => {
    const spool = await make(NO_LIMITS)
    const place = { creator: 'Alice@x.org', messageId: 'm1@x.org' }
    const writer = await spool.create(place)
    await writer.write(Buffer.from('half'))
    assert.equal(await get(spool, place), null)
    await writer.abort()
    await writer.abort()
    assert.equal(await get(spool, place), null)
    assert.equal(await put(spool, place, 'whole'), true)
    assert.equal(await put(spool, place, 'another'), false)
    assert.equal(await get(spool, place), 'whole')
    // Case is kept: who differs in it only is another creator.
    assert.equal(await get(spool, { ...place, creator: 'alice@x.org' }), null)
  })

  test(`${name}: of two copies at once one is kept, whole`, async () => {
    const spool = await make(NO_LIMITS)
    const place = { creator: 'a@x', messageId: 'race' }
    const writers = [await spool.create(place), await spool.create(place)]
    await Promise.all(writers.map((writer, i) => writer.write(Buffer.alloc(1000, String(i)))))
    assert.equal(await writers[1]!.commit(), true)
    assert.equal(await writers[0]!.commit(), false)
    for (const writer of writers) await writer.abort()
    assert.equal(await get(spool, place), '1'.repeat(1000))
  })

  test(`${name}: a buffer is the caller's again when write resolves; nothing and much are kept alike`, async () => {
    const spool = await make(NO_LIMITS)
    const writer = await spool.create({ creator: 'a@x', messageId: 'big' })
    const buffer = Buffer.alloc(1024 * 1024)
    for (let n = 0; n < 11; n++) {
      buffer.fill(97 + n)
      await writer.write(buffer)
    }
    buffer.fill(0)
    assert.equal(await writer.commit(), true)
    const expected = [...'abcdefghijk'].map((letter) => letter.repeat(buffer.length)).join('')
    assert.ok((await get(spool, { creator: 'a@x', messageId: 'big' })) === expected)
    assert.equal(await put(spool, { creator: 'a@x', messageId: 'nothing' }, ''), true)
    assert.equal(await get(spool, { creator: 'a@x', messageId: 'nothing' }), '')
  })

  test(`${name}: an upload that ends half way leaves nothing, however long it was`, async () => {
    const spool = await make(NO_LIMITS)
    const place = { creator: 'a@x', messageId: 'left' }
    const writer = await spool.create(place)
    for (let n = 0; n < 11; n++) await writer.write(Buffer.alloc(1024 * 1024))
    await writer.abort()
    assert.equal(await get(spool, place), null)
    assert.equal(await put(spool, place, 'again'), true)
  })

  test(`${name}: copies are cut at the limit, over all writes`, async () => {
    const spool = await make({ ...NO_LIMITS, maxOctets: 10 })
    const place = { creator: 'a@x', messageId: 'm' }
    const writer = await spool.create(place)
    for (const text of ['1234567', '89abcd', 'e']) await writer.write(Buffer.from(text))
    await writer.commit()
    assert.equal(await get(spool, place), '123456789a')
  })

  test(`${name}: who stops reading half way leaves nothing open`, async () => {
    const spool = await make(NO_LIMITS)
    const place = { creator: 'a@x', messageId: 'long' }
    await put(spool, place, Buffer.alloc(1024 * 1024, 'x'))
    for (let n = 0; n < 100; n++) {
      for await (const part of (await spool.open(place))!.body) {
        assert.ok(part.length > 0)
        break
      }
    }
    assert.equal((await get(spool, place))?.length, 1024 * 1024)
  })

  test(`${name}: names lead nowhere else`, async () => {
    const spool = await make(NO_LIMITS)
    for (const creator of ['../../etc', '..', '.hidden', 'a/b\\c', 'ü@x', 'a b&c?d#e%2f+']) {
      assert.equal(await put(spool, { creator, messageId: 'm' }, creator), true)
      assert.equal(await get(spool, { creator, messageId: 'm' }), creator)
    }
  })

  test(`${name}: nothing goes while nothing is too old or too much; all goes when everything is`, async () => {
    const spool = await make({ maxOctets: null, maxAgeMs: DAY_MS, maxTotalOctets: 100 })
    for (let n = 0; n < 5; n++) await put(spool, { creator: `c${n % 2}@x`, messageId: `m${n}` }, 'x'.repeat(20))
    assert.equal(await spool.expire(Date.now()), 0)
    await put(spool, { creator: 'c@x', messageId: 'm6' }, 'x'.repeat(20))
    assert.equal(await spool.expire(Date.now()), 1)
    assert.equal(await spool.expire(Date.now() + 2 * DAY_MS), 5)
    assert.equal(await get(spool, { creator: 'c@x', messageId: 'm6' }), null)
  })

  test(`${name}: what lies there of a creator is counted, unfinished copies and other creators not`, async () => {
    const spool = await make(NO_LIMITS)
    assert.deepEqual(await spool.usage('a@x', 10), { copies: 0, octets: 0 })
    for (let n = 0; n < 5; n++) await put(spool, { creator: 'a@x', messageId: `m${n}` }, 'x'.repeat(n))
    await put(spool, { creator: 'a@x.org', messageId: 'm' }, 'other')
    const unfinished = await spool.create({ creator: 'a@x', messageId: 'u' })
    await unfinished.write(Buffer.from('half'))
    assert.deepEqual(await spool.usage('a@x', 10), { copies: 5, octets: 10 })
    assert.ok((await spool.usage('a@x', 2)).copies >= 2)
    await unfinished.abort()
  })
}
