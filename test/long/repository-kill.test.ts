/** Long: a hundred kills on each store, some minutes. `KILLS=n node --test test/long/repository-kill.test.ts` for another number. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { verifyPlace } from '../../src/cli/repository-backup.ts'
import { killRepeatedly } from '../lab/kill-repository.ts'
import { startPostgres } from '../lab/postgres.ts'

const KILLS = Number(process.env.KILLS ?? 100)
/** Kills of the repository between two crashes of PostgreSQL itself. */
const CRASH_EVERY = 10

test(`SQLite: ${KILLS} times kill -9 under load`, async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'vesmail-kill-'))
  try {
    const result = await killRepeatedly({ data, kills: KILLS })
    assert.deepEqual((await verifyPlace({ data }, null)).problems, [])
    assert.ok(result.acknowledged > KILLS)
    t.diagnostic(JSON.stringify(result))
  } finally {
    rmSync(data, { recursive: true, force: true })
  }
})

test(`PostgreSQL: ${KILLS} times kill -9 under load, every ${CRASH_EVERY}th with the database`, async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'vesmail-kill-'))
  const server = await startPostgres({ durable: true })
  try {
    const database = await server.database()
    const meanwhile = async (kill: number): Promise<void> => {
      if (kill % CRASH_EVERY === CRASH_EVERY - 1) await server.crash()
    }
    const result = await killRepeatedly({ data, database, kills: KILLS, meanwhile })
    assert.deepEqual((await verifyPlace({ data, database }, null)).problems, [])
    assert.ok(result.acknowledged > KILLS)
    t.diagnostic(JSON.stringify(result))
  } finally {
    await server.stop()
    rmSync(data, { recursive: true, force: true })
  }
})
