/** Whole garbage collections while buffers come and go, before and after: counted, not timed. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks'
import { mock, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import v8 from 'node:v8'
import { parseConfigFile } from '../../src/base/config/config-file.ts'
import { silentLog } from '../../src/base/log.ts'
import { COLLECTOR_FLAGS, tuneCollector } from '../../src/workers/collector.ts'
import { compose } from '../../src/workers/compose.ts'

const MANY_OCTETS = 2 ** 31
const READ_OCTETS = 64 * 1024
const READS_A_TURN = 10

test('buffers that live for a moment start no whole collections', async () => {
  const untuned = await wholeCollections()
  tuneCollector()
  const tuned = await wholeCollections()
  assert.ok(untuned > 10, `the flag is of use to this V8: ${untuned} collections without it`)
  assert.ok(tuned < untuned / 4, `${tuned} collections, ${untuned} without the flag`)
})

test('the young generation of a worker stays small, whatever lives', () => {
  assert.ok(youngKib([]) > 8192, 'the flag is of use to this V8')
  assert.ok(youngKib([...COLLECTOR_FLAGS]) <= 2048)
})

test('and that of a process which has no flags, loading the gateway included', () => {
  const load = (path: string) => `await import(${JSON.stringify(new URL(path, import.meta.url).href)})`
  const before = `(${load('../../src/workers/collector.ts')}).keepYoungGenerationSmall()\n${load('../../src/cli/daemon.ts')}`
  assert.ok(youngKib(['--input-type=module'], before) <= 2048)
})

test('whoever carries mail sets the collector before anything else', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'vm-gc-'))
  const set = mock.method(v8, 'setFlagsFromString')
  syncBuiltinESMExports()
  try {
    const text = JSON.stringify({ '*': { state: directory, pool: { threads: 1 } } })
    const file = parseConfigFile(text, 'vesmail.conf')
    const composition = compose({ file, log: silentLog, ticketKeys: Buffer.alloc(48), workers: 1 })
    await composition.close()
  } finally {
    set.mock.restore()
    syncBuiltinESMExports()
    rmSync(directory, { recursive: true })
  }
  assert.deepEqual(
    set.mock.calls.map(({ arguments: [flag] }) => flag),
    ['--external-memory-accounted-in-global-limit', '--heap-growing-percent=170'],
  )
})

/**
 * What the young generation has, mostly, when three hundred thousand objects have come and stayed. A collection whose
 * survivors do not fit takes pages beyond it that go with the next one: so not one look, but the middle of many.
 */
function youngKib(flags: string[], before = ''): number {
  const script = `
    ${before}
    const kept = Array.from({ length: 300_000 }, (_, i) => ({ i, of: [i] }))
    const looks = Array.from({ length: 15 }, () => {
      for (let i = 0; i < 200_000; i++) kept[i % 10] = { i, of: [i] }
      const spaces = process.getBuiltinModule('node:v8').getHeapSpaceStatistics()
      return spaces.find((one) => one.space_name === 'new_space').space_size / 1024
    })
    console.log(looks.sort((a, b) => a - b)[7])`
  return Number(execFileSync(process.execPath, [...flags, '-e', script]))
}

async function wholeCollections(): Promise<number> {
  let count = 0
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries() as (PerformanceEntry & { readonly detail: { readonly kind: number } })[]) {
      if (entry.detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) count++
    }
  })
  observer.observe({ entryTypes: ['gc'] })
  for (let octets = 0; octets < MANY_OCTETS; octets += READS_A_TURN * READ_OCTETS) {
    for (let i = 0; i < READS_A_TURN; i++) Buffer.allocUnsafeSlow(READ_OCTETS)
    await setImmediate()
  }
  observer.disconnect()
  return count
}
