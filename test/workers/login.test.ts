/** Logging in (daemon.md §3): names, access list, profile, and overrides under all four policies, with a repository of a few lines. */
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import test, { after, before } from 'node:test'
import { createSecureContext } from 'node:tls'
import type { Config } from '../../src/base/config/options.ts'
import { OPTIONS } from '../../src/base/config/options.ts'
import { GatewayError } from '../../src/base/errors.ts'
import { Secret } from '../../src/base/secret.ts'
import { ProviderNetworks } from '../../src/net/provider-networks.ts'
import type { UpstreamOptions } from '../../src/net/upstream.ts'
import type { VesClient, VesSession } from '../../src/ves/client/ves-client.ts'
import type { Tenant } from '../../src/workers/listener.ts'
import { Login } from '../../src/workers/login.ts'
import { mailSettings } from '../../src/workers/mail-settings.ts'
import { override } from '../../src/workers/override.ts'

const DEFAULTS = Object.fromEntries(
  Object.entries(OPTIONS).map(([name, option]) => [name, (option as { default: unknown }).default]),
) as unknown as Config

const SERVER = { host: 'mail.example', login: 'a', password: 'b' }
const ITEMS: Record<string, unknown> = {
  'ves://vesmail/jane@x.org%21': { imap: SERVER, smtp: SERVER },
  'ves://vesmail/jane@x.org%21p1': { smtp: { ...SERVER, mode: 'HIGH' } },
  'ves://vesmail/jane@x.org%23p1': { smtp: { ...SERVER, mode: 'XCHG' } },
  'ves://vesmail/p1': { smtp: { ...SERVER, mode: 'PLAIN' } },
  'ves://vesmail/broken': '{',
}

let port = 0
let server: Server
let answer = { status: 200, body: '{}' }
let asked: (string | undefined)[] = []
const items = { ...ITEMS }

