/**
 * Collects the workers' numbers for the one worker that is asked for them. Of each the last that it said is kept, and
 * counts on when it is gone.
 */
import type { GuardCounts, MetricsJson, ToWorker } from '../base/hand-over.ts'
import { EndedCounts } from './ended-counts.ts'

/** For a worker that does not answer, what it said last stands: it will be killed if it goes on like that. */
const PATIENCE_MS = 1000

interface Collection {
  readonly asker: number
  readonly askerId: number
  readonly missing: Set<number>
  readonly timer: NodeJS.Timeout
  readonly counts: () => GuardCounts
}

export class MetricsRelay {
  readonly #send: (worker: number, message: ToWorker) => void
  readonly #open = new Map<number, Collection>()
  readonly #last = new Map<number, MetricsJson>()
  readonly #ended = new EndedCounts()
  #nextId = 1

  constructor(send: (worker: number, message: ToWorker) => void) {
    this.#send = send
  }

  ask(asker: number, askerId: number, workers: readonly number[], counts: () => GuardCounts): void {
    const id = this.#nextId++
    const timer = setTimeout(() => this.#finish(id), PATIENCE_MS)
    this.#open.set(id, { asker, askerId, missing: new Set(workers), timer, counts })
    for (const worker of workers) this.#send(worker, { t: 'metrics', id })
  }

  /** @param id null: nobody asked, it is about to go */
  part(worker: number, id: number | null, json: MetricsJson): void {
    this.#last.set(worker, json)
    const collection = id === null ? undefined : this.#open.get(id)
    if (collection?.missing.delete(worker) === true && collection.missing.size === 0) this.#finish(id!)
  }

  /** After everything that it had said was heard. */
  gone(worker: number): void {
    const last = this.#last.get(worker)
    if (last !== undefined) this.#ended.add(last)
    this.#last.delete(worker)
    for (const [id, collection] of [...this.#open]) {
      if (collection.missing.delete(worker) && collection.missing.size === 0) this.#finish(id)
    }
  }

  #finish(id: number): void {
    const collection = this.#open.get(id)
    if (collection === undefined) return
    clearTimeout(collection.timer)
    this.#open.delete(id)
    this.#send(collection.asker, {
      t: 'metrics-of-all',
      id: collection.askerId,
      parts: [...this.#last.values(), this.#ended.json()],
      guard: collection.counts(),
    })
  }
}
