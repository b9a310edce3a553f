import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GuardCounts, MetricJson, MetricsJson, ToWorker } from '../../src/base/hand-over.ts'
import { EndedCounts } from '../../src/guard/ended-counts.ts'
import { MetricsRelay } from '../../src/guard/metrics-relay.ts'

const metric = (type: string, ...values: MetricJson['values']): MetricJson => ({
  name: type,
  help: 'h',
  type,
  aggregator: 'sum',
  values,
})

const ofWorker = (n: number): MetricsJson => [
  metric('counter', { value: n, labels: { a: 'x', b: 'y' } }, { value: 1, labels: {} }),
  metric('gauge', { value: n, labels: {} }),
  metric(
    'histogram',
    { value: n, labels: { le: 1 }, metricName: 'h_bucket' },
    { value: 2 * n, labels: {}, metricName: 'h_sum' },
  ),
]

/** What the answers are made of, told as the sum of all parts. */
function sums(parts: readonly MetricsJson[]): Record<string, number> {
  const all: Record<string, number> = {}
  for (const { name, values } of parts.flat()) {
    for (const { value, labels, metricName } of values) {
      const key = `${metricName ?? name}${JSON.stringify(labels)}`
      all[key] = (all[key] ?? 0) + value
    }
  }
  return all
}

test('counters and histograms of the dead add up, in whatever order their labels come; gauges end', () => {
  const ended = new EndedCounts()
  ended.add(ofWorker(3))
  ended.add([metric('counter', { value: 4, labels: { b: 'y', a: 'x' } })])
  ended.add(ofWorker(5))
  assert.deepEqual(sums([ended.json()]), {
    'counter{"a":"x","b":"y"}': 12,
    'counter{}': 2,
    'h_bucket{"le":1}': 8,
    'h_sum{}': 16,
  })
})

test('what a process said is not changed by what another adds to it', () => {
  const ended = new EndedCounts()
  const first = ofWorker(3)
  ended.add(first)
  ended.add(ofWorker(5))
  assert.deepEqual(first, ofWorker(3))
})

const COUNTS = {} as GuardCounts

class Stage {
  readonly answers: MetricsJson[][] = []
  readonly asked: { worker: number; id: number }[] = []
  readonly relay = new MetricsRelay((worker: number, message: ToWorker) => {
    if (message.t === 'metrics') this.asked.push({ worker, id: message.id })
    if (message.t === 'metrics-of-all') this.answers.push([...message.parts])
  })

  ask(...workers: number[]): number {
    this.relay.ask(workers[0]!, 1, workers, () => COUNTS)
    return this.asked.at(-1)!.id
  }

  get counter(): number | undefined {
    return sums(this.answers.at(-1)!)['counter{"a":"x","b":"y"}']
  }
}

test('a worker that goes is in the sums once: before, in the moment, and after', () => {
  const stage = new Stage()
  let id = stage.ask(1, 2)
  stage.relay.part(1, id, ofWorker(10))
  stage.relay.part(2, id, ofWorker(20))
  assert.equal(stage.counter, 30)
  // It dies in the middle of the next collection, after its last words.
  id = stage.ask(1, 2)
  stage.relay.part(1, id, ofWorker(11))
  stage.relay.part(2, null, ofWorker(22))
  assert.equal(stage.answers.length, 1)
  stage.relay.gone(2)
  assert.equal(stage.counter, 33)
  id = stage.ask(1, 3)
  stage.relay.part(1, id, ofWorker(12))
  stage.relay.part(3, id, ofWorker(1))
  assert.equal(stage.counter, 35)
  assert.equal(sums(stage.answers.at(-1)!)['gauge{}'], 13)
})

test('of a worker that does not answer the last figures stand', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const stage = new Stage()
  let id = stage.ask(1, 2)
  stage.relay.part(1, id, ofWorker(10))
  stage.relay.part(2, id, ofWorker(20))
  id = stage.ask(1, 2)
  stage.relay.part(1, id, ofWorker(11))
  t.mock.timers.tick(1000)
  assert.equal(stage.counter, 31)
  // Its answer comes too late for that question, and counts for the next.
  stage.relay.part(2, id, ofWorker(25))
  id = stage.ask(1, 2)
  stage.relay.part(1, id, ofWorker(11))
  t.mock.timers.tick(1000)
  assert.equal(stage.counter, 36)
})
