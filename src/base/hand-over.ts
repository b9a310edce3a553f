/**
 * What guard and workers say to each other over their IPC channel. Both sides know only this file of one another.
 *
 * A connection is handed over in three moves: `socket` with the handle, `taken` from the worker (or `missing`, where
 * the handle did not come along), and only then the guard closes its copy. Until `taken` the connection is the
 * guard's, and goes to another worker if this one dies (daemon.md §4).
 */

/** One metric of a process, as prom-client's `getMetricsAsJSON` gives it. */
export interface MetricJson {
  readonly name: string
  readonly help: string
  /** `counter`, `gauge` or `histogram`; prom-client's own declarations take it for a number. */
  readonly type: unknown
  readonly aggregator: string
  readonly values: readonly MetricValue[]
}

export interface MetricValue {
  readonly value: number
  readonly labels: Readonly<Record<string, string | number | undefined>>
  /** Of a histogram: which of its lines. */
  readonly metricName?: string
}

export type MetricsJson = readonly MetricJson[]

/** What only the guard knows. */
export interface GuardCounts {
  readonly workersReady: number
  readonly workersDraining: number
  readonly restarts: number
  readonly reloads: number
  readonly drains: number
  readonly waiting: number
  readonly handedOver: number
  readonly refused: number
  readonly stopping: boolean
}

export type ToWorker =
  /** Once, first. The file's text as the guard read it: a later replacement gets the same as its siblings. */
  | {
      readonly t: 'start'
      readonly generation: number
      readonly file: string
      readonly text: string
      /** 48 octets, base64: a TLS session ticket of one worker is good at all. */
      readonly ticketKeys: string
      /** How many workers share the machine's cores. */
      readonly workers: number
    }
  /** With a handle. `listener`: the key of `listenerKey`. */
  | { readonly t: 'socket'; readonly id: number; readonly listener: string }
  | {
      readonly t: 'drain'
      readonly forced: boolean
      /** The whole program ends. */
      readonly stopping: boolean
      /** Not over a window: clients that come meanwhile wait until the last one has gone. Also to a worker that drains. */
      readonly atOnce?: true
    }
  | { readonly t: 'ping' }
  | { readonly t: 'metrics'; readonly id: number }
  /** Answer to `metrics-of-all`. */
  | {
      readonly t: 'metrics-of-all'
      readonly id: number
      readonly parts: readonly MetricsJson[]
      readonly guard: GuardCounts
    }

export type ToGuard =
  | { readonly t: 'ready' }
  | { readonly t: 'taken'; readonly id: number }
  | { readonly t: 'missing'; readonly id: number }
  | { readonly t: 'pong' }
  /** Why it cannot start; it ends then. */
  | { readonly t: 'unusable'; readonly reason: string }
  /** The worker was told by a signal to go: it waits until the guard has another. */
  | { readonly t: 'leaving' }
  /** `id`: of who asked; null: the last, from a worker that goes. */
  | { readonly t: 'metrics'; readonly id: number | null; readonly json: MetricsJson }
  | { readonly t: 'metrics-of-all'; readonly id: number }

/** @param host null: all addresses */
export function listenerKey(host: string | null, port: number): string {
  return `${host ?? '*'}|${port}`
}
