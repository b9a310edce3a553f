/**
 * The PostgreSQL store: a pool of connections, one transaction per request. Several repositories may share a database.
 */
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { GatewayError } from '../../../base/errors.ts'
import { migrate } from './migrations.ts'
import type { Db, Schema } from './schema.ts'
import type { Store } from './store.ts'

/** Requests that may wait for a connection; the next is told to come back. */
const MAX_WAITING = 4096
/** Runs of one request: the second sees what the other transaction wrote. */
const MAX_TRIES = 4
/** unique_violation, serialization_failure, deadlock_detected: another transaction was there first. */
const CONFLICTS = new Set(['23505', '40001', '40P01'])
/** OID of int8, which pg gives as text by default; ours are below 2^53. */
const INT8 = 20

export interface PostgresOptions {
  /** `postgresql://user:password@host:port/database`, or with `?host=/socket/folder`. */
  readonly url: string
  readonly connections?: number
}

export async function openPostgresStore(options: PostgresOptions): Promise<Store> {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.connections ?? 8,
    connectionTimeoutMillis: 10_000,
    statement_timeout: 30_000,
    idle_in_transaction_session_timeout: 60_000,
    types: {
      getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
        oid === INT8 && format !== 'binary'
          ? Number
          : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
    },
  })
  // An idle connection that the server closed: the pool makes another; the request in hand has its own error.
  pool.on('error', () => {})
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  try {
    await migrate(db, 'postgresql')
  } catch (error) {
    await db.destroy()
    throw error
  }
  return new PostgresStore(db)
}

class PostgresStore implements Store {
  readonly kind = 'postgresql'
  readonly #db: Db
  #open = 0
  #closed = false

  constructor(db: Db) {
    this.#db = db
  }

  async transaction<T>(work: (db: Db) => Promise<T>): Promise<T> {
    if (this.#closed) throw new GatewayError('SHUTDOWN')
    if (this.#open >= MAX_WAITING) throw new GatewayError('VES_QUOTA', { reason: 'queue full' })
    this.#open++
    try {
      for (let tries = 1; ; tries++) {
        try {
          return await this.#db.transaction().setIsolationLevel('read committed').execute(work)
        } catch (error) {
          if (error instanceof GatewayError) throw error
          if (tries === MAX_TRIES || !CONFLICTS.has(codeOf(error))) {
            throw new GatewayError('IO', { reason: 'database', sqlstate: codeOf(error) }, error)
          }
        }
      }
    } finally {
      this.#open--
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#db.destroy()
  }
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : ''
}
