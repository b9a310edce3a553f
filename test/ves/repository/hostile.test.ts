import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { ADMIN_TOKEN, type Any, type Harness, inMemory, newKey, sealed, type TestAccount } from './harness.ts'

let h: Harness
let alice: TestAccount
let bob: TestAccount
let item: number

before(async () => {
  h = await inMemory({ requestBurstPerUser: 1_000_000_000 })
  alice = await h.account('alice@lab.test')
  bob = await h.account('bob@lab.test')
  item = await h.item(alice, 'm@lab.test', 'value', [alice.vault, bob.vault])
  await h.ok('GET', 'me', { token: bob.token })
})
after(() => h.close())

/** All that is stored, to see that a refusal changed nothing. */
async function dump(): Promise<string> {
  const tables = [
    'users',
    'vault_keys',
    'key_externals',
    'vault_items',
    'item_externals',
    'vault_entries',
    'audit_log',
    'sessions',
  ] as const
  return h.store.transaction(async (db) => {
    const rows: unknown[] = []
    for (const table of tables) rows.push(await db.selectFrom(table).selectAll().execute())
    return JSON.stringify(rows)
  })
}

const file = (externalId: string) => ({ externals: [{ domain: 'vesmail', externalId }] })
const good = { type: 'file', meta: { a: 'NULL' }, file: file('new@lab.test'), vaultEntries: [] as unknown[] }

test('bodies that are no request: 400, nothing changed', async () => {
  const before = await dump()
  const bad: unknown[] = [
    '',
    '{',
    '[]',
    'null',
    '1',
    '"x"',
    '{}x',
    Buffer.from([0x7b, 0xff, 0x7d]),
    {},
    { ...good, extra: 1 },
    { ...good, $op: 'drop' },
    { ...good, $op: 'ignore' },
    { ...good, $op: 1 },
    { ...good, type: 'thing' },
    { ...good, type: ['file'] },
    { ...good, meta: 'a' },
    { ...good, meta: [] },
    { ...good, meta: {} },
    { ...good, meta: null },
    { ...good, meta: { a: 'NULL', x: 'y'.repeat(20_000) } },
    { ...good, meta: { a: 'NULL', x: JSON.parse('['.repeat(50) + ']'.repeat(50)) } },
    { ...good, file: [] },
    { ...good, file: file('') },
    { ...good, file: file('a\0b') },
    { ...good, file: file('a\r\nb') },
    { ...good, file: file('\ud800') },
    { ...good, file: file('x'.repeat(1025)) },
    { ...good, file: { externals: Array(17).fill({ domain: 'vesmail', externalId: 'x' }) } },
    { ...good, file: { externals: [{ domain: 'vesmail' }] } },
    { ...good, file: { externals: [] } },
    { ...good, vaultEntries: {} },
    { ...good, vaultEntries: [1] },
    { ...good, vaultEntries: [{}] },
    { ...good, vaultEntries: [{ vaultKey: {}, encData: 'QUJD' }] },
    { ...good, vaultEntries: [{ vaultKey: { id: 0 }, encData: 'QUJD' }] },
    { ...good, vaultEntries: [{ vaultKey: { id: -1 }, encData: 'QUJD' }] },
    { ...good, vaultEntries: [{ vaultKey: { id: 1.5 }, encData: 'QUJD' }] },
    { ...good, vaultEntries: [{ vaultKey: { id: 2 ** 53 }, encData: 'QUJD' }] },
    { ...good, vaultEntries: [{ vaultKey: { id: '1e3' }, encData: 'QUJD' }] },
    { ...good, vaultEntries: [{ vaultKey: { $ref: '#/' }, encData: 'QUJD' }] },
    { ...good, vaultEntries: [{ vaultKey: { $ref: '#/vaultKeys/0' }, encData: 'QUJD' }] },
    ...['', '=', 'QUJ', 'QU JD', 'QUJD\n', 'QUJ-', 'Q===', 'QUJDR===', 'QUJD'.repeat(16_384)].map((encData) => ({
      ...good,
      vaultEntries: [{ vaultKey: { id: alice.vault.id }, encData }],
    })),
    { ...good, vaultEntries: [{ vaultKey: { id: alice.vault.id } }] },
    { ...good, vaultEntries: Array(2).fill({ vaultKey: { id: alice.vault.id }, encData: 'QUJD' }) },
    { ...good, vaultEntries: Array(10_001).fill({ vaultKey: { id: 1 }, encData: 'QUJD' }) },
    JSON.stringify(good).replace('{', '{"__proto__":{"$op":"create"},'),
    { id: item, $op: 'fetch', vaultKey: 1 },
    { id: item, file: file('other@lab.test'), meta: { a: 'NULL' } },
    { id: item, type: 'string', meta: {} },
    { type: 'password', vaultEntries: [] },
  ]
  for (const body of bad) {
    const octets = typeof body === 'string' ? Buffer.from(body) : body
    assert.equal(
      await h.refused(400, 'POST', 'vaultItems', { token: alice.token, body: octets }),
      'InvalidValue',
      String(body),
    )
  }
  assert.equal(await dump(), before)
})

