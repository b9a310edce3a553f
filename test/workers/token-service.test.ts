import assert from 'node:assert/strict'
import test from 'node:test'
import { silentLog } from '../../src/base/log.ts'
import { Secret } from '../../src/base/secret.ts'
import type { OAuthTokens, TokenRequest } from '../../src/net/oauth-tokens.ts'
import type { PutItem, VaultRef, VesSession } from '../../src/ves/client/ves-client.ts'
import type { LoggedIn } from '../../src/workers/login.ts'
import { accessToken, type TokenServiceParts } from '../../src/workers/token-service.ts'

const OLD = 'https://login.example/token#refresh_token=r1'
const NEW = 'https://login.example/token#refresh_token=r2'

/** Another of the user's vaults, which holds the profile too. */
const SHARE = { keyId: 7 } as VaultRef

interface Saved {
  readonly uri: string
  readonly item: PutItem
}

function loggedIn(profile: object, saved: Saved[], fails = false): LoggedIn {
  const session = {
    item: async () => ({
      id: 1,
      type: 'file',
      meta: { a: 'NULL' },
      algo: 'NULL',
      value: new Secret(Buffer.from(JSON.stringify(profile))),
    }),
    holders: async () => [SHARE],
    putItem: async (uri: string, item: PutItem) => {
      if (fails) throw new Error('repository away')
      saved.push({ uri, item })
      return { id: 1 }
    },
  } as unknown as VesSession
  return { session, account: { name: 'jane@x.org!work' } } as unknown as LoggedIn
}

function parts(rotates: boolean): TokenServiceParts {
  const tokens = {
    token: async ({ rotated }: TokenRequest) => {
      if (rotates) await rotated(new Secret(NEW), new Secret(OLD))
      return new Secret('tok')
    },
  } as unknown as OAuthTokens
  return { service: 'smtp', tokens, upstream: null as never, domain: 'vesmail', log: silentLog }
}

const ask = { endpoint: new Secret(OLD) }

test('a rotated refresh token goes into the profile, wherever it stood, and nothing else changes', async () => {
  const saved: Saved[] = []
  const profile = { imap: { host: 'i', password: OLD }, smtp: { host: 's', password: OLD, mode: 'HIGH' }, other: 1 }
  const { token } = await accessToken(ask, loggedIn(profile, saved), parts(true))
  assert.equal(token.expose(), 'tok')
  assert.equal(saved.length, 1)
  assert.equal(saved[0]!.uri, 'ves://vesmail/jane@x.org%21work')
  assert.deepEqual([saved[0]!.item.type, saved[0]!.item.meta], ['file', { a: 'NULL' }])
  assert.deepEqual(saved[0]!.item.shareWith, [SHARE], 'who had it still has it')
  assert.deepEqual(JSON.parse(saved[0]!.item.value.expose().toString()), {
    imap: { host: 'i', password: NEW },
    smtp: { host: 's', password: NEW, mode: 'HIGH' },
    other: 1,
  })
})

test('a password that the user changed meanwhile is theirs', async () => {
  const saved: Saved[] = []
  await accessToken(ask, loggedIn({ smtp: { password: 'changed' }, imap: null }, saved), parts(true))
  assert.equal(saved.length, 0)
})

test('not rotated: nothing is written; not savable: the login works all the same', async () => {
  const saved: Saved[] = []
  await accessToken(ask, loggedIn({}, saved), parts(false))
  const { token } = await accessToken(ask, loggedIn({}, saved, true), parts(true))
  assert.equal(token.expose(), 'tok')
  assert.equal(saved.length, 0)
})

test('what the profile has by now, for who waited or was refused; null where nobody knows', async () => {
  const asked: (string | null)[] = []
  const tokens = {
    token: async ({ current }: TokenRequest) => {
      asked.push((await current())?.expose() ?? null)
      return new Secret('tok')
    },
  } as unknown as OAuthTokens
  for (const profile of [{ smtp: { password: NEW }, imap: { password: OLD } }, { smtp: null }, [], 5]) {
    await accessToken(ask, loggedIn(profile as object, []), { ...parts(false), tokens })
  }
  const broken = { session: { item: async () => assert.fail('repository away') }, account: { name: 'jane@x.org' } }
  await accessToken(ask, broken as unknown as LoggedIn, { ...parts(false), tokens })
  assert.deepEqual(asked, [NEW, null, null, null, null])
})
