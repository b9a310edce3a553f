/**
 * The PostgreSQL store: a pool of connections, one transaction per request. Several repositories may share a database.
 *
 * A round trip costs more here than the work at its end: statements are prepared once per connection, and BEGIN travels
 * together with the first of them.
 */
import { Kysely, PostgresDialect, type PostgresPoolClient } from 'kysely'
import pg from 'pg'
import { GatewayError } from '../../../base/errors.ts'
import { migrate } from './migrations.ts'
import type { Db, Schema } from './schema.ts'
import type { Sees, Store } from './store.ts'

/** Requests that may wait for a connection; the next is told to come back. */
const MAX_WAITING = 4096
/** Runs of one request: the second sees what the other transaction wrote. */
const MAX_TRIES = 5
/** unique_violation, serialization_failure, deadlock_detected: another transaction was there first. */
const CONFLICTS = new Set(['23505', '40001', '40P01'])
/** OID of int8, which pg gives as text by default; ours are below 2^53. */
const INT8 = 20
/** Statement texts that are prepared; lists of many lengths make many texts, and each connection keeps its own. */
const MAX_PREPARED = 400

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
    pipeline: true,
    types: { getTypeParser: numbersFromInt8 as typeof pg.types.getTypeParser },
  } as pg.PoolConfig)
  // An idle connection that the server closed: the pool makes another; the request in hand has its own error.
  pool.on('error', () => {})
  // The same while a request has the connection: that request's query fails, and this must not end the process.
  pool.on('connect', (client) => client.on('error', () => {}))
  try {
    await migrate(new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) }), 'postgresql')
  } catch (error) {
    await pool.end()
    throw error
  }
  return new PostgresStore(pool)
}

function numbersFromInt8(oid: number, format?: 'text' | 'binary'): unknown {
  return oid === INT8 && format !== 'binary' ? Number : pg.types.getTypeParser(oid, format as 'text')
}

/** What is no plain SELECT may have written; `for update` only locks. */
const READS = /^\s*select\s(?!setval)/i

interface Connection {
  readonly db: Db
  wrote: boolean
}

class PostgresStore implements Store {
  readonly kind = 'postgresql'
  readonly #pool: pg.Pool
  readonly #connections = new WeakMap<pg.PoolClient, Connection>()
  readonly #names = new Map<string, string>()
  #open = 0
  #closed = false

  constructor(pool: pg.Pool) {
    this.#pool = pool
  }

  async transaction<T>(work: (db: Db) => Promise<T>, sees: Sees = 'newest'): Promise<T> {
    if (this.#closed) throw new GatewayError('SHUTDOWN')
    if (this.#open >= MAX_WAITING) throw new GatewayError('VES_QUOTA', { reason: 'queue full' })
    this.#open++
    try {
      for (let tries = 1; ; tries++) {
        try {
          return await this.#once(work, sees === 'newest' ? 'begin' : 'begin isolation level repeatable read')
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
    await this.#pool.end()
  }

  snapshot<T>(work: (db: Db) => Promise<T>): Promise<T> {
    return this.#once(work, 'begin isolation level repeatable read read only')
  }

  async #once<T>(work: (db: Db) => Promise<T>, how: string): Promise<T> {
    const client = await this.#pool.connect()
    const connection = this.#connectionOf(client)
    connection.wrote = false
    const begun = client.query(how)
    // Its failure is met where it is awaited, below; until then it is not unhandled.
    begun.catch(() => {})
    let result: T
    try {
      result = await work(connection.db)
      await begun
      if (connection.wrote) {
        const { command } = await client.query('commit')
        // PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and no error.
        if (command !== 'COMMIT') throw new GatewayError('IO', { reason: 'the store could not commit' })
      }
    } catch (error) {
      client.query('rollback').then(
        () => client.release(),
        () => client.release(true),
      )
      throw error
    }
    if (connection.wrote) client.release()
    else {
      // Nothing hangs on how a transaction ends that only read: its answer need not wait for that.
      client.query('commit').then(
        () => client.release(),
        () => client.release(true),
      )
    }
    return result
  }

  #connectionOf(client: pg.PoolClient): Connection {
    const known = this.#connections.get(client)
    if (known !== undefined) return known
    const link = {
      query: (text: string, values: readonly unknown[]) => {
        if (!READS.test(text)) connection.wrote = true
        const name = this.#nameOf(text)
        return client.query({ text, values: [...values], ...(name === undefined ? {} : { name }) })
      },
      release: () => {},
    } as unknown as PostgresPoolClient
    const pool = { connect: () => Promise.resolve(link), end: () => Promise.resolve(), options: {} }
    const connection = { db: new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) }), wrote: false }
    this.#connections.set(client, connection)
    return connection
  }

  #nameOf(text: string): string | undefined {
    const known = this.#names.get(text)
    if (known !== undefined || this.#names.size >= MAX_PREPARED) return known
    const name = `v${this.#names.size}`
    this.#names.set(text, name)
    return name
  }
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : ''
}