test('keys that are none: 400, nothing changed', async () => {
  const before = await dump()
  const pems = newKey('P-256').pems
  const vault = { type: 'secondary', ...pems, externals: [{ domain: 'demo', externalId: 'v' }] }
  const bare = pems.privateKey.replaceAll('ENCRYPTED PRIVATE', 'PRIVATE')
  for (const change of [
    { publicKey: undefined },
    { privateKey: undefined },
    { privateKey: bare },
    { privateKey: pems.publicKey },
    { publicKey: pems.privateKey },
    { publicKey: 'x' },
    { publicKey: pems.publicKey.replace('MF', 'AA') },
    { algo: 'RSA' },
    { algo: 'DSA' },
    { algo: 'OQS' },
    { type: undefined },
    { externals: [] },
    { externals: undefined },
    { type: 'pending' },
    { type: 'temp' },
    { type: 'temp', user: {} },
    { type: 'temp', user: { email: 'nobody' } },
    { vaultItems: [{ type: 'file' }] },
    { vaultItems: [{ type: 'password' }, { type: 'password' }] },
    { vaultEntries: [{ encData: 'QUJD' }] },
    { appUrl: 'x'.repeat(2049) },
  ]) {
    assert.equal(
      await h.refused(400, 'POST', 'vaultKeys', { token: alice.token, body: { ...vault, ...change } }),
      'InvalidValue',
      JSON.stringify(change),
    )
  }
  assert.equal(await dump(), before)
})

test('a body nested beyond any flow, and one that is large without a session', async () => {
  let key: object = { id: 1 }
  for (let n = 0; n < 200; n++)
    key = { type: 'temp', vaultItems: [{ type: 'password', vaultEntries: [{ vaultKey: key }] }] }
  await h.refused(400, 'POST', 'vaultKeys', { token: alice.token, body: key })
  const deep = Buffer.from('{"meta":'.repeat(100_000))
  await h.refused(400, 'POST', 'vaultItems', { token: alice.token, body: deep })
  await h.refused(413, 'POST', 'vaultKeys', { body: Buffer.alloc(16 * 1024 + 1, 0x20) })
  await h.refused(413, 'POST', 'vaultKeys', { token: alice.token, body: Buffer.alloc(8 * 1024 * 1024 + 1, 0x20) })
})

test('a token that is none of ours allows no larger body than no token', async () => {
  const body = Buffer.alloc(17 * 1024, 0x20)
  for (const token of [
    undefined,
    'x',
    'A'.repeat(62),
    `vaultItem.1.${'A'.repeat(62)}`,
    `${alice.token.slice(0, -1)}_`,
  ]) {
    await h.refused(413, 'POST', 'vaultKeys', { ...(token === undefined ? {} : { token }), body })
  }
  await h.refused(400, 'POST', 'vaultKeys', { token: alice.token, body })
  await h.refused(400, 'POST', 'vaultKeys', { token: ADMIN_TOKEN, body })
})

