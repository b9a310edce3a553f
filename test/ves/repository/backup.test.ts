import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { backupRepository, restoreRepository, verifyFile, verifyPlace } from '../../../src/cli/repository-backup.ts'
import { openPostgresStore } from '../../../src/ves/repository/store/postgres.ts'
import { openSqliteStore } from '../../../src/ves/repository/store/sqlite.ts'
import { startPostgres } from '../../lab/postgres.ts'
import { type Any, Harness, opened, type TestAccount } from './harness.ts'

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vesmail-backup-'))
  try {
    await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const MESSAGES = 30

async function fill(h: Harness): Promise<{ alice: TestAccount; bob: TestAccount; items: number[] }> {
  // Restoring goes by the real clock.
  h.nowMs = Date.now() - 60_000
  const [alice, bob] = [await h.account('alice@lab.test'), await h.account('bob@lab.test')]
  const items: number[] = []
  for (let n = 0; n < MESSAGES; n++)
    items.push(await h.item(alice, `m${n}@lab.test`, `key ${n}`, [alice.vault, bob.vault]))
  const { body, key } = h.temp('newbie@lab.test', [alice.vault])
  const { id } = await h.ok('POST', 'vaultKeys', { token: alice.token, body })
  await h.item(alice, 'temp@lab.test', 'x', [alice.vault, { id, publicKey: key.publicKey }])
  await h.ok('POST', `vaultItems/${items[0]}`, { token: alice.token, body: { $op: 'delete' } })
  return { alice, bob, items }
}

const toOpen = (account: TestAccount) => ({
  domain: 'vesmail',
  externalId: account.email,
  veskey: account.vault.veskey,
})

/** What a restored repository must still do. */
async function check(
  h: Harness,
  { alice, bob, items }: { alice: TestAccount; bob: TestAccount; items: number[] },
): Promise<void> {
  h.nowMs = Date.now() + 1000
  await h.refused(401, 'GET', 'me', { token: alice.token })
  const token = await h.login(bob.vault)
  for (const [n, id] of items.entries()) {
    if (n === 0) {
      await h.refused(404, 'GET', `vaultItems/${id}`, { token })
      continue
    }
    const { vaultEntries } = await h.ok('GET', `vaultItems/${id}?fields=vaultEntries(encData,vaultKey(id))`, { token })
    assert.equal(opened(bob.vault, vaultEntries.find((e: Any) => e.vaultKey.id === bob.vault.id).encData), `key ${n}`)
  }
  const again = { ...alice, token: await h.login(alice.vault) }
  assert.ok(
    (await h.item(again, 'new@lab.test', 'x', [alice.vault])) > Math.max(...items),
    'numbers go on where they were',
  )
  const carol = await h.account('carol@lab.test')
  assert.ok(carol.userId > bob.userId)
}

test('SQLite: a backup made under load is whole, restores, and opens with the account’s key only', async () => {
  await inFolder(async (folder) => {
    const from = join(folder, 'from')
    const file = join(folder, 'backup.db')
    mkdirSync(from)
    const h = new Harness(await openSqliteStore(join(from, 'repository.db')))
    const made = await fill(h)
    let writing = true
    let written = 0
    const load = (async () => {
      for (; writing; written++) await h.item(made.alice, `load-${written}@lab.test`, 'x', [made.alice.vault])
    })()
    const verified = await backupRepository({ data: from }, file)
    writing = false
    await load
    assert.deepEqual(verified.problems, [])
    assert.equal(statSync(file).mode & 0o777, 0o600)
    await assert.rejects(backupRepository({ data: from }, file), GatewayError)
    assert.deepEqual((await verifyPlace({ data: from }, toOpen(made.bob))).opened, MESSAGES - 1)
    await h.close()

    const wrong = await verifyFile(file, { ...toOpen(made.bob), veskey: Buffer.from('wrong') })
    assert.deepEqual([wrong.opened, wrong.problems.length], [0, 1])
    assert.deepEqual((await verifyFile(file, { ...toOpen(made.bob), externalId: 'no@lab.test' })).problems.length, 1)
    const to = { data: join(folder, 'to') }
    await assert.rejects(
      restoreRepository(file, to, { ...toOpen(made.bob), veskey: Buffer.from('wrong') }),
      GatewayError,
    )
    assert.ok(!existsSync(join(to.data, 'repository.db')))
    assert.equal((await restoreRepository(file, to, toOpen(made.bob))).opened, MESSAGES - 1)
    await assert.rejects(restoreRepository(file, to, null), GatewayError, 'never over another')
    assert.equal(statSync(join(to.data, 'repository.db')).mode & 0o777, 0o600)
    const restored = new Harness(await openSqliteStore(join(to.data, 'repository.db')))
    await check(restored, made)
    await restored.close()
    assert.deepEqual((await verifyPlace(to, toOpen(made.bob))).problems, [])
  })
})

test('a damaged or altered backup is not restored', async () => {
  await inFolder(async (folder) => {
    mkdirSync(join(folder, 'from'))
    const h = new Harness(await openSqliteStore(join(folder, 'from', 'repository.db')))
    const { bob } = await fill(h)
    await h.close()
    const file = join(folder, 'backup.db')
    await backupRepository({ data: join(folder, 'from') }, file)
    const good = readFileSync(file)
    const refused = async (what: string, problem: RegExp): Promise<void> => {
      const to = { data: join(folder, `to-${what}`) }
      await assert.rejects(restoreRepository(file, to, toOpen(bob)), problem, what)
      assert.ok(!existsSync(join(to.data, 'repository.db')), what)
      writeFileSync(file, good)
    }
    const alter = (sql: string): void => {
      const db = new DatabaseSync(file)
      db.exec(sql)
      db.close()
    }
    const code = { code: 'CONFIG_INVALID' } as unknown as RegExp
    alter("update audit_log set action = 'nothing' where seq = 3")
    await refused('audit', code)
    alter('delete from audit_log where seq = (select max(seq) from audit_log)')
    await refused('cut', code)
    alter("update vault_entries set enc_data = 'QUJD' where key_id = 4")
    await refused('entry', code)
    alter('pragma foreign_keys = off; delete from vault_items where id = 5')
    await refused('stray', code)
    alter("update vault_keys set public_key = replace(public_key, substr(public_key, 100, 8), '') where id = 1")
    await refused('public key that nobody can read', code)
    alter('update vault_keys set public_key = (select public_key from vault_keys where id = 2) where id = 4')
    await refused('public key of someone else', code)
    writeFileSync(file, Buffer.from(good).fill(0xff, 4096 * 8, good.length - 4096))
    await refused('pages', code)
    writeFileSync(file, good.subarray(0, good.length / 2))
    await refused('short', code)
    writeFileSync(file, 'no database')
    await refused('other', code)
  })
})

test('PostgreSQL: backed up into a file, restored into either store', async () => {
  const server = await startPostgres({ durable: false })
  try {
    await inFolder(async (folder) => {
      const database = await server.database()
      const h = new Harness(await openPostgresStore({ url: database }))
      const made = await fill(h)
      const file = join(folder, 'backup.db')
      const from = { data: join(folder, 'from'), database }
      assert.deepEqual((await verifyPlace(from, toOpen(made.bob))).problems, [])
      const verified = await backupRepository(from, file)
      assert.deepEqual([verified.problems, verified.users], [[], 3])
      await assert.rejects(restoreRepository(file, from, null), GatewayError, 'never over another')
      await h.close()

      const other = { data: join(folder, 'other'), database: await server.database() }
      await restoreRepository(file, other, toOpen(made.bob))
      const onPostgres = new Harness(await openPostgresStore({ url: other.database }))
      await check(onPostgres, made)
      await onPostgres.close()
      assert.deepEqual((await verifyPlace(other, toOpen(made.bob))).problems, [])

      // As a version wrote it that did not know the newest table.
      const old = new DatabaseSync(file)
      old.exec("drop table audit_pending; delete from kysely_migration where name >= '002'")
      old.close()
      const updated = { data: join(folder, 'updated'), database: await server.database() }
      await restoreRepository(file, updated, toOpen(made.bob))
      assert.deepEqual((await verifyPlace(updated, toOpen(made.bob))).problems, [])
      assert.deepEqual(readdirSync(updated.data).sort(), ['admin-token', 'token-key'])

      const onFile = { data: join(folder, 'file') }
      await restoreRepository(file, onFile, toOpen(made.bob))
      const onSqlite = new Harness(await openSqliteStore(join(onFile.data, 'repository.db')))
      await check(onSqlite, made)
      await onSqlite.close()
    })
  } finally {
    await server.stop()
  }
})
