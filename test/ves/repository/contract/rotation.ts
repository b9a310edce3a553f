/** What every store must give: a key replaced by another, and one recovered by friends. Entered from contract.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ADMIN_TOKEN, type Any, newKey, opened, sealed, type TestAccount, withId } from '../harness.ts'
import { ENTRIES, type Stage } from './stage.ts'

export function rotationRules(stage: Stage): void {
  const { person, mail, byName } = stage

  test('rotation: the new key takes over when it holds everything, and may be given up before', async () => {
    const { h } = stage
    const alice = await person('alice')
    const items: number[] = []
    for (let n = 0; n < 5; n++) items.push(await h.item(alice, mail(), `k${n}`, [alice.vault]))
    const pending = async () => {
      const made = newKey()
      const password = {
        type: 'password',
        vaultEntries: [{ vaultKey: { id: alice.primary.id }, encData: sealed(alice.primary.publicKey, made.veskey) }],
      }
      const { id } = await h.ok('POST', 'vaultKeys', {
        token: alice.token,
        body: { type: 'pending', ...made.pems, vaultItems: [password] },
      })
      return withId(made, id)
    }
    const abandoned = await pending()
    await h.ok('POST', `vaultKeys/${abandoned.id}`, { token: alice.token, body: { $op: 'delete' } })
    const next = await pending()
    const finish = { id: next.id, type: 'secondary', replaces: { id: alice.vault.id } }
    await h.refused(403, 'POST', 'vaultKeys', { token: alice.token, body: finish })
    let after = 0
    for (;;) {
      const { vaultEntries } = await h.ok(
        'GET',
        `vaultKeys/${alice.vault.id}?fields=vaultEntries(id,encData,vaultItem(id))[${after}+2]`,
        { token: alice.token },
      )
      if (vaultEntries.length === 0) break
      assert.ok(vaultEntries.length <= 2)
      after = vaultEntries.at(-1).id
      await h.ok('POST', 'vaultKeys', {
        token: alice.token,
        body: {
          id: next.id,
          vaultEntries: vaultEntries.map((e: Any) => ({
            vaultItem: e.vaultItem,
            encData: sealed(next.publicKey, Buffer.from(opened(alice.vault, e.encData))),
          })),
        },
      })
    }
    await h.refused(403, 'POST', 'vaultKeys', { token: alice.token, body: { ...finish, type: 'current' } })
    await h.ok('POST', 'vaultKeys', { token: alice.token, body: finish })
    assert.equal((await h.ok('POST', 'vaultKeys', { body: byName(alice.email) })).id, next.id)
    await h.refused(401, 'GET', 'me', { token: alice.token })
    await h.refused(404, 'GET', `vaultKeys/${alice.vault.id}`)
    const token = await h.login(next)
    for (const [n, id] of items.entries()) {
      const { vaultEntries } = await h.ok('GET', `vaultItems/${id}?${ENTRIES}`, { token })
      assert.deepEqual(
        vaultEntries.map((e: Any) => opened(next, e.encData)),
        [`k${n}`],
      )
    }
  })

  test('nothing is shared with a key that is being replaced and lost with it', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    const made = newKey()
    const { id: next } = await h.ok('POST', 'vaultKeys', {
      token: alice.token,
      body: { type: 'pending', ...made.pems },
    })
    const old = alice.vault.id
    const create = (token: string) =>
      h.ask('POST', 'vaultItems', {
        token,
        body: {
          type: 'string',
          file: { externals: [{ domain: 'vesmail', externalId: mail() }] },
          vaultEntries: [{ vaultKey: { id: old }, encData: 'QUJD' }],
        },
      })
    const acknowledged: number[] = []
    const share = async (): Promise<void> => {
      const answer = await create(bob.token)
      assert.ok([200, 404].includes(answer.status), String(answer.status))
      if (answer.status === 200) acknowledged.push(answer.body.result.id)
    }
    const rotate = async (): Promise<void> => {
      for (;;) {
        const { vaultEntries } = await h.ok('GET', `vaultKeys/${old}?fields=vaultEntries(vaultItem(id))`, {
          token: alice.token,
        })
        const entries = vaultEntries.map((e: Any) => ({ vaultItem: e.vaultItem, encData: 'QUJE' }))
        await h.ok('POST', 'vaultKeys', { token: alice.token, body: { id: next, vaultEntries: entries } })
        const body = { id: next, type: 'secondary', replaces: { id: old } }
        if ((await h.ask('POST', 'vaultKeys', { token: alice.token, body })).status === 200) return
      }
    }
    const shares = (async () => {
      for (let n = 0; n < 10; n++) await Promise.all(Array.from({ length: 4 }, share))
    })()
    await share()
    await Promise.all([shares, rotate()])
    const token = await h.login(withId(made, next))
    for (const id of acknowledged) {
      const { vaultEntries } = await h.ok('GET', `vaultItems/${id}?fields=vaultEntries(encData,vaultKey(id))`, {
        token,
      })
      assert.deepEqual(
        vaultEntries.map((e: Any) => e.vaultKey.id),
        [next],
      )
    }
    assert.equal((await create(bob.token)).status, 404)
    // Nor by the owner, whose client may not have heard of it.
    assert.equal((await create(token)).status, 404)
    await h.refused(404, 'POST', 'vaultKeys', { token, body: { id: old, vaultEntries: [] } })
  })

  test('recovery by friends: two of three, after the delay, told to the owner, who may cancel', async () => {
    const { h } = stage
    const alice = await person('alice')
    const friends = [await person('f'), await person('f'), await person('f')]
    const at = `admin/accounts/${encodeURIComponent(alice.email)}/recovery`
    const fresh = newKey()
    const { algo, publicKey } = fresh.pems
    const start = () => h.ok('POST', at, { token: ADMIN_TOKEN, body: { algo, publicKey } })
    await h.refused(404, 'POST', at, { token: ADMIN_TOKEN, body: { algo, publicKey } })
    const shares = friends.map((f, n) => ({
      vaultKey: { id: f.vault.id },
      encData: sealed(f.vault.publicKey, Buffer.from(`share${n}`)),
    }))
    const plan = { threshold: 2, delaySeconds: 86_400, shares }
    const post = async (body: object) => (await h.ask('POST', 'recovery', { token: alice.token, body })).status
    assert.equal(await post({ ...plan, delaySeconds: 60 }), 403)
    assert.equal(await post({ ...plan, threshold: 4 }), 400)
    assert.equal(await post({ ...plan, threshold: 1 }), 400)
    assert.equal(await post({ ...plan, shares: [...shares, shares[0]] }), 400)
    assert.equal(
      await post({ ...plan, shares: [...shares, { vaultKey: { id: alice.vault.id }, encData: 'QUJD' }] }),
      403,
    )
    assert.equal(await post(plan), 200)
    await h.refused(403, 'POST', at, { token: alice.token, body: { algo, publicKey } })
    const cancelled = await start()
    assert.equal((await h.ok('GET', 'recovery', { token: alice.token })).running.id, cancelled.id)
    await h.ok('POST', 'recovery', { token: alice.token, body: { $op: 'delete' } })
    await h.refused(403, 'GET', `recovery/${cancelled.id}`, { token: cancelled.token })

    // A friend's new key takes the share along: it is an item like any other.
    const [friend] = friends as [TestAccount]
    const made = newKey()
    const { id: pending } = await h.ok('POST', 'vaultKeys', {
      token: friend.token,
      body: { type: 'pending', ...made.pems },
    })
    const { vaultEntries: held } = await h.ok(
      'GET',
      `vaultKeys/${friend.vault.id}?fields=vaultEntries(encData,vaultItem(id))`,
      { token: friend.token },
    )
    await h.ok('POST', 'vaultKeys', {
      token: friend.token,
      body: {
        id: pending,
        vaultEntries: held.map((e: Any) => ({
          vaultItem: e.vaultItem,
          encData: sealed(made.pems.publicKey, Buffer.from(opened(friend.vault, e.encData))),
        })),
      },
    })
    await h.ok('POST', 'vaultKeys', {
      token: friend.token,
      body: { id: pending, type: 'secondary', replaces: { id: friend.vault.id } },
    })
    const vault = withId(made, pending)
    friends[0] = { ...friend, vault, token: await h.login(vault) }

    const run = await start()
    const collect = () => h.ok('GET', `recovery/${run.id}`, { token: run.token })
    await h.refused(401, 'GET', `recovery/${run.id}`, { token: cancelled.token })
    await h.refused(401, 'GET', `recovery/${run.id}`)
    for (const [n, friend] of friends.slice(0, 2).entries()) {
      const { requests } = await h.ok('GET', 'recovery', { token: friend.token })
      assert.deepEqual([requests.length, requests[0].id, requests[0].user.email], [1, run.id, alice.email])
      assert.equal(opened(friend.vault, requests[0].share.encData), `share${n}`)
      await h.ok('POST', `recovery/${run.id}`, {
        token: friend.token,
        body: { encData: sealed(requests[0].publicKey, Buffer.from(`share${n}`)) },
      })
      assert.deepEqual((await h.ok('GET', 'recovery', { token: friend.token })).requests, [])
    }
    await h.refused(404, 'POST', `recovery/${run.id}`, { token: alice.token, body: { encData: 'QUJD' } })
    assert.deepEqual(await collect(), { id: run.id, threshold: 2, given: 2, readyMs: run.readyMs })
    h.nowMs += 86_400_000
    const mine = withId(fresh, 0)
    assert.deepEqual(((await collect()).shares as string[]).map((one) => opened(mine, one)).sort(), [
      'share0',
      'share1',
    ])
  })
}
