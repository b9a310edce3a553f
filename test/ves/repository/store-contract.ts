/** What both stores promise (store.ts), below the requests of contract.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { appendAudit, chainPending, leaveAudit, verifyAudit } from '../../../src/ves/repository/store/audit.ts'
import type { Db } from '../../../src/ves/repository/store/schema.ts'
import type { Store } from '../../../src/ves/repository/store/store.ts'
import { insertUser } from '../../../src/ves/repository/store/users.ts'

export function storeContract(name: string, open: () => Promise<Store>): void {
  const addUser = (db: Db, email: string) =>
    insertUser(db, { email, firstName: null, lastName: null, account: false }, 0)
  const emails = async (store: Store): Promise<string[]> =>
    (await store.transaction((db) => db.selectFrom('users').select('email').orderBy('id').execute())).map(
      (row) => row.email,
    )

  test(`${name}: what a failed request had begun beside what failed gets no further`, async () => {
    const store = await open()
    const ends: Promise<unknown>[] = []
    for (let steps = 0; steps < 6; steps++) {
      const failing = store.transaction(async (db) => {
        const many = async (): Promise<void> => {
          for (let n = 0; n < 8; n++) await addUser(db, `${steps}-${n}`)
        }
        const fails = async (): Promise<void> => {
          for (let n = 0; n < steps; n++) await db.selectFrom('users').select('id').limit(1).execute()
          throw new GatewayError('VES_DENIED')
        }
        await Promise.all([many(), fails()])
      })
      // The next in line, which must not get any of it.
      ends.push(
        failing,
        store.transaction((db) => addUser(db, `good-${steps}`)),
      )
    }
    const results = await Promise.allSettled(ends)
    assert.deepEqual(
      results.map(({ status }) => status),
      Array.from({ length: 12 }, (_, n) => (n % 2 === 0 ? 'rejected' : 'fulfilled')),
    )
    assert.deepEqual(
      (await emails(store)).sort(),
      [0, 1, 2, 3, 4, 5].map((n) => `good-${n}`),
    )
    await store.close()
  })

  test(`${name}: last statements are part of the transaction, and it fails with them`, async () => {
    const store = await open()
    const values = (email: string) => ({ email, account: 0, locked: 0, created_ms: 0 })
    const add = (...list: string[]) =>
      store.transaction(async (db, last) => {
        for (const email of list) last(db.insertInto('users').values(values(email)).compile())
        return addUser(db, `${list[0]}-first`)
      })
    await add('a', 'b')
    await assert.rejects(add('c', 'a'))
    assert.deepEqual((await emails(store)).sort(), ['a', 'a-first', 'b'])
    await store.close()
  })

  test(`${name}: entries that were left are chained in their order, once, whoever does it and whatever came between`, async () => {
    const store = await open()
    const entry = (n: number) => ({ actor: 'admin', userId: null, action: `a${n}`, subject: 's', keys: [n] })
    const leave = (n: number) => store.transaction(async (db, last) => last(leaveAudit(db, [entry(n)], n)))
    const chain = () => store.transaction((db) => chainPending(db, store.kind))
    for (let n = 0; n < 5; n++) await leave(n)
    assert.deepEqual(await Promise.all([chain(), chain(), chain()]), [false, false, false])
    await store.transaction((db) => appendAudit(db, store.kind, [entry(5)], 5))
    for (let n = 6; n < 8; n++) await leave(n)
    await assert.rejects(
      store.transaction(async (db, last) => {
        last(leaveAudit(db, [entry(99)], 99))
        throw new GatewayError('VES_DENIED')
      }),
    )
    await chain()
    const rows = await store.transaction((db) => db.selectFrom('audit_log').selectAll().orderBy('seq').execute())
    assert.deepEqual(
      rows.map((row) => [row.seq, row.action]),
      [0, 1, 2, 3, 4, 5, 6, 7].map((n) => [n + 1, `a${n}`]),
    )
    assert.deepEqual(await store.snapshot(verifyAudit), { ok: true, entries: 8 })
    assert.deepEqual(await store.transaction((db) => db.selectFrom('audit_pending').selectAll().execute()), [])
    // More than one run takes.
    const many = Array.from({ length: 1203 }, (_, n) => entry(n))
    await store.transaction(async (db, last) => last(leaveAudit(db, many, 0)))
    assert.deepEqual([await chain(), await chain(), await chain()], [true, true, false])
    assert.deepEqual(await store.snapshot(verifyAudit), { ok: true, entries: 1211 })
    await store.close()
  })
}
