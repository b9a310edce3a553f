/** What every store must give: logging in, tokens and what a session may do (key-repository.md §2, §3). Entered from contract.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ADMIN_TOKEN, type Any, newKey, opened, withId } from '../harness.ts'
import { ENTRIES, type Stage } from './stage.ts'

export function sessionRules(stage: Stage): void {
  const { address, person, mail, byName } = stage

  test('an account logs in with its VESkey, and without a session a key shows only what logging in needs', async () => {
    const { h } = stage
    const alice = await person('alice')
    const got = await h.ok(
      'POST',
      'vaultKeys?fields=id,type,algo,publicKey,privateKey,externals,creator,appUrl,vaultItems(id),vaultEntries(id),user(id,email),encSessionToken,unlockableVaultKeys,nonsense(a(b))',
      {
        body: byName(alice.email),
      },
    )
    assert.deepEqual(Object.keys(got).sort(), [
      'algo',
      'encSessionToken',
      'externals',
      'id',
      'privateKey',
      'publicKey',
      'type',
      'user',
    ])
    assert.deepEqual(got.user, { id: alice.userId })
    assert.equal(got.id, alice.vault.id)
    const token = await h.login(alice.vault)
    assert.ok(token.length <= 79 && /^[^\s,;]+$/.test(token))
    const me = await h.ok('GET', 'me?fields=id,email,vaultKeys(id,type)', { token })
    assert.deepEqual(me, {
      id: alice.userId,
      email: alice.email,
      vaultKeys: [
        { id: alice.primary.id, type: 'current' },
        { id: alice.vault.id, type: 'secondary' },
      ],
    })
    // The primary key logs in too, and opens the app vault's password.
    const primary = await h.login(alice.primary)
    const vault = await h.ok(
      'GET',
      `vaultKeys/${alice.vault.id}?fields=vaultItems(type,vaultEntries(encData,vaultKey(id)))`,
      { token: primary },
    )
    assert.equal(opened(alice.primary, vault.vaultItems[0].vaultEntries[0].encData), alice.vault.veskey.toString())
  })

  test('tokens: 9 hours, ended one by one or all, never again', async () => {
    const { h } = stage
    const alice = await h.account(address('alice'), 'ML-KEM-768')
    const unused = await h.login(alice.vault)
    h.nowMs += 1000
    const sessions = (await h.ok('GET', 'me?fields=sessions', { token: alice.token })).sessions
    assert.equal(sessions.length, 1)
    assert.equal(sessions[0].current, true)
    const second = await h.login(alice.vault)
    await h.ok('GET', 'me', { token: second })
    const id = (await h.ok('GET', 'me?fields=sessions', { token: second })).sessions[0].id
    assert.equal((await h.ok('GET', `sessions/${id}`, { token: alice.token })).id, id)
    await h.ok('POST', `sessions/${id}`, { token: alice.token, body: { $op: 'delete' } })
    assert.equal(await h.refused(401, 'GET', 'me', { token: second }), 'Unauthorized')
    assert.equal(
      await h.refused(401, 'POST', 'vaultKeys', { token: second, body: byName(alice.email) }),
      'Unauthorized',
    )
    await h.ok('POST', 'sessions', { token: alice.token, body: { $op: 'delete' } })
    await h.refused(401, 'GET', 'me', { token: unused })
    await h.ok('GET', 'me', { token: alice.token })
    h.nowMs += 9 * 3600_000
    await h.refused(401, 'GET', 'me', { token: alice.token })
    for (const bad of ['x', 'a'.repeat(62), `${alice.token}x`, alice.token.slice(0, -1)])
      await h.refused(401, 'GET', 'me', { token: bad })
    await h.refused(401, 'GET', 'me', { headers: { authorization: 'Basic YTpi' } })
    await h.refused(401, 'GET', 'me')
    const bob = await person('bob')
    assert.equal(await h.refused(404, 'GET', `sessions/${id}`, { token: bob.token }), 'NotFound')
  })

  test('a session that was ended is not had again by another spelling of its token', async () => {
    const { h } = stage
    const alice = await person('alice')
    const token = await h.login(alice.vault)
    const { sessions } = await h.ok('GET', 'me?fields=sessions(id,current)', { token })
    await h.ok('POST', `sessions/${sessions.find((one: Any) => one.current).id}`, { token, body: { $op: 'delete' } })
    for (const last of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_')
      await h.refused(401, 'GET', 'me', { token: token.slice(0, -1) + last })
  })

  test('for a curve whose seals are dear, an unused token is given out again for a minute; a used one never', async () => {
    const { h } = stage
    const alice = await person('alice')
    assert.equal(await h.login(alice.vault), alice.token)
    await h.ok('GET', 'me', { token: alice.token })
    const second = await h.login(alice.vault)
    assert.notEqual(second, alice.token)
    h.nowMs += 61_000
    assert.notEqual(await h.login(alice.vault), second)
  })

  test('a verify token proves nothing once its user has no access, is locked or gone', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    const id = await h.item(alice, mail(), 'x', [alice.vault, bob.vault])
    const { verifyToken: token } = await h.ok('GET', `files/${id}?fields=verifyToken`, { token: bob.token })
    await h.ok('GET', `vaultItems/${id}`, { token })
    const admin = { token: ADMIN_TOKEN }
    await h.ok('POST', `admin/accounts/${bob.email}`, { ...admin, body: { locked: true } })
    await h.refused(401, 'GET', `vaultItems/${id}`, { token })
    await h.ok('POST', `admin/accounts/${bob.email}`, { ...admin, body: { locked: false } })
    await h.ok('GET', `files/${id}`, { token })
    await h.ok('POST', 'vaultItems', {
      token: alice.token,
      body: { id, vaultEntries: [{ vaultKey: { id: bob.vault.id }, $op: 'delete' }] },
    })
    for (const what of ['vaultItems', 'files']) await h.refused(403, 'GET', `${what}/${id}`, { token })
    await h.refused(403, 'POST', 'vaultItems', { token, body: { id, $op: 'fetch' } })
  })

  test('a section vault’s session only reads', async () => {
    const { h } = stage
    const alice = await person('alice')
    const made = newKey()
    const { id } = await h.ok('POST', 'vaultKeys', {
      token: alice.token,
      body: {
        type: 'secondary',
        ...made.pems,
        user: { email: alice.email },
        externals: [{ domain: 'vesmail', externalId: `${alice.email}!sec` }],
      },
    })
    const token = await h.login(withId(made, id))
    const item = await h.item(alice, mail(), 'x', [alice.vault])
    assert.equal((await h.ok('GET', `vaultItems/${item}?${ENTRIES}`, { token })).vaultEntries.length, 1)
    await h.ok('POST', 'vaultItems', { token, body: { id: item } })
    await h.refused(403, 'POST', 'vaultItems', { token, body: { id: item, $op: 'delete' } })
    await h.refused(403, 'POST', 'vaultItems', {
      token,
      body: { type: 'string', file: { externals: [{ domain: 'vesmail', externalId: mail() }] } },
    })
    await h.refused(403, 'POST', 'vaultKeys', { token, body: { id: alice.vault.id, $op: 'delete' } })
    await h.refused(403, 'POST', 'sessions', { token, body: { $op: 'delete' } })
    await h.refused(403, 'POST', 'users', { token, body: { id: alice.userId, firstName: 'x' } })
  })

  test('verify tokens read their one item and nothing else', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    const id = await h.item(alice, mail(), 'x', [alice.vault])
    const other = await h.item(alice, mail(), 'x', [alice.vault])
    const { verifyToken } = await h.ok('GET', `files/${id}?fields=verifyToken`, { token: alice.token })
    assert.equal(
      typeof (await h.ok('GET', `vaultItems/${id}?fields=verifyToken`, { token: alice.token })).verifyToken,
      'string',
    )
    for (const what of ['files', 'vaultItems'])
      assert.ok(!('verifyToken' in (await h.ok('GET', `${what}/${id}?fields=verifyToken`, { token: bob.token }))))
    for (const token of [verifyToken, `vaultItem.${id}.${verifyToken}`]) {
      assert.ok(token.length <= 79 + 30)
      const seen = await h.ok('GET', `vaultItems/${id}?fields=type,file(creator(id,email)),vaultEntries(encData)`, {
        token,
      })
      assert.deepEqual([seen.id, seen.file.creator.email, 'vaultEntries' in seen], [id, alice.email, false])
      await h.refused(403, 'GET', `vaultItems/${other}`, { token })
      await h.refused(403, 'GET', 'me', { token })
      await h.refused(403, 'POST', 'vaultItems', { token, body: { id, $op: 'delete' } })
    }
    await h.refused(401, 'GET', `vaultItems/${id}`, { token: `vaultItem.${other}.${verifyToken}` })
    h.nowMs += 31 * 86_400_000
    await h.refused(401, 'GET', `vaultItems/${id}`, { token: verifyToken })
  })

  test('a session is renewed without Authorization while the old token is still good', async () => {
    const { h } = stage
    const alice = await person('alice')
    await h.ok('GET', 'me', { token: alice.token })
    h.nowMs += 8 * 3600_000
    const renewed = await h.login(alice.vault)
    await h.ok('GET', 'me', { token: alice.token })
    h.nowMs += 2 * 3600_000
    await h.refused(401, 'GET', 'me', { token: alice.token })
    await h.ok('GET', 'me', { token: renewed })
  })
}
