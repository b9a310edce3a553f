import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Connection, Dispatcher } from '../../src/guard/dispatcher.ts'

interface Fake extends Connection {
  readonly name: string
  closed: number
}

function stage(maxWaiting = 10) {
  const sent: { worker: number; id: number; connection: Connection }[] = []
  const dead = new Set<number>()
  const late: number[] = []
  const clock = { ms: 0 }
  const dispatcher = new Dispatcher(
    {
      send: (worker, id, connection) => {
        if (dead.has(worker)) return false
        sent.push({ worker, id, connection })
        return true
      },
      late: (worker) => late.push(worker),
    },
    maxWaiting,
    1000,
    () => clock.ms,
  )
  return { dispatcher, sent, dead, late, clock }
}

function connection(name: string, gone = false): Fake {
  return {
    name,
    listener: 'l',
    gone,
    closed: 0,
    close() {
      this.closed++
    },
  }
}

test('workers take turns; the copy is closed only when the worker has it', () => {
  const { dispatcher, sent } = stage()
  dispatcher.choose([1, 2])
  const [a, b, c] = ['a', 'b', 'c'].map((name) => connection(name))
  for (const one of [a!, b!, c!]) dispatcher.add(one)
  assert.deepEqual(
    sent.map(({ worker }) => worker),
    [1, 2, 1],
  )
  assert.equal(a!.closed, 0)
  dispatcher.taken(sent[0]!.id)
  dispatcher.taken(sent[0]!.id)
  assert.equal(a!.closed, 1)
  assert.equal(dispatcher.handedOver, 1)
})

test('what a dead worker had not taken goes to another', () => {
  const { dispatcher, sent } = stage()
  dispatcher.choose([1])
  const a = connection('a')
  const b = connection('b')
  dispatcher.add(a)
  dispatcher.add(b)
  dispatcher.taken(sent[0]!.id)
  dispatcher.choose([1, 2])
  dispatcher.disconnected(1)
  assert.deepEqual(
    sent.map(({ worker, connection: one }) => `${(one as Fake).name}${worker}`),
    ['a1', 'b1', 'b2'],
  )
  assert.equal(b.closed, 0)
})

test('while no worker lives connections wait, up to a bound', () => {
  const { dispatcher, sent } = stage(2)
  const all = ['a', 'b', 'c'].map((name) => connection(name))
  for (const one of all) dispatcher.add(one)
  assert.equal(dispatcher.waiting, 2)
  assert.equal(all[2]!.closed, 1)
  assert.equal(dispatcher.refused, 1)
  dispatcher.choose([7])
  assert.deepEqual(
    sent.map(({ connection: one }) => (one as Fake).name),
    ['a', 'b'],
  )
  assert.equal(dispatcher.waiting, 0)
})

test('a closed channel is passed by; a missing handle is sent again', () => {
  const { dispatcher, sent, dead } = stage()
  dead.add(1)
  dispatcher.choose([1, 2])
  dispatcher.add(connection('a'))
  assert.equal(sent[0]!.worker, 2)
  dispatcher.missing(sent[0]!.id)
  assert.equal(sent.length, 2)
  dispatcher.missing(sent[0]!.id)
  assert.equal(sent.length, 2, 'an id counts once')
})

test('who does not take a connection in time is told of', () => {
  const { dispatcher, sent, late, clock } = stage()
  dispatcher.choose([1])
  dispatcher.add(connection('a'))
  clock.ms = 1000
  dispatcher.tick()
  assert.deepEqual(late, [])
  clock.ms = 1001
  dispatcher.tick()
  assert.deepEqual(late, [1])
  dispatcher.taken(sent[0]!.id)
  dispatcher.tick()
  assert.deepEqual(late, [1])
})

test('a worker that is slow but takes one after another is not late, unless one waits very long', () => {
  const { dispatcher, sent, late, clock } = stage()
  dispatcher.choose([1, 2])
  for (let i = 0; i < 30; i++) dispatcher.add(connection(String(i)))
  const ofOne = sent.filter(({ worker }) => worker === 1)
  for (const { id } of ofOne.slice(0, 7)) {
    clock.ms += 800
    dispatcher.taken(id)
    dispatcher.tick()
  }
  assert.deepEqual(new Set(late), new Set([2]), 'the other one took nothing')
  late.length = 0
  dispatcher.disconnected(2)
  clock.ms = 6001
  dispatcher.tick()
  assert.deepEqual(late, [1])
})

test('a client that has gone meanwhile is not passed on', () => {
  const { dispatcher, sent } = stage()
  dispatcher.choose([1])
  const gone = connection('a', true)
  dispatcher.add(gone)
  assert.equal(sent.length, 0)
  assert.equal(gone.closed, 1)
})

test('no connection is lost or served twice, whatever dies', () => {
  const step = fc.record({ what: fc.constantFrom('add', 'take', 'die', 'born', 'miss'), pick: fc.nat(100) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const { dispatcher, sent, dead } = stage(1000)
      let workers: number[] = []
      let next = 1
      const all: Fake[] = []
      const open = new Set<number>()
      const taken: Connection[] = []
      let seen = 0
      for (const { what, pick } of [...steps, { what: 'born', pick: 0 }]) {
        if (what === 'add') {
          const one = connection(String(all.length))
          all.push(one)
          dispatcher.add(one)
        } else if (what === 'born') {
          workers = [...workers, next++]
          dispatcher.choose(workers)
        } else if (what === 'die' && workers.length > 0) {
          const worker = workers[pick % workers.length]!
          dead.add(worker)
          workers = workers.filter((one) => one !== worker)
          for (const id of [...open]) if (sent.find((one) => one.id === id)?.worker === worker) open.delete(id)
          dispatcher.disconnected(worker)
        } else if (open.size > 0) {
          const id = [...open][pick % open.size]!
          open.delete(id)
          if (what === 'take') {
            taken.push(sent.find((one) => one.id === id)!.connection)
            dispatcher.taken(id)
          } else dispatcher.missing(id)
        }
        for (; seen < sent.length; seen++) if (!dead.has(sent[seen]!.worker)) open.add(sent[seen]!.id)
      }
      const pending = [...open].map((id) => sent.find((one) => one.id === id)!.connection)
      assert.deepEqual(new Set([...taken, ...pending]), new Set(all))
      assert.equal(new Set(taken).size, taken.length)
      assert.equal(taken.length + pending.length, all.length)
    }),
    { numRuns: 300 },
  )
})
