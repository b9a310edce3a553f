/** What every store must give: the rules of key-repository.md, asked over the API. Run on each real database. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { verifyAudit } from '../../../src/ves/repository/store/audit.ts'
import { verifyRepository } from '../../../src/ves/repository/verify.ts'
import { ADMIN_TOKEN, type Any, type Harness, newKey, opened, sealed, type TestAccount, withId } from './harness.ts'
import { replay } from './replay.ts'

const ENTRIES =
  'fields=id,type,meta,file(externals,creator(id,email)),vaultEntries(encData,vaultKey(id,type,user(id),externals))'

export function contract(name: string, open: () => Promise<Harness>): void {
  suite(`repository on ${name}`, () => {
    let h: Harness
    let people = 0
    const address = (who: string): string => `${who}${++people}@lab.test`
    const person = (who: string): Promise<TestAccount> => h.account(address(who))
    const mail = (): string => `msg-${++people}@lab.test`
    const byName = (externalId: string, domain = 'vesmail') => ({ externals: [{ domain, externalId }], $op: 'fetch' })
    const itemByName = (externalId: string) => ({
      file: { externals: [{ domain: 'vesmail', externalId }] },
      $op: 'fetch',
    })

    before(async () => {
      h = await open()
    })
    after(() => h.close())

    test('what real C clients sent', async () => {
      assert.equal(await replay(h), 94)
    })

    test('an account logs in with its VESkey, and without a session a key shows only what logging in needs', async () => {
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
      const alice = await person('alice')
      const token = await h.login(alice.vault)
      const { sessions } = await h.ok('GET', 'me?fields=sessions(id,current)', { token })
      await h.ok('POST', `sessions/${sessions.find((one: Any) => one.current).id}`, { token, body: { $op: 'delete' } })
      for (const last of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_')
        await h.refused(401, 'GET', 'me', { token: token.slice(0, -1) + last })
    })

    test('for a curve whose seals are dear, an unused token is given out again for a minute; a used one never', async () => {
      const alice = await person('alice')
      assert.equal(await h.login(alice.vault), alice.token)
      await h.ok('GET', 'me', { token: alice.token })
      const second = await h.login(alice.vault)
      assert.notEqual(second, alice.token)
      h.nowMs += 61_000
      assert.notEqual(await h.login(alice.vault), second)
    })

    test('items: created, shared, read, unshared, replaced, deleted, by whom the rules allow', async () => {
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
      assert.deepEqual(
        (await h.ok('POST', `vaultItems?${ENTRIES}`, { token: bob.token, body: { id } })).vaultEntries,
        [],
      )

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

    test('a temp key is found by the sender who made it and by nobody else', async () => {
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

    test('profiles and the like named after an address are for its owner to make', async () => {
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

    test('a verify token proves nothing once its user has no access, is locked or gone', async () => {
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

    test('administration is granted by an entry for the .admin vault', async () => {
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

    test('a section vault’s session only reads', async () => {
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

    test('propagate and rekey: a mail to someone without an account is read after they made one', async () => {
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

    test('an item’s other entries and a key’s password item stay with who may write them', async () => {
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

    test('the propagation key is its owner’s alone', async () => {
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

    test('verify tokens read their one item and nothing else', async () => {
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

    test('rotation: the new key takes over when it holds everything, and may be given up before', async () => {
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

    test('two at once create the same item: one wins, the other gets 403 and finds the winner’s', async () => {
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

    test('users: looked up by number or address, changed by themselves', async () => {
      const [alice, bob] = [await person('alice'), await person('bob')]
      await h.ok('POST', 'users', { token: bob.token, body: { id: bob.userId, firstName: 'Bob', lastName: 'Ω' } })
      const seen = await h.ok('GET', `users/${bob.userId}`, { token: alice.token })
      assert.deepEqual(seen, { id: bob.userId, email: bob.email, firstName: 'Bob', lastName: 'Ω' })
      assert.equal(
        (await h.ok('POST', 'users', { token: alice.token, body: { email: bob.email.toUpperCase(), $op: 'fetch' } }))
          .id,
        bob.userId,
      )
      const stranger = await h.ok(
        'POST',
        'users?fields=id,email,firstName,currentVaultKey(id,privateKey,encSessionToken)',
        { body: { email: bob.email, $op: 'fetch' } },
      )
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
      const [alice, bob] = [await person('alice'), await h.account(address('bob'), 'ML-KEM-768')]
      const admin = { token: ADMIN_TOKEN }
      const at = `admin/accounts/${encodeURIComponent(alice.email)}`
      const item = await h.item(alice, mail(), 'x', [alice.vault, bob.vault])
      for (const url of [
        'admin/accounts',
        at,
        `${at}/sessions`,
        'admin/audit',
        'admin/audit/verify',
        'admin/metrics',
      ]) {
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

    test('the same name twice is one name', async () => {
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

    test('many at once, whatever comes in whatever order: the repository is whole afterwards', async () => {
      const people = await Promise.all(['a', 'b', 'c'].map(person))
      const friend = (n: number) => people[n % people.length]!
      const names = Array.from({ length: 6 }, mail)
      const newbies = [address('n1'), address('n2')]
      const file = (n: number) => ({ externals: [{ domain: 'vesmail', externalId: names[n % names.length]! }] })
      const entry = (to: TestAccount) => ({ vaultKey: { id: to.vault.id }, encData: 'QUJD' })
      const items = new Set<number>()
      const keys = new Set<number>()
      const seen: Record<number, number> = {}
      const post = async (path: string, token: string, body: Any): Promise<Any> => {
        const answer = await h.ask('POST', path, { token, body })
        seen[answer.status] = (seen[answer.status] ?? 0) + 1
        // 503: temp keys of one name are bounded.
        assert.ok([200, 400, 401, 403, 404, 503].includes(answer.status), `${answer.status} ${JSON.stringify(body)}`)
        return answer.body.result ?? {}
      }
      const some = (from: Set<number>, n: number): number => [...from][n % Math.max(from.size, 1)] ?? 1
      const pems = newKey().pems
      const moves: ((n: number, me: TestAccount) => Promise<unknown>)[] = [
        async (n, me) => {
          const { id } = await post('vaultItems', me.token, {
            ...{ type: 'file', meta: { a: 'NULL' }, file: file(n), $op: n % 2 === 0 ? 'create' : undefined },
            vaultEntries: [entry(me), entry(friend(n + 1))],
          })
          if (id !== undefined) items.add(id)
        },
        (n, me) => post('vaultItems', me.token, { id: some(items, n), vaultEntries: [entry(friend(n))] }),
        (n, me) =>
          post('vaultItems', me.token, {
            ...{ id: some(items, n) },
            vaultEntries: [{ vaultKey: { id: friend(n).vault.id }, $op: 'delete' }],
          }),
        (n, me) => post('vaultItems', me.token, { file: file(n), $op: 'delete' }),
        async (n, me) => {
          const { body } = h.temp(newbies[n % 2]!, [me.vault])
          const { id } = await post('vaultKeys', me.token, body)
          if (id !== undefined) keys.add(id)
        },
        async (_, me) => {
          const password = { type: 'password', vaultEntries: [entry(me)] }
          const { id } = await post('vaultKeys', me.token, { type: 'pending', ...pems, vaultItems: [password] })
          if (id !== undefined) keys.add(id)
        },
        (n, me) =>
          post('vaultKeys', me.token, {
            ...{ id: some(keys, n) },
            vaultEntries: [{ vaultItem: { id: some(items, n) }, encData: 'QUJD' }],
          }),
        (n, me) =>
          post('vaultKeys', me.token, {
            ...{ id: some(keys, n) },
            vaultItems: [{ type: 'password', vaultEntries: [entry(friend(n))] }],
          }),
        (n, me) => post('vaultKeys', me.token, { id: some(keys, n), $op: 'delete' }),
        (n, me) =>
          post('recovery', me.token, {
            threshold: 2,
            shares: people.filter((one) => one !== me).map((one) => entry(one)),
            ...(n % 3 === 0 ? { $op: 'delete' } : {}),
          }),
      ]
      let random = 7
      const next = (): number => {
        random = (random * 1_103_515_245 + 12_345) % 2 ** 31
        return random >> 8
      }
      for (let round = 0; round < 12; round++) {
        await Promise.all(Array.from({ length: 25 }, () => moves[next() % moves.length]!(next(), friend(next()))))
      }
      assert.ok(seen[200]! > 60, JSON.stringify(seen))
      await h.ok('POST', `admin/accounts/${people[0]!.email}`, { token: ADMIN_TOKEN, body: { $op: 'delete' } })
      assert.deepEqual((await h.store.snapshot((db) => verifyRepository(db, null))).problems, [])
    })

    test('recovery by friends: two of three, after the delay, told to the owner, who may cancel', async () => {
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

    test('an account without an app vault reads at once what its primary key was told, and moves it there', async () => {
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

    test('a session is renewed without Authorization while the old token is still good', async () => {
      const alice = await person('alice')
      await h.ok('GET', 'me', { token: alice.token })
      h.nowMs += 8 * 3600_000
      const renewed = await h.login(alice.vault)
      await h.ok('GET', 'me', { token: alice.token })
      h.nowMs += 2 * 3600_000
      await h.refused(401, 'GET', 'me', { token: alice.token })
      await h.ok('GET', 'me', { token: renewed })
    })

    test('what JavaScript clients send: one external for a list, $ref, ignore, ids as text, CRLF in PEMs', async () => {
      const alice = await person('alice')
      const { pems } = newKey()
      const crlf = (pem: string): string => pem.trimEnd().replaceAll('\n', '\r\n')
      const key = { ...pems, publicKey: crlf(pems.publicKey), privateKey: crlf(pems.privateKey) }
      // A vault whose password item is sealed to itself, too.
      const { id } = await h.ok('POST', 'vaultKeys', {
        token: alice.token,
        body: {
          $op: 'create',
          type: 'secondary',
          ...key,
          externals: { domain: 'demo', externalId: `js-${alice.userId}` },
          vaultItems: [
            {
              type: 'password',
              vaultEntries: [
                { vaultKey: { $ref: '#/' }, encData: 'QUJD' },
                { vaultKey: { id: String(alice.primary.id) }, encData: 'QUJE' },
              ],
            },
          ],
        },
      })
      const fetch = { externals: { domain: 'demo', externalId: `js-${alice.userId}` }, $op: 'fetch' }
      const got = await h.ok(
        'POST',
        'vaultKeys?fields=publicKey,privateKey,vaultItems(vaultEntries(encData,vaultKey(id))),unlockableVaultKeys,authorSession(id)',
        { token: alice.token, body: fetch },
      )
      assert.deepEqual([got.publicKey, got.privateKey], [key.publicKey, key.privateKey], 'PEMs are kept as they came')
      assert.deepEqual(
        got.vaultItems[0].vaultEntries.map((e: Any) => [e.vaultKey.id, e.encData]),
        [
          [id, 'QUJD'],
          [alice.primary.id, 'QUJE'],
        ],
      )
      const name = { domain: 'demo', externalId: `item-${alice.userId}` }
      const item = await h.ok('POST', 'vaultItems?fields=id,file,type', {
        token: alice.token,
        body: {
          type: 'string',
          file: { externals: name, creator: { id: alice.userId } },
          vaultEntries: [{ vaultKey: { id }, encData: 'QUJD' }],
        },
      })
      assert.deepEqual(item.file.id, item.id)
      await h.ok('POST', 'vaultKeys', {
        token: alice.token,
        body: { id: alice.vault.id, vaultEntries: [{ vaultItem: { id: item.id }, $op: 'ignore' }] },
      })
      await h.ok('POST', `vaultItems/${item.id}`, { token: alice.token, body: { $op: 'delete' } })
      await h.ok('POST', `vaultKeys/${id}`, { token: alice.token, body: { $op: 'delete' } })
      assert.equal(await h.refused(404, 'POST', 'vaultKeys', { token: alice.token, body: fetch }), 'NotFound')
      await h.refused(403, 'POST', `vaultKeys/${alice.primary.id}`, { token: alice.token, body: { $op: 'delete' } })
    })

    test('nothing is shared with a key that is being replaced and lost with it', async () => {
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

    test('an account made in the very moment of a first mail to it: the mail is propagated all the same', async () => {
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
  })
}
