import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../../../src/base/secret.ts'
import { cachedItem } from '../../../src/net/now/item-cache.ts'
import type { NowParts } from '../../../src/net/now/now.ts'
import { SealedAnswers } from '../../../src/net/now/sealed-answers.ts'

const SITE = {} as NowParts
const WORDS = Buffer.from('{"messageId":"m","token":"t"}')
const yes = () => true

test('an answer serves the same words on the same site, within the second of its Date', () => {
  const answers = new SealedAnswers()
  const octets = Buffer.from('sealed')
  assert.equal(answers.of(SITE, WORDS, 5000), null)
  answers.keep(SITE, WORDS, { octets, isCurrent: yes }, 5000)
  assert.equal(answers.of(SITE, Buffer.from(WORDS), 5999), octets)
  assert.equal(answers.of({} as NowParts, WORDS, 5999), null)
  assert.equal(answers.of(SITE, Buffer.from('{"messageId":"m","token":"u"}'), 5999), null)
  assert.equal(answers.of(SITE, WORDS, 6000), null)
  assert.equal(answers.of(SITE, WORDS, 5999), null, 'a clock set back brings nothing back')
})

test('whether it is still so is asked each time', () => {
  const answers = new SealedAnswers()
  let isCurrent = true
  answers.keep(SITE, WORDS, { octets: Buffer.from('sealed'), isCurrent: () => isCurrent }, 0)
  assert.notEqual(answers.of(SITE, WORDS, 0), null)
  isCurrent = false
  assert.equal(answers.of(SITE, WORDS, 0), null)
})

test('4 MiB are kept, the oldest goes; the same words again take no more room', () => {
  const answers = new SealedAnswers()
  const octets = Buffer.alloc(1024 * 1024)
  const words = (n: number) => Buffer.from(String(n))
  for (let i = 0; i < 10; i++) answers.keep(SITE, words(0), { octets, isCurrent: yes }, 0)
  for (let i = 1; i < 4; i++) answers.keep(SITE, words(i), { octets, isCurrent: yes }, 0)
  for (let i = 0; i < 4; i++) assert.equal(answers.of(SITE, words(i), 0), octets)
  answers.keep(SITE, words(4), { octets, isCurrent: yes }, 0)
  assert.equal(answers.of(SITE, words(0), 0), null)
  for (let i = 1; i < 5; i++) assert.equal(answers.of(SITE, words(i), 0), octets)
})

test("the repository's yes is believed for five seconds, and no longer by who was told; a no is asked again", async () => {
  let nowMs = 0
  let isShared = true
  let asked = 0
  const item = cachedItem(
    async () => {
      asked++
      return { creator: 'a@x', isShared }
    },
    () => nowMs,
  )
  const token = new Secret('t')
  await item('m', token)
  const told = await item('m', token)
  assert.equal(asked, 1)
  nowMs = 4999
  assert.equal(told.isBelieved?.(), true)
  assert.equal((await item('m', token)).isShared, true)
  assert.equal((await item('m', new Secret('other'))).isShared, true)
  assert.equal(asked, 2)
  isShared = false
  nowMs = 5000
  assert.equal(told.isBelieved?.(), false)
  for (let i = 3; i < 5; i++) {
    assert.equal((await item('m', token)).isShared, false)
    assert.equal(asked, i)
  }
})

test('a yes that was long under way is believed for five seconds from when it was asked', async () => {
  let nowMs = 0
  const answers: ((isShared: boolean) => void)[] = []
  const item = cachedItem(
    () => new Promise((resolve) => answers.push((isShared) => resolve({ creator: 'a@x', isShared }))),
    () => nowMs,
  )
  const token = new Secret('t')
  const slow = item('m', token)
  nowMs = 4000
  answers[0]!(true)
  assert.equal((await slow).isShared, true)
  nowMs = 4999
  assert.ok(!(item('m', token) instanceof Promise))
  nowMs = 5000
  const again = item('m', token)
  assert.ok(again instanceof Promise)
  answers[1]!(false)
  assert.equal((await again).isShared, false)
})
