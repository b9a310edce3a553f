/**
 * The worker's numbers, for Prometheus (prom-client). All workers together are told by whichever is asked
 * (`admin.ts`); the guard only relays.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { AggregatorRegistry, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Service } from '../base/config/config-file.ts'
import type { GuardCounts, MetricsJson } from '../base/hand-over.ts'
import type { Buffered, DriveEnd, Traffic } from '../net/drive.ts'
import type { PoolMetrics } from './pool.ts'

/** A session that is open, or an HTTP connection. */
export interface LiveSession {
  readonly traffic: Traffic
  readonly buffered: Buffered
}

const NO_TRAFFIC: Traffic = { fromClientOctets: 0, toClientOctets: 0, fromUpstreamOctets: 0, toUpstreamOctets: 0 }

export class Metrics {
  readonly #registry = new Registry()
  readonly #loop = monitorEventLoopDelay({ resolution: 20 })
  readonly #sessions: Gauge
  readonly #begun: Counter
  readonly #ended: Counter
  readonly #logins: Counter
  readonly #messages: Counter
  readonly #messageOctets: Counter
  readonly #provider: Counter
  readonly #refused: Counter
  readonly #duration: Histogram
  readonly #keyRequests: Histogram
  readonly #live = new Map<LiveSession, Service>()
  /** Traffic of sessions that are over. */
  readonly #past = new Map<Service, Traffic>()

  /** @param pool numbers of the thread pool, read when they are asked for */
  constructor(pool: () => PoolMetrics) {
    const registers = [this.#registry]
    const counter = (name: string, help: string, ...labelNames: string[]): Counter =>
      new Counter({ name: `vesmail_${name}`, help, labelNames, registers })
    const collected = (name: string, help: string, labelNames: string[], collect: (set: Setter) => void): Counter =>
      new Counter({
        name: `vesmail_${name}`,
        help,
        labelNames,
        registers,
        collect() {
          this.reset()
          collect((labels, value) => this.inc(labels, value))
        },
      })
    const gauge = (name: string, help: string, collect: (this: Gauge) => void, ...labelNames: string[]): Gauge =>
      new Gauge({ name: `vesmail_${name}`, help, labelNames, registers, collect })
    this.#sessions = new Gauge({ name: 'vesmail_sessions', help: 'Open sessions', labelNames: ['service'], registers })
    this.#begun = counter('sessions_total', 'Sessions begun', 'service')
    this.#ended = counter('sessions_ended_total', 'Sessions ended, by reason', 'service', 'why')
    this.#logins = counter('logins_total', 'Logins, by result', 'service', 'result')
    this.#messages = counter('messages_total', 'Messages whose key was made or opened', 'service', 'what')
    this.#messageOctets = counter(
      'message_octets_total',
      'Octets that went into sealing and opening',
      'service',
      'what',
    )
    const traffic = (): ReadonlyMap<Service, Traffic> => this.#traffic()
    collected('octets_total', 'Octets of sessions, by side and direction', ['service', 'side', 'direction'], (set) => {
      for (const [service, octets] of traffic()) {
        set({ service, side: 'client', direction: 'in' }, octets.fromClientOctets)
        set({ service, side: 'client', direction: 'out' }, octets.toClientOctets)
        set({ service, side: 'upstream', direction: 'in' }, octets.fromUpstreamOctets)
        set({ service, side: 'upstream', direction: 'out' }, octets.toUpstreamOctets)
      }
    })
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
      'Tasks that the thread pool has, by state',
      function () {
        const { running, waiting } = pool()
        this.set({ state: 'running' }, running)
        this.set({ state: 'waiting' }, waiting)
      },
      'state',
    )
    collected('pool_tasks_total', 'Tasks that the thread pool had; in_place: without a thread', ['what'], (set) => {
      const { completed, failed, inPlace, threadDeaths } = pool()
      set({ what: 'completed' }, completed)
      set({ what: 'failed' }, failed)
      set({ what: 'in_place' }, inPlace)
      set({ what: 'thread_died' }, threadDeaths)
    })
    collected('pool_seconds_total', 'Time of the thread pool’s tasks, waiting and running', ['what'], (set) => {
      const { waitMs, runMs } = pool()
      set({ what: 'wait' }, waitMs / 1000)
      set({ what: 'run' }, runMs / 1000)
    })
    const buffered = (): Buffered => this.#buffered()
    gauge(
      'buffered_octets',
      'What sessions hold, by where it is to go; spilled: in files',
      function () {
        const { toClientOctets, toUpstreamOctets, spilledOctets } = buffered()
        this.set({ what: 'to_client' }, toClientOctets)
        this.set({ what: 'to_upstream' }, toUpstreamOctets)
        this.set({ what: 'to_pool' }, pool().octets)
        this.set({ what: 'spilled' }, spilledOctets)
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

  /** @param session asked for its figures until it ends */
  sessionBegun(service: Service, session: LiveSession): void {
    this.#live.set(session, service)
    this.#sessions.inc({ service })
    this.#begun.inc({ service })
  }

  sessionEnded(service: Service, session: LiveSession, end: DriveEnd): void {
    const why = typeof end.why === 'string' ? end.why : end.why.code
    this.#live.delete(session)
    this.#past.set(service, sum(this.#past.get(service) ?? NO_TRAFFIC, end))
    this.#sessions.dec({ service })
    this.#ended.inc({ service, why })
    this.#duration.observe({ service }, end.durationMs / 1000)
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

  /** Plain octets on their way to be sealed. */
  sealing(service: Service, octets: number): void {
    this.#messageOctets.inc({ service, what: 'sealed' }, octets)
  }

  /** Sealed octets on their way to be opened. */
  opening(service: Service, octets: number): void {
    this.#messageOctets.inc({ service, what: 'opened' }, octets)
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

  #traffic(): ReadonlyMap<Service, Traffic> {
    const all = new Map(this.#past)
    for (const [{ traffic }, service] of this.#live) all.set(service, sum(all.get(service) ?? NO_TRAFFIC, traffic))
    return all
  }

  #buffered(): Buffered {
    const all = { toClientOctets: 0, toUpstreamOctets: 0, spilledOctets: 0 }
    for (const { buffered } of this.#live.keys()) {
      all.toClientOctets += buffered.toClientOctets
      all.toUpstreamOctets += buffered.toUpstreamOctets
      all.spilledOctets += buffered.spilledOctets
    }
    return all
  }
}

type Setter = (labels: Record<string, string>, value: number) => void

function sum(one: Traffic, other: Traffic): Traffic {
  return {
    fromClientOctets: one.fromClientOctets + other.fromClientOctets,
    toClientOctets: one.toClientOctets + other.toClientOctets,
    fromUpstreamOctets: one.fromUpstreamOctets + other.fromUpstreamOctets,
    toUpstreamOctets: one.toUpstreamOctets + other.toUpstreamOctets,
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
