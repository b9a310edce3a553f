/** The viewer as the server sees it: its files and their policies; what goes through to the key repository, and what not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import type { HttpRequest } from '../../../src/net/http.ts'
import { passToRepository } from '../../../src/net/now/repository-way.ts'
import { viewer } from '../../../src/net/now/viewer.ts'
import type { ApiAnswer, ApiRequest } from '../../../src/ves/client/api-connection.ts'
import { viewerFiles } from '../../../src/viewer/bundle.ts'

const files = viewerFiles()
const config = { domain: 'vesmail', newKeys: 'compatible', spoolOctets: 1000 } as const
const serve = viewer(files, config)
const headers = (path: string, query = ''): Record<string, string> => ({ ...serve(path, query)?.headers }) as never

test('the page asks nobody else, runs nothing inline, and may not be framed', () => {
  const page = files.get('index.html')!.body.toString()
  assert.doesNotMatch(page, /https?:|<script>|<style>|\son\w+=|style=/)
  for (const [, name] of page.matchAll(/(?:src|href|worker|frame)="([^"]+)"/g)) {
    if (name !== 'data:,') assert.ok(files.has(name!), name)
  }
  const policy = headers('')['content-security-policy']!
  assert.match(policy, /^default-src 'none'; script-src 'self'; /)
  assert.match(policy, /frame-ancestors 'none'/)
  assert.doesNotMatch(policy, /unsafe|https|\*/)
  assert.equal(headers('')['x-content-type-options'], 'nosniff')
  assert.equal(headers('')['referrer-policy'], 'no-referrer')
  assert.equal(headers('')['cache-control'], 'no-cache')
  assert.equal(headers('')['set-cookie'], undefined)
})

test('the frame of HTML mail loads nothing, and images of the internet only when it was asked to', () => {
  const policy = headers('frame.html')['content-security-policy']!
  assert.match(policy, /default-src 'none'.*img-src data:; .*sandbox allow-scripts allow-popups/)
  assert.doesNotMatch(policy, /allow-same-origin|https|unsafe-eval|connect-src|font-src/)
  assert.equal(headers('frame.html', 'image')['content-security-policy'], policy)
  const wider = headers('frame.html', 'images')['content-security-policy']!
  assert.equal(wider.replace('img-src data: https: http:', 'img-src data:'), policy)
})

test('names change with the content, and what has such a name may be kept for good', () => {
  const hashed = [...files.keys()].filter((name) => !name.endsWith('.html'))
  assert.deepEqual(hashed.map((name) => name.replace(/-[A-Z0-9]{8}\./, '.')).sort(), [
    ...['frame.js', 'main.js', 'style.css', 'worker.js'],
  ])
  for (const name of hashed) assert.match(headers(name)['cache-control']!, /immutable/)
  assert.deepEqual(JSON.parse(String(serve('config.json', '')?.body)), config)
  assert.equal(headers('config.json')['cache-control'], 'no-store')
  for (const path of ['../index.html', 'x', 'index.html/', '%2e%2e']) assert.equal(serve(path, ''), null, path)
})

test('no file of the bundle names a place of this machine', () => {
  for (const [name, { body }] of files) {
    assert.ok(!body.includes(process.cwd()) && !/\/home\/|\/usr\//.test(body.toString('latin1')), name)
  }
})

const asked: ApiRequest[] = []
function request(method: string, path: string, more: Partial<HttpRequest> & { json?: unknown } = {}): HttpRequest {
  const body = more.json === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(more.json))
  const [name = '', query = ''] = `/now/api/${path}`.split('?')
  const base = { address: '203.0.113.5', port: 1, body, stream: null, aborted: new AbortController().signal }
  return { method, path: name, query, headers: {}, ...base, ...more }
}
async function pass(given: HttpRequest, answer: ApiAnswer | GatewayError = { result: { id: 1 }, attn: null }) {
  const passed = await passToRepository(given, async (ask) => {
    asked.push(ask)
    if (answer instanceof GatewayError) throw answer
    return answer
  })
  return {
    status: passed.status,
    json: JSON.parse(String(passed.body)) as Record<string, unknown>,
    headers: passed.headers,
  }
}

