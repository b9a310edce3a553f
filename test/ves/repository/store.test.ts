import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openSqliteStore } from '../../../src/ves/repository/store/sqlite.ts'
import { storeContract } from './store-contract.ts'

storeContract('SQLite', () => openSqliteStore(':memory:'))

test('SQLite: a request that comes at any moment of another one’s end is run', async () => {
  const store = await openSqliteStore(':memory:')
  const count = () => store.transaction((db) => db.selectFrom('audit_head').select('seq').execute())
  for (let ticks = 0; ticks < 12; ticks++) {
    const first = count()
    const second = first.then(async () => {
      for (let n = 0; n < ticks; n++) await null
      return count()
    })
    assert.equal((await second).length, 1, `${ticks} ticks later`)
  }
  await store.close()
})

test('SQLite: one request of a group that fails takes nothing with it', async () => {
  const store = await openSqliteStore(':memory:')
  const add = (email: string, fail: boolean) =>
    store.transaction(async (db) => {
      await db
        .insertInto('users')
        .values({ email, account: 0, locked: 0, created_ms: 0, first_name: null, last_name: null })
        .execute()
      if (fail) throw new Error('no')
    })
  const answers = await Promise.allSettled(['a', 'b', 'c', 'd'].map((email, n) => add(email, n % 2 === 1)))
  assert.deepEqual(
    answers.map((one) => one.status),
    ['fulfilled', 'rejected', 'fulfilled', 'rejected'],
  )
  const rows = await store.transaction((db) => db.selectFrom('users').select('email').execute())
  assert.deepEqual(
    rows.map((row) => row.email),
    ['a', 'c'],
  )
  await assert.rejects(
    store.transaction((db) =>
      db
        .insertInto('users')
        .values({ email: 'a', account: 0, locked: 0, created_ms: 0, first_name: null, last_name: null })
        .execute(),
    ),
  )
  await store.close()
  await assert.rejects(
    store.transaction((db) => db.selectFrom('users').selectAll().execute()),
    { code: 'SHUTDOWN' },
  )
})
