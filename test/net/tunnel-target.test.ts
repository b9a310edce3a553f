/** The way to a proxy that a tunnel leads to: what it says before anybody listens is not lost, and it can be held back. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { connectTunnel } from '../../src/net/now/tunnel-target.ts'
import type { UpstreamOptions } from '../../src/net/upstream.ts'

const upstream = { timeoutMs: 20_000, networks: null } as unknown as UpstreamOptions

test('a greeting waits for whoever listens; all tunnels share the memory they are read into, and none loses octets', async (t) => {
  const greeted: Promise<unknown>[] = []
  const server = createServer((socket: Socket) => {
    const octets = Buffer.alloc(3_000_000, `* OK ${greeted.length} `)
    greeted.push(new Promise((resolve) => socket.write(octets.subarray(0, 9), resolve)))
    socket.end(octets.subarray(9))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as { port: number }
  const proxies = await Promise.all(['0', '1'].map(() => connectTunnel(`127.0.0.1:${port}`, upstream)))
  while (greeted.length < 2) await new Promise((later) => setImmediate(later))
  await Promise.all(greeted)
  const texts = proxies.map(async (proxy) => {
    assert.ok(proxy !== null)
    assert.ok(proxy.isPaused())
    const pieces: Buffer[] = []
    let isHeld = false
    proxy.on('data', (octets: Buffer) => {
      assert.equal(isHeld, false)
      pieces.push(Buffer.from(octets))
      // Held back now and then.
      if (pieces.length % 3 !== 0) return
      proxy.pause()
      isHeld = true
      setImmediate(() => {
        isHeld = false
        proxy.resume()
      })
    })
    proxy.resume()
    await once(proxy, 'end')
    proxy.destroy()
    return Buffer.concat(pieces).toString()
  })
  const [first = '', second = ''] = (await Promise.all(texts)).sort()
  assert.equal(first, '* OK 0 '.repeat(428_572).slice(0, 3_000_000))
  assert.equal(second, '* OK 1 '.repeat(428_572).slice(0, 3_000_000))
})

test('what names no address is none', async () => {
  for (const target of ['', 'host', 'a:b:c', 7, { host: '', port: 1 }])
    assert.equal(await connectTunnel(target, upstream), null)
})
