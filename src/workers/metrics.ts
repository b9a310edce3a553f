/**
 * The worker's numbers, for Prometheus (prom-client). All workers together are told by whichever is asked
 * (`admin.ts`); the guard only relays.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { AggregatorRegistry, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Service } from '../base/config/config-file.ts'
import type { GuardCounts, MetricsJson } from '../base/hand-over.ts'
import type { DriveEnd } from '../net/drive.ts'
import type { PoolMetrics } from './pool.ts'

export class Metrics {
  readonly #registry = new Registry()
  readonly #loop = monitorEventLoopDelay({ resolution: 20 })
  readonly #sessions: Gauge
  readonly #begun: Counter
  readonly #ended: Counter
  readonly #logins: Counter
  readonly #messages: Counter
  readonly #octets: Counter
  readonly #provider: Counter
  readonly #refused: Counter
  readonly #duration: Histogram
  readonly #keyRequests: Histogram

  /** @param pool numbers of the thread pool, read when they are asked for */
  constructor(pool: () => PoolMetrics) {
    const registers = [this.#registry]
    const counter = (name: string, help: string, ...labelNames: string[]): Counter =>
      new Counter({ name: `vesmail_${name}`, help, labelNames, registers })
    const gauge = (name: string, help: string, collect: (this: Gauge) => void, ...labelNames: string[]): Gauge =>
      new Gauge({ name: `vesmail_${name}`, help, labelNames, registers, collect })
    this.#sessions = new Gauge({ name: 'vesmail_sessions', help: 'Open sessions', labelNames: ['service'], registers })
    this.#begun = counter('sessions_total', 'Sessions begun', 'service')
    this.#ended = counter('sessions_ended_total', 'Sessions ended, by reason', 'service', 'why')
    this.#logins = counter('logins_total', 'Logins, by result', 'service', 'result')
    this.#messages = counter('messages_total', 'Messages whose key was made or opened', 'service', 'what')
    this.#octets = counter(
      'octets_total',
      'Octets of ended sessions, by side and direction',
      'service',
      'side',
      'direction',
    )
    this.#provider = counter('provider_connections_total', 'Connections to providers, by result', 'service', 'result')
    this.#refused = counter(
      'connections_refused_total',
      'Connections turned away, over HTTP requests, by reason',
      'reason',
    )
    this.#duration = new Histogram({
      name: 'vesmail_session_seconds',
      help: 'Length of sessions',
      labelNames: ['service'],
      buckets: [0.1, 1, 10, 60, 600, 3600, 36_000],
      registers,
    })
    this.#keyRequests = new Histogram({
      name: 'vesmail_key_repository_seconds',
      help: 'Time of key operations over the repository',
      labelNames: ['what', 'result'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15],
      registers,
    })
    this.#loop.enable()
    const loop = this.#loop
    new Gauge({
      name: 'vesmail_event_loop_lag_seconds',
      help: 'Delay of the event loop since the last look, of the worst worker, by quantile',
      labelNames: ['q'],
      registers,
      aggregator: 'max',
      collect() {
        for (const q of [50, 99, 100]) this.set({ q: String(q) }, (q === 100 ? loop.max : loop.percentile(q)) / 1e9)
        loop.reset()
      },
    })
    gauge(
      'pool_tasks',
      'Tasks of the thread pool, by state',
      function () {
        const { running, waiting, completed, failed, inPlace, threadDeaths } = pool()
        this.set({ state: 'running' }, running)
        this.set({ state: 'waiting' }, waiting)
        this.set({ state: 'completed' }, completed)
        this.set({ state: 'failed' }, failed)
        this.set({ state: 'in_place' }, inPlace)
        this.set({ state: 'thread_died' }, threadDeaths)
      },
      'state',
    )
    gauge(
      'pool_seconds',
      'Time of the thread pool’s tasks since the start, waiting and running',
      function () {
        const { waitMs, runMs } = pool()
        this.set({ what: 'wait' }, waitMs / 1000)
        this.set({ what: 'run' }, runMs / 1000)
      },
      'what',
    )
    gauge(
      'memory_octets',
      'Memory of the workers, by kind',
      function () {
        const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage()
        this.set({ kind: 'rss' }, rss)
        this.set({ kind: 'heap' }, heapUsed)
        this.set({ kind: 'external' }, external)
        this.set({ kind: 'buffers' }, arrayBuffers)
      },
      'kind',
    )
  }

  get registry(): Registry {
    return this.#registry
  }

  sessionBegun(service: Service): void {
    this.#sessions.inc({ service })
    this.#begun.inc({ service })
  }

  sessionEnded(service: Service, end: DriveEnd): void {
    const why = typeof end.why === 'string' ? end.why : end.why.code
    this.#sessions.dec({ service })
    this.#ended.inc({ service, why })
    this.#duration.observe({ service }, end.durationMs / 1000)
    this.#octets.inc({ service, side: 'client', direction: 'in' }, end.fromClientOctets)
    this.#octets.inc({ service, side: 'client', direction: 'out' }, end.toClientOctets)
    this.#octets.inc({ service, side: 'upstream', direction: 'in' }, end.fromUpstreamOctets)
    this.#octets.inc({ service, side: 'upstream', direction: 'out' }, end.toUpstreamOctets)
  }

  /** @param result `ok`, `denied` or the code of a failure */
  login(service: Service, result: string): void {
    this.#logins.inc({ service, result })
  }

  provider(service: Service, result: string): void {
    this.#provider.inc({ service, result })
  }

  sealed(service: Service): void {
    this.#messages.inc({ service, what: 'sealed' })
  }

  opened(service: Service): void {
    this.#messages.inc({ service, what: 'opened' })
  }

  refused(reason: string): void {
    this.#refused.inc({ reason })
  }

  /** Measures a question to the repository. */
  async timed<T>(what: string, work: Promise<T>): Promise<T> {
    const begunMs = performance.now()
    const tell = (result: string): void =>
      this.#keyRequests.observe({ what, result }, (performance.now() - begunMs) / 1000)
    try {
      const answer = await work
      tell('ok')
      return answer
    } catch (error) {
      tell('failed')
      throw error
    }
  }

  async json(): Promise<MetricsJson> {
    return this.#registry.getMetricsAsJSON()
  }

  close(): void {
    this.#loop.disable()
  }
}

