/** A large repository: 100,000 accounts and a million items, straight into the tables. The keys are copies of one. */
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'
import type { StoreName } from './stores.ts'

export const FULL_ACCOUNTS = 100_000
const ITEMS = 1_000_000
/** Far from the ids that the repository gives out. */
const BASE = 1_000_000_000

export const fillerAddress = (n: number): string => `fill${n}@bench.test`

/** @param place the database's file or URL. The repository may be running; it must have one key at least. */
export async function fill(store: StoreName, place: string): Promise<void> {
  if (store === 'postgresql') {
    const client = new pg.Client({ connectionString: place })
    await client.connect()
    for (const statement of statements(numbers)) await client.query(statement)
    await client.end()
    return
  }
  const database = new DatabaseSync(place, { timeout: 60_000 })
  for (const statement of statements(recursiveNumbers)) database.exec(statement)
  database.close()
}

const numbers = (count: number): string => `generate_series(1, ${count}) as n(i)`
const recursiveNumbers = (count: number): string =>
  `(with recursive n(i) as (select 1 union all select i + 1 from n where i < ${count}) select i from n) as n`

function statements(range: (count: number) => string): string[] {
  const accounts = range(FULL_ACCOUNTS)
  const items = range(ITEMS)
  const owner = `${BASE} + 1 + n.i % ${FULL_ACCOUNTS}`
  // What an entry of an ML-KEM-768 key takes, cut to a tenth: the file would be two gigabytes.
  const encData = 'A'.repeat(160)
  const one = (column: string): string => `(select ${column} from vault_keys where type = 'secondary' limit 1)`
  return [
    'begin',
    `insert into users (id, email, account, locked, created_ms)
      select ${BASE} + n.i, 'fill' || n.i || '@bench.test', 1, 0, 0 from ${accounts}`,
    `insert into vault_keys (id, type, algo, public_key, private_key, user_id, creator_id, created_ms, tokens_after_ms, due)
      select ${BASE} + n.i, 'secondary', 'OQS', ${one('public_key')}, ${one('private_key')},
        ${BASE} + n.i, ${BASE} + n.i, 0, 0, 0 from ${accounts}`,
    `insert into key_externals (domain, external_id, key_id, working)
      select 'vesmail', 'fill' || n.i || '@bench.test', ${BASE} + n.i, 1 from ${accounts}`,
    `insert into vault_items (id, type, meta, creator_id, file, deleted, created_ms)
      select ${BASE} + n.i, 'file', '{"a":"AES256GCM1K"}', ${owner}, 1, 0, 0 from ${items}`,
    `insert into item_externals (domain, external_id, item_id)
      select 'vesmail', 'fill' || n.i || '@mail.bench.test', ${BASE} + n.i from ${items}`,
    `insert into vault_entries (item_id, key_id, enc_data) select ${BASE} + n.i, ${owner}, '${encData}' from ${items}`,
    'commit',
    'analyze',
  ]
}
