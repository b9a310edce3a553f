/**
 * The threads of a worker (daemon.md §4, "Threads"): bodies and key operations, by piscina.
 *
 * A task is handed to piscina only when a thread is free for it, so what waits, waits here: key operations (somebody
 * is logging in) before bodies, each in its order. Whoever asked for a body goes on reading only as far as its
 * session's own limits allow, and once the pool is full (`isFull`) not at all until it has its answer: that is the whole
 * of the back-pressure. A session has one batch of each body here at a time, of at most 1 MiB.
 *
 * A thread that dies takes one task with it. Where threads cannot be had, or cannot start any more (the program's
 * files were replaced under it), tasks run in place: slower, never wrong.
 */
import { performance } from 'node:perf_hooks'
import { Piscina } from 'piscina'
import { asGatewayError, GatewayError } from '../base/errors.ts'
import { type Log, silentLog } from '../base/log.ts'
import type { BatchJob, BatchResult } from '../engine/seal/batch.ts'
import { copyOf } from '../engine/seal/chunk-cipher.ts'
import type { KeyJob, KeyJobKind, KeyJobs, KeyOperations, KeyResult } from '../engine/seal/key-job.ts'
import { fastPath } from '../engine/seal/native.ts'
import type { ThreadData } from './thread/entry.ts'
import { isBatch, resultOf, runTask, type ThreadAnswer, type ThreadResult, type ThreadTask } from './thread/task.ts'

export interface PoolOptions {
  /** 0: everything runs in place. */
  readonly threads: number
  /** So many batches may wait before sessions that have one stop reading; absent: 64. */
  readonly queue?: number
  readonly log?: Log
  /** A task that takes longer is a bug or an attack: its thread is ended. */
  readonly taskTimeoutMs?: number
  /** Module that the threads load; tests give one that dies. */
  readonly entry?: URL
}

/** Counters since the start but for `running`, `waiting` and `octets`; read by the metrics. */
export interface PoolMetrics {
  readonly threads: number
  readonly running: number
  readonly waiting: number
  /** Input of the batches that wait or run. */
  readonly octets: number
  completed: number
  /** Ended with an error of any kind. */
  failed: number
  /** Ran without a thread. */
  inPlace: number
  /** Threads that died or were ended. */
  threadDeaths: number
  waitMs: number
  runMs: number
}

/** Below this a round trip to a thread (50–125 µs, stack.md) costs more than it saves. */
export const IN_PLACE_OCTETS = 64 * 1024
const QUEUE = 64
/** A P-521 operation takes 5 ms, a deliberately slow key derivation a second. */
const TASK_TIMEOUT_MS = 60_000
/** A thread's objects are small, its buffers outside of the heap: a runaway one is ended before the worker is. */
const LIMITS = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 64 } as const

interface Waiting {
  readonly task: ThreadTask
  readonly signal: AbortSignal | null
  readonly sinceMs: number
  readonly resolve: (result: ThreadResult) => void
  readonly reject: (error: unknown) => void
}

interface Running {
  readonly controller: AbortController
  /** Of a batch's input. */
  readonly octets: number
  readonly sent: ThreadTask
  /** Moved along with the task: detached once a thread has it. */
  readonly baggage: ArrayBuffer
}

export class ThreadPool implements KeyOperations {
  readonly #threads: Piscina | null
  readonly #size: number
  readonly #queue: number
  readonly #log: Log
  readonly #timeoutMs: number
  /** Key operations, and bodies. */
  readonly #urgent: Waiting[] = []
  readonly #bulk: Waiting[] = []
  readonly #running = new Set<Running>()
  readonly #counts = { completed: 0, failed: 0, inPlace: 0, threadDeaths: 0, waitMs: 0, runMs: 0 }
  #closed = false

