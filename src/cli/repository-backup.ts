/**
 * `vesmail repository backup|restore|verify`. A backup is one SQLite file, whatever the repository itself is kept in: it
 * is made while the repository runs, and restores into either store. It holds no token key: no session survives it.
 */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { GatewayError } from '../base/errors.ts'
import { appendAudit, chainPending } from '../ves/repository/store/audit.ts'
import { copyRepository, isEmpty, voidTokens } from '../ves/repository/store/copy.ts'
import type { StoreKind } from '../ves/repository/store/migrations.ts'
import { openPostgresStore } from '../ves/repository/store/postgres.ts'
import type { Db } from '../ves/repository/store/schema.ts'
import { openSqliteReadOnly, openSqliteStore } from '../ves/repository/store/sqlite.ts'
import type { Store } from '../ves/repository/store/store.ts'
import { type AccountToOpen, type Verified, verifyRepository } from '../ves/repository/verify.ts'
import { openRepositoryFolder } from './repository-data.ts'

export interface Place {
  /** The repository's folder; of PostgreSQL's only the tokens are there. */
  readonly data: string
  readonly database?: string | undefined
}

/** Writes a verified backup. @param to must not be there yet @throws GatewayError IO, CONFIG_INVALID */
export async function backupRepository(from: Place, to: string): Promise<Verified> {
  if (existsSync(to)) throw new GatewayError('CONFIG_INVALID', { text: `${basename(to)} is there already` })
  const part = `${to}.part`
  rmSync(part, { force: true })
  // Made by us first, so that it is never readable by others.
  writeFileSync(part, '', { mode: 0o600, flag: 'wx' })
  try {
    if (from.database === undefined) {
      const store = openSqliteReadOnly(join(from.data, 'repository.db'))
      try {
        store.copyTo(part)
      } finally {
        await store.close()
      }
    } else await copyFromPostgres(from.database, part)
    const verified = await verifyFile(part, null)
    if (verified.problems.length > 0) {
      throw new GatewayError('IO', { text: `the backup is not whole: ${verified.problems[0]}` })
    }
    settle(part, to)
    return verified
  } finally {
    for (const end of ['', '-wal', '-shm', '-journal']) rmSync(part + end, { force: true })
  }
}

async function copyFromPostgres(url: string, file: string): Promise<void> {
  const from = await openPostgresStore({ url, connections: 1 })
  try {
    const to = await openSqliteStore(file)
    try {
      await from.snapshot((source) => to.transaction((target) => copyRepository(source, target, 'sqlite')))
    } finally {
      await to.close()
    }
  } finally {
    await from.close()
  }
}

/**
 * Restores a backup, after checking it, into a place that has no repository yet.
 * @param account its key must open what is sealed to it, or nothing is restored
 */
export async function restoreRepository(from: string, to: Place, account: AccountToOpen | null): Promise<Verified> {
  const verified = await verifyFile(from, account)
  if (verified.problems.length > 0) {
    throw new GatewayError('CONFIG_INVALID', {
      text: `nothing restored: ${verified.problems.join('; ').slice(0, 500)}`,
    })
  }
  const database = join(to.data, 'repository.db')
  if (to.database === undefined && existsSync(database)) {
    throw new GatewayError('CONFIG_INVALID', { text: `${to.data} has a repository already` })
  }
  openRepositoryFolder(to.data, { withoutDatabase: true })
  // A copy, for it is brought up to date: the backup may have been made by an older version.
  const part = join(to.data, 'restoring.db')
  rmSync(part, { force: true })
  writeFileSync(part, '', { mode: 0o600, flag: 'wx' })
  try {
    const source = openSqliteReadOnly(from)
    try {
      source.copyTo(part)
    } finally {
      await source.close()
    }
    const store = await openSqliteStore(part)
    try {
      await store.transaction((db) => closeBooks(db, 'sqlite'))
      if (to.database !== undefined) await copyIntoPostgres(store, to.database)
    } finally {
      await store.close()
    }
    if (to.database === undefined) settle(part, database)
  } finally {
    for (const end of ['', '-wal', '-shm', '-journal']) rmSync(part + end, { force: true })
  }
  return verified
}

async function copyIntoPostgres(source: Store, url: string): Promise<void> {
  const store = await openPostgresStore({ url, connections: 2 })
  try {
    await source.snapshot((rows) =>
      store.transaction(async (db) => {
        if (!(await isEmpty(db)))
          throw new GatewayError('CONFIG_INVALID', { text: 'this database has a repository already' })
        await copyRepository(rows, db, 'postgresql')
      }),
    )
  } finally {
    await store.close()
  }
}

/** Ends what was under way when the backup was made, and says so in the log. */
async function closeBooks(db: Db, kind: StoreKind): Promise<void> {
  const nowMs = Date.now()
  await voidTokens(db, nowMs)
  while (await chainPending(db, kind));
  const entry = { actor: 'operator', userId: null, action: 'repository.restore', subject: 'repository', keys: [] }
  await appendAudit(db, kind, [entry], nowMs)
}

export async function verifyFile(file: string, account: AccountToOpen | null): Promise<Verified> {
  const store = openSqliteReadOnly(file)
  try {
    const problems = store.integrityProblems()
    const verified = await store.snapshot((db) => verifyRepository(db, account))
    return { ...verified, problems: [...problems, ...verified.problems] }
  } catch (error) {
    if (!isDamage(error)) throw error
    const text = 'the file is damaged: use another backup'
    throw new GatewayError('CONFIG_INVALID', { text, path: file, reason: (error as Error).message }, error)
  } finally {
    await store.close()
  }
}

/** Pages that SQLite cannot read past: what lies behind them cannot even be counted. SQLITE_CORRUPT, SQLITE_NOTADB */
function isDamage(error: unknown): boolean {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return false
  const primary = error.errcode & 0xff
  return primary === 11 || primary === 26
}

/** Of a repository that may be running. */
export async function verifyPlace(place: Place, account: AccountToOpen | null): Promise<Verified> {
  if (place.database === undefined) return verifyFile(join(place.data, 'repository.db'), account)
  const store = await openPostgresStore({ url: place.database, connections: 1 })
  try {
    return await store.snapshot((db) => verifyRepository(db, account))
  } finally {
    await store.close()
  }
}

/** On disk under its own name, or not at all. */
function settle(part: string, path: string): void {
  syncPath(part)
  renameSync(part, path)
  syncPath(dirname(path))
}

function syncPath(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
