/**
 * The PostgreSQL store: a pool of connections, one transaction per request. Several repositories may share a database.
 *
 * A round trip costs more here than the work at its end: statements are prepared once per connection, what is known
 * together is sent together (BEGIN with the first statement, COMMIT with the last), and short reads that wait at the
 * same time share one transaction.
 */
import { type CompiledQuery, Kysely, PostgresDialect, type PostgresPoolClient } from 'kysely'
import pg from 'pg'
import { GatewayError } from '../../../base/errors.ts'
import { migrate } from './migrations.ts'
import type { Db, Schema } from './schema.ts'
import { type Read, SharedReads } from './shared-reads.ts'
import type { Sees, Store, Work } from './store.ts'

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
const BEGIN: Readonly<Record<Sees, string>> = {
  newest: 'begin',
  moment: 'begin isolation level repeatable read',
  'short-moment': 'begin isolation level repeatable read',
}

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

/** What is no plain SELECT may have written. */
const READS = /^\s*select\s(?!setval)/i
const LOCKS = /\sfor (?:no key )?(?:update|share|key share)\s*$/i

/** A connection of the pool as the rules see it. */
class Connection {
  readonly db: Db
  readonly #client: pg.PoolClient
  readonly #nameOf: (text: string) => string | undefined
  /** Something other than a plain read was asked of this transaction. */
  wrote = false
  /** Several requests have this transaction: nobody may change or lock anything in it. */
  shared = false
  /** COMMIT or ROLLBACK is on its way: what a failed request had begun beside what failed comes too late. */
  #ended = false

  constructor(client: pg.PoolClient, nameOf: (text: string) => string | undefined) {
    this.#client = client
    this.#nameOf = nameOf
    const link = {
      query: (text: string, values: readonly unknown[]) => this.prepared(text, values),
      release: () => {},
    } as unknown as PostgresPoolClient
    const pool = { connect: () => Promise.resolve(link), end: () => Promise.resolve(), options: {} }
    this.db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  }

  prepared(text: string, values: readonly unknown[]): Promise<pg.QueryResult> {
    if (this.#ended) return Promise.reject(new Error('this request has failed'))
    const writes = !READS.test(text)
    if (this.shared && (writes || LOCKS.test(text))) return Promise.reject(new NotShareable())
    if (writes) this.wrote = true
    this.#together()
    const name = this.#nameOf(text)
    return this.#client.query({ text, values: [...values], ...(name === undefined ? {} : { name }) })
  }

  plain(text: string): Promise<pg.QueryResult> {
    this.#together()
    return this.#client.query(text)
  }

  /** For a new transaction. */
  reset(shared: boolean): void {
    this.wrote = false
    this.shared = shared
    this.#ended = false
  }

  /** Back to the pool when the transaction has ended; nothing hangs on how. */
  end(how: 'commit' | 'rollback'): void {
    this.#ended = true
    // Answers come in order: after this one nobody waits for an earlier one, but has to be let run into the end.
    this.plain(how).then(
      () => setImmediate(() => this.#client.release()),
      () => this.#client.release(true),
    )
  }

  release(): void {
    this.#client.release()
  }

  /** What is asked in one go is one write to the socket: each wakes the server up. */
  #together(): void {
    const { stream } = (this.#client as unknown as { connection: { stream: Corked } }).connection
    stream.cork()
    process.nextTick(() => stream.uncork())
  }
}

/** As far as its connection's socket is used here. */
interface Corked {
  cork(): void
  uncork(): void
}

/** A request that is more than a short read has to have a transaction of its own. */
class NotShareable extends Error {}

class PostgresStore implements Store {
  readonly kind = 'postgresql'
  readonly #pool: pg.Pool
  readonly #connections = new WeakMap<pg.PoolClient, Connection>()
  readonly #names = new Map<string, string>()
  readonly #reads = new SharedReads((take) => this.#readTogether(take))
  #open = 0
  #closed = false

  constructor(pool: pg.Pool) {
    this.#pool = pool
  }

  async transaction<T>(work: Work<T>, sees: Sees = 'newest'): Promise<T> {
    if (this.#closed) throw new GatewayError('SHUTDOWN')
    if (this.#open >= MAX_WAITING) throw new GatewayError('VES_QUOTA', { reason: 'queue full' })
    this.#open++
    try {
      if (sees === 'short-moment') {
        const read = await this.#reads.run(async (db) => ({ result: await work(db, refuseLast) }))
        if (read !== null) return read.result
      }
      for (let tries = 1; ; tries++) {
        try {
          return await this.#once(work, BEGIN[sees])
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

  async #once<T>(work: Work<T>, how: string): Promise<T> {
    const connection = await this.#connect()
    const begun = connection.plain(how)
    // Its failure is met where it is awaited, below; until then it is not unhandled.
    begun.catch(() => {})
    let result: T
    try {
      const last: CompiledQuery[] = []
      result = await work(connection.db, (statement) => last.push(statement))
      await begun
      const ends = last.map(({ sql, parameters }) => connection.prepared(sql, parameters))
      if (connection.wrote) {
        // PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and no error.
        const [{ command }] = await Promise.all([connection.plain('commit'), ...ends])
        if (command !== 'COMMIT') throw new GatewayError('IO', { reason: 'the store could not commit' })
      }
    } catch (error) {
      connection.end('rollback')
      throw error
    }
    if (connection.wrote) connection.release()
    // Nothing hangs on how a transaction ends that only read: its answer need not wait for that.
    else connection.end('commit')
    return result
  }

  async #readTogether(take: () => readonly Read[]): Promise<void> {
    const connection = await this.#connect()
    const reads = take()
    if (reads.length === 0) return connection.release()
    connection.reset(true)
    // Where it fails, so does all that follows, and each of the requests tries by itself.
    connection.plain(BEGIN['short-moment']).catch(() => {})
    await Promise.all(reads.map((read) => read(connection.db)))
    connection.end('commit')
  }

  async #connect(): Promise<Connection> {
    const client = await this.#pool.connect()
    let connection = this.#connections.get(client)
    if (connection === undefined) {
      connection = new Connection(client, (text) => this.#nameOf(text))
      this.#connections.set(client, connection)
    }
    connection.reset(false)
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

function refuseLast(): never {
  throw new NotShareable()
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : ''
}
