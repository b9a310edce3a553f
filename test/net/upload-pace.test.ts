import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UploadPaces } from '../../src/net/upload-pace.ts'

const KIB = 1024

function paces(): { paces: UploadPaces; later: (seconds: number) => void } {
  let nowMs = 1000
  return {
    paces: new UploadPaces(() => nowMs),
    later: (seconds) => {
      nowMs += seconds * 1000
    },
  }
}

test('a bad line gets its message through, who trickles does not', () => {
  const { paces: all, later } = paces()
  const bad = all.begin('a')
  for (let minute = 0; minute < 1000; minute++) {
    for (let n = 0; n < 4; n++) {
      later(15)
      assert.equal(bad.took(8 * KIB), true)
    }
  }
  const trickle = all.begin('b')
  for (let second = 1; second < 60; second++) {
    later(1)
    assert.equal(trickle.took(1), true)
  }
  later(1)
  assert.equal(trickle.took(1), false)
})

test('who was fast once may not trickle from then on', () => {
  const { paces: all, later } = paces()
  const pace = all.begin('a')
  assert.equal(pace.took(60 * KIB * KIB), true)
  later(60)
  assert.equal(pace.took(1), true)
  later(60)
  assert.equal(pace.took(1), false)
})

test('time in which we do not listen is not the client’s', () => {
  const { paces: all, later } = paces()
  const pace = all.begin('a')
  pace.hold()
  later(3600)
  assert.equal(pace.took(1), true)
  pace.hold()
  later(3600)
  pace.go()
  later(59)
  assert.equal(pace.took(1), true)
  later(1)
  assert.equal(pace.took(1), false)
})

test('of one address so many slow ones at once; its fast ones and other addresses are not touched', () => {
  const { paces: all, later } = paces()
  const begin = (address: string, count: number) => Array.from({ length: count }, () => all.begin(address))
  const many = begin('a', 40)
  const others = begin('b', 3)
  const fast = begin('a', 2)
  later(60)
  assert.deepEqual(many.map((pace) => pace.took(100 * KIB)).indexOf(false), 32)
  for (const pace of many.slice(33)) assert.equal(pace.took(100 * KIB), true, 'begins a stretch')
  for (const pace of others) assert.equal(pace.took(100 * KIB), true)
  for (const pace of fast) assert.equal(pace.took(2000 * KIB), true)
  // A place is free when one ends, or is slow no more.
  many[0]!.end()
  many[0]!.end()
  later(60)
  assert.equal(many[1]!.took(2000 * KIB), true)
  const next = begin('a', 3)
  later(60)
  assert.deepEqual(
    next.map((pace) => pace.took(100 * KIB)),
    [true, true, false],
  )
  for (const pace of [...many, ...others, ...fast, ...next]) pace.end()
  assert.equal(all.addresses, 0)
})
