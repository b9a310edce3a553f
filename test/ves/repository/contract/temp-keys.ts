/** What every store must give: mail to people without an account: temp keys, propagation and rekeying. Entered from contract.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ADMIN_TOKEN, type Any, newKey, opened, sealed, withId } from '../harness.ts'
import { ENTRIES, type Stage } from './stage.ts'

export function tempKeyRules(stage: Stage): void {
  const { address, person, mail, byName } = stage

  test('a temp key is found by the sender who made it and by nobody else', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    const newbie = address('newbie')
    const { body } = h.temp(newbie, [alice.vault, alice.primary])
    const { id } = await h.ok('POST', 'vaultKeys', {
      token: alice.token,
      body: { ...body, creator: { id: alice.userId }, appUrl: 'https://x.org/m' },
    })
    const fetch = { ...byName(newbie), creator: { id: alice.userId }, user: { email: newbie, $op: 'fetch' } }
    const mine = await h.ok(
      'POST',
      'vaultKeys?fields=id,type,privateKey,appUrl,encSessionToken,vaultItems(id,type,vaultEntries(encData))',
      { token: alice.token, body: fetch },
    )
    assert.deepEqual([mine.id, mine.type, mine.appUrl, 'privateKey' in mine], [id, 'temp', 'https://x.org/m', true])
    assert.equal(mine.vaultItems[0].vaultEntries.length, 2)
    // The sender knows its VESkey: a session would be the recipient's.
    assert.ok(!('encSessionToken' in mine))
    await h.refused(404, 'POST', 'vaultKeys', { token: bob.token, body: fetch })
    await h.refused(404, 'POST', 'vaultKeys', { body: fetch })
    await h.refused(404, 'GET', `vaultKeys/${id}`, { token: bob.token })
    await h.refused(404, 'GET', `vaultKeys/${id}`)
    await h.refused(404, 'POST', 'vaultKeys', { token: alice.token, body: { ...fetch, type: 'secondary' } })
    await h.ok('POST', 'vaultKeys', { token: alice.token, body: { ...fetch, type: 'temp' } })
    const own = h.temp(newbie, [bob.vault])
    const second = await h.ok('POST', 'vaultKeys', { token: bob.token, body: own.body })
    assert.notEqual(second.id, id)
    assert.equal((await h.ok('POST', 'vaultKeys', { token: bob.token, body: fetch })).id, second.id)
    // They have a number now, and no keys that log in.
    assert.deepEqual(
      (
        await h.ok('POST', 'users?fields=activeVaultKeys', {
          token: bob.token,
          body: { email: newbie, $op: 'fetch' },
        })
      ).activeVaultKeys,
      [],
    )
  })

  test('nobody makes a working vault for someone else, nor under someone else’s address or domain', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    const vault = (domain: string, externalId: string, more: object = {}) => ({
      type: 'secondary',
      ...newKey().pems,
      externals: [{ domain, externalId }],
      ...more,
    })
    const post = async (body: object): Promise<number> =>
      (await h.ask('POST', 'vaultKeys', { token: alice.token, body })).status
    assert.equal(await post(vault('vesmail', bob.email)), 403)
    assert.equal(await post(vault('vesmail', `${bob.email}!sec`)), 403)
    assert.equal(await post(vault('vesmail', address('free'))), 403)
    assert.equal(await post(vault('vesmail', 'anything')), 403)
    assert.equal(await post(vault('demo', bob.email)), 403)
    assert.equal(await post(vault('.admin', bob.email)), 403)
    assert.equal(await post(vault('unregistered', alice.email)), 403)
    assert.equal(await post(vault('vesmail', alice.email)), 403)
    assert.equal(await post(vault('vesmail', `${alice.email}!a`, { user: { email: bob.email } })), 403)
    assert.equal(await post({ ...vault('vesmail', alice.email), type: 'current' }), 403)
    assert.equal(await post(vault('vesmail', `!${'ab'.repeat(32)}`)), 501)
    assert.equal(await post(vault('demo', `thing-${alice.userId}`)), 200)
    assert.equal(await post(vault('x-mine', `thing-${alice.userId}`)), 200)
    assert.equal(await post(vault('vesmail', `${alice.email}!sec`)), 200)
    assert.equal(await post(vault('.admin', alice.email)), 200)
    assert.equal(
      await post({ ...h.temp(bob.email, []).body, externals: [{ domain: 'vesmail', externalId: alice.email }] }),
      403,
    )
    assert.equal((await h.ask('POST', 'vaultKeys', { body: vault('demo', 'x') })).status, 401)
  })

  test('propagate and rekey: a mail to someone without an account is read after they made one', async () => {
    const { h } = stage
    const alice = await person('alice')
    const newbie = address('newbie')
    const { body, key } = h.temp(newbie, [alice.vault, alice.primary])
    const value = 'message key'
    // One request makes item, temp key, its user and its password item, as C sends it.
    const { id: item } = await h.ok('POST', 'vaultItems', {
      token: alice.token,
      body: {
        type: 'file',
        meta: { a: 'AES256GCM1K' },
        file: { externals: [{ domain: 'vesmail', externalId: mail() }] },
        $op: 'create',
        vaultEntries: [
          { vaultKey: { id: alice.vault.id }, encData: sealed(alice.vault.publicKey, Buffer.from(value)) },
          {
            vaultKey: { ...body, creator: { id: alice.userId } },
            encData: sealed(key.publicKey, Buffer.from(value)),
          },
        ],
      },
    })
    assert.deepEqual(await h.ok('GET', 'attn', { token: alice.token }), {})
    const bob = await h.account(newbie)
    assert.deepEqual(await h.ok('GET', 'attn', { token: bob.token }), {}, 'nothing that Bob can open yet')

    // The sender's client, on attn: told once per session.
    h.nowMs += 60_000
    const told = await h.ask('GET', 'me?attn=*', { token: alice.token })
    const [matter] = told.body.attn.vaultKeys
    assert.deepEqual(matter, {
      id: matter.id,
      type: 'temp',
      algo: 'ECDH',
      user: { id: bob.userId },
      externals: [{ id: matter.externals[0].id, domain: 'vesmail', externalId: newbie }],
    })
    assert.ok(!('attn' in (await h.ask('GET', 'me?attn=%2A', { token: alice.token })).body))
    assert.deepEqual(await h.ok('GET', 'attn', { token: alice.token }), {})
    const fresh = await h.login(alice.vault)
    assert.equal((await h.ok('GET', 'attn', { token: fresh })).vaultKeys[0].id, matter.id)
    const T = await h.ok(
      'GET',
      `vaultKeys/${matter.id}?fields=type,algo,privateKey,vaultItems(id,type,vaultEntries(vaultKey(id),encData)),user(id,email,firstName,lastName)`,
      { token: fresh },
    )
    assert.equal(T.user.email, newbie)
    const veskey = opened(
      alice.vault,
      T.vaultItems[0].vaultEntries.find((e: Any) => e.vaultKey.id === alice.vault.id).encData,
    )
    assert.equal(veskey, key.veskey.toString())
    const active = (
      await h.ok('POST', 'users?fields=activeVaultKeys(id,type,algo,publicKey)', {
        token: fresh,
        body: { id: bob.userId, $op: 'fetch' },
      })
    ).activeVaultKeys
    const app = await h.ok('POST', 'vaultKeys?fields=id,type,algo,publicKey', {
      token: fresh,
      body: { type: 'secondary', ...byName(newbie) },
    })
    await h.ok('POST', 'vaultItems', {
      token: fresh,
      body: {
        id: T.vaultItems[0].id,
        type: 'password',
        vaultEntries: [...active, app].map((one) => ({
          vaultKey: { id: one.id },
          encData: sealed(one.publicKey, Buffer.from(veskey)),
        })),
      },
    })
    assert.deepEqual(
      await h.ok('POST', 'vaultItems', { token: fresh, body: { id: T.vaultItems[0].id, type: 'password' } }),
      { id: T.vaultItems[0].id },
    )
    const third = await h.login(alice.vault)
    assert.deepEqual(await h.ok('GET', 'attn', { token: third }), {}, 'propagated')

    // The recipient's client, on attn.
    const rekeying = await h.login(bob.vault)
    const [own] = (await h.ok('GET', 'attn', { token: rekeying })).vaultKeys
    assert.equal(own.id, matter.id)
    const working = await h.ok('POST', 'vaultKeys?fields=id,type,algo,publicKey,externals', {
      token: rekeying,
      body: { ...byName(newbie), creator: { id: bob.userId } },
    })
    assert.equal(working.id, bob.vault.id)
    const { vaultEntries } = await h.ok('GET', `vaultKeys/${own.id}?fields=vaultEntries(encData,vaultItem(id))`, {
      token: rekeying,
    })
    assert.deepEqual(
      vaultEntries.map((e: Any) => e.vaultItem.id),
      [item],
    )
    const got = await h.ok(
      'GET',
      `vaultKeys/${own.id}?fields=privateKey,vaultItems(vaultEntries(vaultKey(id),encData))`,
      { token: rekeying },
    )
    assert.equal(
      opened(bob.vault, got.vaultItems[0].vaultEntries.find((e: Any) => e.vaultKey.id === bob.vault.id).encData),
      veskey,
    )
    const moved = vaultEntries.map((e: Any) => ({
      vaultItem: { id: e.vaultItem.id },
      encData: sealed(bob.vault.publicKey, Buffer.from(opened(key as Any, e.encData))),
    }))
    await h.ok('POST', 'vaultKeys', {
      token: rekeying,
      body: { id: working.id, vaultEntries: [...moved, { vaultItem: { id: item }, $op: 'ignore' }] },
    })

    const read = await h.ok('GET', `vaultItems/${item}?${ENTRIES}`, { token: rekeying })
    assert.deepEqual(
      read.vaultEntries.map((e: Any) => e.vaultKey.id),
      [alice.vault.id, bob.vault.id],
    )
    assert.equal(opened(bob.vault, read.vaultEntries[1].encData), value)
    await h.refused(404, 'GET', `vaultKeys/${own.id}`, { token: rekeying })
    assert.deepEqual(await h.ok('GET', 'attn', { token: await h.login(bob.vault) }), {})
  })

  test('X-VESmail-Xchg: the recipient rekeys with the header’s VESkey, and someone else cannot', async () => {
    const { h } = stage
    const [alice, mallory] = [await person('alice'), await person('mallory')]
    const newbie = address('newbie')
    const { body, key } = h.temp(newbie, [alice.vault])
    const { id: T } = await h.ok('POST', 'vaultKeys', { token: alice.token, body })
    const item = await h.item(alice, mail(), 'k', [alice.vault, { id: T, publicKey: key.publicKey }])
    const bob = await h.account(newbie)
    const asked = await h.ok('POST', 'vaultKeys?fields=id,type', {
      token: bob.token,
      body: { id: T, creator: { id: bob.userId }, $op: 'fetch' },
    })
    assert.deepEqual(asked, { id: T, type: 'temp' })
    await h.refused(404, 'POST', 'vaultKeys', {
      token: mallory.token,
      body: { id: T, creator: { id: mallory.userId }, $op: 'fetch' },
    })
    const move = (to: number) => ({
      id: to,
      vaultEntries: [{ vaultItem: { id: item }, encData: sealed(bob.vault.publicKey, Buffer.from('k')) }],
    })
    await h.refused(403, 'POST', 'vaultKeys', { token: mallory.token, body: move(bob.vault.id) })
    await h.refused(403, 'POST', 'vaultKeys', { token: mallory.token, body: move(mallory.vault.id) })
    await h.refused(404, 'POST', 'vaultKeys', {
      token: bob.token,
      body: { id: bob.vault.id, vaultEntries: [{ vaultItem: { id: 9e15 }, encData: 'QUJD' }] },
    })
    // For a key without externals the primary keys are posted through the user.
    await h.refused(403, 'POST', 'users', {
      token: mallory.token,
      body: { id: bob.userId, vaultKeys: [move(bob.primary.id)] },
    })
    await h.ok('POST', 'users', {
      token: bob.token,
      body: { id: bob.userId, vaultKeys: [{ ...move(bob.primary.id) }] },
    })
    await h.refused(404, 'GET', `vaultKeys/${T}`, { token: bob.token })
  })

  test('the propagation key is its owner’s alone', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    const { id } = await h.ok('POST', 'vaultKeys', {
      token: alice.token,
      body: { type: 'secondary', ...newKey().pems, externals: [{ domain: '.propagate', externalId: alice.email }] },
    })
    assert.equal(
      (await h.ok('POST', 'vaultKeys', { token: alice.token, body: byName(alice.email, '.propagate') })).id,
      id,
    )
    await h.refused(404, 'POST', 'vaultKeys', { token: bob.token, body: byName(alice.email, '.propagate') })
    await h.refused(404, 'POST', 'vaultKeys', { body: byName(alice.email, '.propagate') })
  })

  test('an account without an app vault reads at once what its primary key was told, and moves it there', async () => {
    const { h } = stage
    const alice = await person('alice')
    const email = address('late')
    const made = newKey()
    const body = { email, vaultKeys: [{ type: 'current', ...made.pems }] }
    const account = await h.ok('POST', 'accounts', { token: ADMIN_TOKEN, body })
    const primary = withId(made, account.vaultKeys[0].id)
    const { body: T, key } = h.temp(email, [alice.vault, primary])
    const { id } = await h.ok('POST', 'vaultKeys', { token: alice.token, body: T })
    const item = await h.item(alice, mail(), 'read at once', [alice.vault, { id, publicKey: key.publicKey }])
    const token = await h.login(primary)
    assert.deepEqual(
      (await h.ok('GET', 'attn', { token })).vaultKeys.map((one: Any) => one.id),
      [id],
    )
    const got = await h.ok(
      'GET',
      `vaultKeys/${id}?fields=vaultItems(vaultEntries(encData,vaultKey(id))),vaultEntries(encData,vaultItem(id))`,
      { token },
    )
    const veskey = got.vaultItems[0].vaultEntries.find((e: Any) => e.vaultKey.id === primary.id).encData
    assert.equal(opened(primary, veskey), key.veskey.toString())
    assert.equal(opened(key as Any, got.vaultEntries[0].encData), 'read at once')
    const entry = { vaultItem: { id: item }, encData: sealed(primary.publicKey, Buffer.from('read at once')) }
    await h.ok('POST', 'users', {
      token,
      body: { id: account.id, vaultKeys: [{ id: primary.id, vaultEntries: [entry] }] },
    })
    await h.refused(404, 'GET', `vaultKeys/${id}`, { token })
    assert.deepEqual(await h.ok('GET', 'attn', { token: await h.login(alice.vault) }), {})
  })

  test('an account made in the very moment of a first mail to it: the mail is propagated all the same', async () => {
    const { h } = stage
    const alice = await person('alice')
    for (let n = 0; n < 5; n++) {
      const email = address('newbie')
      const [made, bob] = await Promise.all([
        h.ask('POST', 'vaultKeys', { token: alice.token, body: h.temp(email, [alice.vault]).body }),
        h.account(email),
      ])
      assert.equal(made.status, 200)
      const { vaultKeys } = await h.ok('GET', 'attn', { token: await h.login(alice.vault) })
      assert.ok(vaultKeys.some((key: Any) => key.id === made.body.result.id && key.user.id === bob.userId))
      await h.ok('GET', 'me', { token: alice.token })
      h.nowMs += 61_000
    }
  })
}