before(async () => {
  server = createServer((request, response) => {
    asked.push(String(request.headers['x-ves-authorization']))
    response.writeHead(answer.status, { location: '/elsewhere' }).end(answer.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
  items['ves://vesmail/o'] = { smtp: { ...SERVER, override: `http://127.0.0.1:${port}/o` } }
})
after(() => server.close())

const session = {
  user: { id: 1, email: 'jane@x.org' },
  item: async (uri: string) => {
    const found = items[uri]
    if (found === undefined) throw new GatewayError('VES_NOT_FOUND')
    if (found === 'denied') throw new GatewayError('VES_DENIED')
    const value = Buffer.from(typeof found === 'string' ? found : JSON.stringify(found))
    return { id: 7, type: 'file', meta: null, algo: 'NULL', value: new Secret(value) }
  },
  hasAccess: async (uri: string) => {
    if (uri === 'ves://vesmail/missing') throw new GatewayError('VES_NOT_FOUND')
    if (uri === 'ves://vesmail/trouble') throw new GatewayError('VES_CONNECTION')
    return uri === 'ves://vesmail/staff'
  },
  verifyToken: async () => new Secret('tok'),
} as unknown as VesSession

const ves = {
  unlock: async (uri: string, key: Secret<Buffer>) => {
    if (uri !== 'ves://vesmail/jane@x.org/' || key.expose().toString() !== 'key')
      throw new GatewayError('BAD_CREDENTIALS')
    return session
  },
} as unknown as VesClient

const loopback: UpstreamOptions = {
  tls: { context: createSecureContext() },
  timeoutMs: 5000,
  networks: new ProviderNetworks(['127.0.0.0/8']),
}

function logIn(account: string, options: Partial<Config> = {}, upstream: UpstreamOptions = loopback, password = 'key') {
  const config = { ...DEFAULTS, ...options }
  const tenant: Tenant = { host: null, config, settings: mailSettings(config, []) }
  const login = new Login({ ves, domain: 'vesmail', openBearer: null, override: (one) => override(one, upstream) })
  return login.run({ account, password: new Secret(Buffer.from(password)) }, 'smtp', tenant)
}

test('every form of an account name finds its own profile', async () => {
  for (const [name, mode] of [
    ['jane@x.org', null],
    ['Jane@X.org!', null],
    ['jane@x.org!p1', 'HIGH'],
    ['jane@x.org#p1', 'XCHG'],
    ['jane@x.org##p1', 'PLAIN'],
    ['ves://vesmail/jane@x.org/##p1', 'PLAIN'],
  ] as const) {
    const { account } = await logIn(name)
    assert.equal(account.profile.smtp?.mode ?? null, mode, name)
    assert.deepEqual([account.name, account.user], [name, 'jane@x.org'])
  }
})

test('what is no login', async () => {
  items['ves://vesmail/shut'] = 'denied'
  for (const [name, code] of [
    ['john@x.org', 'BAD_CREDENTIALS'],
    ['', 'BAD_CREDENTIALS'],
    ['jane@x.org!none', 'PROFILE_INVALID'],
    ['jane@x.org##shut', 'PROFILE_INVALID'],
    ['jane@x.org##broken', 'PROFILE_INVALID'],
    // A vault's URI alone names no profile.
    ['ves://vesmail/jane@x.org/', 'PROFILE_INVALID'],
  ] as const) {
    await assert.rejects(logIn(name), { code }, name)
  }
  await assert.rejects(logIn('jane@x.org', {}, loopback, 'wrong'), { code: 'BAD_CREDENTIALS' })
})

test('the access list: only those it is shared with; trouble is told apart from a no', async () => {
  await logIn('jane@x.org', { acl: 'staff' })
  await logIn('jane@x.org', { acl: 'ves://vesmail/staff' })
  await assert.rejects(logIn('jane@x.org', { acl: 'others' }), { code: 'ACCESS_DENIED' })
  await assert.rejects(logIn('jane@x.org', { acl: 'missing' }), { code: 'ACCESS_DENIED' })
  await assert.rejects(logIn('jane@x.org', { acl: 'trouble' }), { code: 'VES_CONNECTION' })
})

test('overrides under each policy', async () => {
  answer = {
    status: 200,
    body: JSON.stringify({ audit: 'boss@x.org', bcc: ['archive@x.org'], 'now-url': 'https://v/' }),
  }
  const audit = async (options: Partial<Config>): Promise<readonly string[]> =>
    (await logIn('jane@x.org##o', options)).account.settings.audit
  asked = []
  assert.deepEqual(await audit({ overrides: 'allow' }), ['boss@x.org'])
  assert.deepEqual(asked, ['vaultItem.7.tok'], 'who asks is proved')
  assert.deepEqual(await audit({ overrides: 'ignore' }), [])
  assert.deepEqual(await audit({ overrides: 'auto' }), ['boss@x.org'])
  assert.deepEqual(await audit({ overrides: 'auto', acl: 'staff' }), [])
  assert.deepEqual(await audit({ overrides: 'allow', acl: 'staff' }), ['boss@x.org'])
  await assert.rejects(audit({ overrides: 'deny' }), { code: 'OVERRIDE' })
  assert.equal(asked.length, 3)
  // A profile without one is nobody's business to deny.
  await logIn('jane@x.org', { overrides: 'deny' })
  const { settings } = (await logIn('jane@x.org##o', { overrides: 'allow' })).account
  assert.deepEqual([settings.bcc, settings.viewerUrl], [['archive@x.org'], 'https://v/'])
})

test('an override that fails is a failure, never its absence', async () => {
  const failing = (): Promise<unknown> => logIn('jane@x.org##o', { overrides: 'allow' })
  for (const [status, body, text] of [
    [500, '{}', '[500]'],
    // Elsewhere the token is nobody's business.
    [302, '{}', '[302]'],
    [200, 'no json', 'no JSON'],
    [200, '{"audit":5}', 'unusable answer'],
    [200, JSON.stringify('x'.repeat(300_000)), 'answer too large'],
  ] as const) {
    answer = { status, body }
    await assert.rejects(failing(), (error: GatewayError) => {
      assert.equal(error.code, 'OVERRIDE')
      assert.equal(error.wireText, `XVES-22 Override: ${text}`)
      return true
    })
  }
})

test('an override is reached like a provider: not on networks that are not allowed, not by other schemes', async () => {
  answer = { status: 200, body: '{}' }
  asked = []
  const guarded = { ...loopback, networks: new ProviderNetworks([]) }
  await assert.rejects(logIn('jane@x.org##o', { overrides: 'allow' }, guarded), { code: 'OVERRIDE' })
  for (const url of ['file:///etc/passwd', 'data:application/json,{}', `http://u:p@127.0.0.1:${port}/`, 'x']) {
    items['ves://vesmail/bad'] = { smtp: { ...SERVER, override: url } }
    await assert.rejects(logIn('jane@x.org##bad', { overrides: 'allow' }), { code: 'OVERRIDE' }, url)
  }
  assert.equal(asked.length, 0)
})