test('`fields`: unknown names are ignored, malformed and excessive ones refused', async () => {
  const get = (fields: string) =>
    h.ask('GET', `vaultKeys/${alice.vault.id}?fields=${encodeURIComponent(fields)}`, { token: alice.token })
  const { body } = await get(
    'id,unlockableVaultKeys(id),friendsKeyItems,shadowVaultKey,authorSession(x(y)),vaultEntires,$x[1+2]',
  )
  assert.deepEqual(body.result, { id: alice.vault.id })
  for (const bad of [
    'a,',
    ',',
    'a(',
    'a(b',
    'a)',
    'a()b',
    '(a)',
    'a b',
    'a[1]',
    'é',
    `${'a('.repeat(10)}b${')'.repeat(10)}`,
    Array(300).fill('a').join(),
    'x'.repeat(5000),
  ]) {
    assert.equal((await get(bad)).status, 400, bad)
  }
  for (const waiting of ['events(id)[0+5]', 'encPersistentSessionToken']) assert.equal((await get(waiting)).status, 501)
  assert.equal(await h.refused(501, 'GET', `me?fields=events(id)%5B0+5%5D`, { token: alice.token }), 'Unsupported')
  assert.equal(
    await h.refused(501, 'POST', 'vaultKeys?fields=encPersistentSessionToken', {
      body: { id: alice.vault.id, $op: 'fetch' },
    }),
    'Unsupported',
  )
})

test('paths and methods: 404 and 405, always as JSON', async () => {
  for (const path of [
    '',
    'x',
    'vaultKeys',
    'vaultKeys/',
    'vaultKeys/0',
    'vaultKeys/01',
    'vaultKeys/-1',
    'vaultKeys/x',
    `vaultKeys/${2 ** 53}`,
    'vaultKeys/1/2',
    'vaultKeys/%31',
    '../v1/me',
    'admin/accounts/%ff',
  ]) {
    const { status } = await h.ask('GET', path, { token: alice.token })
    assert.ok([404, 405].includes(status), `${path}: ${status}`)
  }
  for (const method of ['PUT', 'DELETE', 'PATCH', 'HEAD', 'TRACE', 'X'])
    await h.refused(405, method, 'me', { token: alice.token })
})

test('authorization: what is no token of ours is 401 wherever it is sent', async () => {
  for (const header of [
    'Bearer',
    'Bearer ',
    'Bearer a b',
    'Bearer a,b',
    'Basic YTpi',
    'Digest x',
    'x',
    `Bearer ${'a'.repeat(500)}`,
    'Bearer vaultItem.1.x',
    'Bearer vaultItem.x.y',
  ]) {
    for (const [method, path] of [
      ['GET', 'me'],
      ['GET', `vaultKeys/${alice.vault.id}`],
      ['GET', 'admin/accounts'],
    ] as const) {
      assert.equal(await h.refused(401, method, path, { headers: { authorization: header } }), 'Unauthorized', header)
    }
  }
})

test('limits: by address for strangers, by user for sessions, with 503 and Quota', async () => {
  const limited = await inMemory({
    requestBurstPerAddress: 3,
    requestsPerSecondPerAddress: 1,
    requestBurstPerUser: 5,
    requestsPerSecondPerUser: 1,
  })
  const carol = await limited.account('carol@lab.test')
  const from = { address: '192.0.2.7', body: { id: carol.vault.id, $op: 'fetch' } }
  for (let n = 0; n < 3; n++) await limited.ok('POST', 'vaultKeys', from)
  assert.equal(await limited.refused(503, 'POST', 'vaultKeys', from), 'Quota')
  await limited.ok('POST', 'vaultKeys', { ...from, address: '192.0.2.8' })
  limited.nowMs += 1000
  await limited.ok('POST', 'vaultKeys', from)
  for (let n = 0; n < 5; n++) await limited.ok('GET', 'me', { token: carol.token })
  assert.equal(await limited.refused(503, 'GET', 'me', { token: carol.token }), 'Quota')
  await limited.close()
})

