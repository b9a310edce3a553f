import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  Supervisor,
  type SupervisorAction,
  type SupervisorEvent,
  type SupervisorOptions,
} from '../../src/guard/supervisor.ts'

const OPTIONS: SupervisorOptions = { slots: 2, startMs: 1000, drainMs: 5000, forcedMs: 300, hangMs: 2000 }

function word(action: SupervisorAction): string {
  switch (action.do) {
    case 'fork':
      return `fork ${action.worker}/${action.generation}`
    case 'drain':
      return `drain ${action.worker}${action.forced ? ' forced' : ''}`
    case 'kill':
      return `kill ${action.worker} ${action.why}`
    case 'died':
      return `died ${action.worker} ${action.delayMs}`
    case 'rolled':
      return `rolled ${action.generation}`
    case 'roll-failed':
      return `roll-failed ${action.generation} kept ${action.kept}`
    case 'exit':
      return `exit${action.configBad ? ' bad' : ''}`
  }
}

/** A supervisor with a clock of its own; actions as short words, `fork 1/1` = worker 1 of generation 1. */
function stage(options = OPTIONS) {
  const supervisor = new Supervisor(options)
  let nowMs = 0
  const step = (event: SupervisorEvent): string[] => supervisor.step(event, nowMs).map(word)
  return {
    supervisor,
    later: (ms: number) => {
      nowMs += ms
      return step({ on: 'tick' })
    },
    step,
    ready: (worker: number) => step({ on: 'ready', worker }),
    gone: (worker: number, configBad = false) => step({ on: 'gone', worker, configBad }),
    reload: (generation: number, to = options) => step({ on: 'reload', generation, options: to }),
  }
}

function running(options = OPTIONS) {
  const s = stage(options)
  s.step({ on: 'start' })
  for (let worker = 1; worker <= options.slots; worker++) s.ready(worker)
  return s
}

test('starts all workers at once, and tells when they are there', () => {
  const s = stage()
  assert.deepEqual(s.step({ on: 'start' }), ['fork 1/1', 'fork 2/1'])
  assert.deepEqual(s.ready(2), [])
  assert.deepEqual(s.supervisor.ready, [2])
  assert.deepEqual(s.ready(1), ['rolled 1'])
})

test('a reload replaces one worker after the other: new one ready, old one drains', () => {
  const s = running()
  assert.deepEqual(s.reload(2), ['fork 3/2'])
  assert.deepEqual(s.supervisor.ready, [1, 2], 'the old ones serve until the new one is ready')
  assert.deepEqual(s.ready(3), ['drain 1', 'fork 4/2'])
  assert.deepEqual(s.supervisor.ready, [2, 3])
  assert.deepEqual(s.gone(1), [])
  assert.deepEqual(s.ready(4), ['drain 2', 'rolled 2'])
  assert.deepEqual(s.supervisor.ready, [3, 4])
  for (let i = 0; i < 5; i++) {
    for (const worker of [2, 3, 4]) s.step({ on: 'alive', worker })
    assert.deepEqual(s.later(1000), [])
  }
  assert.deepEqual(s.later(1), ['kill 2 drain'], 'its time is up')
})

test('a configuration whose first worker does not start changes nothing', () => {
  const s = running()
  s.reload(2)
  assert.deepEqual(s.gone(3, true), ['roll-failed 2 kept 1'])
  assert.deepEqual(s.supervisor.ready, [1, 2])
  assert.equal(s.supervisor.generation, 1)
  assert.deepEqual(s.gone(1), ['died 1 0', 'fork 4/1'], 'replacements are of the old generation')
})

test('a new worker that does not get ready in time is killed, and its generation given up', () => {
  const s = running()
  s.reload(2)
  assert.deepEqual(s.later(1001), ['kill 3 start'])
  assert.deepEqual(s.gone(3), ['roll-failed 2 kept 1'])
})

test('a second reload overtakes the first', () => {
  const s = running()
  s.reload(2)
  assert.deepEqual(s.reload(3), ['kill 3 replaced', 'fork 4/3'])
  assert.deepEqual(s.gone(3), [])
  assert.deepEqual(s.ready(4), ['drain 1', 'fork 5/3'])
  assert.deepEqual(s.reload(4), ['kill 5 replaced', 'fork 6/4'])
  assert.deepEqual(s.ready(6), ['drain 4', 'fork 7/4'])
  assert.deepEqual(s.ready(7), ['drain 2', 'rolled 4'])
  assert.deepEqual(s.supervisor.ready, [6, 7])
})

test('a dead worker is replaced at once, one that keeps dying with growing delay', () => {
  const s = running()
  assert.deepEqual(s.gone(1), ['died 1 0', 'fork 3/1'])
  assert.deepEqual(s.supervisor.ready, [2], 'the sibling never notices')
  assert.deepEqual(s.gone(3), ['died 3 250'])
  assert.deepEqual(s.later(249), [])
  assert.deepEqual(s.later(1), ['fork 4/1'])
  assert.deepEqual(s.gone(4), ['died 4 500'])
  s.later(500)
  for (let worker = 5; worker < 20; worker++) {
    s.gone(worker)
    s.later(30_000)
  }
  assert.deepEqual(s.gone(20), ['died 20 30000'])
  s.later(30_000)
  s.ready(21)
  s.step({ on: 'alive', worker: 21 })
  s.later(1999)
  for (let i = 0; i < 10; i++) {
    s.step({ on: 'alive', worker: 21 })
    s.later(1000)
  }
  assert.deepEqual(s.gone(21), ['died 21 0', 'fork 22/1'], 'having lived well, it is replaced at once')
})