/** All workers' numbers, and the guard's, as Prometheus reads them. */
export async function printMetrics(parts: readonly MetricsJson[], guard: GuardCounts | null): Promise<string> {
  const all = AggregatorRegistry.aggregate(parts.map((part) => [...part]) as never)
  const lines = guard === null ? '' : guardLines(guard)
  return `${await all.metrics()}${lines}`
}

function guardLines(guard: GuardCounts): string {
  const line = (name: string, type: 'gauge' | 'counter', help: string, value: number): string =>
    `# HELP vesmail_guard_${name} ${help}\n# TYPE vesmail_guard_${name} ${type}\nvesmail_guard_${name} ${value}\n`
  return [
    line('workers_ready', 'gauge', 'Workers that take connections', guard.workersReady),
    line('workers_draining', 'gauge', 'Workers that finish their sessions', guard.workersDraining),
    line('restarts_total', 'counter', 'Workers that died and were replaced', guard.restarts),
    line('reloads_total', 'counter', 'Reloads asked for', guard.reloads),
    line('drains_total', 'counter', 'Workers told to finish', guard.drains),
    line('connections_waiting', 'gauge', 'Connections that wait for a worker', guard.waiting),
    line('connections_total', 'counter', 'Connections handed to workers', guard.handedOver),
    line('connections_refused_total', 'counter', 'Connections closed because too many were waiting', guard.refused),
  ].join('')
}
