import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { GatewayError } from '../../src/base/errors.ts'
import { SpillFile } from '../../src/net/spill-file.ts'

const MAX_OCTETS = 4000

const code = (expected: string) => (error: unknown) => error instanceof GatewayError && error.code === expected

test('what is written is read, wherever it is; the file has no name', async () => {
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith('vesmail-')).length
  const file = new SpillFile(MAX_OCTETS)
  await file.reserve(10)
  await Promise.all(['one', 'two', 'three'].map((text) => file.write(Buffer.from(text))))
  assert.equal((await file.read(3, 5)).toString(), 'twoth')
  await assert.rejects(file.read(8, 9), code('IO'))
  assert.equal(readdirSync(tmpdir()).filter((name) => name.startsWith('vesmail-')).length, before)
  await file.clear()
  await assert.rejects(file.read(0, 1), code('IO'))
})

test('what is beyond the bound is refused, beforehand and while it is written', async (t) => {
  const file = new SpillFile(MAX_OCTETS)
  t.after(() => file.clear())
  await file.reserve(MAX_OCTETS)
  await assert.rejects(file.reserve(MAX_OCTETS + 1), code('BUFFER_EXCEEDED'))
  await file.write(Buffer.alloc(MAX_OCTETS - 1))
  await assert.rejects(file.reserve(2), code('BUFFER_EXCEEDED'))
  await file.reserve(1)
  await file.write(Buffer.alloc(1))
  await assert.rejects(file.write(Buffer.alloc(1)), code('BUFFER_EXCEEDED'))
  await file.clear()
  await file.reserve(MAX_OCTETS)
  assert.equal(file.octets, 0)
})

test('space that is not there is told beforehand', async (t) => {
  const file = new SpillFile(MAX_OCTETS)
  t.after(() => file.clear())
  await assert.rejects(file.reserve(2 ** 40), code('BUFFER_EXCEEDED'))
  await file.reserve(1000)
  const folder = mkdtempSync(join(tmpdir(), 'vm-spill-'))
  const { TMPDIR } = process.env
  t.after(() => {
    if (TMPDIR === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = TMPDIR
    rmSync(folder, { recursive: true, force: true })
  })
  process.env.TMPDIR = join(folder, 'missing')
  const other = new SpillFile(MAX_OCTETS)
  await assert.rejects(
    other.reserve(1000),
    (error) => error instanceof GatewayError && error.detail.reason === 'ENOENT',
  )
  process.env.TMPDIR = folder
  // The next message tries anew.
  await other.reserve(1000)
  await other.clear()
})