test('a later worker of a roll that fails to start is tried again; the old one serves on', () => {
  const s = running()
  s.reload(2)
  s.ready(3)
  assert.deepEqual(s.gone(4), ['died 4 250'])
  assert.deepEqual(s.supervisor.ready, [2, 3])
  assert.deepEqual(s.later(250), ['fork 5/2'])
  assert.deepEqual(s.ready(5), ['drain 2', 'rolled 2'])
})

test('a worker that hangs is killed, then replaced', () => {
  const s = running()
  s.step({ on: 'alive', worker: 1 })
  s.step({ on: 'alive', worker: 2 })
  s.later(1500)
  s.step({ on: 'alive', worker: 2 })
  assert.deepEqual(s.later(501), ['kill 1 hang'])
  assert.deepEqual(s.gone(1), ['died 1 0', 'fork 3/1'])
})

test('a worker told by a signal to go gets a successor first', () => {
  const s = running()
  assert.deepEqual(s.step({ on: 'leaving', worker: 2 }), ['fork 3/1'])
  assert.deepEqual(s.ready(3), ['drain 2'])
})

test('stop: all drain, then the end; forced: sooner', () => {
  const s = running()
  assert.deepEqual(s.step({ on: 'stop', forced: false }), ['drain 1', 'drain 2'])
  assert.deepEqual(s.gone(1), [])
  assert.deepEqual(s.later(1000), [])
  assert.deepEqual(s.step({ on: 'stop', forced: true }), ['drain 2 forced'])
  assert.deepEqual(s.later(301), ['kill 2 drain'])
  assert.deepEqual(s.gone(2), ['exit'])
})

test('stop in the middle of a roll kills what only starts', () => {
  const s = running()
  s.reload(2)
  assert.deepEqual(s.step({ on: 'stop', forced: false }), ['drain 1', 'drain 2', 'kill 3 stop'])
  s.gone(3)
  s.gone(1)
  assert.deepEqual(s.gone(2), ['exit'])
})

test('a first configuration that is unusable ends the program', () => {
  const s = stage()
  s.step({ on: 'start' })
  assert.deepEqual(s.gone(1, true), ['kill 2 stop', 'exit bad'])
})

test('more and fewer workers after a reload', () => {
  const s = running()
  s.reload(2, { ...OPTIONS, slots: 3 })
  s.ready(3)
  s.ready(4)
  assert.deepEqual(s.ready(5), ['rolled 2'])
  assert.equal(s.supervisor.ready.length, 3)
  s.gone(1)
  s.gone(2)
  s.reload(3, { ...OPTIONS, slots: 1 })
  assert.deepEqual(s.ready(6), ['drain 4', 'drain 5', 'drain 3', 'rolled 3'])
  assert.deepEqual(s.supervisor.ready, [6])
})

test('reloads in a row do not pile up processes', () => {
  const s = running({ ...OPTIONS, slots: 1 })
  let worker = 2
  const actions: string[] = []
  for (let generation = 2; generation < 10; generation++) {
    s.reload(generation, { ...OPTIONS, slots: 1 })
    actions.push(...s.ready(worker++))
  }
  assert.ok(actions.includes('drain 1 forced'), actions.join())
  assert.ok(!actions.includes('drain 8 forced'))
})

test('whatever happens, some worker serves or is on its way, and there is one per slot at most', () => {
  const event = fc.oneof(
    fc.record({ on: fc.constantFrom('ready', 'alive', 'leaving', 'gone'), pick: fc.nat(20) }),
    fc.record({ on: fc.constantFrom('reload'), pick: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ on: fc.constantFrom('tick'), pick: fc.nat(40_000) }),
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const supervisor = new Supervisor(OPTIONS)
      const alive = new Set<number>()
      let nowMs = 0
      let generation = 1
      let slots = 2
      const step = (one: SupervisorEvent): void => {
        for (const action of supervisor.step(one, nowMs)) {
          if (action.do === 'fork') alive.add(action.worker)
          assert.notEqual(action.do, 'exit')
        }
      }
      step({ on: 'start' })
      for (const { on, pick } of events) {
        const worker = [...alive][pick % Math.max(1, alive.size)] ?? 0
        if (on === 'gone') {
          alive.delete(worker)
          step({ on: 'gone', worker, configBad: false })
        } else if (on === 'reload') {
          slots = Math.max(slots, pick)
          step({ on, generation: ++generation, options: { ...OPTIONS, slots: pick } })
        } else if (on === 'tick') {
          nowMs += pick
          step({ on })
        } else step({ on: on as 'ready', worker })
        assert.ok(supervisor.ready.length <= slots)
      }
      // Left alone, all comes to rest: starting ones get ready, due ones are forked.
      for (let i = 0; i < 20; i++) {
        nowMs += 30_000
        step({ on: 'tick' })
        for (const worker of alive) {
          step({ on: 'alive', worker })
          step({ on: 'ready', worker })
        }
      }
      assert.ok(supervisor.ready.length >= 1)
    }),
    { numRuns: 500 },
  )
})
