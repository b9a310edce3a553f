import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { Secret } from '../../../src/base/secret.ts'
import { inlineKeyOperations, type KeyOperations } from '../../../src/engine/seal/key-job.ts'
import { makeVeskey } from '../../../src/engine/seal/vault-key-make.ts'
import { type RotationOptions, rotateKey } from '../../../src/ves/client/rotation.ts'
import type { VaultSession } from '../../../src/ves/client/vault-session.ts'
import { type OwnRepository, ownRepository, vaultOf } from './own-repository.ts'

let repository: OwnRepository
before(async () => {
  repository = await ownRepository()
})
after(() => repository.close())

const options = (veskey: Secret<Buffer>, more: Partial<RotationOptions> = {}): RotationOptions => ({
  kind: 'ML-KEM-768',
  veskey,
  rounds: null,
  keepUnreadable: false,
  ...more,
})

/** An account on an old curve with mail of its own and of others. */
async function accountWithMail(email: string, messages: number) {
  const password = await repository.account(email, 'P-256')
  const session = await repository.client().unlock(vaultOf(email), password)
  const sender = await repository.session(`sender-${email}`, 'P-256')
  const ref = (await sender.recipientVault(email))!
  for (let i = 0; i < messages; i++) {
    if (i % 2 === 0) await session.createMessageKey(`${i}-${email}`, [])
    else await sender.createMessageKey(`${i}-${email}`, [ref])
  }
  const readAll = async (as: VaultSession) => {
    const keys: string[] = []
    for (let i = 0; i < messages; i++) keys.push((await as.messageKey(`${i}-${email}`)).keyString.toString('hex'))
    return keys
  }
  return { email, password, session, sender, readAll, before: await readAll(session) }
}

describe('rotation', () => {
  test('of the app vault: old mail stays readable, new mail comes to the new key, the old password is over', async () => {
    const { email, password, session, sender, readAll, before: keys } = await accountWithMail('rot@x.org', 7)
    const fresh = new Secret(makeVeskey())
    const stale = (await sender.recipientVault(email))!
    let ready = 0
    const done = await rotateKey(session, options(fresh, { beforeCommit: () => ready++ }))
    assert.equal(ready, 1)
    assert.equal(done.entries, 7)
    assert.equal(done.resumed, false)
    await assert.rejects(repository.client().unlock(vaultOf(email), password), /BAD_CREDENTIALS/)
    const after = await repository.client().unlock(vaultOf(email), fresh)
    assert.equal(after.keyId, done.newKeyId)
    assert.equal(after.privateKey.kind, 'ML-KEM-768')
    assert.deepEqual(await readAll(after), keys)
    // The sender still has the old key in its cache.
    const made = await sender.createMessageKey('later@x.org', [(await sender.recipientVault(email))!])
    assert.deepEqual(await after.messageKey('later@x.org'), made.key)
    // Also where the item is there already, made by a process that knew of nobody else.
    const first = await sender.createMessageKey('joined@x.org', [])
    const joined = await sender.createMessageKey('joined@x.org', [stale])
    assert.deepEqual([joined.itemId, joined.keyIds.includes(after.keyId)], [first.itemId, true])
    assert.deepEqual(await after.messageKey('joined@x.org'), first.key)
  })

  test('killed after any request: run again, it ends; until then the old password reads everything', async () => {
    let requests = Number.POSITIVE_INFINITY
    let killed = 0
    const account = await accountWithMail('killed@x.org', 9)
    let current = account.password
    for (let allowed = 1; ; allowed++) {
      const fresh = new Secret(makeVeskey())
      const client = repository.client()
      const session = await client.unlock(vaultOf(account.email), current)
      const request = client.api.request.bind(client.api)
      requests = allowed
      client.api.request = async (...args) => {
        if (requests-- <= 0) throw new GatewayError('INTERNAL', { reason: 'killed' })
        return request(...args)
      }
      try {
        await rotateKey(session, options(fresh))
        break
      } catch (error) {
        assert.equal((error as GatewayError).detail.reason, 'killed')
        killed++
      }
      // Either one is in force, whole.
      const one = await repository.client().unlock(vaultOf(account.email), current)
      assert.deepEqual(await account.readAll(one), account.before)
      // On with the same VESkey, as after a kill, every second time; else what was left over has to be cleared away.
      if (allowed % 2 === 0) {
        const again = await rotateKey(await repository.client().unlock(vaultOf(account.email), current), options(fresh))
        assert.equal(again.oldKeyId, one.keyId)
        current = fresh
        const after = await repository.client().unlock(vaultOf(account.email), current)
        assert.deepEqual(await account.readAll(after), account.before)
      }
      assert.ok(allowed < 50)
    }
    assert.ok(killed >= 4, `killed ${killed} times`)
  })

  test('goes on where the other one stopped', async () => {
    const { email, session, readAll, before: keys } = await accountWithMail('resume@x.org', 5)
    const fresh = new Secret(makeVeskey())
    const stop = options(fresh, {
      beforeCommit: () => {
        throw new Error('stopped')
      },
    })
    await assert.rejects(rotateKey(session, stop), /stopped/)
    await session.createMessageKey('meanwhile@x.org', [])
    const done = await rotateKey(session, options(fresh))
    assert.equal(done.resumed, true)
    assert.equal(done.entries, 1)
    const after = await repository.client().unlock(vaultOf(email), fresh)
    assert.deepEqual(await readAll(after), keys)
    await after.messageKey('meanwhile@x.org')
  })

  test('mail that comes while it runs is there afterwards', async () => {
    const { email, session, sender, readAll, before: keys } = await accountWithMail('busy@x.org', 5)
    const ref = (await sender.recipientVault(email))!
    const fresh = new Secret(makeVeskey())
    let arriving: Promise<unknown> | null = null
    const keysOf: KeyOperations = {
      run: async (kind, job) => {
        if (kind === 'reseal') {
          arriving ??= sender.createMessageKey('arriving@x.org', [ref])
          await arriving
        }
        return inlineKeyOperations.run(kind, job)
      },
    }
    Object.assign(session.client, { keys: keysOf })
    await rotateKey(session, options(fresh))
    const after = await repository.client().unlock(vaultOf(email), fresh)
    assert.deepEqual(await readAll(after), keys)
    await after.messageKey('arriving@x.org')
  })

  test('entries that do not open: named, and carried over only where that is wanted', async () => {
    const { email, session, sender, readAll, before: keys } = await accountWithMail('broken@x.org', 3)
    const { itemId } = await sender.createMessageKey('bad@x.org', [])
    const encData = Buffer.alloc(200, 7).toString('base64')
    const body = { id: itemId, type: 'file', vaultEntries: [{ vaultKey: { id: session.keyId }, encData }] }
    await sender.request({ path: 'vaultItems', body })
    const fresh = new Secret(makeVeskey())
    await assert.rejects(rotateKey(session, options(fresh)), (error: GatewayError) => {
      assert.equal(error.code, 'VES_INCORRECT')
      assert.equal(error.detail.items, String(itemId))
      return true
    })
    const done = await rotateKey(session, options(fresh, { keepUnreadable: true }))
    assert.equal(done.unreadable, 1)
    const after = await repository.client().unlock(vaultOf(email), fresh)
    assert.deepEqual(await readAll(after), keys)
  })
})
