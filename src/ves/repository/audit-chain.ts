/** Moves the entries that changes left behind to the audit log's chain, soon after them, one run at a time. */
import { asGatewayError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import { chainPending } from './store/audit.ts'
import type { Store } from './store/store.ts'

/** Changes of so long share a run. */
const SOON_MS = 25
/** After a run that failed. */
const LATER_MS = 5000

export class AuditChain {
  readonly #store: Store
  readonly #log: Log
  #last: Promise<void> = Promise.resolve()
  #next: Promise<void> | null = null
  #timer: NodeJS.Timeout | null = null

  constructor(store: Store, log: Log) {
    this.#store = store
    this.#log = log
  }

  /** After a change, and at the start: the process before may have been killed between the two. */
  soon(ms = SOON_MS): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      void this.now().catch((error: unknown) => this.#failed(error))
    }, ms).unref()
  }

  /** What was committed before is in the chain when this resolves. @throws GatewayError */
  now(): Promise<void> {
    // A run that has begun may not see what was committed a moment ago.
    if (this.#next === null) {
      const run = (): Promise<void> => {
        this.#next = null
        return this.#run()
      }
      this.#next = this.#last.then(run, run)
      this.#last = this.#next
    }
    return this.#next
  }

  /** Nothing is left to do where a change had been made. */
  async close(): Promise<void> {
    if (this.#timer === null) return
    clearTimeout(this.#timer)
    this.#timer = null
    await this.now().catch((error: unknown) => this.#failed(error))
  }

  async #run(): Promise<void> {
    while (await this.#store.transaction((db) => chainPending(db, this.#store.kind)));
  }

  #failed(thrown: unknown): void {
    const { code } = asGatewayError(thrown)
    if (code === 'SHUTDOWN') return
    this.#log.write('warn', 'audit-chain', { code, retryMs: LATER_MS })
    this.soon(LATER_MS)
  }
}
