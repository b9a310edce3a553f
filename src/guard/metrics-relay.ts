/**
 * Collects the workers' numbers for the one worker that is asked for them. The guard does not look at them.
 */
import type { GuardCounts, MetricsJson, ToWorker } from '../base/hand-over.ts'

/** A worker that does not answer is left out: it will be killed if it goes on like that. */
const PATIENCE_MS = 1000

interface Collection {
  readonly asker: number
  readonly askerId: number
  readonly missing: Set<number>
  readonly parts: MetricsJson[]
  readonly timer: NodeJS.Timeout
  readonly counts: () => GuardCounts
}

export class MetricsRelay {
  readonly #send: (worker: number, message: ToWorker) => void
  readonly #open = new Map<number, Collection>()
  #nextId = 1

  constructor(send: (worker: number, message: ToWorker) => void) {
    this.#send = send
  }

  ask(asker: number, askerId: number, workers: readonly number[], counts: () => GuardCounts): void {
    const id = this.#nextId++
    const timer = setTimeout(() => this.#finish(id), PATIENCE_MS)
    this.#open.set(id, { asker, askerId, missing: new Set(workers), parts: [], timer, counts })
    for (const worker of workers) this.#send(worker, { t: 'metrics', id })
  }

  part(worker: number, id: number, json: MetricsJson): void {
    const collection = this.#open.get(id)
    if (collection === undefined || !collection.missing.delete(worker)) return
    collection.parts.push(json)
    if (collection.missing.size === 0) this.#finish(id)
  }

  gone(worker: number): void {
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
      parts: collection.parts,
      guard: collection.counts(),
    })
  }
}
