import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { killRepeatedly } from '../../lab/kill-repository.ts'
import { startPostgres } from '../../lab/postgres.ts'

// The long version, 100 kills on each store: test/long/repository-kill.test.ts

test('SQLite: kill -9 under load loses nothing that was acknowledged, and leaves no half request', async () => {
  const data = mkdtempSync(join(tmpdir(), 'vesmail-kill-'))
  try {
    const { acknowledged } = await killRepeatedly({ data, kills: 2 })
    assert.ok(acknowledged > 0)
  } finally {
    rmSync(data, { recursive: true, force: true })
  }
})

test('PostgreSQL: the same, with the database crashing beside it', async () => {
  const data = mkdtempSync(join(tmpdir(), 'vesmail-kill-'))
  const server = await startPostgres({ durable: true })
  try {
    const meanwhile = () => server.crash()
    const { acknowledged } = await killRepeatedly({ data, database: await server.database(), kills: 1, meanwhile })
    assert.ok(acknowledged > 0)
  } finally {
    await server.stop()
    rmSync(data, { recursive: true, force: true })
  }
})
