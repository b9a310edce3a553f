/** The client against our own repository: the flows of key-repository.md §4 with real keys on both sides. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import type { Log } from '../../../src/base/log.ts'
import { Secret } from '../../../src/base/secret.ts'
import { inlineKeyOperations, type KeyOperations } from '../../../src/engine/seal/key-job.ts'
import type { KeyKind } from '../../../src/engine/seal/vault-key.ts'
import { parseXchg } from '../../../src/ves/client/xchg.ts'
import { type OwnRepository, ownRepository, vaultOf } from './own-repository.ts'

let repository: OwnRepository
before(async () => {
  repository = await ownRepository()
})
after(() => repository.close())

const fails = (code: string) => (error: unknown) => {
  assert.ok(error instanceof GatewayError, String(error))
  assert.equal(error.code, code)
  return true
}

describe('unlock', () => {
  test('tells who it is; a wrong VESkey and no such vault look the same', async () => {
    const password = await repository.account('ann@x.org')
    const client = repository.client()
    const session = await client.unlock(vaultOf('ann@x.org'), password)
    assert.equal(session.user.email, 'ann@x.org')
    assert.equal(session.vaultUri, 'ves://vesmail/ann@x.org/')
    const wrong = new Secret(Buffer.from('wrong'))
    const texts = new Set<string>()
    for (const uri of [vaultOf('ann@x.org'), vaultOf('nobody@x.org'), 'ves://vesmail/%zz/', 'ves://vesmail/item', '']) {
      await assert.rejects(client.unlock(uri, wrong), (error: GatewayError) => {
        texts.add(`${error.code} ${error.wireText}`)
        return true
      })
    }
    assert.deepEqual([...texts], ['BAD_CREDENTIALS XVES-6 Invalid VESmail credentials'])
  })

  test('no such vault costs the same key derivation as a wrong VESkey', async () => {
    const jobs: string[] = []
    const keys: KeyOperations = {
      run: (kind, job) => {
        jobs.push(kind)
        return inlineKeyOperations.run(kind, job)
      },
    }
    await repository.account('cost@x.org')
    const client = repository.client({ keys })
    const wrong = new Secret(Buffer.from('wrong'))
    await assert.rejects(client.unlock(vaultOf('cost@x.org'), wrong))
    await assert.rejects(client.unlock(vaultOf('nobody@x.org'), wrong))
    assert.deepEqual(jobs, ['unlock', 'unlock'])
  })

  test('failures are told no sooner than they should', async () => {
    const started = process.hrtime.bigint()
    const client = repository.client({ failedUnlockMs: 200 })
    await assert.rejects(client.unlock(vaultOf('nobody@x.org'), new Secret(Buffer.from('x'))))
    assert.ok(Number(process.hrtime.bigint() - started) / 1e6 >= 195)
  })

  test('a locked account is denied, whatever it knows', async () => {
    const password = await repository.account('locked@x.org')
    const client = repository.client()
    const session = await client.unlock(vaultOf('locked@x.org'), password)
    const path = `admin/accounts/${encodeURIComponent('locked@x.org')}`
    await client.api.request({ path, body: { locked: true }, bearer: repository.adminToken })
    await assert.rejects(client.unlock(vaultOf('locked@x.org'), password), fails('ACCESS_DENIED'))
    await assert.rejects(client.unlock(vaultOf('locked@x.org'), new Secret(Buffer.from('x'))), fails('BAD_CREDENTIALS'))
    // The session that was there before is over, too: its token is refused, and there is no new one.
    await assert.rejects(session.item('ves://vesmail/x'), fails('ACCESS_DENIED'))
  })
})

describe('sessions', () => {
  test('are renewed after eight hours, by one request', async () => {
    let nowMs = Date.now()
    const session = await repository.session('old@x.org', 'P-256', { nowMs: () => nowMs })
    const value = new Secret(Buffer.from('{}'))
    await session.putItem('ves://vesmail/old@x.org%21', { type: 'file', meta: { a: 'NULL' }, value })
    nowMs += 8 * 3600_000
    await Promise.all([1, 2, 3].map(() => session.item('ves://vesmail/old@x.org%21')))
    const admin = `admin/accounts/${encodeURIComponent('old@x.org')}/sessions`
    const { result } = await session.client.api.request({ path: admin, bearer: repository.adminToken })
    assert.equal((result.sessions as unknown[]).length, 2)
  })

  test('survive that the repository ended them', async () => {
    const session = await repository.session('ended@x.org')
    const admin = `admin/accounts/${encodeURIComponent('ended@x.org')}/sessions`
    await session.client.api.request({ path: admin, body: { $op: 'delete' }, bearer: repository.adminToken })
    assert.equal(await session.itemExists('ves://vesmail/nothing'), false)
  })
})

describe('items', () => {
  test('are written, replaced, shared and read', async () => {
    const a = await repository.session('a@items.org')
    const b = await repository.session('b@items.org', 'RSA', { itemCacheMs: 0 })
    const uri = 'ves://vesmail/a@items.org%21'
    await assert.rejects(a.item(uri), fails('VES_NOT_FOUND'))
    assert.equal(await a.itemExists(uri), false)
    const put = (text: string, shareWith: Parameters<typeof a.putItem>[1]['shareWith'] = []) =>
      a.putItem(uri, { type: 'file', meta: { a: 'NULL' }, value: new Secret(Buffer.from(text)), shareWith })
    await put('{"one":1}')
    await assert.rejects(b.item(uri), fails('VES_DENIED'))
    assert.equal(await b.itemExists(uri), true)
    assert.equal(await b.hasAccess(uri), false)
    assert.equal((await a.item(uri)).value.expose().toString(), '{"one":1}')
    await put('{"two":2}', [await a.vault('b@items.org')])
    assert.equal((await b.item(uri)).value.expose().toString(), '{"two":2}')
    assert.equal((await a.item(uri)).algo, 'NULL')
    assert.equal(await b.hasAccess(uri), true)
    await put('{"three":3}', await a.holders(uri))
    assert.equal((await b.item(uri)).value.expose().toString(), '{"three":3}', 'whoever had it has the new version')
    assert.deepEqual(
      (await a.holders(uri)).map(({ keyId }) => keyId),
      [a.keyId, b.keyId],
    )
    await put('{"four":4}')
    await assert.rejects(b.item(uri), fails('VES_DENIED'))
    await assert.rejects(b.holders(uri), fails('VES_DENIED'))
    assert.equal((await a.item(uri)).value.expose().toString(), '{"four":4}')
    assert.equal((await a.item(uri, { fresh: true })).value.expose().toString(), '{"four":4}')
  })

  test('connections of a mail client at the same time read the profile once, each its own copy', async () => {
    let nowMs = 0
    const password = await repository.account('many@items.org')
    const client = repository.client({ nowMs: () => nowMs })
    const sessions = await Promise.all([1, 2, 3].map(() => client.unlock(vaultOf('many@items.org'), password)))
    const uri = 'ves://vesmail/many@items.org%21'
    await sessions[0]!.putItem(uri, { type: 'file', meta: { a: 'NULL' }, value: new Secret(Buffer.from('{}')) })
    const request = client.api.request.bind(client.api)
    let requests = 0
    client.api.request = (asked) => {
      requests++
      return request(asked)
    }
    const items = await Promise.all(sessions.map((session) => session.item(uri)))
    assert.equal(requests, 1)
    items[0]!.value.wipe()
    assert.equal(items[1]!.value.expose().toString(), '{}')
    nowMs += 500
    assert.equal((await sessions[2]!.item(uri)).value.expose().toString(), '{}')
    assert.equal(requests, 2)
  })

  test('a large value for an RSA vault', async () => {
    const session = await repository.session('rsa@items.org', 'RSA')
    const value = new Secret(Buffer.alloc(5000, 'x'))
    await session.putItem('ves://vesmail/large', { type: 'string', meta: null, value })
    assert.deepEqual((await session.item('ves://vesmail/large')).value.expose(), value.expose())
  })
})

describe('message keys', () => {
  for (const kind of ['RSA', 'P-256', 'P-384', 'P-521', 'ML-KEM-512', 'ML-KEM-1024'] as KeyKind[]) {
    test(`from an ML-KEM-768 vault to one of ${kind}`, async () => {
      const from = await repository.session(`from-${kind.toLowerCase()}@m.org`)
      const to = await repository.session(`to-${kind.toLowerCase()}@m.org`, kind)
      const ref = await from.recipientVault(`TO-${kind}@M.org`)
      assert.ok(ref !== null)
      const made = await from.createMessageKey(`${kind}@m.org`, [ref, ref, from.own])
      assert.deepEqual(made.keyIds, [from.keyId, to.keyId])
      assert.deepEqual(await to.messageKey(`${kind}@m.org`), made.key)
      assert.equal(made.xchg, null)
    })
  }

  test('of others stay closed', async () => {
    const from = await repository.session('closed-from@m.org')
    const other = await repository.session('closed-other@m.org')
    await from.createMessageKey('closed@m.org', [])
    await assert.rejects(other.messageKey('closed@m.org'), fails('ITEM_UNAVAILABLE'))
    await assert.rejects(other.messageKey('nothing@m.org'), fails('ITEM_UNAVAILABLE'))
  })

  test('two processes that seal the same message use one key, and all recipients get it', async () => {
    const password = await repository.account('race@m.org')
    const one = await repository.client().unlock(vaultOf('race@m.org'), password)
    const two = await repository.client().unlock(vaultOf('race@m.org'), password)
    const bob = await repository.session('race-bob@m.org')
    const eve = await repository.session('race-eve@m.org')
    const toBob = await one.recipientVault('race-bob@m.org')
    const toEve = await two.recipientVault('race-eve@m.org')
    const [first, second] = await Promise.all([
      one.createMessageKey('race@m.org', [toBob!]),
      two.createMessageKey('race@m.org', [toEve!]),
    ])
    assert.deepEqual(first.key, second.key)
    assert.deepEqual(await bob.messageKey('race@m.org'), first.key)
    assert.deepEqual(await eve.messageKey('race@m.org'), first.key)
  })

  test("someone else's item of the same name is not used: they would know the key", async () => {
    const eve = await repository.session('trap-eve@m.org')
    const ann = await repository.session('trap-ann@m.org')
    await eve.createMessageKey('trap@m.org', [(await eve.recipientVault('trap-ann@m.org'))!])
    await assert.rejects(ann.createMessageKey('trap@m.org', []), fails('VES_DENIED'))
  })

  test('a recipient whose key was kept and is gone: looked up again', async () => {
    const from = await repository.session('stale-from@m.org')
    const to = await repository.session('stale-to@m.org')
    const ref = (await from.recipientVault('stale-to@m.org'))!
    const stale = { ...ref, keyId: 999_999_999 }
    const made = await from.createMessageKey('stale@m.org', [stale])
    assert.deepEqual(await to.messageKey('stale@m.org'), made.key)
  })

  test('an auditor reads what nobody shared with them by hand; a missing one is an error', async () => {
    const from = await repository.session('audited@m.org')
    const auditor = await repository.session('auditor@m.org')
    const byName = await from.vault('Auditor@m.org')
    assert.deepEqual(await from.vault('ves://vesmail/auditor@m.org/'), byName)
    const made = await from.createMessageKey('audited@m.org', [byName])
    assert.deepEqual(await auditor.messageKey('audited@m.org'), made.key)
    await assert.rejects(from.vault('missing@m.org'), fails('VES_NOT_FOUND'))
  })

  test('a verify token proves access, and to its bearer only that', async () => {
    const from = await repository.session('verify@m.org')
    const { itemId } = await from.createMessageKey('verify@m.org', [])
    const token = await from.verifyToken(itemId)
    const body = { file: { externals: [{ domain: 'vesmail', externalId: 'verify@m.org' }] }, $op: 'fetch' }
    const path = 'vaultItems?fields=id,file(creator(id,email)),vaultEntries(id,encData)'
    const { result } = await from.client.api.request({ path, body, bearer: token })
    assert.equal((result as { file: { creator: { email: string } } }).file.creator.email, 'verify@m.org')
    assert.ok(!JSON.stringify(result).includes('encData'))
    await assert.rejects(from.client.api.request({ path: 'me?fields=id', bearer: token }), fails('VES_DENIED'))
  })
})

describe('someone without a vault', () => {
  const kinds: readonly ['compatible' | 'post-quantum', string][] = [
    ['compatible', 'ECDH'],
    ['post-quantum', 'OQS'],
  ]
  for (const [newKeys, algo] of kinds) {
    test(`XCHG, ${newKeys}: reads with what is in the message, and afterwards without`, async () => {
      const to = `xchg-${newKeys}@new.org`
      const from = await repository.session(`from-${newKeys}@new.org`, 'P-256', { newKeys })
      assert.equal(await from.recipient(to, 'vault'), null)
      assert.equal(await from.recipient(to, 'account'), null)
      const planned = (await from.recipient(to, 'anyone', 'New van Person'))!
      assert.ok('planned' in planned)
      const made = await from.createMessageKey(`1-${to}`, [planned], { xchg: true, viewerUrl: 'https://v.org/1' })
      const again = (await from.recipient(to, 'anyone'))!
      assert.ok(!('planned' in again) && again.temp && again.algo === algo)
      const second = await from.createMessageKey(`2-${to}`, [again], { xchg: true })
      const [entry] = parseXchg(made.xchg!)
      assert.deepEqual(parseXchg(second.xchg!)[0]?.veskey.expose(), entry?.veskey.expose())
      // Still nobody who could be written to in mode REJECT.
      assert.equal(await from.recipientVault(to), null)

      const reader = await repository.session(to, 'ML-KEM-768')
      assert.equal(entry?.userId, reader.user.id)
      await assert.rejects(reader.messageKey(`1-${to}`), fails('ITEM_UNAVAILABLE'))
      assert.deepEqual(await reader.messageKey(`1-${to}`, made.xchg), made.key)
      assert.deepEqual(await reader.messageKey(`2-${to}`), second.key)
    })
  }

  test('HIGH: reads after the sender came again', async () => {
    const events: string[] = []
    const log: Log = { write: (_level, event) => void events.push(event), child: () => log }
    const password = await repository.account('high-from@new.org')
    const from = await repository.client({ log }).unlock(vaultOf('high-from@new.org'), password)
    const planned = (await from.recipient('high@new.org', 'anyone'))!
    const made = await from.createMessageKey('high@new.org', [planned])
    assert.equal(made.xchg, null)

    const to = await repository.account('high@new.org')
    const early = await repository.client().unlock(vaultOf('high@new.org'), to)
    await assert.rejects(early.messageKey('high@new.org'), fails('ITEM_UNAVAILABLE'))

    const later = await repository.client({ log }).unlock(vaultOf('high-from@new.org'), password)
    // Any request that succeeds brings along what is pending.
    assert.equal(await later.itemExists('ves://vesmail/x'), false)
    assert.equal(await later.itemExists('ves://vesmail/high@new.org'), true)
    await later.settled()
    const reader = await repository.client({ log }).unlock(vaultOf('high@new.org'), to)
    assert.deepEqual(await reader.messageKey('high@new.org'), made.key)
    await reader.settled()
    assert.deepEqual(events, ['key-propagated', 'key-rekeyed'])
  })

  test('two senders make a temp key of their own; neither can open the other one', async () => {
    const one = await repository.session('one@two.org')
    const two = await repository.session('two@two.org')
    const first = await one.createMessageKey('1@two.org', [(await one.recipient('new@two.org', 'anyone'))!], {
      xchg: true,
    })
    const planned = (await two.recipient('new@two.org', 'anyone'))!
    assert.ok('planned' in planned)
    await two.createMessageKey('2@two.org', [planned], { xchg: true })
    await assert.rejects(two.messageKey('1@two.org', first.xchg), fails('ITEM_UNAVAILABLE'))
  })

  test('the race of two processes that make the same temp key', async () => {
    const password = await repository.account('temp-race@new.org')
    const sessions = await Promise.all(
      [1, 2].map(() => repository.client().unlock(vaultOf('temp-race@new.org'), password)),
    )
    const made = await Promise.all(
      sessions.map(async (session, i) =>
        session.createMessageKey(`${i}-temp-race`, [(await session.recipient('raced@new.org', 'anyone'))!], {
          xchg: true,
        }),
      ),
    )
    const reader = await repository.session('raced@new.org')
    for (const [i, { key, xchg }] of made.entries()) {
      assert.deepEqual(await reader.messageKey(`${i}-temp-race`, xchg), key)
    }
  })

  test('a propagation key that may not be seen is left out, and the mail goes on', async () => {
    const from = await repository.session('denied-from@new.org')
    const request = from.client.api.request.bind(from.client.api)
    let denied = 0
    from.client.api.request = async (asked) => {
      if (!JSON.stringify(asked.body ?? {}).includes('.propagate')) return request(asked)
      denied++
      throw new GatewayError('VES_DENIED', { status: 403 })
    }
    await from.createMessageKey('denied@new.org', [(await from.recipient('denied@new.org', 'anyone'))!])
    assert.equal(denied, 1)
  })

  test('nonsense in X-VESmail-Xchg is no more than no key', async () => {
    const from = await repository.session('nonsense-from@new.org')
    const reader = await repository.session('nonsense@new.org')
    await from.createMessageKey('nonsense@new.org', [])
    const { id } = reader.user
    for (const xchg of ['', '[[', `[[${id},1,"x"]]`, `[[${id},${reader.keyId},"x"]]`, `[[${id},999999999,"x"]]`]) {
      await assert.rejects(reader.messageKey('nonsense@new.org', xchg), fails('ITEM_UNAVAILABLE'), xchg)
    }
  })
})
