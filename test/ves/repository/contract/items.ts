/** What every store must give: items, their names and entries, and who may write them. Entered from contract.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { verifyRepository } from '../../../../src/ves/repository/verify.ts'
import { type Any, newKey, opened, sealed, type TestAccount } from '../harness.ts'
import { ENTRIES, type Stage } from './stage.ts'

export function itemRules(stage: Stage): void {
  const { address, person, mail, byName, itemByName } = stage

  test('items: created, shared, read, unshared, replaced, deleted, by whom the rules allow', async () => {
    const { h } = stage
    const [alice, bob, carol] = [await person('alice'), await person('bob'), await person('carol')]
    const name = mail()
    const id = await h.item(alice, name, 'secret', [alice.vault, bob.vault])
    await h.refused(401, 'POST', 'vaultItems', { body: itemByName(name) })
    const seen = await h.ok('POST', `vaultItems?${ENTRIES}`, { token: bob.token, body: itemByName(name) })
    assert.equal(seen.id, id)
    assert.deepEqual(seen.meta, { a: 'AES256GCM1K' })
    assert.deepEqual(seen.file.creator, { id: alice.userId, email: alice.email })
    assert.equal(seen.file.id, id)
    // Bob sees who else has it, and only his own value.
    assert.deepEqual(
      seen.vaultEntries.map((e: Any) => [e.vaultKey.id, 'encData' in e]),
      [
        [alice.vault.id, false],
        [bob.vault.id, true],
      ],
    )
    assert.equal(opened(bob.vault, seen.vaultEntries[1].encData), 'secret')
    const outside = await h.ok('POST', `vaultItems?${ENTRIES}`, { token: carol.token, body: itemByName(name) })
    assert.deepEqual([outside.id, outside.type, outside.vaultEntries], [id, 'file', []])
    assert.equal(
      (await h.ok('GET', `vaultItems/${id}?${ENTRIES}`, { token: alice.token })).vaultEntries[1].encData.length > 0,
      true,
    )

    const share = {
      id,
      vaultEntries: [
        { vaultKey: { id: carol.vault.id }, encData: sealed(carol.vault.publicKey, Buffer.from('secret')) },
      ],
    }
    assert.equal(await h.refused(403, 'POST', 'vaultItems', { token: bob.token, body: share }), 'Unauthorized')
    await h.refused(403, 'POST', 'vaultItems', { token: bob.token, body: { id, $op: 'delete' } })
    await h.ok('POST', 'vaultItems', { token: alice.token, body: share })
    await h.ok('POST', 'vaultItems', {
      token: alice.token,
      body: {
        id,
        vaultEntries: [
          { vaultKey: { id: bob.vault.id }, $op: 'delete' },
          { vaultKey: { id: carol.vault.id }, $op: 'ignore' },
        ],
      },
    })
    const now = await h.ok('POST', `vaultItems?${ENTRIES}`, { token: carol.token, body: { id } })
    assert.deepEqual(
      now.vaultEntries.map((e: Any) => e.vaultKey.id),
      [alice.vault.id, carol.vault.id],
    )
    assert.deepEqual((await h.ok('POST', `vaultItems?${ENTRIES}`, { token: bob.token, body: { id } })).vaultEntries, [])

    // Create on one that exists; an upsert by someone else; a new version with exactly one entry.
    const version = {
      type: 'file',
      meta: { a: 'NULL' },
      file: { externals: { domain: 'vesmail', externalId: name } },
    }
    assert.equal(
      await h.refused(403, 'POST', 'vaultItems', { token: alice.token, body: { ...version, $op: 'create' } }),
      'Unauthorized',
    )
    await h.refused(403, 'POST', 'vaultItems', { token: bob.token, body: version })
    const again = {
      ...version,
      vaultEntries: [{ vaultKey: { externals: [{ domain: 'vesmail', externalId: bob.email }] }, encData: 'QUJD' }],
    }
    assert.deepEqual(await h.ok('POST', 'vaultItems', { token: alice.token, body: again }), { id })
    const replaced = await h.ok('GET', `vaultItems/${id}?${ENTRIES}`, { token: bob.token })
    assert.deepEqual([replaced.meta, replaced.vaultEntries.map((e: Any) => e.encData)], [{ a: 'NULL' }, ['QUJD']])
    assert.deepEqual(
      await h.ok('POST', 'vaultItems?fields=meta', {
        token: alice.token,
        body: { id, meta: { a: 'NULL', x: [1, null] } },
      }),
      { id, meta: { a: 'NULL', x: [1, null] } },
    )

    await h.ok('POST', `vaultItems/${id}`, { token: alice.token, body: { $op: 'delete' } })
    for (const token of [alice.token, bob.token]) {
      assert.equal(await h.refused(404, 'POST', 'vaultItems', { token, body: itemByName(name) }), 'NotFound')
      await h.refused(404, 'GET', `vaultItems/${id}`, { token })
      await h.refused(404, 'GET', `files/${id}`, { token })
    }
    assert.notEqual(await h.item(bob, name, 'mine now', [bob.vault]), id)
  })

  test('a vault that does not exist, or someone else’s temp key, is 404 to share with', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    const newbie = address('newbie')
    const { body } = h.temp(newbie, [alice.vault])
    const { id: temp } = await h.ok('POST', 'vaultKeys', { token: alice.token, body })
    const share = async (token: string, vaultKey: object): Promise<number> => {
      const item = { type: 'string', file: { externals: [{ domain: 'vesmail', externalId: mail() }] } }
      return (
        await h.ask('POST', 'vaultItems', { token, body: { ...item, vaultEntries: [{ vaultKey, encData: 'QUJD' }] } })
      ).status
    }
    assert.equal(await share(alice.token, { id: 9_007_199_254_740_991 }), 404)
    assert.equal(await share(alice.token, { externals: [{ domain: 'vesmail', externalId: address('nobody') }] }), 404)
    assert.equal(await share(bob.token, { id: temp }), 404)
    assert.equal(await share(bob.token, { externals: [{ domain: 'vesmail', externalId: newbie }] }), 404)
    assert.equal(await share(alice.token, { id: temp }), 200)
    assert.equal(await share(alice.token, { externals: [{ domain: 'vesmail', externalId: newbie }] }), 200)
  })

  test('an item’s other entries and a key’s password item stay with who may write them', async () => {
    const { h } = stage
    const [alice, mallory] = [await person('alice'), await person('mallory')]
    const got = await h.ok('GET', `vaultKeys/${alice.vault.id}?fields=vaultItems(id)`, { token: alice.token })
    const password = got.vaultItems[0].id
    const entry = { vaultKey: { id: mallory.vault.id }, encData: 'QUJD' }
    await h.refused(403, 'POST', 'vaultItems', {
      token: mallory.token,
      body: { id: password, type: 'password', vaultEntries: [entry] },
    })
    await h.refused(403, 'POST', 'vaultItems', {
      token: mallory.token,
      body: { type: 'password', vaultKey: { id: alice.vault.id }, vaultEntries: [entry] },
    })
    await h.refused(403, 'POST', 'vaultKeys', {
      token: mallory.token,
      body: { id: alice.vault.id, vaultItems: [{ type: 'password', vaultEntries: [entry] }] },
    })
    await h.refused(403, 'POST', 'vaultKeys', { token: mallory.token, body: { id: alice.vault.id, $op: 'delete' } })
    await h.refused(403, 'POST', 'vaultItems', { token: alice.token, body: { id: password, $op: 'delete' } })
    assert.ok(
      !(
        'vaultItems' in
        (await h.ok('GET', `vaultKeys/${alice.vault.id}?fields=vaultItems(id),vaultEntries(id)`, {
          token: mallory.token,
        }))
      ),
    )
    await h.ok('POST', 'vaultKeys', {
      token: alice.token,
      body: {
        id: alice.vault.id,
        vaultItems: [{ type: 'password', vaultEntries: [{ vaultKey: { id: alice.primary.id }, encData: 'QUJE' }] }],
      },
    })
  })

  test('profiles and the like named after an address are for its owner to make', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    const profile = (externalId: string) => ({
      type: 'file',
      meta: { a: 'NULL' },
      file: { externals: [{ domain: 'vesmail', externalId }] },
    })
    for (const name of [`${bob.email}!`, `${bob.email}!p1`, `${bob.email}#p1`])
      await h.refused(403, 'POST', 'vaultItems', { token: alice.token, body: profile(name) })
    await h.ok('POST', 'vaultItems', { token: bob.token, body: profile(`${bob.email}!`) })
    await h.ok('POST', 'vaultItems', { token: bob.token, body: profile(`${bob.email}#p1`) })
    await h.ok('POST', 'vaultItems', { token: bob.token, body: profile(mail()) })
    const list = await h.ok(
      'GET',
      `vaultItems?domain=vesmail&prefix=${encodeURIComponent(bob.email)}&fields=file(externals(externalId))`,
      { token: bob.token },
    )
    assert.deepEqual(
      list.vaultItems.map((i: Any) => i.file.externals[0].externalId),
      [`${bob.email}!`, `${bob.email}#p1`],
    )
    const page = await h.ok('GET', `vaultItems?prefix=${encodeURIComponent(bob.email)}&limit=1`, { token: bob.token })
    assert.equal(page.next, page.vaultItems[0].id)
    assert.deepEqual(
      (await h.ok('GET', `vaultItems?prefix=${encodeURIComponent(bob.email)}`, { token: alice.token })).vaultItems,
      [],
    )
  })

  test('what was laid out in the name of an address before it had an account is gone when it gets one', async () => {
    const { h } = stage
    const eve = await person('eve')
    const mallory = address('mallory')
    const trap = (externalId: string) => ({
      token: eve.token,
      body: {
        type: 'file',
        meta: { a: 'NULL' },
        file: { externals: [{ domain: 'vesmail', externalId }] },
        vaultEntries: [{ vaultKey: { id: eve.vault.id }, encData: 'QUJD' }],
      },
    })
    const names = [`${mallory}!`, `${mallory}!p1`, `${mallory}#p1`]
    const traps = []
    for (const name of names) traps.push((await h.ok('POST', 'vaultItems', trap(name))).id)
    const near = [mallory, `${mallory}"x`, `${mallory}$x`, `x${mallory}!`]
    for (const name of near) await h.ok('POST', 'vaultItems', trap(name))
    const owner = await h.account(mallory)
    for (const id of traps) await h.refused(404, 'GET', `vaultItems/${id}`, { token: eve.token })
    for (const externalId of names) {
      const file = { externals: [{ domain: 'vesmail', externalId }] }
      await h.refused(404, 'POST', 'vaultItems', { token: owner.token, body: { file, $op: 'fetch' } })
      await h.refused(403, 'POST', 'vaultItems', trap(externalId))
    }
    for (const externalId of near) {
      const file = { externals: [{ domain: 'vesmail', externalId }] }
      await h.ok('POST', 'vaultItems', { token: eve.token, body: { file, $op: 'fetch' } })
    }
    assert.deepEqual((await h.store.snapshot((db) => verifyRepository(db, null))).problems, [])
  })

  test('two at once create the same item: one wins, the other gets 403 and finds the winner’s', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    const name = mail()
    const create = (who: TestAccount) =>
      h.ask('POST', 'vaultItems', {
        token: who.token,
        body: {
          type: 'file',
          $op: 'create',
          meta: { a: 'NULL' },
          file: { externals: [{ domain: 'vesmail', externalId: name }] },
          vaultEntries: [{ vaultKey: { id: who.vault.id }, encData: 'QUJD' }],
        },
      })
    const answers = await Promise.all([alice, bob, alice, bob, alice].map(create))
    assert.deepEqual(answers.map((one) => one.status).sort(), [200, 403, 403, 403, 403])
    const winner = answers.find((one) => one.status === 200)!.body.result.id
    assert.equal((await h.ok('POST', 'vaultItems', { token: bob.token, body: itemByName(name) })).id, winner)
    // And many first mails to one stranger at once all go out.
    const newbie = address('newbie')
    const temps = await Promise.all(
      [1, 2, 3, 4].map(() =>
        h.ask('POST', 'vaultKeys', { token: alice.token, body: h.temp(newbie, [alice.vault]).body }),
      ),
    )
    assert.deepEqual(
      temps.map((one) => one.status),
      [200, 200, 200, 200],
    )
  })

  test('a refused request leaves nothing behind', async () => {
    const { h } = stage
    const alice = await person('alice')
    const [name, newbie] = [mail(), address('newbie')]
    const { body } = h.temp(newbie, [alice.vault])
    await h.refused(404, 'POST', 'vaultItems', {
      token: alice.token,
      body: {
        type: 'string',
        file: { externals: [{ domain: 'vesmail', externalId: name }] },
        vaultEntries: [
          { vaultKey: body, encData: 'QUJD' },
          { vaultKey: { id: 9e15 }, encData: 'QUJD' },
        ],
      },
    })
    await h.refused(404, 'POST', 'vaultItems', { token: alice.token, body: itemByName(name) })
    await h.refused(404, 'POST', 'users', { token: alice.token, body: { email: newbie, $op: 'fetch' } })
    await h.refused(404, 'POST', 'vaultKeys', { token: alice.token, body: byName(newbie) })
  })

  test('the same name twice is one name', async () => {
    const { h } = stage
    const alice = await person('alice')
    const external = { domain: 'x-twice', externalId: 'one' }
    const twice = [external, { ...external }]
    const made = await h.ok('POST', 'vaultItems?fields=file(externals(externalId))', {
      token: alice.token,
      body: { type: 'file', meta: { a: 'NULL' }, file: { externals: twice }, $op: 'create' },
    })
    assert.equal(made.file.externals.length, 1)
    const key = { type: 'secondary', ...newKey().pems, externals: twice }
    const vault = await h.ok('POST', 'vaultKeys?fields=externals', { token: alice.token, body: key })
    assert.equal(vault.externals.length, 1)
    await h.refused(403, 'POST', 'vaultKeys', { token: alice.token, body: key })
  })

  test('large values: pages are cut, an answer that would be too large is refused, and nothing is out of reach', async () => {
    const { h } = stage
    const [alice, bob] = [await person('alice'), await person('bob')]
    const encData = 'QUJD'.repeat(16_000)
    const ids: number[] = []
    for (let n = 0; n < 140; n++) {
      const { id } = await h.ok('POST', 'vaultItems', {
        token: alice.token,
        body: {
          type: 'file',
          meta: { a: 'NULL' },
          file: { externals: [{ domain: 'vesmail', externalId: mail() }] },
          $op: 'create',
          vaultEntries: [alice, bob].map(({ vault }) => ({ vaultKey: { id: vault.id }, encData })),
        },
      })
      ids.push(id)
    }
    const found: number[] = []
    for (let after = 0; ; ) {
      const url = `vaultKeys/${bob.vault.id}?fields=vaultEntries(id,encData,vaultItem(id))[${after}+1000]`
      const { vaultEntries } = await h.ok('GET', url, { token: bob.token })
      if (vaultEntries.length === 0) break
      assert.ok(vaultEntries.length <= 66)
      found.push(...vaultEntries.map((one: Any) => one.vaultItem.id))
      after = vaultEntries.at(-1).id
    }
    assert.deepEqual(found, ids)
    const list = (limit: number) =>
      h.ask('GET', `vaultItems?limit=${limit}&fields=vaultEntries(encData)`, { token: alice.token })
    assert.equal((await list(140)).status, 503)
    assert.equal((await list(100)).status, 200)
  })
}
