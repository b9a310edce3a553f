/** Nothing stays in the temporary folder: not of workers that were killed, nor for good of guards that were. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { RunDirectory } from '../../src/guard/run-directory.ts'

const HOURS = 3600_000

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'vm-run-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' })
  await once(child, 'exit')
  return child.pid!
}

test('a worker has a folder of its own, which goes with it; the rest goes with the guard', (t) => {
  const parent = scratch(t)
  const run = new RunDirectory(process.pid, Date.now(), parent)
  const [one, two] = [run.of(1), run.of(2)]
  writeFileSync(join(one, 'socket'), '')
  assert.equal(statSync(one).mode & 0o777, 0o700)
  run.forget(1)
  assert.deepEqual([existsSync(one), existsSync(two)], [false, true])
  run.close()
  assert.deepEqual(readdirSync(parent), [])
})

test('what a guard that was killed left is removed an hour later, what lives or is not ours never', async (t) => {
  const parent = scratch(t)
  const dead = await deadPid()
  const left = join(parent, `vesmail-guard-${dead}-abcdef`)
  mkdirSync(join(left, '1'), { recursive: true })
  const living = new RunDirectory(process.pid, Date.now(), parent)
  const kept = living.of(1)
  const elsewhere = join(parent, 'elsewhere')
  mkdirSync(elsewhere)
  symlinkSync(elsewhere, join(parent, `vesmail-guard-${dead}-link`))
  new RunDirectory(process.pid, Date.now(), parent).close()
  assert.ok(existsSync(left), 'its workers may still be at their last sessions')
  new RunDirectory(process.pid, Date.now() + 2 * HOURS, parent).close()
  assert.deepEqual([existsSync(left), existsSync(kept), existsSync(elsewhere)], [false, true, true])
})
