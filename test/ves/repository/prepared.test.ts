import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import { prepared } from '../../../src/ves/repository/store/prepared.ts'
import type { Db } from '../../../src/ves/repository/store/schema.ts'
import { openSqliteStore } from '../../../src/ves/repository/store/sqlite.ts'

const select = prepared((db, id: number) => db.selectFrom('users').selectAll().where('id', '=', id))

async function withStore(run: (db: Db) => Promise<void>): Promise<void> {
  const store = await openSqliteStore(':memory:')
  try {
    await store.transaction(run)
  } finally {
    await store.close()
  }
}

test('a statement is built once for each number of values, and says the same as one built anew', async () => {
  let built = 0
  const insert = prepared((db, created_ms: number, ...emails: string[]) => {
    built++
    const users = emails.map((email) => ({
      email,
      first_name: null,
      last_name: null,
      account: 0,
      locked: 1,
      created_ms,
    }))
    return db.insertInto('users').values(users).returning(['id', 'email'])
  })
  await withStore(async (db) => {
    const [one] = await insert(db, 5, 'a@x.org')
    const [two] = await insert(db, 6, 'b@x.org')
    assert.equal(built, 1)
    const more = await insert(db, 7, 'c@x.org', 'd@x.org')
    assert.deepEqual([built, more.map(({ email }) => email)], [2, ['c@x.org', 'd@x.org']])
    for (const { id } of [one!, two!, ...more]) {
      const plain = await db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
      const [row] = await select(db, id)
      assert.deepEqual({ ...row }, { ...plain })
      assert.equal(row!.locked, 1)
    }
    assert.deepEqual(await select(db, 4711), [])
  })
})

test('null goes where a value may; a value that stands twice in the text is one value', async () => {
  const twice = prepared((db, name: string | null) =>
    db.updateTable('users').set({ first_name: name, last_name: name, account: 1 }).where('email', '=', 'a@x.org'),
  )
  await withStore(async (db) => {
    await db
      .insertInto('users')
      .values({ email: 'a@x.org', account: 0, locked: 0, created_ms: 1 } as never)
      .execute()
    const names = async () => db.selectFrom('users').select(['first_name', 'last_name', 'account']).executeTakeFirst()
    assert.deepEqual(await twice(db, 'Ann'), [])
    assert.deepEqual({ ...(await names()) }, { first_name: 'Ann', last_name: 'Ann', account: 1 })
    await twice(db, null)
    assert.deepEqual({ ...(await names()) }, { first_name: null, last_name: null, account: 1 })
  })
})

test('many values are built anew, and come in the same order', async () => {
  let built = 0
  const count = prepared((db, ...values: number[]) => {
    built++
    return db.selectNoFrom(sql<number>`${sql.join(values, sql` * 3 + `)}`.as('sum'))
  })
  const said = (values: readonly number[]): number =>
    values.reduce((sum, value, at) => sum + value * (at === values.length - 1 ? 1 : 3), 0)
  await withStore(async (db) => {
    for (const length of [2, 48, 49, 100, 100, 2]) {
      const values = Array.from({ length }, (_, at) => at * at + length)
      const [row] = await count(db, ...values)
      assert.equal(row!.sum, said(values))
    }
    assert.equal(built, 5, 'two and forty-eight once each, the others each time')
  })
})

test('what SQLite refuses is a rejection, and takes the transaction with it', async () => {
  const same = prepared((db, email: string) =>
    db.insertInto('users').values({ email, first_name: null, last_name: null, account: 0, locked: 0, created_ms: 1 }),
  )
  const store = await openSqliteStore(':memory:')
  try {
    const both = store.transaction(async (db) => {
      await same(db, 'a@x.org')
      await same(db, 'a@x.org')
    })
    await assert.rejects(both, /UNIQUE/)
    assert.deepEqual(await store.transaction(async (db) => select(db, 1)), [])
  } finally {
    await store.close()
  }
})