  constructor({ threads, queue, log, taskTimeoutMs, entry }: PoolOptions) {
    this.#log = log ?? silentLog
    this.#queue = queue ?? QUEUE
    this.#timeoutMs = taskTimeoutMs ?? TASK_TIMEOUT_MS
    this.#threads = threads > 0 ? this.#start(threads, entry ?? new URL('./thread/entry.ts', import.meta.url)) : null
    this.#size = this.#threads === null ? 0 : threads
    const { kind, reason } = fastPath()
    this.#log.write(kind === 'native' ? 'info' : 'warn', 'threads', { threads: this.#size, path: kind, reason })
  }

  get metrics(): PoolMetrics {
    const waiting = this.#urgent.length + this.#bulk.length
    let octets = 0
    for (const running of this.#running) octets += running.octets
    for (const { task } of this.#bulk) octets += isBatch(task) ? task.input.length : 0
    return { threads: this.#size, running: this.#running.size, waiting, octets, ...this.#counts }
  }

  /** As many batches wait as may: who has one here should ask for no more (`pool.queue`). */
  get isFull(): boolean {
    return this.#bulk.length >= this.#queue
  }

  /**
   * Runs a batch, in place if it is small. Its input is given away.
   * @param signal a session that ends gives up its batches: one that waits is forgotten, one that runs is ignored
   * @throws GatewayError as `runBatch`; INTERNAL when its thread died; SHUTDOWN when given up or the pool is closed
   */
  batch(job: BatchJob, signal: AbortSignal | null = null): Promise<BatchResult> {
    return this.#submit(job, job.input.length < IN_PLACE_OCTETS, signal) as Promise<BatchResult>
  }

  /** @throws GatewayError as `runKeyJob`, and as {@link batch} */
  run<K extends KeyJobKind>(kind: K, job: KeyJobs[K]['job']): Promise<KeyResult<K>> {
    const task = { kind, job } as unknown as KeyJob
    return this.#submit(task, isCheap(task), null) as Promise<KeyResult<K>>
  }

  /** Lets running tasks end; those that wait are refused with SHUTDOWN. */
  async close(): Promise<void> {
    this.#closed = true
    for (const waiting of [...this.#urgent.splice(0), ...this.#bulk.splice(0)]) {
      waiting.reject(new GatewayError('SHUTDOWN'))
    }
    await this.#threads?.close()
  }

  async #submit(task: ThreadTask, inPlace: boolean, signal: AbortSignal | null): Promise<ThreadResult> {
    if (this.#closed || signal?.aborted) throw new GatewayError('SHUTDOWN')
    if (inPlace || this.#threads === null) return this.#runInPlace(task)
    return new Promise((resolve, reject) => {
      const queue = isBatch(task) ? this.#bulk : this.#urgent
      const giveUp = () => {
        const at = queue.indexOf(waiting)
        if (at >= 0) queue.splice(at, 1)
        waiting.reject(new GatewayError('SHUTDOWN'))
      }
      const waiting: Waiting = {
        task,
        signal,
        sinceMs: performance.now(),
        resolve: (result) => {
          signal?.removeEventListener('abort', giveUp)
          resolve(result)
        },
        reject: (error) => {
          signal?.removeEventListener('abort', giveUp)
          reject(error)
        },
      }
      signal?.addEventListener('abort', giveUp, { once: true })
      queue.push(waiting)
      this.#next()
    })
  }

  #next(): void {
    while (this.#running.size < this.#size) {
      const waiting = this.#urgent.shift() ?? this.#bulk.shift()
      if (waiting === undefined) return
      this.#counts.waitMs += performance.now() - waiting.sinceMs
      const running = packed(waiting.task)
      this.#running.add(running)
      void this.#runInThread(running).then(waiting.resolve, waiting.reject)
    }
  }

  async #runInThread(running: Running): Promise<ThreadResult> {
    const { sent, baggage, controller } = running
    const { signal } = controller
    const started = performance.now()
    const timer = setTimeout(() => controller.abort('timeout'), this.#timeoutMs)
    try {
      const answer = (await this.#threads!.run(sent, { signal, transferList: [baggage] })) as ThreadAnswer
      const result = resultOf(answer)
      this.#counts.completed++
      return result
    } catch (thrown) {
      if (signal.reason === NO_START) return this.#runInPlace(sent)
      this.#counts.failed++
      if (thrown instanceof GatewayError) throw thrown
      this.#counts.threadDeaths++
      const why = signal.aborted ? 'timeout' : ((thrown as { code?: string }).code ?? String(thrown))
      this.#log.write('error', 'thread-died', { task: sent.kind, why })
      throw new GatewayError('INTERNAL', { what: 'thread', task: sent.kind, why }, thrown)
    } finally {
      clearTimeout(timer)
      this.#counts.runMs += performance.now() - started
      // Before whoever asked gets the answer: the thread need not wait while that one works.
      this.#running.delete(running)
      this.#next()
    }
  }

  #runInPlace(task: ThreadTask): ThreadResult {
    const started = performance.now()
    this.#counts.inPlace++
    try {
      const result = runTask(task)
      this.#counts.completed++
      return result
    } catch (thrown) {
      this.#counts.failed++
      throw asGatewayError(thrown)
    } finally {
      this.#counts.runMs += performance.now() - started
    }
  }

  #start(threads: number, entry: URL): Piscina | null {
    const workerData: ThreadData = { javascript: fastPath().kind === 'javascript' }
    try {
      const pool = new Piscina({
        filename: entry.href,
        name: 'run',
        minThreads: threads,
        maxThreads: threads,
        maxQueue: threads,
        concurrentTasksPerWorker: 1,
        resourceLimits: LIMITS,
        workerData,
      })
      // A thread that fails outside of a task fails to start: piscina then leaves the task in its queue for good.
      pool.on('error', (error: Error) => {
        this.#counts.threadDeaths++
        this.#log.write('error', 'thread-not-started', { why: error.message })
        for (const { baggage, controller } of this.#running) if (!baggage.detached) controller.abort(NO_START)
      })
      return pool
    } catch (error) {
      this.#log.write('warn', 'no-threads', { why: asGatewayError(error).message })
      return null
    }
  }
}

/** Why a task was taken back before any thread saw it. */
const NO_START = 'no thread starts'

/** Key operations that take less than the way to a thread. */
function isCheap(task: KeyJob): boolean {
  switch (task.kind) {
    case 'read':
      return true
    case 'open':
      return task.job.key.algo === 'OQS' && task.job.sealed.length <= 2
    case 'seal':
      // Four ML-KEM-768 keys: 260 µs of CPU in place, 600 by a thread (structured clones of the keys, two wake-ups).
      return task.job.keys.length <= 8 && task.job.keys.every((key) => typeof key !== 'string' && key.algo !== 'ECDH')
    default:
      return false
  }
}

/** A batch's input is moved, not copied; but a view of a larger buffer would take its neighbours along. */
function packed(task: ThreadTask): Running {
  const controller = new AbortController()
  if (!isBatch(task)) {
    // Of a view, a clone copies the whole memory behind it: 64 KiB of what a socket read, for a VESkey in it.
    const job = Object.fromEntries(Object.entries(task.job).map(([name, value]) => [name, withoutNeighbours(value)]))
    return { controller, octets: 0, sent: { ...task, job } as unknown as KeyJob, baggage: new ArrayBuffer(1) }
  }
  const { input } = task
  const owned = input.byteLength === input.buffer.byteLength ? input : copyOf(input)
  const octets = owned.length
  return { controller, octets, sent: { ...task, input: owned }, baggage: owned.buffer as ArrayBuffer }
}

function withoutNeighbours(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNeighbours)
  return value instanceof Uint8Array && value.byteLength < value.buffer.byteLength ? copyOf(value) : value
}
