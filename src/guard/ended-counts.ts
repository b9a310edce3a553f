/**
 * What processes had counted that are gone. Without it the sums over all workers would fall whenever one ends, which
 * a reader of counters takes for a new beginning. Gauges tell of what is: they end with their process.
 */
import type { MetricJson, MetricsJson, MetricValue } from '../base/hand-over.ts'

/** Types of which the past counts. */
const LASTING: readonly unknown[] = ['counter', 'histogram']

interface Sum {
  readonly metric: MetricJson
  readonly values: Map<string, { readonly of: MetricValue; value: number }>
}

export class EndedCounts {
  readonly #sums = new Map<string, Sum>()

  /** Each process once, with the last that it said. As many lines are kept as one process can have. */
  add(last: MetricsJson): void {
    for (const metric of last) {
      if (!LASTING.includes(metric.type)) continue
      const sum = this.#sums.get(metric.name) ?? { metric, values: new Map() }
      this.#sums.set(metric.name, sum)
      for (const one of metric.values) {
        const key = JSON.stringify([one.metricName, Object.entries(one.labels).sort()])
        const known = sum.values.get(key)
        if (known === undefined) sum.values.set(key, { of: one, value: one.value })
        else known.value += one.value
      }
    }
  }

  /** As if it were a process of its own. */
  json(): MetricsJson {
    return [...this.#sums.values()].map(({ metric, values }) => ({
      ...metric,
      values: [...values.values()].map(({ of, value }) => ({ ...of, value })),
    }))
  }
}
