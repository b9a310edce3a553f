import assert from 'node:assert/strict'
import { after, describe, test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { Secret } from '../../../src/base/secret.ts'
import { ApiConnection, type ApiConnectionOptions } from '../../../src/ves/client/api-connection.ts'
import { CircuitBreaker } from '../../../src/ves/client/circuit-breaker.ts'
import { ok, refused, type Said, scriptedRepository } from './scripted-repository.ts'

const closing: (() => Promise<void>)[] = []
after(async () => {
  for (const close of closing) await close()
})

async function connect(say: Parameters<typeof scriptedRepository>[0], more: Partial<ApiConnectionOptions> = {}) {
  const repository = await scriptedRepository(say)
  closing.push(() => repository.close())
  const connection = new ApiConnection({
    api: repository.api,
    connections: 2,
    connectTimeoutMs: 1000,
    requestTimeoutMs: 5000,
    ca: null,
    userAgent: 'test',
    nowMs: () => 0,
    ...more,
  })
  closing.push(() => connection.close())
  return { connection, repository }
}

async function codeOf(asked: Promise<unknown>): Promise<string> {
  const error = await asked.then(
    () => assert.fail('it should have failed'),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof GatewayError, String(error))
  return error.code
}

describe('what an answer means', () => {
  const answers: readonly [Said, string][] = [
    [refused(401), 'VES_DENIED'],
    [refused(403), 'VES_DENIED'],
    [refused(404), 'VES_NOT_FOUND'],
    [refused(500), 'VES_SERVER'],
    [{ status: 503, json: { errors: [{ number: 1, type: 'Quota', message: 'm' }] } }, 'VES_QUOTA'],
    [{ status: 501, json: { errors: [{ number: 1, type: 'Unsupported', message: 'm' }] } }, 'VES_UNSUPPORTED'],
    // What a proxy says, not the repository: never "there is no such vault".
    [{ status: 404, text: '<html>not found</html>' }, 'VES_SERVER'],
    [{ status: 404, json: {} }, 'VES_SERVER'],
    [{ status: 404, json: { errors: [] } }, 'VES_SERVER'],
    [{ status: 404, json: { errors: [{ status: '404', title: 'Not Found' }] } }, 'VES_SERVER'],
    [{ status: 404, json: { errors: [{ type: 'NoRoute', message: 'no such service' }] } }, 'VES_SERVER'],
    [{ status: 502, text: 'bad gateway' }, 'VES_SERVER'],
    [{ status: 200, text: 'hello' }, 'VES_PARSE'],
    [{ status: 200, json: { result: null } }, 'VES_PARSE'],
    [{ status: 200, json: { result: [1] } }, 'VES_PARSE'],
    [{ status: 201, json: { result: {} } }, 'VES_SERVER'],
    [{ status: 302, text: '' }, 'VES_SERVER'],
  ]
  for (const [said, code] of answers) {
    test(`${JSON.stringify(said)} is ${code}`, async () => {
      const { connection } = await connect(() => said)
      assert.equal(await codeOf(connection.request({ path: 'me' })), code)
    })
  }

  test('a result, and what is pending beside it', async () => {
    const { connection, repository } = await connect(() => ok({ id: 1 }, { vaultKeys: [] }))
    const answer = await connection.request({ path: 'me?fields=id', bearer: new Secret('token') })
    assert.deepEqual(answer, { result: { id: 1 }, attn: { vaultKeys: [] } })
    const [asked] = repository.asked
    assert.equal(asked?.bearer, 'token')
    assert.equal(asked?.method, 'GET')
    assert.equal(asked?.query.get('fields'), 'id')
  })

  test('an answer that does not end', async () => {
    const { connection } = await connect(() => ({
      status: 200,
      text: `{"result":{"x":"${'x'.repeat(33 * 1024 * 1024)}"}}`,
    }))
    assert.equal(await codeOf(connection.request({ path: 'me' })), 'VES_PARSE')
  })
})

describe('repetition', () => {
  const cutOnce = (_: unknown, nth: number): Said => (nth === 0 ? 'reset' : ok({ id: 1 }))

  test('reading is repeated when the connection breaks', async () => {
    const { connection, repository } = await connect(cutOnce)
    assert.deepEqual((await connection.request({ path: 'me' })).result, { id: 1 })
    const fetch = { path: 'vaultKeys', body: { $op: 'fetch' } }
    assert.deepEqual((await connection.request(fetch)).result, { id: 1 })
    assert.equal(repository.asked.length, 3)
  })

  test('writing is not: it may have been done', async () => {
    const { connection, repository } = await connect(cutOnce)
    assert.equal(await codeOf(connection.request({ path: 'vaultItems', body: { $op: 'create' } })), 'VES_CONNECTION')
    assert.equal(repository.asked.length, 1)
  })

  test('unless twice is as good as once', async () => {
    const { connection, repository } = await connect(cutOnce)
    await connection.request({ path: 'vaultItems', body: { id: 1 }, repeatable: true })
    assert.equal(repository.asked.length, 2)
  })

  test('a refusal is final', async () => {
    const { connection, repository } = await connect(() => refused(500))
    assert.equal(await codeOf(connection.request({ path: 'me' })), 'VES_SERVER')
    assert.equal(repository.asked.length, 1)
  })
})

describe('a repository that is down', () => {
  test('silence ends at the time limit, and is not repeated', async () => {
    const { connection, repository } = await connect(() => 'silence', { requestTimeoutMs: 100 })
    assert.equal(await codeOf(connection.request({ path: 'me' })), 'VES_CONNECTION')
    assert.equal(repository.asked.length, 1)
  })

  test('who only waits for a connection is told in time, too, and its request is never sent', async () => {
    const { connection, repository } = await connect(() => 'silence', { connections: 1, requestTimeoutMs: 200 })
    const failed = await Promise.all([
      codeOf(connection.request({ path: 'me' })),
      codeOf(connection.request({ path: 'vaultKeys/1' })),
    ])
    assert.deepEqual(failed, ['VES_CONNECTION', 'VES_CONNECTION'])
    const after = codeOf(connection.request({ path: 'vaultKeys/2' }))
    await after
    assert.ok(!repository.asked.some(({ path }) => path === 'vaultKeys/1'))
  })

  test('after five failures in two seconds nobody waits for it; one asks from time to time, and all when it is back', async () => {
    let nowMs = -2000
    let down = true
    const { connection, repository } = await connect(() => (down ? 'reset' : ok({})), { nowMs: () => nowMs })
    const write = { path: 'vaultItems', body: {} }
    for (let i = 0; i < 4; i++) assert.equal(await codeOf(connection.request(write)), 'VES_CONNECTION')
    assert.ok(!connection.isDown)
    nowMs = 0
    assert.equal(await codeOf(connection.request(write)), 'VES_CONNECTION')
    assert.equal(repository.asked.length, 5)
    assert.ok(connection.isDown)
    assert.equal(await codeOf(connection.request(write)), 'VES_CONNECTION')
    assert.equal(repository.asked.length, 5)
    nowMs = 1000
    const probes = await Promise.all([codeOf(connection.request(write)), codeOf(connection.request(write))])
    assert.deepEqual(probes, ['VES_CONNECTION', 'VES_CONNECTION'])
    assert.equal(repository.asked.length, 6)
    // The pause doubles.
    nowMs = 2500
    assert.equal(await codeOf(connection.request(write)), 'VES_CONNECTION')
    assert.equal(repository.asked.length, 6)
    nowMs = 3000
    down = false
    await connection.request(write)
    assert.ok(!connection.isDown)
    await connection.request(write)
    assert.equal(repository.asked.length, 8)
  })

  test('what a stranger calls a token is refused here where it cannot be sent, and shuts nobody out', async () => {
    let nowMs = 0
    const { connection, repository } = await connect(() => ok({}), { nowMs: () => nowMs })
    for (let i = 0; i < 20; i++) {
      nowMs += 1000
      for (const token of ['a\r\nX: y', '€', 'a b', '\0', '\x7f', '', 'x'.repeat(5000)]) {
        assert.equal(await codeOf(connection.request({ path: 'me', bearer: new Secret(token) })), 'VES_DENIED')
      }
    }
    assert.ok(!connection.isDown)
    assert.equal(repository.asked.length, 0)
    await connection.request({ path: 'me', bearer: new Secret('t0ken~!') })
  })

  test('a hundred that fail together are no reason to stay away for long, nor are many within a moment', async () => {
    let nowMs = 0
    const breaker = new CircuitBreaker({ failures: 5, leastMs: 2000, firstMs: 1000, maxMs: 30_000, nowMs: () => nowMs })
    for (let i = 0; i < 100; i++) breaker.failed()
    assert.equal(breaker.refusedForMs(), null)
    nowMs = 2000
    for (let i = 0; i < 100; i++) breaker.failed()
    assert.equal(breaker.refusedForMs(), 1000)
    nowMs = 3000
    assert.equal(breaker.refusedForMs(), null)
    assert.equal(breaker.refusedForMs(), 0)
    // The probe ends as one that was under way all along.
    breaker.failed()
    assert.equal(breaker.refusedForMs(), 2000)
    nowMs = 5000
    assert.equal(breaker.refusedForMs(), null)
    breaker.succeeded()
    assert.ok(!breaker.isOpen)
    // Failures are counted anew.
    nowMs = 9000
    for (let i = 0; i < 10; i++) breaker.failed()
    assert.ok(!breaker.isOpen)
  })

  test('one that is restarted is waited for a moment, also by what writes', async () => {
    const { connection, repository } = await connect(() => ok({ id: 1 }))
    await connection.request({ path: 'me' })
    await repository.close()
    const asked = connection.request({ path: 'vaultItems', body: {} })
    await new Promise((resolve) => setImmediate(resolve))
    await repository.reopen()
    assert.deepEqual((await asked).result, { id: 1 })
  })

  test('nobody there at all: said soon, with the reason', async () => {
    const { connection, repository } = await connect(() => ok({}))
    await repository.close()
    await assert.rejects(connection.request({ path: 'vaultItems', body: {} }), (error: GatewayError) => {
      assert.equal(error.code, 'VES_CONNECTION')
      assert.equal(error.detail.reason, 'ECONNREFUSED')
      return true
    })
  })

  test('an API that is no URL is a configuration error', async () => {
    for (const api of ['nonsense', 'ftp://x.org/']) {
      await assert.rejects(
        connect(() => ok({}), { api }),
        (error: GatewayError) => error.code === 'CONFIG_INVALID',
      )
    }
  })
})
