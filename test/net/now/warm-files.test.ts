import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { creatorFolder, messageFile } from '../../../src/net/now/spool.ts'
import { DirectorySpool } from '../../../src/net/now/spool-directory.ts'
import { WarmFiles } from '../../../src/net/now/warm-files.ts'
import { get, NO_LIMITS } from './spool-contract.ts'

const root = mkdtempSync(join(tmpdir(), 'vesmail-warm-'))
after(() => rmSync(root, { recursive: true }))
let count = 0
function file(content: string): string {
  const path = join(root, String(count++))
  writeFileSync(path, content)
  return path
}

test('only what was read a moment ago is read in place', () => {
  let nowMs = 0
  const warm = new WarmFiles(100, () => nowMs)
  const path = file('sealed')
  assert.equal(warm.read(path), null)
  warm.warmed(path)
  assert.equal(warm.read(path)?.octets.toString(), 'sealed')
  nowMs = 10_000
  assert.equal(warm.read(path)?.octets.toString(), 'sealed')
  nowMs = 10_001
  assert.equal(warm.read(path), null)
})

test('what is in the file now counts: replaced, grown too long, deleted, empty', () => {
  const warm = new WarmFiles(10, () => 0)
  const path = file('first')
  warm.warmed(path)
  assert.equal(warm.read(path)?.octets.toString(), 'first')
  writeFileSync(path, 'other')
  assert.equal(warm.read(path)?.octets.toString(), 'other')
  writeFileSync(path, '')
  assert.equal(warm.read(path)?.octets.length, 0)
  writeFileSync(path, 'eleven octe')
  assert.equal(warm.read(path), null)
  writeFileSync(path, 'back')
  assert.equal(warm.read(path), null, 'the threads have to read it first')
  warm.warmed(path)
  unlinkSync(path)
  assert.equal(warm.read(path), null)
})

test('where reading in place is slow, the threads read for twenty times as long', () => {
  let nowMs = 0
  let stepMs = 4
  const warm = new WarmFiles(100, () => {
    nowMs += stepMs
    return nowMs
  })
  const path = file('far away')
  warm.warmed(path)
  assert.equal(warm.read(path)?.octets.toString(), 'far away')
  stepMs = 0
  assert.equal(warm.read(path), null)
  nowMs += 79
  assert.equal(warm.read(path), null)
  nowMs += 1
  assert.equal(warm.read(path)?.octets.toString(), 'far away')
})

test('whether the same still lies there: not once it was replaced, changed or deleted, nor where looking is slow', () => {
  let nowMs = 0
  let stepMs = 0
  const warm = new WarmFiles(100, () => {
    nowMs += stepMs
    return nowMs
  })
  const path = file('first')
  const read = () => {
    warm.warmed(path)
    return warm.read(path)!
  }
  const first = read()
  assert.equal(first.isCurrent(), true)
  renameSync(file('other'), path)
  assert.equal(first.isCurrent(), false)
  const other = read()
  assert.equal(other.isCurrent(), true)
  utimesSync(path, 1, 1)
  assert.equal(other.isCurrent(), false)
  const touched = read()
  stepMs = 4
  assert.equal(touched.isCurrent(), true)
  stepMs = 0
  assert.equal(touched.isCurrent(), false)
  nowMs += 80
  assert.equal(touched.isCurrent(), true)
  unlinkSync(path)
  assert.equal(touched.isCurrent(), false)
})

test('names are bounded: the oldest goes', () => {
  const warm = new WarmFiles(100, () => 0)
  const path = file('oldest')
  warm.warmed(path)
  for (let i = 0; i < 999; i++) warm.warmed(join(root, `absent-${i}`))
  assert.equal(warm.read(path)?.octets.toString(), 'oldest')
  warm.warmed(join(root, 'absent-999'))
  assert.equal(warm.read(path), null)
})

test('a spool gives what lies there at that moment, read again and again', async () => {
  const directory = join(root, 'spool')
  const place = { creator: 'a@x', messageId: 'm' }
  const path = join(directory, creatorFolder(place.creator), messageFile(place.messageId))
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, 'one')
  const spool = new DirectorySpool(directory, NO_LIMITS)
  for (let i = 0; i < 3; i++) assert.equal(await get(spool, place), 'one')
  unlinkSync(path)
  assert.equal(await get(spool, place), null)
  writeFileSync(path, 'two')
  for (let i = 0; i < 3; i++) assert.equal(await get(spool, place), 'two')
  const long = 'x'.repeat(64 * 1024 + 1)
  writeFileSync(path, long)
  for (let i = 0; i < 2; i++) assert.equal(await get(spool, place), long)
})
