/** Where the repository keeps its data. Two databases, one contract: test/ves/repository/contract.ts runs on both. */
import type { CompiledQuery } from 'kysely'
import type { StoreKind } from './migrations.ts'
import type { Db } from './schema.ts'

/**
 * `newest`: each statement sees what was committed before it, for changes. `moment`: all see the same, so that nobody
 * reads an item of which half is of another version. `short-moment`: the same for what is read in a few milliseconds,
 * so that several may share one transaction.
 */
export type Sees = 'newest' | 'moment' | 'short-moment'

/** What a transaction does. Where it fails, what it has begun beside that gets no further. */
export type Work<T> = (db: Db, last: (statement: CompiledQuery) => void) => Promise<T>

export interface Store {
  readonly kind: StoreKind
  /**
   * Runs `work` as one transaction: all of it is on disk when the promise resolves, nothing of it when it rejects.
   * `work` may be run again after a conflict with another transaction, so it does nothing but ask the database. A
   * statement whose result nobody needs is best given to `last`: it is run after the others, together with the commit.
   * @throws GatewayError VES_QUOTA where too many wait already; whatever `work` throws
   */
  transaction<T>(work: Work<T>, sees?: Sees): Promise<T>
  /** Runs `work` on a view of the data as of one moment, while others go on writing. It must not write. */
  snapshot<T>(work: (db: Db) => Promise<T>): Promise<T>
  close(): Promise<void>
}
