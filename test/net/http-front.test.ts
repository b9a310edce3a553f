/** A tunnel's front before a server that is played here: what it hears, and when. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type FrontOptions, HttpFront } from '../../src/net/http-front.ts'
import { UploadPaces } from '../../src/net/upload-pace.ts'

interface Played {
  readonly browser: Socket
  readonly front: HttpFront
  readonly behind: Server
}

async function played(t: TestContext, posted: FrontOptions['posted'] = () => null): Promise<Played> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-front-'))
  const unixPath = join(directory, 'http')
  const behind = createServer().listen(unixPath)
  await once(behind, 'listening')
  const outside = createServer({ pauseOnConnect: true, allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(outside, 'listening')
  t.after(() => {
    behind.close()
    outside.close()
    rmSync(directory, { recursive: true })
  })
  const browser = connect((outside.address() as { port: number }).port, '127.0.0.1')
  const [client] = (await once(outside, 'connection')) as [Socket]
  const front = new HttpFront({
    client,
    unixPath,
    address: '0.0.0.1',
    limits: { maxHeadOctets: 1000, maxBodyOctets: 1000, streams: () => false },
    idleMs: 20_000,
    requestMs: 20_000,
    pace: () => new UploadPaces().begin(''),
    ready: () => null,
    posted,
  })
  return { browser, front, behind }
}

test('a client that has its answer and leaves is over, though the server behind holds its connection open', async (t) => {
  const { browser, front, behind } = await played(t)
  browser.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}')
  const [server] = (await once(behind, 'connection')) as [Socket]
  await once(server, 'data')
  server.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n')
  front.answered(false)
  browser.end()
  // The rest of the answer is late, and comes all the same.
  let seen = ''
  browser.setEncoding('latin1').on('data', (text: string) => {
    seen += text
    if (seen.endsWith('\r\n\r\n')) server.write('late')
  })
  await Promise.all([front.ended, once(browser, 'close')])
  assert.equal(seen, 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate')
})

test('what a tunnel sends before the answer to the upgrade waits for it; the proxy is told when it is taken', async (t) => {
  const { browser, front, behind } = await played(t)
  browser.write('GET /ws/imap HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n')
  const [server] = (await once(behind, 'connection')) as [Socket]
  await once(server, 'data')
  let drained = 0
  front.tunnelled(() => {
    drained++
  })
  // Before the answer to the upgrade has come.
  assert.equal(front.send(Buffer.from('early')), true)
  assert.equal(front.waitingOctets, 7)
  server.write('HTTP/1.1 101 Switching Protocols\r\n\r\n')
  let seen = ''
  browser.setEncoding('latin1').on('data', (text: string) => {
    seen += text
  })
  const taken = async (text: string): Promise<void> => {
    front.send(Buffer.from(text))
    while (!seen.endsWith(text) || front.waitingOctets > 0) await new Promise((later) => setImmediate(later))
  }
  await taken('now')
  assert.equal(seen, 'HTTP/1.1 101 Switching Protocols\r\n\r\n\x82\x05early\x82\x03now')
  assert.ok(drained > 0)
  browser.destroy()
  await front.ended
})

test('each request has its time, also where the first octets of the next always come with the last of one', async (t) => {
  const answer = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  const { browser, front, behind } = await played(t, () => answer)
  t.after(() => browser.destroy())
  let nowMs = 0
  t.mock.method(performance, 'now', () => nowMs)
  const refused = once(behind, 'connection').then(() => assert.fail('the server behind has to refuse it'))
  refused.catch(() => {})
  const request = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}'
  browser.write(request.slice(0, 9))
  while (front.heldOctets < 9) await new Promise((resolve) => setImmediate(resolve))
  for (let i = 0; i < 4; i++) {
    nowMs += 15_000
    browser.write(request.slice(9) + request.slice(0, 9))
    const [octets] = (await Promise.race([once(browser, 'data'), refused])) as [Buffer]
    assert.deepEqual(octets, answer)
  }
})
