/** What every store must give: the rules of key-repository.md, asked over the API. Run on each real database. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { verifyRepository } from '../../../src/ves/repository/verify.ts'
import { accountRules } from './contract/accounts.ts'
import { itemRules } from './contract/items.ts'
import { rotationRules } from './contract/rotation.ts'
import { sessionRules } from './contract/sessions.ts'
import { setStage } from './contract/stage.ts'
import { tempKeyRules } from './contract/temp-keys.ts'
import { ADMIN_TOKEN, type Any, type Harness, newKey, type TestAccount } from './harness.ts'
import { replay } from './replay.ts'

export function contract(name: string, open: () => Promise<Harness>): void {
  suite(`repository on ${name}`, () => {
    const stage = setStage(open)
    const { mail, address, person } = stage

    sessionRules(stage)
    itemRules(stage)
    tempKeyRules(stage)
    rotationRules(stage)
    accountRules(stage)

    test('what real C clients sent', async () => {
      const { h } = stage
      assert.equal(await replay(h), 94)
    })

    test('many at once, whatever comes in whatever order: the repository is whole afterwards', async () => {
      const { h } = stage
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

    test('what JavaScript clients send: one external for a list, $ref, ignore, ids as text, CRLF in PEMs', async () => {
      const { h } = stage
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
  })
}
