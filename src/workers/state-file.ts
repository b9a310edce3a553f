/**
 * The state that all workers of a machine share, in one SQLite file (WAL, no waiting for the disk: losing the last
 * second of it costs nothing). Each question is one or two statements of some 20 µs.
 */

import { randomBytes } from 'node:crypto'
import { readlinkSync, rmSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { fallen, HOLD_SECONDS, LocalState, MAX_KEPT, type SharedState } from './shared-state.ts'

/** A writer holds the lock for microseconds; longer means that the disk stands still, and mail must not. */
const BUSY_MS = 50
const RENEW_MS = 15_000

/** Workers that start together make the file together: each waits for the one that is at it. */
const OPEN_BUSY_MS = 5000
/** After a failure the file is left alone so long: waiting at each question would stop the worker's whole event loop. */
const REST_MS = 1000

const SCHEMA = `
  PRAGMA busy_timeout = ${OPEN_BUSY_MS};
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = OFF;
  CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, score REAL NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID, STRICT;
  CREATE TABLE IF NOT EXISTS holds (
    key TEXT NOT NULL, process TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (key, process)
  ) WITHOUT ROWID, STRICT;
  CREATE TABLE IF NOT EXISTS kept (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS processes (process TEXT PRIMARY KEY, seen INTEGER NOT NULL) WITHOUT ROWID, STRICT;
  PRAGMA busy_timeout = ${BUSY_MS};
`

export class StateFile implements SharedState {
  readonly #db: DatabaseSync
  readonly #process: string
  readonly #nowMs: () => number
  readonly #log: Log
  readonly #maxKept: number
  /** What stands in while the file cannot be used. */
  readonly #spare: LocalState
  readonly #statements: Readonly<
    Record<'add' | 'score' | 'hold' | 'release' | 'total' | 'seen' | 'keep' | 'recall' | 'newest', StatementSync>
  >
  readonly #timer: NodeJS.Timeout
  #complained = false
  #restUntilMs = 0

  readonly #died: (process: string, keys: readonly string[]) => void

  /**
   * @param process a name that no other process has, now or before
   * @param died told of each process that was found dead, and what it held; already while this is being made
   * @throws Error where there can be no such file
   */
  constructor(
    file: string,
    process: string,
    log: Log,
    nowMs: () => number = Date.now,
    maxKept = MAX_KEPT,
    died: (process: string, keys: readonly string[]) => void = () => {},
  ) {
    this.#maxKept = maxKept
    this.#died = died
    this.#process = process
    this.#nowMs = nowMs
    this.#log = log
    this.#spare = new LocalState(nowMs)
    this.#db = open(file)
    this.#statements = {
      add: this.#db.prepare(
        `INSERT INTO scores VALUES (:key, :points, :now)
         ON CONFLICT (key) DO UPDATE SET score = max(0, score - max(0, :now - at) / 1000.0) + :points, at = :now`,
      ),
      score: this.#db.prepare('SELECT score, at FROM scores WHERE key = ?'),
      hold: this.#db.prepare('INSERT OR REPLACE INTO holds VALUES (?, ?, ?)'),
      release: this.#db.prepare('DELETE FROM holds WHERE key = ? AND process = ?'),
      total: this.#db.prepare(
        `SELECT coalesce(sum(count), 0) AS total FROM holds JOIN processes USING (process)
         WHERE key = ? AND seen > ?`,
      ),
      seen: this.#db.prepare('INSERT OR REPLACE INTO processes VALUES (?, ?)'),
      // Under a new id each time: ids are the order of age.
      keep: this.#db.prepare('INSERT OR REPLACE INTO kept (key, value) VALUES (?, ?)'),
      recall: this.#db.prepare('SELECT id, value FROM kept WHERE key = ?'),
      newest: this.#db.prepare('SELECT coalesce(max(id), 0) AS id FROM kept'),
    }
    this.#renew()
    this.#timer = setInterval(() => this.#renew(), RENEW_MS)
    this.#timer.unref()
  }

  add(key: string, points: number): void {
    this.#try(
      () => this.#statements.add.run({ key, points, now: this.#nowMs() }),
      () => this.#spare.add(key, points),
    )
  }

  async score(key: string): Promise<number> {
    return this.#try(
      () => {
        const row = this.#statements.score.get(key)
        return row === undefined ? 0 : fallen(Number(row.score), Number(row.at), this.#nowMs())
      },
      () => this.#spare.score(key),
    )
  }

  async hold(key: string, count: number): Promise<number> {
    return this.#try(
      () => {
        if (count === 0) this.#statements.release.run(key, this.#process)
        else this.#statements.hold.run(key, this.#process, count)
        const row = this.#statements.total.get(key, this.#nowMs() - HOLD_SECONDS * 1000)
        return Number(row?.total ?? count)
      },
      () => count,
    )
  }

  async recall(key: string): Promise<Buffer | null> {
    return this.#try(
      () => {
        const row = this.#statements.recall.get(key)
        if (row === undefined) return null
        const value = Buffer.from(row.value as Uint8Array)
        // In use, and half forgotten: young again.
        if (Number(row.id) < this.#newest() - this.#maxKept / 2) this.#statements.keep.run(key, value)
        return value
      },
      () => this.#spare.recall(key),
    )
  }

  keep(key: string, value: Buffer): void {
    this.#try(
      () => {
        this.#statements.keep.run(key, value)
      },
      () => this.#spare.keep(key, value),
    )
  }

  #newest(): number {
    return Number(this.#statements.newest.get()?.id ?? 0)
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#try(
      () => {
        this.#db.prepare('DELETE FROM holds WHERE process = ?').run(this.#process)
        this.#db.prepare('DELETE FROM processes WHERE process = ?').run(this.#process)
      },
      () => {},
    )
    this.#db.close()
  }

  /** A sign of life; and what has no meaning any more goes. */
  #renew(): void {
    this.#try(
      () => {
        const now = this.#nowMs()
        this.#statements.seen.run(this.#process, now)
        this.#db.prepare('DELETE FROM scores WHERE score <= (? - at) / 1000.0').run(now)
        const dead = now - HOLD_SECONDS * 1000
        this.#db.prepare('DELETE FROM processes WHERE seen < ?').run(dead)
        this.#forgetTheDead()
        this.#db.prepare('DELETE FROM holds WHERE process NOT IN (SELECT process FROM processes)').run()
        this.#db.prepare('DELETE FROM kept WHERE id <= ?').run(this.#newest() - this.#maxKept)
      },
      () => {},
    )
  }

  /**
   * A worker that was killed holds places: its clients, who come back at once, must not be refused for them. Its
   * successor runs this first of all.
   */
  #forgetTheDead(): void {
    for (const { process: name } of this.#db.prepare('SELECT process FROM processes').all()) {
      const dead = String(name)
      if (!isDead(dead)) continue
      const held = this.#db.prepare('SELECT key FROM holds WHERE process = ?').all(dead)
      this.#db.prepare('DELETE FROM processes WHERE process = ?').run(dead)
      this.#died(
        dead,
        held.map(({ key }) => String(key)),
      )
    }
  }

  #try<T, U>(run: () => T, otherwise: () => U): T | U {
    if (performance.now() < this.#restUntilMs) return otherwise()
    try {
      const result = run()
      this.#complained = false
      return result
    } catch (error) {
      if (!this.#complained) {
        this.#log.write('warn', 'state file', { reason: messageOf(error) })
      }
      this.#complained = true
      this.#restUntilMs = performance.now() + REST_MS
      return otherwise()
    }
  }
}

/**
 * A name that no other process of any machine has, and by which a process of this one is known to be dead. The number
 * alone would not do: it comes again, and means something else in another container.
 */
export function processName(pid: number): string {
  return `${pid}.${pidNamespace()}.${randomBytes(12).toString('base64url')}`
}

function isDead(name: string): boolean {
  const [pid = '', namespace] = name.split('.')
  if (!/^[1-9]\d{0,9}$/.test(pid) || namespace !== pidNamespace()) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

/** '' where there is no /proc. */
function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? ''
  } catch (error) {
    if (error instanceof Error) return ''
    throw error
  }
}

/** A damaged file is thrown away: nothing in it is worth a repair. */
function open(file: string): DatabaseSync {
  try {
    return prepared(file)
  } catch (error) {
    // Somebody else is at it, or there is no such folder: not damage.
    if (!/malformed|not a database|corrupt/i.test(String(error))) throw error
    for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
    return prepared(file)
  }
}

function prepared(file: string): DatabaseSync {
  const db = new DatabaseSync(file)
  try {
    db.exec(SCHEMA)
    return db
  } catch (error) {
    db.close()
    throw error
  }
}