test('what the page needs goes through, with the visitor’s address', async () => {
  asked.length = 0
  const json = { externals: [{ domain: 'vesmail', externalId: 'bob@x.org' }], $op: 'fetch' }
  const headers = { authorization: 'Bearer a-session' }
  const found = await pass(request('POST', 'vaultKeys?fields=id,user(id)', { json, headers }), {
    result: { id: 7 },
    attn: { vaultKeys: [] },
  })
  assert.deepEqual([found.status, found.json], [200, { result: { id: 7 }, attn: { vaultKeys: [] } }])
  assert.equal(found.headers?.['cache-control'], 'no-store')
  const { bearer, ...rest } = asked[0]!
  assert.deepEqual(rest, { path: 'vaultKeys?fields=id,user(id)', body: json, forwardedFor: '203.0.113.5' })
  assert.equal(bearer?.expose(), 'a-session')
  assert.equal((await pass(request('GET', 'vaultKeys/12?fields=encSessionToken'))).status, 200)
  assert.equal('body' in asked[1]!, false)
})

test('the administrator’s requests and token do not', async () => {
  asked.length = 0
  const headers = { authorization: 'Bearer the-admin-token' }
  for (const path of [
    ...['admin/accounts', 'admin/audit', 'vaultKeys/../admin/accounts', 'vaultKeys/1/x', '', 'metrics', 'recovery'],
    ...['vaultKeys%2f..%2fadmin', 'sessions/1', 'vaultKeys/x', 'accounts/1', '/v1/admin/metrics'],
  ]) {
    assert.equal((await pass(request('GET', path, { headers }))).status, 404, path)
  }
  assert.equal(asked.length, 0)
  await pass(request('POST', 'accounts', { headers, json: { token: 't' } }))
  assert.equal(asked[0]!.bearer, undefined)
})

test('failures are told in the repository’s form, and none of ours', async () => {
  const denied = new GatewayError('VES_DENIED', { status: 403, type: 'Unauthorized', message: 'no' })
  const refused = await pass(request('GET', 'me'), denied)
  assert.deepEqual(
    [refused.status, refused.json],
    [403, { errors: [{ number: 0, type: 'Unauthorized', message: 'no' }] }],
  )
  const down = await pass(request('GET', 'me'), new GatewayError('VES_CONNECTION', { text: '10.0.0.7 refused' }))
  assert.deepEqual([down.status, down.json], [502, { errors: [{ number: 0, type: 'Server', message: '' }] }])
  for (const body of ['', '[]', '{', 'null', '7']) {
    assert.equal((await pass(request('POST', 'me', { body: Buffer.from(body) }))).status, 400, body)
  }
  async function* large() {
    for (let i = 0; i < 10; i++) yield Buffer.alloc(64 * 1024, 0x20)
  }
  assert.equal((await pass(request('POST', 'me', { stream: large() }))).status, 413)
})

test('many long bodies at once: those beyond a bound of all together are told to come later, and it is given back', async () => {
  let release = (): void => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  let waiting = 0
  async function* slow() {
    yield Buffer.alloc(255 * 1024, 0x20)
    waiting++
    await held
    yield Buffer.from('{}')
  }
  const ask = (): Promise<{ status: number }> => pass(request('POST', 'me', { stream: slow() }))
  const first = Array.from({ length: 257 }, ask)
  while (waiting < 257) await new Promise((later) => setImmediate(later))
  assert.deepEqual(await ask().then(({ status }) => status), 503)
  release()
  assert.deepEqual([...new Set((await Promise.all(first)).map(({ status }) => status))], [200])
  assert.equal((await ask()).status, 200)
})
