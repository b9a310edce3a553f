import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { leaveAudit } from '../../../src/ves/repository/store/audit.ts'
import { insertKey, keysByIds, lockKey } from '../../../src/ves/repository/store/keys.ts'
import { openPostgresStore } from '../../../src/ves/repository/store/postgres.ts'
import type { Db } from '../../../src/ves/repository/store/schema.ts'
import type { Sees, Store } from '../../../src/ves/repository/store/store.ts'
import { updateUser, userById } from '../../../src/ves/repository/store/users.ts'
import { type LabPostgres, startPostgres } from '../../lab/postgres.ts'
import { contract } from './contract.ts'
import { ADMIN_TOKEN, Harness } from './harness.ts'
import { storeContract } from './store-contract.ts'

let server: Promise<LabPostgres> | null = null

/** One for the file, started by whoever needs it first. */
function lab(): Promise<LabPostgres> {
  server ??= startPostgres({ durable: false })
  return server
}

contract('PostgreSQL', async () => {
  return new Harness(await openPostgresStore({ url: await (await lab()).database() }))
})

storeContract('PostgreSQL', async () => openPostgresStore({ url: await (await lab()).database() }))

test('PostgreSQL: what was left to be chained by a repository that was killed, the next one chains', async () => {
  const store = await openPostgresStore({ url: await (await lab()).database() })
  const entry = { actor: 'user:1', userId: 1, action: 'item.create', subject: 'item:1', keys: [1] }
  await store.transaction(async (db, last) => last(leaveAudit(db, [entry], 0)))
  const h = new Harness(store)
  const alice = await h.account('alice@lab.test')
  await h.item(alice, 'm@lab.test', 'x', [alice.vault])
  const { audit } = await h.ok('GET', 'admin/audit', { token: ADMIN_TOKEN })
  assert.deepEqual(
    audit.map((one: { seq: number; action: string }) => [one.seq, one.action]),
    ['item.create', 'key.create', 'item.create', 'key.create', 'account.create', 'item.create'].map((action, n) => [
      n + 1,
      action,
    ]),
  )
  assert.deepEqual(await h.ok('GET', 'admin/audit/verify', { token: ADMIN_TOKEN }), { ok: true, entries: 6 })
  await h.close()
})

test('PostgreSQL: reads at the same time do not touch each other, whatever each of them meets', async () => {
  const store = await openPostgresStore({ url: await (await lab()).database(), connections: 3 })
  const h = new Harness(store)
  const alice = await h.account('alice@lab.test')
  const id = await h.item(alice, 'm@lab.test', 'x', [alice.vault])
  // A first use of a token writes, a missing key is refused, the audit log is long: all beside plain reads.
  const fresh = await Promise.all(Array.from({ length: 10 }, () => h.login(alice.vault)))
  const answers = await Promise.all(
    fresh.flatMap((token) => [
      h.ask('GET', `vaultItems/${id}?fields=vaultEntries(encData)`, { token }),
      h.ask('GET', `vaultKeys/${alice.vault.id}?fields=encSessionToken&attn=*`, { token: alice.token }),
      h.ask('GET', 'vaultKeys/999999'),
      h.ask('GET', 'admin/audit', { token: ADMIN_TOKEN }),
      h.ask('GET', `vaultKeys/${2 ** 53 - 1}`),
    ]),
  )
  assert.deepEqual(
    answers.map(({ status }) => status),
    fresh.flatMap(() => [200, 200, 404, 200, 404]),
  )
  await h.close()
})

test('PostgreSQL: the repository outlives a crash of the database: failures meanwhile, then as before', async () => {
  const postgres = await lab()
  const store = await openPostgresStore({ url: await postgres.database() })
  const h = new Harness(store)
  const alice = await h.account('alice@lab.test')
  const id = await h.item(alice, 'm@lab.test', 'x', [alice.vault])
  const read = () => h.ask('GET', `vaultItems/${id}`, { token: alice.token })
  const crashed = postgres.crash()
  const during = await Promise.all(Array.from({ length: 20 }, read))
  for (const { status } of during) assert.ok([200, 500].includes(status), String(status))
  await crashed
  // Connections of before are broken: each is found out once.
  const afterwards = []
  for (let n = 0; n < 20; n++) afterwards.push((await read()).status)
  assert.equal(afterwards.at(-1), 200)
  await h.close()
})

/**
 * Runs `first` up to its end but for the commit, starts `second` beside it, and lets `first` commit once `second` waits
 * for it (or did not need to).
 * @returns who was done in which order
 */
async function inTurn(
  store: Store,
  first: (db: Db) => Promise<unknown>,
  second: (db: Db) => Promise<unknown>,
): Promise<string[]> {
  const order: string[] = []
  const gate = Promise.withResolvers<void>()
  const holding = Promise.withResolvers<void>()
  const one = store.transaction(async (db) => {
    await first(db)
    holding.resolve()
    await gate.promise
    order.push('first')
  })
  await holding.promise
  let done = false
  const two = store
    .transaction(async (db) => {
      await second(db)
      order.push('second')
    })
    .finally(() => {
      done = true
    })
  while (!done) {
    const { rows } = await store.transaction((db) =>
      sql`select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`.execute(db),
    )
    if (rows.length > 0) break
  }
  gate.resolve()
  await Promise.all([one, two])
  return order
}

test('PostgreSQL: what only reads sees one moment, whatever is committed beside it', async () => {
  const store = await openPostgresStore({ url: await (await lab()).database() })
  const h = new Harness(store)
  const { userId } = await h.account('alice@lab.test')
  const nameTwice = (sees: Sees) =>
    store.transaction(async (db) => {
      const before = (await userById(db, userId))!.first_name
      await store.transaction((other) => updateUser(other, userId, { first_name: `${before}+` }))
      return [before, (await userById(db, userId))!.first_name]
    }, sees)
  assert.deepEqual(await nameTwice('moment'), [null, null])
  assert.deepEqual(await nameTwice('newest'), ['null+', 'null++'])
  await h.close()
})

test('PostgreSQL: a key is not taken away while it gets an entry, nor the other way round', async () => {
  const store = await openPostgresStore({ url: await (await lab()).database() })
  const h = new Harness(store)
  const { vault, userId } = await h.account('alice@lab.test')
  const use = (db: Db) => keysByIds(db, [vault.id], 'postgresql')
  const take = (db: Db) => lockKey(db, 'postgresql', vault.id)
  assert.deepEqual(await inTurn(store, use, take), ['first', 'second'])
  assert.deepEqual(await inTurn(store, take, use), ['first', 'second'])
  // Two that use it do not wait for each other.
  assert.deepEqual(await inTurn(store, use, use), ['second', 'first'])
  // A temp key and its owner's own first key: one after the other, so that one of them sees the other.
  const { publicKey } = vault
  const key = { algo: 'ECDH', publicKey, privateKey: 'x', userId, creatorId: userId, appUrl: null } as const
  const make = (type: 'temp' | 'shadow') => (db: Db) => insertKey(db, 'postgresql', { ...key, type }, 0)
  assert.deepEqual(await inTurn(store, make('temp'), make('shadow')), ['first', 'second'])
  await h.close()
})

after(async () => (await server)?.stop())
