import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { creatorFolder, messageFile } from '../../../src/net/now/spool.ts'
import { DirectorySpool } from '../../../src/net/now/spool-directory.ts'
import { DAY_MS, get, NO_LIMITS, put, spoolContract } from './spool-contract.ts'

const root = mkdtempSync(join(tmpdir(), 'vesmail-spool-'))
after(() => rmSync(root, { recursive: true }))
let count = 0
const folder = (): string => join(root, String(count++))

spoolContract('directory', async (limits) => new DirectorySpool(folder(), limits))

test('names: the octets of SHA-256 modulo 36, and a folder that cannot lead out', () => {
  assert.match(messageFile('v08@vectors.example.com'), /^[0-9a-z]{32}$/)
  // SHA-256("abc") = ba7816bf 8f01cfea …: 0xba = 186 = 5·36+6, 0x78 = 120 = 3·36+12, 0x16 = 22, 0xbf = 191 = 5·36+11
  assert.equal(messageFile('abc').slice(0, 4), '6cmb')
  assert.equal(creatorFolder('Jane@X.org'), 'Jane@X.org')
  assert.equal(creatorFolder('../a\\b/c'), '_._a_b_c')
  assert.equal(creatorFolder('..'), '_.')
})

test('a copy appears whole or not at all, and never over another', async () => {
  const directory = folder()
  const spool = new DirectorySpool(directory, NO_LIMITS)
  const place = { creator: 'Alice@x.org', messageId: 'm1@x.org' }
  const writer = await spool.create(place)
  await writer.write(Buffer.from('half'))
  assert.equal(await get(spool, place), null)
  await writer.abort()
  await writer.abort()
  assert.deepEqual(readdirSync(join(directory, 'Alice@x.org')), [])
  assert.equal(await put(spool, place, 'whole'), true)
  assert.equal(await put(spool, place, 'another'), false)
  assert.equal(await get(spool, place), 'whole')
  assert.deepEqual(readdirSync(join(directory, 'Alice@x.org')), [messageFile('m1@x.org')])
  assert.equal(statSync(join(directory, 'Alice@x.org', messageFile('m1@x.org'))).mode & 0o777, 0o640)
})

test('the layout of an existing spool is read as it is', async () => {
  const directory = folder()
  const spool = new DirectorySpool(directory, NO_LIMITS)
  await put(spool, { creator: 'a@x', messageId: 'other' }, '-')
  writeFileSync(join(directory, 'a@x', messageFile('old@x')), 'of the C implementation')
  assert.equal(await get(spool, { creator: 'a@x', messageId: 'old@x' }), 'of the C implementation')
  assert.equal(await get(spool, { creator: 'b@x', messageId: 'old@x' }), null)
})

test('copies are cut at the limit, over all writes', async () => {
  const spool = new DirectorySpool(folder(), { ...NO_LIMITS, maxOctets: 10 })
  const place = { creator: 'a@x', messageId: 'm' }
  const writer = await spool.create(place)
  for (const text of ['1234567', '89abcd', 'e']) await writer.write(Buffer.from(text))
  await writer.commit()
  assert.equal(await get(spool, place), '123456789a')
})

test('what is too old goes, and of too much the oldest; what a crash left goes after a day', async () => {
  const directory = folder()
  const spool = new DirectorySpool(directory, { maxOctets: null, maxAgeMs: 7 * DAY_MS, maxTotalOctets: 10 })
  const now = Date.now()
  const age = (name: string, days: number): void => {
    const seconds = (now - days * DAY_MS) / 1000
    utimesSync(join(directory, 'a@x', name), seconds, seconds)
  }
  for (const [messageId, days] of [
    ['old', 8],
    ['older', 3],
    ['young', 1],
  ] as const) {
    await put(spool, { creator: 'a@x', messageId }, '123456')
    age(messageFile(messageId), days)
  }
  await put(spool, { creator: 'gone@x', messageId: 'old' }, 'x')
  utimesSync(join(directory, 'gone@x', messageFile('old')), 1, 1)
  await spool.create({ creator: 'a@x', messageId: 'crashed' })
  age(readdirSync(join(directory, 'a@x')).find((name) => name.endsWith('.part'))!, 2)
  assert.equal(await spool.expire(now), 3)
  assert.deepEqual(readdirSync(join(directory, 'a@x')), [messageFile('young')])
  assert.deepEqual(readdirSync(directory), ['a@x'])
})
