/** Who may probe: the access list is asked for where it is, by the name that it has. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../../src/base/secret.ts'
import type { NowAsk } from '../../src/net/now/ask.ts'
import type { NowConnection } from '../../src/workers/now-server.ts'
import { type ProbeParts, probe } from '../../src/workers/probe.ts'

const ask = { kind: 'probe', protocol: null, server: null, token: new Secret('t') } as unknown as Extract<
  NowAsk,
  { kind: 'probe' }
>

/** @returns status, and which item was asked for */
async function probing(acl: string | null, entries: unknown): Promise<[number, unknown]> {
  let asked: unknown = null
  const request = async ({ path, body }: { path: string; body?: { file: { externals: unknown[] } } }) => {
    if (path.startsWith('me?')) return { result: { id: 1, email: 'jane@x.org' }, attn: null }
    asked = body?.file.externals[0]
    return { result: { id: 2, ...(entries === null ? {} : { vaultEntries: entries }) }, attn: null }
  }
  const config = { acl, 'abuse-sense': 0 }
  const visitor = { client: { address: '192.0.2.1', port: 1 }, tenant: () => ({ config }) } as unknown as NowConnection
  const parts = { api: { request }, domain: 'vesmail', log: { user: () => {} } } as unknown as ProbeParts
  return [(await probe(ask, visitor, parts)).status, asked]
}

test('an access list by name, in another domain, with octets that a URI encodes', async () => {
  for (const [acl, item] of [
    ['staff', { domain: 'vesmail', externalId: 'staff' }],
    ['ves://vesmail/staff', { domain: 'vesmail', externalId: 'staff' }],
    ['ves://acme.example/staff', { domain: 'acme.example', externalId: 'staff' }],
    ['//acme.example/all%20staff', { domain: 'acme.example', externalId: 'all staff' }],
  ] as const) {
    assert.deepEqual(await probing(acl, [{ id: 3 }]), [400, item], 'listed: what is missing is what to probe')
  }
})

test('not listed, or no list: not let in; without an access list everybody is', async () => {
  assert.equal((await probing('staff', [])).at(0), 403)
  assert.equal((await probing('staff', null)).at(0), 403)
  assert.deepEqual(await probing(null, []), [400, null])
})
