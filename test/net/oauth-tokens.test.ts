import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after, before, beforeEach } from 'node:test'
import { createSecureContext } from 'node:tls'
import { silentLog } from '../../src/base/log.ts'
import { Secret } from '../../src/base/secret.ts'
import { OAuthTokens, type Turns } from '../../src/net/oauth-tokens.ts'
import { ProviderNetworks } from '../../src/net/provider-networks.ts'
import type { UpstreamOptions } from '../../src/net/upstream.ts'
import { StateFile } from '../../src/workers/state-file.ts'
import { turnsOf } from '../../src/workers/turns.ts'
import { TestAuthority } from './authority.ts'

const authority = new TestAuthority('Token CA')
let server: Server
let port = 0
let nowMs = 0
let rotated: string[] = []
let requests: { method: string; path: string; type: string | undefined; accept: string | undefined; body: string }[] =
  []
let answer: (response: ServerResponse) => void = () => {}

const upstream: UpstreamOptions = {
  tls: { context: createSecureContext({ ca: authority.ca }) },
  timeoutMs: 5000,
  networks: new ProviderNetworks(['127.0.0.0/8']),
}

before(async () => {
  const { cert, pkey } = authority.issue('localhost')
  server = createServer({ cert, key: pkey }, (request: IncomingMessage, response: ServerResponse) => {
    let body = ''
    request.setEncoding('utf8').on('data', (piece: string) => {
      body += piece
    })
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request
      requests.push({ method, path, type: headers['content-type'], accept: headers.accept, body })
      answer(response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
after(() => server.close())
beforeEach(() => {
  nowMs = 1_000_000
  rotated = []
  requests = []
  json({ access_token: 'tok1', expires_in: 3600 })
})

function json(fields: object, status = 200): void {
  answer = (response) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(fields))
}

const make = (): OAuthTokens => new OAuthTokens({ nowMs: () => nowMs, timeoutMs: 5000 })
const endpoint = (rest: string): string => `https://localhost:${port}/token${rest}`

async function ask(tokens: OAuthTokens, text: string): Promise<string> {
  const token = await tokens.token({
    endpoint: new Secret(text),
    upstream,
    rotated: async (password) => {
      rotated.push(password.expose())
    },
    current: async () => null,
  })
  return token.expose()
}

test('a form, JSON, or GET, by what stands behind #', async () => {
  assert.equal(await ask(make(), endpoint('?a=b#grant_type=refresh_token&refresh_token=r')), 'tok1')
  assert.equal(await ask(make(), endpoint('#{"refresh_token":"r"}')), 'tok1')
  assert.equal(await ask(make(), endpoint('#')), 'tok1')
  const accept = 'application/json'
  assert.deepEqual(requests, [
    {
      method: 'POST',
      path: '/token?a=b',
      type: 'application/x-www-form-urlencoded',
      accept,
      body: 'grant_type=refresh_token&refresh_token=r',
    },
    { method: 'POST', path: '/token', type: 'application/json', accept, body: '{"refresh_token":"r"}' },
    { method: 'GET', path: '/token', type: undefined, accept, body: '' },
  ])
})

test('what is no endpoint', async () => {
  for (const bad of [endpoint(''), 'https://#x', 'https://user:pw@localhost/#x', 'http://localhost/#x']) {
    await assert.rejects(ask(make(), bad), { code: 'SASL_SEQUENCE' }, bad)
  }
  assert.equal(requests.length, 0)
})

test('kept until shortly before it expires', async () => {
  const tokens = make()
  await ask(tokens, endpoint('#r'))
  nowMs += 3539_000
  await ask(tokens, endpoint('#r'))
  assert.equal(requests.length, 1)
  json({ access_token: 'tok2', expires_in: 3600 })
  nowMs += 2000
  assert.equal(await ask(tokens, endpoint('#r')), 'tok2')
  assert.equal(requests.length, 2)
})

test('without a life it is not kept, with a long one for an hour', async () => {
  const tokens = make()
  json({ access_token: 'tok1' })
  await ask(tokens, endpoint('#r'))
  await ask(tokens, endpoint('#r'))
  assert.equal(requests.length, 2)
  json({ access_token: 'tok2', expires_in: 999_999 })
  await ask(tokens, endpoint('#r'))
  nowMs += 3600_000
  await ask(tokens, endpoint('#r'))
  assert.equal(requests.length, 4)
})

test('one request for many who ask at the same time, and its failure is theirs all', async () => {
  const tokens = make()
  assert.deepEqual(
    await Promise.all(Array.from({ length: 20 }, () => ask(tokens, endpoint('#r')))),
    Array(20).fill('tok1'),
  )
  assert.equal(requests.length, 1)
  json({ error: 'invalid_grant' }, 400)
  const all = await Promise.allSettled(Array.from({ length: 20 }, () => ask(tokens, endpoint('#other'))))
  assert(all.every(({ status }) => status === 'rejected'))
  assert.equal(requests.length, 2)
})

test('a rotated refresh token is told once, and used from then on by old and new profiles', async () => {
  for (const [before_, after_] of [
    ['#grant_type=refresh_token&refresh_token=r1', '#grant_type=refresh_token&refresh_token=r2'],
    ['#{"client_id":"c","refresh_token":"r1"}', '#{"client_id":"c","refresh_token":"r2"}'],
  ] as const) {
    requests = []
    rotated = []
    nowMs = 1_000_000
    const tokens = make()
    json({ access_token: 'tok1', expires_in: 3600, refresh_token: 'r2' })
    await ask(tokens, endpoint(before_))
    assert.deepEqual(rotated, [endpoint(after_)])
    // The stored profile and sessions that still have the old one: one cache.
    assert.equal(await ask(tokens, endpoint(after_)), 'tok1')
    assert.equal(requests.length, 1)
    nowMs += 3600_000
    await ask(tokens, endpoint(before_))
    assert.match(requests[1]!.body, /r2/)
    assert.equal(rotated.length, 1)
  }
})

/** A provider that rotates each time, and takes a used refresh token for a theft. @returns how many it gave out */
function rotatingServer(): { readonly stolen: () => boolean } {
  let valid = 'r1'
  let stolen = false
  answer = (response) => {
    const given = new URLSearchParams(requests.at(-1)!.body).get('refresh_token')
    if (given !== valid) stolen = true
    if (stolen) {
      response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}')
      return
    }
    valid = `r${requests.length + 1}`
    const body = { access_token: `tok${requests.length}`, expires_in: 3600, refresh_token: valid }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
  return { stolen: () => stolen }
}

/** Several workers, one profile. */
function worker(profile: { password: string }, turns?: Turns): () => Promise<string> {
  const tokens = new OAuthTokens({ nowMs: () => nowMs, timeoutMs: 5000, ...(turns === undefined ? {} : { turns }) })
  return async () => {
    const token = await tokens.token({
      endpoint: new Secret(profile.password),
      upstream,
      rotated: async (password, before) => {
        assert.equal(before.expose(), profile.password)
        profile.password = password.expose()
      },
      current: async () => new Secret(profile.password),
    })
    return token.expose()
  }
}

test('workers that refresh at the same time take turns: no refresh token is used twice', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vm-turns-'))
  const states = ['a', 'b', 'c'].map((name) => new StateFile(join(directory, 'state.sqlite'), name, silentLog))
  t.after(async () => {
    for (const state of states) await state.close()
    rmSync(directory, { recursive: true, force: true })
  })
  const provider = rotatingServer()
  const profile = { password: endpoint('#refresh_token=r1') }
  const workers = states.map((state) => worker(profile, turnsOf(state)))
  const tokens = await Promise.all(workers.flatMap((login) => [login(), login()]))
  assert.equal(provider.stolen(), false)
  assert.equal(requests.length, 3, 'one refresh for each worker')
  assert.equal(new Set(tokens).size, 3)
  assert.equal(profile.password, endpoint('#refresh_token=r4'))
})

test('refused with a refresh token that another machine has rotated: the profile is read once more', async () => {
  const profile = { password: endpoint('#refresh_token=r1') }
  const other = worker(profile)
  const refusing = new Set(['refresh_token=r1'])
  answer = (response) => {
    const { body } = requests.at(-1)!
    const ok = !refusing.has(body)
    if (!ok) profile.password = endpoint('#refresh_token=r2')
    response.writeHead(ok ? 200 : 400).end(ok ? '{"access_token":"tok","expires_in":3600}' : '{}')
  }
  assert.equal(await other(), 'tok')
  assert.deepEqual(
    requests.map(({ body }) => body),
    ['refresh_token=r1', 'refresh_token=r2'],
  )
  // Refused with that one too: once is enough.
  refusing.add('refresh_token=r2')
  nowMs += 3600_000
  await assert.rejects(other(), { code: 'UPSTREAM_REFUSED' })
  assert.equal(requests.length, 3)
})

test('a profile that names another endpoint by now is the next login’s matter', async () => {
  answer = (response) => response.writeHead(400).end('{}')
  const tokens = make()
  const asked = tokens.token({
    endpoint: new Secret(endpoint('#refresh_token=r1')),
    upstream,
    rotated: async () => {},
    current: async () => new Secret('https://elsewhere.example/token#refresh_token=r2'),
  })
  await assert.rejects(asked, { code: 'UPSTREAM_REFUSED' })
  assert.equal(requests.length, 1)
})

test('a transient error loses nothing: the old token serves while it lives, the refresh token stays', async () => {
  const tokens = make()
  await ask(tokens, endpoint('#refresh_token=r1'))
  nowMs += 3590_000
  json({}, 503)
  assert.equal(await ask(tokens, endpoint('#refresh_token=r1')), 'tok1')
  nowMs += 20_000
  await assert.rejects(ask(tokens, endpoint('#refresh_token=r1')), { code: 'UPSTREAM_BUSY' })
  json({ access_token: 'tok2', expires_in: 3600 })
  assert.equal(await ask(tokens, endpoint('#refresh_token=r1')), 'tok2')
})

test('answers that are refusals, or none', async () => {
  const cases: [() => void, string][] = [
    [() => json({ error: 'invalid_grant' }, 400), 'UPSTREAM_REFUSED'],
    [() => json({}, 401), 'UPSTREAM_REFUSED'],
    [() => json({}, 429), 'UPSTREAM_BUSY'],
    [() => json({}, 500), 'UPSTREAM_BUSY'],
    [() => json({ access_token: 'x' }, 302), 'UPSTREAM_REFUSED'],
    [() => json({}), 'UPSTREAM_UNEXPECTED'],
    [() => json({ access_token: 'a\r\nb' }), 'UPSTREAM_UNEXPECTED'],
    [() => json({ access_token: 5 }), 'UPSTREAM_UNEXPECTED'],
    [() => (answer = (response) => response.end('<html>')), 'UPSTREAM_UNEXPECTED'],
    [() => (answer = (response) => response.end('x'.repeat(70_000))), 'UPSTREAM_UNEXPECTED'],
    [() => (answer = (response) => response.destroy()), 'UPSTREAM_CONNECTION'],
  ]
  for (const [says, code] of cases) {
    says()
    await assert.rejects(ask(make(), endpoint('#secret-body')), (error: { code: string; detail: object }) => {
      assert.equal(error.code, code)
      assert(!JSON.stringify(error.detail).includes('secret-body'))
      return true
    })
  }
})

test('an endpoint on a network that is not allowed, or with a wrong certificate, is not asked', async () => {
  const one = (more: Partial<UpstreamOptions>, host: string): Promise<unknown> =>
    make().token({
      endpoint: new Secret(`https://${host}:${port}/#x`),
      upstream: { ...upstream, ...more },
      rotated: async () => {},
      current: async () => null,
    })
  await assert.rejects(one({ networks: new ProviderNetworks([]) }, 'localhost'), { code: 'UPSTREAM_CONNECTION' })
  await assert.rejects(one({}, '127.0.0.1'), { code: 'UPSTREAM_TLS' })
  assert.equal(requests.length, 0)
})