test('bounds: entries of an item, keys of a user, temp keys for one name, rows of one answer', async () => {
  const small = await inMemory({ maxEntriesPerItem: 2, maxKeysPerUser: 4, maxTempKeysPerName: 2 })
  const people = [
    await small.account('a@lab.test'),
    await small.account('b@lab.test'),
    await small.account('c@lab.test'),
  ]
  const [a] = people as [TestAccount]
  const entries = people.map((one) => ({ vaultKey: { id: one.vault.id }, encData: 'QUJD' }))
  assert.equal(
    await small.refused(503, 'POST', 'vaultItems', { token: a.token, body: { ...good, vaultEntries: entries } }),
    'Quota',
  )
  const vault = (n: number) => ({
    type: 'secondary',
    ...newKey().pems,
    externals: [{ domain: 'demo', externalId: `v${n}` }],
  })
  for (let n = 0; n < 2; n++) await small.ok('POST', 'vaultKeys', { token: a.token, body: vault(n) })
  await small.refused(503, 'POST', 'vaultKeys', { token: a.token, body: vault(3) })
  for (let n = 0; n < 2; n++)
    await small.ok('POST', 'vaultKeys', { token: a.token, body: small.temp('n@lab.test', [a.vault]).body })
  await small.refused(503, 'POST', 'vaultKeys', { token: a.token, body: small.temp('n@lab.test', [a.vault]).body })
  await small.close()
  // Each level may multiply: the whole answer is bounded.
  const many = await inMemory()
  const d = await many.account('d@lab.test')
  for (let n = 0; n < 200; n++) await many.item(d, `m${n}@lab.test`, 'x', [d.vault])
  const nested =
    'vaultEntries(vaultItem(vaultEntries(vaultKey(vaultEntries(vaultItem(vaultEntries(vaultKey(vaultEntries(id))))))))'
  const { status } = await many.ask('GET', `vaultKeys/${d.vault.id}?fields=${nested})`, { token: d.token })
  assert.ok([200, 400, 503].includes(status))
  await many.close()
})

test('CORS: preflight and answers, errors too, for the configured origins', async () => {
  const strict = await inMemory({ origins: ['https://app.lab.test'] })
  const preflight = await strict.ask('OPTIONS', 'vaultKeys', { headers: { origin: 'https://app.lab.test' } })
  assert.equal(preflight.status, 200)
  assert.equal(preflight.headers!['access-control-allow-origin'], 'https://app.lab.test')
  assert.match(preflight.headers!['access-control-allow-headers']!, /Authorization, Content-Type, Accept/)
  assert.match(preflight.headers!['access-control-allow-methods']!, /GET, POST, OPTIONS/)
  assert.equal(
    (await strict.ask('GET', 'me', { headers: { origin: 'https://app.lab.test' } })).headers![
      'access-control-allow-origin'
    ],
    'https://app.lab.test',
  )
  assert.ok(
    !(
      'access-control-allow-origin' in
      (await strict.ask('GET', 'me', { headers: { origin: 'https://evil.test' } })).headers!
    ),
  )
  assert.equal(
    (await h.ask('GET', 'me', { headers: { origin: 'https://any.test' } })).headers!['access-control-allow-origin'],
    '*',
  )
  await strict.close()
})

test('replayed: a deleted item, an ended session, a key that was replaced', async () => {
  const id = await h.item(alice, 'gone@lab.test', 'x', [alice.vault])
  await h.ok('POST', 'vaultItems', { token: alice.token, body: { id, $op: 'delete' } })
  const before = await dump()
  for (const body of [
    { id },
    { id, $op: 'delete' },
    { id, meta: { a: 'NULL' } },
    { id, vaultEntries: [] },
    { file: file('gone@lab.test'), $op: 'delete' },
  ]) {
    assert.equal(await h.refused(404, 'POST', 'vaultItems', { token: alice.token, body }), 'NotFound')
  }
  await h.refused(404, 'POST', 'vaultKeys', {
    token: alice.token,
    body: { id: alice.vault.id, vaultEntries: [{ vaultItem: { id }, encData: 'QUJD' }] },
  })
  assert.equal(await dump(), before)
})

