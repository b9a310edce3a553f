/** Answers of a repository that is broken or hostile: the client gives a result or a GatewayError, never anything else. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../../src/base/errors.ts'
import type { Secret } from '../../../src/base/secret.ts'
import type { JsonObject } from '../../../src/ves/client/answer.ts'
import { type OwnRepository, ownRepository, vaultOf } from './own-repository.ts'

let repository: OwnRepository
let password: Secret<Buffer>
let xchg: string
before(async () => {
  repository = await ownRepository()
  password = await repository.account('ann@h.org', 'P-256')
  const ann = await repository.client().unlock(vaultOf('ann@h.org'), password)
  const made = await ann.createMessageKey('old@h.org', [(await ann.recipient('new@h.org', 'anyone'))!], { xchg: true })
  xchg = made.xchg!
  await ann.createMessageKey('two@h.org', [])
})
after(() => repository.close())

/** The `at`-th value of an answer, in order, is replaced. */
function alter(json: unknown, at: { left: number }, by: unknown): unknown {
  if (at.left-- === 0) return by
  if (Array.isArray(json)) return json.map((one) => alter(one, at, by))
  if (typeof json !== 'object' || json === null) return json
  return Object.fromEntries(Object.entries(json).map(([name, one]) => [name, alter(one, at, by)]))
}

const strange = fc.oneof(
  fc.constantFrom(null, true, -1, 0, 1.5, 2 ** 60, '', 'x', 'AAAA', [], [null], {}, { id: 1 }, 'temp', 'NULL'),
  fc.json().map((text) => JSON.parse(text) as unknown),
  fc.string({ maxLength: 200 }),
)

test('fuzz: every value of every answer may be anything', async () => {
  const client = repository.client()
  const request = client.api.request.bind(client.api)
  let altered = { nth: 0, at: 0, by: null as unknown }
  client.api.request = async (asked) => {
    const answer = await request(asked)
    if (altered.nth-- !== 0) return answer
    const result = alter(answer.result, { left: altered.at + 1 }, altered.by) as JsonObject
    return { result, attn: altered.by as JsonObject | null }
  }
  let turn = 0
  const deeds: readonly (() => Promise<unknown>)[] = [
    () => client.unlock(vaultOf('ann@h.org'), password),
    async () => (await client.unlock(vaultOf('ann@h.org'), password)).messageKey('old@h.org', xchg),
    async () => (await client.unlock(vaultOf('ann@h.org'), password)).createMessageKey('two@h.org', []),
    async () => {
      const session = await client.unlock(vaultOf('ann@h.org'), password)
      client.recipients.forget({ domain: 'vesmail', externalId: 'ann@h.org' })
      const to = [await session.vault('ann@h.org'), (await session.recipient('new@h.org', 'anyone'))!]
      const { itemId } = await session.createMessageKey(`${turn++}@h.org`, to, { xchg: true })
      await session.verifyToken(itemId)
      await session.settled()
    },
  ]
  await fc.assert(
    fc.asyncProperty(fc.nat(3), fc.nat(6), fc.nat(25), strange, async (deed, nth, at, by) => {
      altered = { nth, at, by }
      try {
        await deeds[deed]!()
      } catch (error) {
        assert.ok(error instanceof GatewayError && error.code !== 'INTERNAL', String(error))
      }
    }),
    { numRuns: 300 },
  )
})

test('a token that would split a header is refused', async () => {
  const client = repository.client()
  const session = await client.unlock(vaultOf('ann@h.org'), password)
  for (const verifyToken of ['a\r\nX: y', 'a b', 'a,b', 'a;b', '', 'x'.repeat(80), 5]) {
    client.api.request = async () => ({ attn: null, result: { id: 1, verifyToken } })
    await assert.rejects(session.verifyToken(1), (error: GatewayError) => error.code === 'VES_PARSE')
  }
})

test('an unknown algorithm is named, with the vault it is of', async () => {
  const client = repository.client()
  const session = await client.unlock(vaultOf('ann@h.org'), password)
  const request = client.api.request.bind(client.api)
  const publicKey =
    '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----'
  client.api.request = async (asked) => {
    const answer = await request(asked)
    return { ...answer, result: { ...answer.result, algo: 'EdDSA', publicKey } }
  }
  await assert.rejects(session.recipientVault('ann@h.org'), (error: GatewayError) => {
    assert.equal(error.code, 'VES_UNSUPPORTED')
    assert.match(error.wireText, /Ed25519 \(EdDSA\) of ves:\/\/vesmail\/ann@h\.org\//)
    return true
  })
})

test('an answer with nothing in it is no word about a vault or an item', async () => {
  const client = repository.client()
  const session = await client.unlock(vaultOf('ann@h.org'), password)
  for (const result of [{}, { id: 5 }, { id: 5, type: null }, { type: 1 }] as JsonObject[]) {
    client.api.request = async () => ({ attn: null, result })
    const isParse = (error: GatewayError): boolean => error.code === 'VES_PARSE'
    await assert.rejects(session.recipientVault('bob@h.org'), isParse, JSON.stringify(result))
    if (result.id === undefined) await assert.rejects(session.itemExists('ves://vesmail/bob@h.org!plain'), isParse)
  }
})
