import { after } from 'node:test'
import { openPostgresStore } from '../../../src/ves/repository/store/postgres.ts'
import { type LabPostgres, startPostgres } from '../../lab/postgres.ts'
import { contract } from './contract.ts'
import { Harness } from './harness.ts'

let server: LabPostgres | null = null

contract('PostgreSQL', async () => {
  server = await startPostgres({ durable: false })
  return new Harness(await openPostgresStore({ url: await server.database() }))
})

after(() => server?.stop())