/** Objects made of the API's own words, so that some get past the first check. */
const word = fc.constantFrom(
  'vaultKeys',
  'vaultItems',
  'users',
  'sessions',
  'accounts',
  'recovery',
  'onboarding',
  'admin/audit',
  'attn',
  'me',
  'files',
)
const idLike = fc.oneof(fc.integer({ min: -1, max: 12 }), fc.constant(null), fc.constant('1'), fc.constant(2 ** 53))
const leaf = fc.oneof(
  idLike,
  fc.boolean(),
  fc.constantFrom(
    'fetch',
    'create',
    'delete',
    'ignore',
    'file',
    'password',
    'temp',
    'secondary',
    'current',
    'RSA',
    'ECDH',
    '#/',
    'QUJD',
    'vesmail',
    'alice@lab.test',
    'm@lab.test',
    '',
  ),
  fc.string({ maxLength: 8 }),
)
const names = [
  '$op',
  '$ref',
  'id',
  'type',
  'algo',
  'publicKey',
  'privateKey',
  'user',
  'creator',
  'externals',
  'vaultItems',
  'vaultEntries',
  'vaultKey',
  'vaultItem',
  'encData',
  'meta',
  'file',
  'domain',
  'externalId',
  'email',
  'vaultKeys',
  'token',
  'replaces',
  'shares',
  'threshold',
]
const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small' },
    leaf,
    fc.array(tie('tree'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...names), tie('tree'), { maxKeys: 6 }),
  ),
}))

test('fuzz: every request gets a complete answer, never 500, and a refused one changes nothing', async () => {
  const pems = newKey().pems
  const seeds: Any[] = [
    { ...good, vaultEntries: [{ vaultKey: { id: alice.vault.id }, encData: 'QUJD' }] },
    { id: item, vaultEntries: [{ vaultKey: { id: bob.vault.id }, $op: 'delete' }] },
    {
      type: 'secondary',
      ...pems,
      externals: [{ domain: 'demo', externalId: 'z' }],
      vaultItems: [
        {
          type: 'password',
          vaultEntries: [{ vaultKey: { $ref: '#/' }, encData: sealed(pems.publicKey, Buffer.from('x')) }],
        },
      ],
    },
    { externals: [{ domain: 'vesmail', externalId: 'alice@lab.test' }], $op: 'fetch' },
  ]
  const body = fc.oneof(
    tree,
    // A good request with one property replaced.
    fc
      .tuple(fc.constantFrom(...seeds), fc.constantFrom(...names), tree)
      .map(([seed, name, value]) => ({ ...seed, [name]: value })),
    fc.tuple(fc.constantFrom(...seeds), fc.nat(3), fc.constantFrom(...names), tree).map(([seed, at, name, value]) => {
      const changed = structuredClone(seed)
      const lists = Object.values(changed).filter(Array.isArray).flat()
      const target = lists[at % Math.max(lists.length, 1)]
      if (typeof target === 'object' && target !== null) target[name] = value
      return changed
    }),
  )
  const fields = fc.oneof(
    fc.constant(''),
    fc.constantFrom(
      '?fields=id,vaultEntries(encData,vaultKey(id,externals))&attn=*',
      '?fields=vaultKeys(vaultItems(vaultEntries))',
    ),
    fc.string({ maxLength: 12 }).map((text) => `?fields=${encodeURIComponent(text)}`),
  )
  const token = fc.constantFrom(alice.token, bob.token, 'an-admin-token-for-tests', undefined)
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'POST'),
      word,
      fc.option(fc.integer({ min: 1, max: 9 })),
      fields,
      token,
      body,
      async (method, path, id, query, bearer, sent) => {
        const before = await dump()
        const url = `${path}${id === null ? '' : `/${id}`}${query}`
        const answer = await h.ask(method, url, { ...(bearer === undefined ? {} : { token: bearer }), body: sent })
        assert.ok([200, 400, 401, 403, 404, 405, 501, 503].includes(answer.status), `${answer.status}`)
        if (answer.status !== 200) assert.equal(await dump(), before)
      },
    ),
    { numRuns: 600 },
  )
})
