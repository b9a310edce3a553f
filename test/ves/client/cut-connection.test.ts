/** The connection breaks after the repository did what it was asked, before it could say so. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { Secret } from '../../../src/base/secret.ts'
import { makeVeskey } from '../../../src/engine/seal/vault-key-make.ts'
import { rotateKey } from '../../../src/ves/client/rotation.ts'
import { type OwnRepository, ownRepository, vaultOf } from './own-repository.ts'

let repository: OwnRepository
/** In front of the repository: passes everything on; cuts the client's connection in place of these answers. */
let cut: (path: string, body: string) => boolean = () => false
const proxy = createServer((request, response) => {
  void (async () => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString()
    const { authorization } = request.headers
    const answer = await fetch(new URL(request.url!, repository.api), {
      method: request.method!,
      headers: { 'content-type': 'application/json', ...(authorization === undefined ? {} : { authorization }) },
      ...(body === '' ? {} : { body }),
    })
    const text = await answer.text()
    if (cut(request.url!, body)) request.socket.destroy()
    else response.writeHead(answer.status).end(text)
  })()
})
before(async () => {
  repository = await ownRepository()
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
})
after(async () => {
  await repository.close()
  proxy.closeAllConnections()
  await new Promise((resolve) => proxy.close(resolve))
})

const api = () => `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/v1/`

function once(matches: (path: string, body: string) => boolean): () => number {
  let done = 0
  cut = (path, body) => done === 0 && matches(path, body) && ++done === 1
  return () => done
}

test('a message key that was made is found again, and is the one that the recipients have', async () => {
  const password = await repository.account('a@cut.org')
  const bob = await repository.session('b@cut.org')
  const ann = await repository.client({ api: api() }).unlock(vaultOf('a@cut.org'), password)
  const to = [(await ann.recipientVault('b@cut.org'))!, (await ann.recipient('new@cut.org', 'anyone'))!]
  const cuts = once((path, body) => path.includes('vaultItems') && body.includes('"create"'))
  const made = await ann.createMessageKey('cut@cut.org', to, { xchg: true })
  assert.equal(cuts(), 1)
  assert.deepEqual(await bob.messageKey('cut@cut.org'), made.key)
  const reader = await repository.session('new@cut.org')
  assert.deepEqual(await reader.messageKey('cut@cut.org', made.xchg), made.key)
})

test('a profile that was written is written once more, which changes nothing', async () => {
  const password = await repository.account('p@cut.org')
  const session = await repository.client({ api: api() }).unlock(vaultOf('p@cut.org'), password)
  const cuts = once((path) => path.includes('vaultItems'))
  const uri = 'ves://vesmail/p@cut.org%21'
  await session.putItem(uri, { type: 'file', meta: { a: 'NULL' }, value: new Secret(Buffer.from('{}')) })
  assert.equal(cuts(), 1)
  assert.equal((await session.item(uri)).value.expose().toString(), '{}')
})

test('a rotation whose last answer was lost is known to be done', async () => {
  const password = await repository.account('r@cut.org')
  const session = await repository.client({ api: api() }).unlock(vaultOf('r@cut.org'), password)
  const made = await session.createMessageKey('r@cut.org', [])
  const veskey = new Secret(makeVeskey())
  const cuts = once((_path, body) => body.includes('"replaces"'))
  const rotated = await rotateKey(session, { kind: 'ML-KEM-768', veskey, rounds: null, keepUnreadable: false })
  assert.equal(cuts(), 1)
  const fresh = await repository.client().unlock(vaultOf('r@cut.org'), veskey)
  assert.equal(fresh.keyId, rotated.newKeyId)
  assert.deepEqual(await fresh.messageKey('r@cut.org'), made.key)
})
