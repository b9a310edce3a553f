import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BoundedCache } from '../../../src/ves/client/bounded-cache.ts'

function cacheOf(more: { maxEntries?: number; maxOctets?: number } = {}) {
  const clock = { nowMs: 0 }
  const cache = new BoundedCache<string>({
    maxEntries: 3,
    maxOctets: 100,
    ttlMs: 1000,
    ...more,
    nowMs: () => clock.nowMs,
    octetsOf: (value) => value.length,
  })
  return { cache, clock }
}

describe('bounded cache', () => {
  test('keeps what was found, for its time', async () => {
    const { cache, clock } = cacheOf()
    let looks = 0
    const look = async () => `found ${++looks}`
    assert.equal(await cache.get('a', look), 'found 1')
    assert.equal(await cache.get('a', look), 'found 1')
    clock.nowMs = 999
    assert.equal(await cache.get('a', look), 'found 1')
    clock.nowMs = 1000
    assert.equal(await cache.get('a', look), 'found 2')
  })

  test('what was not there is asked for again', async () => {
    const { cache } = cacheOf()
    assert.equal(await cache.get('a', async () => null), null)
    assert.equal(await cache.get('a', async () => 'now'), 'now')
  })

  test('equal lookups at the same time are one, and share its failure', async () => {
    const { cache } = cacheOf()
    let looks = 0
    let fail = true
    const look = async () => {
      looks++
      await null
      if (fail) throw new Error('down')
      return 'x'
    }
    const results = await Promise.allSettled([cache.get('a', look), cache.get('a', look), cache.get('b', look)])
    assert.deepEqual(
      results.map(({ status }) => status),
      ['rejected', 'rejected', 'rejected'],
    )
    assert.equal(looks, 2)
    fail = false
    assert.equal(await cache.get('a', look), 'x')
  })

  test('bounded by count, least recently used first', async () => {
    const { cache } = cacheOf()
    for (const key of ['a', 'b', 'c']) cache.set(key, key)
    cache.peek('a')
    cache.set('d', 'd')
    assert.equal(cache.size, 3)
    assert.equal(cache.peek('b'), null)
    assert.equal(cache.peek('a'), 'a')
  })

  test('bounded by octets, and those are counted right', () => {
    const { cache } = cacheOf({ maxEntries: 100 })
    for (let i = 0; i < 50; i++) cache.set(String(i % 7), 'x'.repeat(30))
    assert.equal(cache.size, 3)
    assert.equal(cache.octets, 90)
    cache.set('huge', 'x'.repeat(101))
    assert.equal(cache.peek('huge'), null)
    cache.delete('6')
    cache.clear()
    assert.equal(cache.octets, 0)
  })

  test('what was found is not kept when it was forgotten meanwhile', async () => {
    const { cache } = cacheOf()
    let found: (value: string) => void = () => {}
    const asked = cache.get('a', () => new Promise((resolve) => (found = resolve)))
    cache.delete('a')
    found('old')
    assert.equal(await asked, 'old')
    assert.equal(cache.peek('a'), null)
  })
})
