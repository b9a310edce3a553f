import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AwakeClock } from '../../src/guard/awake-clock.ts'

test('time in which nobody ticked does not count, small delays do', () => {
  let steadyMs = 1000
  const clock = new AwakeClock(() => steadyMs, 500)
  const after = (ms: number): number => {
    steadyMs += ms
    clock.tick()
    return clock.nowMs()
  }
  assert.equal(clock.nowMs(), 1000)
  assert.equal(after(500), 1500)
  assert.equal(after(900), 2400)
  assert.equal(after(60_000), 2900, 'asleep for a minute')
  assert.equal(after(500), 3400)
  steadyMs += 100
  assert.equal(clock.nowMs(), 3500)
})
