/**
 * The SQLite store: one file, one connection, write-ahead log, full sync.
 *
 * Group commit: what waits while a group runs forms the next one. Each request runs in a savepoint of its own, so that
 * one that fails takes nothing with it, and all of the group share a single commit, so a slow disk costs one sync per
 * group and not per request. Nobody is answered before the commit.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import { type CompiledQuery, Kysely, SqliteDialect } from 'kysely'
import { GatewayError } from '../../../base/errors.ts'
import { migrate } from './migrations.ts'
import { type RunAtOnce, runsAtOnce, type Value } from './prepared.ts'
import type { Db, Schema } from './schema.ts'
import type { Store, Work } from './store.ts'

/** Requests that share one commit. More would make the first wait for the last. */
const GROUP = 64
/** Requests that may wait; the next is told to come back. */
const MAX_WAITING = 4096
/** Prepared statements kept; lists of different lengths make different texts. */
const MAX_STATEMENTS = 512
/** Another process (backup, verify) may hold the file for a moment. */
const BUSY_MS = 10_000

const NONE: readonly Value[] = []

interface Job {
  run(db: Db): Promise<void>
  commit(): void
  fail(error: unknown): void
}

/** @param path of the file, made where it is not there; `:memory:` for tests */
export async function openSqliteStore(path: string): Promise<SqliteStore> {
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: true })
  database.exec(`pragma busy_timeout = ${BUSY_MS}; pragma journal_mode = wal; pragma synchronous = full;
    pragma cache_size = -65536; pragma temp_store = memory; pragma wal_autocheckpoint = 4000;`)
  const store = new SqliteStore(database)
  await store.migrate()
  return store
}

/** A hold on a file that ends with the process, however that ends. */
export interface Hold {
  release(): void
}

/**
 * Keeps two processes from serving one folder: each would think itself alone. The lock is SQLite's own, so that nothing
 * is left behind by a kill.
 * @returns null where another process has it and keeps it for `waitMs`
 */
export function holdFile(path: string, waitMs: number): Hold | null {
  const database = new DatabaseSync(path)
  try {
    database.exec(`pragma busy_timeout = ${waitMs}; pragma journal_mode = memory; begin exclusive`)
    return { release: () => database.close() }
  } catch (error) {
    database.close()
    if (/locked|busy/i.test(String(error))) return null
    throw error
  }
}

/** To look only: for backups, and for checking them. @throws GatewayError CONFIG_INVALID where it is no repository */
export function openSqliteReadOnly(path: string): SqliteStore {
  try {
    const database = new DatabaseSync(path, { readOnly: true })
    database.exec(`pragma busy_timeout = ${BUSY_MS}`)
    database.prepare('select seq from audit_head').all()
    return new SqliteStore(database)
  } catch (error) {
    throw new GatewayError('CONFIG_INVALID', { text: 'not a repository', path }, error)
  }
}

export class SqliteStore implements Store {
  readonly kind = 'sqlite'
  readonly #database: DatabaseSync
  readonly #db: Db
  #waiting: Job[] = []
  #running: Promise<void> | null = null
  #closed = false
  readonly #say: RunAtOnce

  constructor(database: DatabaseSync) {
    this.#database = database
    const kept = adapter(database)
    this.#db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: kept }) })
    this.#say = (sql, values) => {
      const statement = kept.prepare(sql)
      if (statement.reader) return statement.all(values)
      statement.run(values)
      return []
    }
    runsAtOnce(this.#db, this.#say)
  }

  /** Makes the tables or brings them up to date. @throws GatewayError CONFIG_INVALID */
  async migrate(): Promise<void> {
    await migrate(this.#db, 'sqlite')
  }

  transaction<T>(work: Work<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new GatewayError('SHUTDOWN'))
    if (this.#waiting.length >= MAX_WAITING)
      return Promise.reject(new GatewayError('VES_QUOTA', { reason: 'queue full' }))
    return new Promise<T>((resolve, reject) => {
      let result: T
      this.#waiting.push({
        run: async (db) => {
          const last: CompiledQuery[] = []
          result = await work(db, (statement) => last.push(statement))
          for (const statement of last) await db.executeQuery(statement)
        },
        commit: () => resolve(result),
        fail: reject,
      })
      this.#running ??= this.#drain()
    })
  }

  /** The one connection sees nothing of what comes later anyway. */
  snapshot<T>(work: (db: Db) => Promise<T>): Promise<T> {
    return this.transaction(work)
  }

  /** Writes all that is committed to a new file, while another process goes on writing. */
  copyTo(path: string): void {
    this.#database.prepare('vacuum into ?').run(path)
  }

  /** What SQLite itself finds wrong with the file. */
  integrityProblems(): string[] {
    const said = this.#database
      .prepare('pragma integrity_check(20)')
      .all()
      .map((row) => String(row.integrity_check))
    const strays = this.#database
      .prepare('pragma foreign_key_check')
      .all()
      .map((row) => `stray reference in ${row.table}`)
    return [...said.filter((one) => one !== 'ok'), ...strays.slice(0, 20)]
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#running
    await this.#db.destroy()
  }

  async #drain(): Promise<void> {
    // Lets every request that has arrived already into the first group.
    await new Promise<void>((resolve) => setImmediate(resolve))
    while (this.#waiting.length > 0) await this.#group(this.#waiting.splice(0, GROUP))
    // In the same breath as the look at the queue: who comes a moment later must start the next run.
    this.#running = null
  }

  async #group(jobs: readonly Job[]): Promise<void> {
    const done: Job[] = []
    try {
      this.#say('begin', NONE)
      for (const job of jobs) {
        this.#say('savepoint request', NONE)
        try {
          await job.run(this.#db)
          this.#say('release request', NONE)
          done.push(job)
        } catch (error) {
          // What it had begun beside what failed runs into the rollback, too, and not into the next request.
          await new Promise((resolve) => setImmediate(resolve))
          this.#database.exec('rollback to request; release request')
          job.fail(error)
        }
      }
      this.#say('commit', NONE)
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('rollback')
      // A job that failed by itself was told so already; a second answer changes nothing.
      for (const job of jobs) job.fail(new GatewayError('IO', { reason: 'the store could not commit' }, error))
      return
    }
    for (const job of done) job.commit()
  }
}

/** node:sqlite as kysely wants it, with the prepared statements kept. */
function adapter(database: DatabaseSync) {
  const statements = new Map<string, { statement: StatementSync; reader: boolean }>()
  return {
    close: () => database.close(),
    prepare: (sql: string) => {
      let known = statements.get(sql)
      if (known === undefined) {
        const statement = database.prepare(sql)
        known = { statement, reader: statement.columns().length > 0 }
        if (statements.size >= MAX_STATEMENTS) statements.delete(statements.keys().next().value!)
      } else statements.delete(sql)
      statements.set(sql, known)
      const { statement, reader } = known
      return {
        reader,
        all: (parameters: readonly unknown[]) => statement.all(...(parameters as SQLInputValue[])) as unknown[],
        run: (parameters: readonly unknown[]) => statement.run(...(parameters as SQLInputValue[])),
        iterate: (parameters: readonly unknown[]) =>
          statement.iterate(...(parameters as SQLInputValue[])) as IterableIterator<unknown>,
      }
    },
  }
}
