/** What the admin listener tells a load balancer: whether new clients are welcome, and while they are not, that the process lives. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { after, test } from 'node:test'
import { Admin } from '../../src/workers/admin.ts'

test('readiness ends when draining begins; life and metrics go on', async () => {
  const log = { write: () => {}, child: () => log }
  let isReady = true
  const admin = await Admin.start({ isReady: () => isReady, metrics: async () => null, log })
  after(() => admin.close())
  const end = { address: '127.0.0.1', port: 1 }
  const server = createServer({ pauseOnConnect: true }, (socket) => void admin.accept(socket, end, end))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  after(() => server.close())
  const ask = (path: string, method = 'GET'): Promise<Response> =>
    fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, { method })
  const get = async (path: string): Promise<[number, string]> => {
    const answer = await ask(path)
    return [answer.status, await answer.text()]
  }
  assert.deepEqual(await get('/readyz'), [200, 'ready\n'])
  isReady = false
  assert.deepEqual(await get('/readyz'), [503, 'draining\n'])
  assert.deepEqual(await get('/healthz'), [200, 'ok\n'])
  assert.equal((await get('/metrics'))[0], 503)
  assert.equal((await ask('/healthz', 'HEAD')).status, 200)
  for (const method of ['DELETE', 'PUT']) {
    const refused = await ask('/healthz', method)
    assert.deepEqual([refused.status, refused.headers.get('allow')], [405, 'GET, HEAD'])
  }
})
