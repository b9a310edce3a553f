/**
 * Is a repository whole? The audit log follows its chain, what refers to something finds it, and, given an account's
 * VESkey, what is sealed to that account opens: the proof that a backup is worth something.
 */

import { sql } from 'kysely'
import { GatewayError } from '../../base/errors.ts'
import {
  openFromVaultKey,
  publicOf,
  readPublicKey,
  unlockPrivateKey,
  type VaultKey,
} from '../../engine/seal/vault-key.ts'
import { verifyAudit } from './store/audit.ts'
import { entriesOfKey } from './store/items.ts'
import { workingKeyNamed } from './store/keys.ts'
import type { Db } from './store/schema.ts'

export interface Verified {
  readonly users: number
  readonly keys: number
  readonly items: number
  readonly entries: number
  readonly auditEntries: number
  /** Values that opened with the account's key; null where none was asked for. */
  readonly opened: number | null
  readonly problems: readonly string[]
}

export interface AccountToOpen {
  readonly domain: string
  readonly externalId: string
  /** Borrowed until return. */
  readonly veskey: Buffer
}

const PAGE = { rows: 1000, octets: 16 * 1024 * 1024 } as const
/** Faults of one kind that are named one by one. */
const MAX_NAMED = 5

/** Rows that contradict another: each query gives their ids. */
const CONTRADICTIONS: readonly (readonly [what: string, query: string])[] = [
  [
    'entry without item',
    'select e.id from vault_entries e left join vault_items i on i.id = e.item_id where i.id is null',
  ],
  [
    'entry without key',
    'select e.id from vault_entries e left join vault_keys k on k.id = e.key_id where k.id is null',
  ],
  [
    'entry of a deleted item',
    'select e.id from vault_entries e join vault_items i on i.id = e.item_id where i.deleted = 1',
  ],
  [
    'entry of a deleted key',
    "select e.id from vault_entries e join vault_keys k on k.id = e.key_id where k.type = 'deleted'",
  ],
  [
    'name of a deleted item',
    'select x.id from item_externals x join vault_items i on i.id = x.item_id where i.deleted = 1',
  ],
  [
    'name of a deleted key',
    "select x.id from key_externals x join vault_keys k on k.id = x.key_id where k.type = 'deleted'",
  ],
  [
    'vault without name',
    "select k.id from vault_keys k where k.type = 'secondary' and not exists (select 1 from key_externals x where x.key_id = k.id)",
  ],
  [
    'account without primary key',
    "select u.id from users u where u.account = 1 and not exists (select 1 from vault_keys k where k.user_id = u.id and k.type = 'current')",
  ],
  [
    'item without name',
    'select i.id from vault_items i where i.deleted = 0 and i.file = 1 and not exists (select 1 from item_externals x where x.item_id = i.id)',
  ],
]

export async function verifyRepository(db: Db, account: AccountToOpen | null): Promise<Verified> {
  const problems: string[] = []
  for (const [what, query] of CONTRADICTIONS) {
    const { rows } = await sql<{ id: number }>`${sql.raw(query)} limit ${MAX_NAMED}`.execute(db)
    for (const row of rows) problems.push(`${what}: ${row.id}`)
  }
  const audit = await verifyAudit(db)
  if (!audit.ok) problems.push(`audit log: entry ${audit.seq} is not as it was written`)
  for (const id of await brokenPublicKeys(db)) problems.push(`public key that cannot be read: ${id}`)
  const opened = account === null ? null : await openAll(db, account, problems)
  return {
    users: await count(db, 'users'),
    keys: await count(db, 'vault_keys'),
    items: await count(db, 'vault_items'),
    entries: await count(db, 'vault_entries'),
    auditEntries: audit.ok ? audit.entries : 0,
    opened,
    problems,
  }
}

async function count(db: Db, table: 'users' | 'vault_keys' | 'vault_items' | 'vault_entries'): Promise<number> {
  const row = await db
    .selectFrom(table)
    .select((e) => e.fn.countAll<number | string>().as('n'))
    .executeTakeFirstOrThrow()
  return Number(row.n)
}

/** Keys to which nobody could seal anything. Those of an algorithm that only other clients know are theirs to judge. */
async function brokenPublicKeys(db: Db): Promise<number[]> {
  const broken: number[] = []
  for (let after = 0; broken.length < MAX_NAMED; ) {
    const rows = await db
      .selectFrom('vault_keys')
      .select(['id', 'public_key'])
      .where('type', '<>', 'deleted')
      .where('id', '>', after)
      .orderBy('id')
      .limit(PAGE.rows)
      .execute()
    if (rows.length === 0) break
    after = rows.at(-1)!.id
    for (const { id, public_key } of rows) if (!isReadable(public_key)) broken.push(id)
  }
  return broken.slice(0, MAX_NAMED)
}

function isReadable(publicKey: string): boolean {
  try {
    readPublicKey(publicKey)
    return true
  } catch (error) {
    return error instanceof GatewayError && error.code === 'VES_UNSUPPORTED'
  }
}

/** What is sealed to the public key kept here opens with the private one. */
function isPair(key: VaultKey, publicKey: string): boolean {
  try {
    return readPublicKey(publicKey).key.equals(publicOf(key).key)
  } catch (error) {
    // An unreadable one is named by {@link brokenPublicKeys}.
    if (error instanceof GatewayError) return false
    throw error
  }
}

async function openAll(db: Db, account: AccountToOpen, problems: string[]): Promise<number> {
  const row = await workingKeyNamed(db, account)
  if (row?.private_key == null) {
    problems.push('the account has no vault here')
    return 0
  }
  let key: VaultKey
  try {
    key = unlockPrivateKey(row.private_key, account.veskey)
  } catch (error) {
    problems.push(`the account's key does not unlock: ${(error as Error).message}`)
    return 0
  }
  if (!isPair(key, row.public_key)) problems.push("the account's public key is not that of its private key")
  let opened = 0
  for (let after = 0; ; ) {
    const entries = await entriesOfKey(db, { keyId: row.id, after, bounds: PAGE, unmovedOfUser: null })
    for (const entry of entries) {
      try {
        openFromVaultKey(key, Buffer.from(entry.enc_data, 'base64')).fill(0)
        opened++
      } catch (error) {
        problems.push(`entry ${entry.id} does not open: ${(error as Error).message}`)
      }
    }
    if (entries.length === 0) return opened
    after = entries.at(-1)!.id
  }
}
