import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openPostgresStore } from '../../../src/ves/repository/store/postgres.ts'
import { type LabPostgres, startPostgres } from '../../lab/postgres.ts'
import { contract } from './contract.ts'
import { Harness } from './harness.ts'

let server: Promise<LabPostgres> | null = null

/** One for the file, started by whoever needs it first. */
function lab(): Promise<LabPostgres> {
  server ??= startPostgres({ durable: false })
  return server
}

contract('PostgreSQL', async () => {
  return new Harness(await openPostgresStore({ url: await (await lab()).database() }))
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

after(async () => (await server)?.stop())
