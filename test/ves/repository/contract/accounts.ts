/** What every store must give: people’s accounts, their administrator and the audit log. Entered from contract.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { verifyAudit } from '../../../../src/ves/repository/store/audit.ts'
import { ADMIN_TOKEN, type Any, newKey } from '../harness.ts'
import { ENTRIES, type Stage } from './stage.ts'

export function accountRules(stage: Stage): void {
  const { address, person, mail, byName } = stage

  test('administration is granted by an entry for the .admin vault', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    const { id: admin } = await h.ok('POST', 'vaultKeys', {
      token: bob.token,
      body: { type: 'secondary', ...newKey().pems, externals: [{ domain: '.admin', externalId: bob.email }] },
    })
    const id = await h.item(alice, mail(), 'acl', [alice.vault])
    const change = { id, meta: { a: 'NULL' } }
    await h.refused(403, 'POST', 'vaultItems', { token: bob.token, body: change })
    await h.ok('POST', 'vaultItems', {
      token: alice.token,
      body: {
        id,
        vaultEntries: [{ vaultKey: { externals: [{ domain: '.admin', externalId: bob.email }] }, encData: 'QUJD' }],
      },
    })
    await h.ok('POST', 'vaultItems', { token: bob.token, body: change })
    await h.ok('POST', 'vaultItems', {
      token: bob.token,
      body: { id, vaultEntries: [{ vaultKey: { id: admin }, $op: 'delete' }] },
    })
    await h.refused(403, 'POST', 'vaultItems', { token: bob.token, body: change })
  })

  test('users: looked up by number or address, changed by themselves', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    await h.ok('POST', 'users', { token: bob.token, body: { id: bob.userId, firstName: 'Bob', lastName: 'Ω' } })
    const seen = await h.ok('GET', `users/${bob.userId}`, { token: alice.token })
    assert.deepEqual(seen, { id: bob.userId, email: bob.email, firstName: 'Bob', lastName: 'Ω' })
    assert.equal(
      (await h.ok('POST', 'users', { token: alice.token, body: { email: bob.email.toUpperCase(), $op: 'fetch' } })).id,
      bob.userId,
    )
    const stranger = await h.ok(
      'POST',
      'users?fields=id,email,firstName,currentVaultKey(id,privateKey,encSessionToken)',
      { body: { email: bob.email, $op: 'fetch' } },
    )
    // Its number anyone knows from its keys; by it they learn no name and no address.
    assert.deepEqual(await h.ok('GET', `users/${bob.userId}`, {}), { id: bob.userId })
    assert.deepEqual(await h.ok('GET', `users/${bob.userId}?fields=email,firstName,lastName,vaultKeys,sessions`, {}), {
      id: bob.userId,
    })
    assert.deepEqual(Object.keys(stranger).sort(), ['currentVaultKey', 'id'])
    assert.deepEqual(Object.keys(stranger.currentVaultKey).sort(), ['encSessionToken', 'id', 'privateKey'])
    await h.refused(403, 'POST', 'users', { token: alice.token, body: { id: bob.userId, firstName: 'x' } })
    await h.refused(404, 'POST', 'users', { token: alice.token, body: { email: address('nobody'), $op: 'fetch' } })
    await h.refused(404, 'GET', `users/${9e15}`, { token: alice.token })
    await h.refused(403, 'POST', 'accounts', { token: alice.token, body: { email: address('x'), vaultKeys: [] } })
    await h.refused(403, 'POST', 'accounts', {
      token: ADMIN_TOKEN,
      body: {
        email: alice.email,
        vaultKeys: [
          { type: 'current', ...newKey().pems },
          { type: 'secondary', ...newKey().pems, externals: [{ domain: 'vesmail', externalId: alice.email }] },
        ],
      },
    })
  })

  test('the administrator lists, shows, locks, unlocks and deletes accounts, and ends their sessions', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await h.account(address('bob'), 'ML-KEM-768')]
    const admin = { token: ADMIN_TOKEN }
    const at = `admin/accounts/${encodeURIComponent(alice.email)}`
    const item = await h.item(alice, mail(), 'x', [alice.vault, bob.vault])
    for (const url of ['admin/accounts', at, `${at}/sessions`, 'admin/audit', 'admin/audit/verify', 'admin/metrics']) {
      await h.refused(401, 'GET', url)
      await h.refused(403, 'GET', url, { token: alice.token })
      await h.ok('GET', url, admin)
    }
    const list = await h.ok('GET', `admin/accounts?limit=1&after=${alice.userId - 1}`, admin)
    assert.deepEqual([list.accounts.map((a: Any) => a.email), list.next], [[alice.email], alice.userId])
    const shown = await h.ok('GET', at, admin)
    assert.deepEqual([shown.account, shown.locked, shown.items, shown.sessions], [true, false, 1, 1])
    assert.deepEqual(
      shown.vaultKeys.map((k: Any) => [k.id, k.type, k.entries]),
      [
        [alice.primary.id, 'current', 1],
        [alice.vault.id, 'secondary', 1],
      ],
    )
    await h.ok('POST', at, { ...admin, body: { locked: true } })
    await h.refused(401, 'GET', 'me', { token: alice.token })
    const locked = await h.ok('GET', `vaultKeys/${alice.vault.id}?fields=publicKey,encSessionToken`)
    assert.deepEqual(Object.keys(locked).sort(), ['id', 'publicKey'])
    await h.item(bob, mail(), 'still encrypted for her', [bob.vault, alice.vault])
    h.nowMs += 61_000
    await h.ok('POST', at, { ...admin, body: { locked: false } })
    await h.refused(401, 'GET', 'me', { token: alice.token })
    const back = await h.login(alice.vault)
    await h.ok('GET', 'me', { token: back })

    const ofBob = `admin/accounts/${encodeURIComponent(bob.email)}/sessions`
    const unused = await h.login(bob.vault)
    h.nowMs += 1
    const { sessions } = await h.ok('GET', ofBob, admin)
    await h.ok('POST', ofBob, { ...admin, body: { $op: 'delete', id: sessions[0].id } })
    await h.refused(401, 'GET', 'me', { token: bob.token })
    await h.ok('POST', ofBob, { ...admin, body: { $op: 'delete' } })
    await h.refused(401, 'GET', 'me', { token: unused })
    await h.refused(404, 'POST', ofBob, { ...admin, body: { $op: 'delete', id: 9e15 } })

    await h.ok('POST', at, { ...admin, body: { $op: 'delete' } })
    await h.refused(401, 'GET', 'me', { token: back })
    await h.refused(404, 'POST', 'vaultKeys', { body: byName(alice.email) })
    await h.refused(404, 'GET', `vaultKeys/${alice.primary.id}`)
    // A token of the very millisecond in which all were ended is void, too.
    h.nowMs += 1
    const left = await h.ok('GET', `vaultItems/${item}?${ENTRIES}`, { token: await h.login(bob.vault) })
    assert.deepEqual(
      left.vaultEntries.map((e: Any) => e.vaultKey.id),
      [bob.vault.id],
    )
    await h.refused(404, 'GET', `admin/accounts/${encodeURIComponent(address('nobody'))}`, admin)
    await h.refused(400, 'POST', at, { ...admin, body: {} })
    assert.notEqual((await h.account(alice.email)).vault.id, alice.vault.id)
  })

  test('every change is in the audit log, which shows when a line is altered, removed or cut off', async () => {
    const { h } = stage
    const alice = await person('alice')
    const id = await h.item(alice, mail(), 'x', [alice.vault])
    const entries = async (): Promise<Any[]> =>
      (await h.ok('GET', `admin/audit?user=${alice.userId}`, { token: ADMIN_TOKEN })).audit
    const log = await entries()
    assert.deepEqual(
      log.map((e) => [e.actor, e.action]),
      [
        ['admin', 'key.create'],
        // The app vault's password.
        ['admin', 'item.create'],
        ['admin', 'key.create'],
        ['admin', 'account.create'],
        [`user:${alice.userId}`, 'item.create'],
      ],
    )
    assert.deepEqual(log[1].keys, [alice.primary.id])
    assert.deepEqual([log[4].subject, log[4].keys], [`item:${id}`, [alice.vault.id]])
    const verify = () => h.ok('GET', 'admin/audit/verify', { token: ADMIN_TOKEN })
    assert.equal((await verify()).ok, true)
    const seq = log[4].seq as number
    const alter = (change: object) =>
      h.store.transaction((db) => db.updateTable('audit_log').set(change).where('seq', '=', seq).execute())
    await alter({ actor: 'user:1' })
    assert.deepEqual(await verify(), { ok: false, seq })
    await alter({ actor: log[4].actor })
    assert.equal((await verify()).ok, true)
    await h.store.transaction(async (db) => {
      const row = await db.deleteFrom('audit_log').where('seq', '=', seq).returningAll().executeTakeFirstOrThrow()
      // Cut off at the end: the head remembers where the log ended.
      const check = await verifyAudit(db)
      assert.deepEqual(check, { ok: false, seq })
      await db.insertInto('audit_log').values(row).execute()
    })
    assert.equal((await verify()).ok, true)
  })
}
