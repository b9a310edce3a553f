/**
 * Short reads that wait at the same time and then share one transaction, and with it its BEGIN and COMMIT. Each of them
 * sees at least what was committed when it was asked: nobody joins a transaction that has begun.
 */
import { GatewayError } from '../../../base/errors.ts'
import type { Db } from './schema.ts'

/** Does not reject. */
export type Read = (db: Db) => Promise<void>

interface Waiting {
  readonly read: Read
  /** The request has to look after itself. */
  alone(): void
}

/** Requests of one transaction; it lasts as long as the longest of them. */
const MAX_TOGETHER = 32
/** Transactions at a time; with more of them each would have fewer requests. */
const MAX_GROUPS = 2

export class SharedReads {
  readonly #begin: (take: () => readonly Read[]) => Promise<void>
  readonly #waiting: Waiting[] = []
  #groups = 0

  /** @param begin has a transaction ready, then calls `take` once and runs what that gives; rejects where it has none */
  constructor(begin: (take: () => readonly Read[]) => Promise<void>) {
    this.#begin = begin
  }

  /**
   * @param work asks the database and nothing else
   * @returns null where it has to be run by itself: it failed, which may be another's fault
   * @throws GatewayError of `work`
   */
  run<T>(work: (db: Db) => Promise<T>): Promise<T | null> {
    return new Promise<T | null>((resolve, reject) => {
      const alone = (): void => resolve(null)
      const read = async (db: Db): Promise<void> => {
        try {
          resolve(await work(db))
        } catch (error) {
          if (error instanceof GatewayError) reject(error)
          else alone()
        }
      }
      this.#waiting.push({ read, alone })
      if (this.#groups < MAX_GROUPS) void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#groups++
    while (this.#waiting.length > 0) {
      const taken: Waiting[] = []
      const take = (): readonly Read[] => {
        taken.push(...this.#waiting.splice(0, MAX_TOGETHER))
        return taken.map(({ read }) => read)
      }
      await this.#begin(take).catch(() => {
        // No connection to be had: each learns that by itself.
        take()
        for (const { alone } of taken) alone()
      })
    }
    this.#groups--
  }
}
