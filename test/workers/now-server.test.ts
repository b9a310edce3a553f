/**
 * The HTTP side's connections (front, uWebSockets.js behind it, tunnels) on real sockets, with answers made here: time
 * limits, order, what is held in memory, how a connection ends.
 */
import assert from 'node:assert/strict'
import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type Duplex, duplexPair } from 'node:stream'
import { after, test } from 'node:test'
import { ping, WebSocket } from 'undici'
import { DEFAULTS } from '../../src/base/config/options.ts'
import { GatewayError } from '../../src/base/errors.ts'
import { cachedItem } from '../../src/net/now/item-cache.ts'
import type { NowParts } from '../../src/net/now/now.ts'
import { messageFile } from '../../src/net/now/spool.ts'
import { DirectorySpool } from '../../src/net/now/spool-directory.ts'
import type { UpstreamOptions } from '../../src/net/upstream.ts'
import type { Tenant } from '../../src/workers/listener.ts'
import { NowServer, type NowServerParts } from '../../src/workers/now-server.ts'

const log = { write: () => {}, child: () => log }

interface Serving {
  readonly site?: Partial<NowParts>
  readonly proxy?: NowServerParts['proxy']
  readonly probe?: NowServerParts['probe']
  readonly isBlocked?: NowServerParts['isBlocked']
  readonly wrongKey?: NowServerParts['wrongKey']
  readonly idleMs?: number
  readonly requestMs?: number
  readonly uploadClock?: () => number
  readonly origins?: readonly string[]
}

interface Running {
  readonly now: NowServer
  readonly port: number
  /** By number of connection: over on the server's side. */
  readonly over: Promise<void>[]
  /** The server's ends. */
  readonly sockets: Socket[]
}

const closers: (() => Promise<void>)[] = []
after(async () => {
  for (const close of closers) await close()
})

async function serving(options: Serving): Promise<Running> {
  const site: NowParts = {
    isSecure: true,
    headers: [['x-configured', 'yes']],
    manifest: '{"a":1}',
    e2eUrl: null,
    oauthKey: null,
    viewer: null,
    repository: null,
    spool: null,
    log,
    ...options.site,
  }
  const now = await NowServer.start({
    site: () => site,
    proxy: options.proxy ?? (async () => null),
    isBlocked: options.isBlocked ?? (async () => false),
    wrongKey: options.wrongKey ?? (() => {}),
    probe: options.probe ?? (async () => ({ status: 200, body: 'probed' })),
    log,
    idleMs: options.idleMs ?? 20_000,
    requestMs: options.requestMs ?? 60_000,
    ...(options.uploadClock === undefined ? {} : { uploadClock: options.uploadClock }),
  })
  const tenant = { host: null, config: { ...DEFAULTS, 'now.origins': options.origins ?? null } } as unknown as Tenant
  const over: Promise<void>[] = []
  const sockets: Socket[] = []
  const server: Server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket: Socket) => {
    const client = { address: '192.0.2.1', port: 1 }
    sockets.push(socket)
    const upstream = {} as UpstreamOptions
    over.push(now.accept(socket, { client, listener: 'web', tenant: () => tenant, isSecure: true, upstream }))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  closers.push(async () => {
    server.close()
    await now.close()
  })
  return { now, port: (server.address() as { port: number }).port, over, sockets }
}

/** Sends, and gives all that comes until the server ends the connection. */
async function exchange(port: number, text: string, halfClose = false): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let seen = ''
  socket.setEncoding('latin1').on('data', (piece) => {
    seen += piece
  })
  socket.write(text)
  if (halfClose) socket.end()
  await once(socket, 'end')
  socket.destroy()
  return seen
}

const GET = 'GET /ves.json HTTP/1.1\r\nHost: a\r\n\r\n'
const ASK = JSON.stringify({ probe: { imap: { host: 'h', port: 1 } } })
const probe = (path: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${ASK.length}\r\n\r\n${ASK}`
const statuses = (text: string): string[] => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]!)

test('a connection without a word ends; half a request, or one octet at a time, is answered with 408', async () => {
  const { port } = await serving({ idleMs: 100, requestMs: 300 })
  assert.equal(await exchange(port, ''), '')
  for (const half of ['GET /', 'GET / HTTP/1.1\r\nHost: a\r\n', probe('/').slice(0, -1)]) {
    const answer = await exchange(port, half)
    assert.deepEqual(statuses(answer), ['408'], half)
    assert.match(answer, /^x-configured: yes\r$/im)
  }
  assert.deepEqual(statuses(await exchange(port, `${GET}GET /`)), ['200', '408'])
  const socket = connect(port, '127.0.0.1')
  const drip = setInterval(() => socket.write('x'), 20)
  socket.setEncoding('latin1')
  const [answer] = (await once(socket, 'data')) as [string]
  clearInterval(drip)
  assert.deepEqual(statuses(answer), ['408'])
  await once(socket, 'close')
})

test('pipelined requests are answered one by one, in order, however long each takes', async () => {
  let isBusy = false
  let asked = 0
  const { port } = await serving({
    probe: async () => {
      assert.equal(isBusy, false)
      isBusy = true
      await new Promise((later) => setImmediate(later))
      isBusy = false
      return { status: 200, body: `answer ${++asked};` }
    },
  })
  const answer = await exchange(port, `${GET}${probe('/')}${probe('/')}${GET}${probe('/')}`, true)
  assert.deepEqual(statuses(answer), ['200', '200', '200', '200', '200'])
  assert.deepEqual(answer.match(/answer \d;|"a":1/g), ['"a":1', 'answer 1;', 'answer 2;', '"a":1', 'answer 3;'])
})

test('a refused request ends the connection: nothing behind it is read', async () => {
  const { port } = await serving({})
  for (const [text, status] of [
    ['GET / HTTP/1.0\r\n\r\n', '505'],
    ['GET / HTTP/1.1\nHost: a\n\n', '400'],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', '400'],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!', '400'],
    [`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`, '413'],
    [`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n${'x'.repeat(40_000)}`, '413'],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n', '501'],
  ] as const) {
    const answer = await exchange(port, `${text}${GET}`)
    assert.deepEqual(statuses(answer), [status], text.slice(0, 40))
    assert.match(answer, /^x-configured: yes\r$/im)
  }
})

test('who is gone is noticed by the work for it; a half-closed client still gets its answer', async () => {
  let left = (): void => {}
  const leaving = new Promise<void>((resolve) => {
    left = resolve
  })
  const { port } = await serving({
    probe: async () => ({
      status: 200,
      body: (async function* () {
        try {
          for (;;) {
            yield Buffer.alloc(1000)
            await new Promise((later) => setImmediate(later))
          }
        } finally {
          left()
        }
      })(),
    }),
  })
  const socket = connect(port, '127.0.0.1', () => socket.write(probe('/')))
  await once(socket, 'data')
  socket.destroy()
  await leaving
  assert.deepEqual(statuses(await exchange(port, GET, true)), ['200'])
})

test('draining: open requests are answered and end, connections at rest end, none is cut', async () => {
  let release: (() => void) | null = null
  const { port, now, over } = await serving({
    probe: () =>
      new Promise((resolve) => {
        release = () => resolve({ status: 200, body: 'x'.repeat(2_000_000) })
      }),
  })
  const resting = connect(port, '127.0.0.1')
  const busy = exchange(port, probe('/'))
  while (now.connections < 2 || release === null) await new Promise((later) => setImmediate(later))
  now.drain()
  await once(resting.resume(), 'end')
  resting.destroy()
  ;(release as () => void)()
  const answer = await busy
  assert.equal(answer.length - answer.indexOf('\r\n\r\n') - 4, 2_000_000)
  await Promise.all(over)
})

test('guesses at VESkeys are counted, and refused once there were too many', async () => {
  let guesses = 0
  const unlock = async (): Promise<never> => {
    throw new GatewayError('BAD_CREDENTIALS')
  }
  const { port } = await serving({
    site: { spool: { unlock } as unknown as NowParts['spool'] },
    isBlocked: async () => guesses >= 3,
    wrongKey: () => {
      guesses++
    },
  })
  const body = JSON.stringify({ messageId: 'a@b', externalId: 'c@d', VESkey: 'guess' })
  const guess = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  const answer = await exchange(port, guess.repeat(5), true)
  assert.deepEqual(statuses(answer), ['401', '401', '401', '503', '503'])
  assert.equal(guesses, 3)
})

const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
const UPGRADE = `GET /ws/imap HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n${KEY}\r\n\r\n`

/** A tunnel's end in `proxied`, the browser's in `socket`. */
async function tunnelled(options: { proxies: Duplex[] } & Serving): Promise<Running & { url: string }> {
  const running = await serving({
    proxy: async (key) => {
      if (key === 'dead') throw new GatewayError('UPSTREAM_CONNECTION')
      if (key !== 'imap') return null
      const [inner, outer] = duplexPair({ highWaterMark: 32 * 1024 })
      options.proxies.push(inner)
      return outer
    },
    ...options,
  })
  return { ...running, url: `ws://127.0.0.1:${running.port}/ws/imap` }
}

async function opened(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url)
  socket.binaryType = 'arraybuffer'
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve)
    socket.addEventListener('error', reject)
  })
  return socket
}

const sealedAsk = (messageId: string, token: string, fields = ''): string => {
  const body = JSON.stringify({ messageId, token })
  return `POST / HTTP/1.1\r\nHost: a\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`
}

/** Two copies, of which the long one is a file that must be closed. */
function sealedSpool(item: NonNullable<NowParts['spool']>['item']) {
  const seen = { opened: 0, closed: 0 }
  const long = Buffer.alloc(300_000, 'long ')
  async function* body(): AsyncGenerator<Buffer> {
    try {
      for (let at = 0; at < long.length; at += 65_536) yield long.subarray(at, at + 65_536)
    } finally {
      seen.closed++
    }
  }
  const spool = {
    item,
    spool: {
      open: async ({ messageId }: { messageId: string }) => {
        seen.opened++
        if (messageId === 'long') return { octets: long.length, body: body() }
        seen.closed++
        const whole = Buffer.from('short copy')
        return messageId === 'short' ? { octets: whole.length, body: [whole], whole } : null
      },
    },
  } as unknown as NonNullable<NowParts['spool']>
  return { spool, seen, long }
}

test('sealed messages: the same answers in order, short or long, and who may read is asked each time', async () => {
  const asked: string[] = []
  const { spool, seen, long } = sealedSpool(async (messageId, token) => {
    asked.push(`${messageId} ${token.expose()}`)
    if (token.expose() === 'bad') throw new GatewayError('VES_DENIED')
    return { creator: 'a@x', isShared: token.expose() !== 'other' }
  })
  const { port, over } = await serving({ site: { spool } })
  const answer = await exchange(
    port,
    [
      sealedAsk('short', 'good'),
      GET,
      sealedAsk('short', 'other'),
      sealedAsk('short', 'bad'),
      sealedAsk('gone', 'good'),
      sealedAsk('long', 'good'),
      // Through the server from here on.
      sealedAsk('short', 'good'),
      sealedAsk('short', 'bad'),
      sealedAsk('short', 'good', 'Connection: close\r\n'),
    ].join(''),
  )
  assert.deepEqual(statuses(answer), ['200', '200', '403', '403', '404', '200', '200', '403', '200'])
  const heads = answer.split(/(?=HTTP\/1\.1 )/)
  for (const at of [0, 2, 3, 4, 5, 6, 7, 8]) {
    assert.match(heads[at]!, /^x-configured: yes\r$/im)
    assert.match(heads[at]!, /^cache-control: no-store\r$/im)
    assert.match(heads[at]!, /^date: \w+, /im)
  }
  for (const at of [0, 6, 8]) assert.match(heads[at]!, /\r\n\r\nshort copy$/)
  assert.match(heads[5]!, /^x-vesmail-octets: 300000\r$/im)
  const chunks = heads[5]!.slice(heads[5]!.indexOf('\r\n\r\n') + 4)
  assert.equal(chunks.replaceAll(/(?:^|\r\n)[\da-f]+\r\n/gi, '').trimEnd(), long.toString().trimEnd())
  assert.equal(asked.length, 8)
  await Promise.all(over)
  assert.deepEqual(seen, { opened: 5, closed: 5 })
})

test('a sealed message that is asked for again: the same answer, until it is gone, replaced or no longer shared', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'vesmail-now-server-'))
  closers.push(async () => rmSync(directory, { recursive: true }))
  const file = join(directory, 'a@x', messageFile('short'))
  mkdirSync(dirname(file))
  writeFileSync(file, 'short copy')
  let nowMs = 0
  let readers = ['good']
  const spool = {
    spool: new DirectorySpool(directory, { maxOctets: null, maxAgeMs: null, maxTotalOctets: null }),
    item: cachedItem(
      async (_, token) => ({ creator: 'a@x', isShared: readers.includes(token.expose()) }),
      () => nowMs,
    ),
  } as unknown as NonNullable<NowParts['spool']>
  const { port } = await serving({ site: { spool } })
  const last = `${GET.slice(0, -2)}Connection: close\r\n\r\n`
  const asked = async (...tokens: string[]): Promise<string[]> => {
    const text = await exchange(port, tokens.map((token) => sealedAsk('short', token)).join('') + last)
    const answers = text.split(/(?=HTTP\/1\.1 )/).slice(0, -1)
    assert.equal(answers.length, tokens.length)
    return answers.map((answer) => answer.replace(/^Date: .*$/m, 'Date:'))
  }
  const answers = await asked('good', 'good', 'good', 'other', 'good')
  assert.match(answers[0]!, /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\nContent-Length: 10\r\n\r\nshort copy$/)
  for (const at of [1, 2, 4]) assert.equal(answers[at], answers[0])
  assert.match(answers[3]!, /^HTTP\/1\.1 403 /)
  // Within the second, most often.
  writeFileSync(`${file}.new`, 'other copy')
  renameSync(`${file}.new`, file)
  for (const answer of await asked('good', 'good')) assert.match(answer, /other copy$/)
  unlinkSync(file)
  for (const answer of await asked('good', 'good')) assert.match(answer, /^HTTP\/1\.1 404 /)
  writeFileSync(file, 'third copy')
  for (const answer of await asked('good', 'good')) assert.match(answer, /third copy$/)
  readers = []
  nowMs = 5000
  for (const answer of await asked('good', 'good')) assert.match(answer, /^HTTP\/1\.1 403 /)
})

test('draining while a sealed message is asked for, and a half-closed client: answered, told, ended', async () => {
  const asked = Promise.withResolvers<void>()
  let asking = 0
  const answers = Promise.withResolvers<{ creator: string; isShared: boolean }>()
  const { spool } = sealedSpool(async () => {
    if (++asking === 2) asked.resolve()
    return answers.promise
  })
  const { now, port } = await serving({ site: { spool } })
  const waiting = [exchange(port, sealedAsk('short', 'good')), exchange(port, sealedAsk('short', 'good'), true)]
  await asked.promise
  now.drain()
  answers.resolve({ creator: 'a@x', isShared: true })
  for (const answer of await Promise.all(waiting)) {
    assert.match(answer, /^connection: close\r$/im)
    assert.match(answer, /short copy$/)
  }
})

/** A spool that takes one upload after the other, and tells what becomes of them. */
function uploadSpool() {
  const seen = { writing: Promise.withResolvers<void>(), kept: 0, aborted: Promise.withResolvers<void>() }
  const spool = {
    uploadedItem: async () => ({ creator: 'a@x', isShared: true }),
    maxOctets: 1_000_000,
    admit: async () => ({ grow: () => true, end: () => {} }),
    spool: {
      create: async () => ({
        write: async () => seen.writing.resolve(),
        commit: async () => {
          seen.kept++
          return true
        },
        abort: async () => seen.aborted.resolve(),
      }),
    },
  } as unknown as NonNullable<NowParts['spool']>
  return { spool, seen }
}

const SEALED_HEAD = 'X-VESmail-ID: <a@b>\r\nX-VESmail-Verify: token\r\n\r\n'
const put = (length: number): string => `PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n${SEALED_HEAD}`

test('an upload that comes too slowly, falls silent or loses its form is answered, and nothing of it is kept', async () => {
  for (const [status, ends] of [
    ['408', 'trickles'],
    ['408', 'falls silent'],
    ['400', 'bad chunk'],
  ] as const) {
    const { spool, seen } = uploadSpool()
    let nowMs = 0
    const idleMs = ends === 'falls silent' ? 100 : 20_000
    const { port, over } = await serving({ site: { spool }, idleMs, uploadClock: () => nowMs })
    const socket = connect(port, '127.0.0.1')
    const chunk = `${SEALED_HEAD.length.toString(16)}\r\n${SEALED_HEAD}\r\n`
    socket.write(
      ends === 'bad chunk' ? `PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}` : put(100_000),
    )
    await seen.writing.promise
    if (ends === 'trickles') nowMs += 60_000
    if (ends !== 'falls silent') socket.write('x\r\n')
    let answer = ''
    for await (const piece of socket.setEncoding('latin1')) answer += piece
    assert.deepEqual(statuses(answer), [status], ends)
    assert.match(answer, /^x-configured: yes\r$/im)
    await Promise.all(over)
    await seen.aborted.promise
    assert.equal(seen.kept, 0)
  }
})

test('a client that leaves before a long message is found keeps no file open', async () => {
  const asked = Promise.withResolvers<void>()
  const answers = Promise.withResolvers<{ creator: string; isShared: boolean }>()
  const { spool, seen } = sealedSpool(async () => {
    asked.resolve()
    return answers.promise
  })
  const { port, over } = await serving({ site: { spool } })
  const socket = connect(port, '127.0.0.1')
  socket.write(sealedAsk('long', 'good'))
  await asked.promise
  socket.resetAndDestroy()
  await Promise.all(over)
  answers.resolve({ creator: 'a@x', isShared: true })
  while (seen.closed === 0) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(seen, { opened: 1, closed: 1 })
})

test('a tunnel carries octets both ways, whatever their frames; close codes; 404, 502, 403', async () => {
  const proxies: Duplex[] = []
  const { url, port } = await tunnelled({ proxies })
  const socket = await opened(url)
  const proxy = proxies[0]!
  const got: Buffer[] = []
  proxy.on('data', (octets: Buffer) => got.push(octets))
  const sent: Buffer[] = []
  for (const size of [1, 125, 126, 65_535, 65_536, 20_000_000, 0, 7]) {
    const piece = Buffer.alloc(size, String(size))
    sent.push(piece)
    socket.send(size === 125 ? piece.toString() : piece)
  }
  const all = Buffer.concat(sent)
  while (got.reduce((sum, { length }) => sum + length, 0) < all.length) await once(proxy, 'data')
  assert.ok(Buffer.concat(got).equals(all))

  let back = Buffer.alloc(0)
  socket.addEventListener('message', ({ data }) => {
    back = Buffer.concat([back, Buffer.from(data as ArrayBuffer)])
  })
  for (const size of [1, 126, 70_000]) proxy.write(Buffer.alloc(size, 'z'))
  while (back.length < 70_127) await new Promise((later) => setImmediate(later))
  const ended = once(proxy, 'end')
  socket.close(1000, 'bye')
  await ended
  const [{ code }] = (await once(socket as never, 'close')) as [{ code: number }]
  assert.equal(code, 1000)

  const second = await opened(url)
  const closed = once(second as never, 'close') as Promise<[{ code: number }]>
  proxies[1]!.end()
  assert.equal((await closed)[0].code, 1000)

  const upgrade =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
  const ask = async (path: string) => statuses(await exchange(port, `GET ${path} HTTP/1.1\r\nHost: a\r\n${upgrade}`))
  assert.deepEqual(await ask('/ws/none'), ['404'])
  assert.deepEqual(await ask('/ws/dead'), ['502'])
})

test('draining: a tunnel stays until its proxy ends, or the deadline of its listener, and is told 1001', async () => {
  const proxies: Duplex[] = []
  const { now, url } = await tunnelled({ proxies })
  const sockets = [await opened(url), await opened(url)]
  const ends = sockets.map(async (socket) => {
    const [{ code, reason }] = (await once(socket as never, 'close')) as [{ code: number; reason: string }]
    return { code, reason }
  })
  now.drain()
  now.endTunnels((listener) => listener !== 'web')
  sockets[0]!.send('a LOGOUT\r\n')
  assert.equal(String((await once(proxies[0]!, 'data'))[0]), 'a LOGOUT\r\n')
  const heard = once(sockets[0] as never, 'message') as Promise<[{ data: ArrayBuffer }]>
  proxies[0]!.end('* BYE\r\n')
  assert.equal(Buffer.from((await heard)[0].data).toString(), '* BYE\r\n')
  assert.deepEqual(await ends[0], { code: 1001, reason: 'restarting' })
  proxies[1]!.write('still here')
  await once(sockets[1] as never, 'message')
  now.endTunnels((listener) => listener === 'web')
  assert.deepEqual(await ends[1], { code: 1001, reason: 'restarting' })
})

test('a tunnel behind a request on the same connection: the answer comes first, then its octets', async () => {
  const proxies: Duplex[] = []
  const { port } = await tunnelled({ proxies, probe: async () => ({ status: 200, body: 'p'.repeat(500_000) }) })
  const socket = connect(port, '127.0.0.1')
  socket.write(
    `${probe('/')}GET /ws/imap HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  )
  const pieces: Buffer[] = []
  socket.on('data', (octets: Buffer) => pieces.push(octets))
  while (proxies.length === 0) await once(socket, 'data')
  proxies[0]!.end(Buffer.alloc(100_000, 'm'))
  await once(socket, 'end')
  socket.destroy()
  const text = Buffer.concat(pieces).toString('latin1')
  assert.deepEqual(statuses(text), ['200', '101'])
  assert.equal(text.indexOf('HTTP/1.1 101') - text.indexOf('\r\n\r\n') - 4, 500_000)
  const frames = Buffer.from(text.slice(text.indexOf('\r\n\r\n', 500_000) + 4), 'latin1')
  let octets = 0
  let at = 0
  for (; (frames[at]! & 15) === 2; ) {
    const short = frames[at + 1]!
    const length = short === 126 ? frames.readUInt16BE(at + 2) : short === 127 ? frames.readUInt32BE(at + 6) : short
    octets += length
    at += length + (short === 126 ? 4 : short === 127 ? 10 : 2)
  }
  assert.equal(octets, 100_000)
  assert.equal(frames.toString('latin1', at), '\x88\x16\x03\xe8closed by the server')
})

test('what opens no WebSocket is told so, and opens nothing', async () => {
  const proxies: Duplex[] = []
  const { port } = await tunnelled({ proxies })
  const good = ['Connection: keep-alive, Upgrade', 'Upgrade: WebSocket', 'Sec-WebSocket-Version: 13', KEY]
  const ask = (fields: readonly string[], method = 'GET', body = '', path = '/ws/imap'): Promise<string> =>
    exchange(port, `${method} ${path} HTTP/1.1\r\nHost: a\r\n${fields.join('\r\n')}\r\n\r\n${body}`)
  const without = (name: string): string[] => good.filter((field) => !field.startsWith(name))
  for (const [status, asked] of [
    ['426', ask([...without('Upgrade'), 'Upgrade: h2c'])],
    ['426', ask(without('Connection'))],
    ['426', ask([...without('Connection'), 'Connection: close, upgrades'])],
    ['426', ask([...without('Sec-WebSocket-Version'), 'Sec-WebSocket-Version: 12'])],
    ['426', ask(without('Sec-WebSocket-Version'))],
    ['400', ask([...without('Sec-WebSocket-Key'), 'Sec-WebSocket-Key: ========================'])],
    ['400', ask([...good, 'Content-Length: 5'], 'GET', 'hello')],
    ['400', ask([...good, 'Transfer-Encoding: chunked'], 'GET', '0\r\n\r\n')],
    ['404', ask(good, 'GET', '', '/ws/__proto__')],
    ['404', ask(good, 'GET', '', '/ws/constructor')],
    ['404', ask(good, 'GET', '', '/ws/imap%00')],
    ['404', ask(good, 'GET', '', '/ws/')],
  ] as const) {
    const answer = await asked
    assert.deepEqual(statuses(answer), [status])
    assert.match(answer, /^x-configured: yes\r$/im)
    if (status === '426') assert.match(answer, /^upgrade: websocket\r$/im)
  }
  assert.equal(proxies.length, 0)
})

test('only pages of the listed origins may open a tunnel', async () => {
  const proxies: Duplex[] = []
  const { url } = await tunnelled({ proxies, origins: ['https://mail.example'] })
  for (const origin of [null, 'https://evil.example', 'https://mail.example.evil.example', 'null']) {
    const socket = new WebSocket(url, origin === null ? {} : { headers: { origin } })
    await once(socket as never, 'error')
  }
  const socket = new WebSocket(url, { headers: { origin: 'https://mail.example' } })
  await once(socket as never, 'open')
  assert.equal(proxies.length, 1)
  socket.close()
  await once(socket as never, 'close')
})

/** What a tunnel may hold for one slow end (now.md's issue). */
const MAX_HELD = 256 * 1024

/** Until a while of events brings nothing. @param look is called each time, and says how far it is */
async function stalled(look: () => number): Promise<void> {
  for (let before = -1, still = 0; still < 200; ) {
    await new Promise((later) => setImmediate(later))
    const at = look()
    still = before === at ? still + 1 : 0
    before = at
  }
}

test('a slow browser: the proxy is held back, and little is held', async () => {
  const proxies: Duplex[] = []
  const { port, now } = await tunnelled({ proxies })
  const socket = connect(port, '127.0.0.1')
  socket.write(UPGRADE)
  await once(socket, 'readable')
  socket.pause()
  const proxy = proxies[0]!
  const total = 64 * 1024 * 1024
  let written = 0
  let most = 0
  const pour = (): void => {
    while (written < total) {
      written += 65_536
      const isTaken = proxy.write(Buffer.alloc(65_536, 'x'))
      most = Math.max(most, now.heldOctets)
      if (!isTaken) return
    }
  }
  proxy.on('drain', pour)
  pour()
  await stalled(() => {
    most = Math.max(most, now.heldOctets)
    return written
  })
  assert.ok(written < total, 'held back')
  assert.ok(most <= MAX_HELD, `${most} octets held`)
  // And all of it comes once it is read.
  let read = 0
  for await (const chunk of socket) {
    read += (chunk as Buffer).length
    most = Math.max(most, now.heldOctets)
    if (read >= total) break
  }
  assert.ok(most <= MAX_HELD, `${most} octets held`)
  socket.destroy()
})

test('a slow proxy: the browser is held back, even within one frame, and little is held', async () => {
  const proxies: Duplex[] = []
  const { port, now } = await tunnelled({ proxies })
  const socket = connect(port, '127.0.0.1')
  socket.write(UPGRADE)
  await once(socket, 'data')
  const total = 64 * 1024 * 1024
  const head = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  head.writeBigUInt64BE(BigInt(total), 2)
  socket.write(head)
  let written = 0
  let most = 0
  const pour = (): void => {
    while (written < total) {
      written += 65_536
      if (!socket.write(Buffer.alloc(65_536, 'x'))) return
    }
  }
  socket.on('drain', pour)
  pour()
  await stalled(() => {
    most = Math.max(most, now.heldOctets)
    return written
  })
  assert.ok(written < total, 'held back')
  assert.ok(most <= MAX_HELD, `${most} octets held`)
  let read = 0
  for await (const chunk of proxies[0]!) {
    read += (chunk as Buffer).length
    if (read >= total) break
  }
  assert.equal(read, total)
  socket.destroy()
})

const turn = (): Promise<void> => new Promise((later) => setImmediate(later))

test('pings go both ways and are answered; a tunnel whose client answers stays', async () => {
  const proxies: Duplex[] = []
  const { url, now, sockets } = await tunnelled({ proxies })
  const socket = await opened(url)
  const seen: string[] = []
  for (const name of ['ping', 'pong']) {
    subscribe(`undici:websocket:${name}`, (event) => {
      const { websocket, payload } = event as { websocket: WebSocket; payload: Buffer }
      if (websocket === socket) seen.push(`${name} ${payload}`)
    })
  }
  for (const body of ['', 'x'.repeat(125)]) {
    ping(socket, Buffer.from(body))
    while (!seen.includes(`pong ${body}`)) await turn()
  }
  seen.length = 0
  // The first beat finds those signs of life, and asks for none.
  now.beat()
  for (let beat = 1; beat <= 20; beat++) {
    const before = sockets[0]!.bytesRead
    now.beat()
    while (sockets[0]!.bytesRead === before) await turn()
    now.beat()
    assert.deepEqual(seen, Array(beat).fill('ping '))
  }
  const got = once(proxies[0]!, 'data')
  socket.send('still here')
  assert.equal(String((await got)[0]), 'still here')
  socket.close()
  await once(socket as never, 'close')
})

test('a client that is gone without a word loses its tunnel, and the proxy learns of it; one that takes octets slowly does not', async () => {
  const proxies: Duplex[] = []
  const { port, now, over } = await tunnelled({ proxies })
  const gone = connect(port, '127.0.0.1', () => gone.write(UPGRADE))
  const answer = once(gone, 'data')
  await answer
  const ended = once(proxies[0]!.resume(), 'end')
  for (let beat = 0; beat < 6; beat++) now.beat()
  await ended
  await over[0]
  await once(gone.resume(), 'close')

  const slow = connect(port, '127.0.0.1', () => slow.write(UPGRADE))
  await once(slow, 'readable')
  const proxy = proxies[1]!
  let written = 0
  const pour = (): void => {
    do written += 65_536
    while (proxy.write(Buffer.alloc(65_536, 'x')))
  }
  proxy.on('drain', pour).on('error', () => {})
  pour()
  let isOver = false
  void over[1]!.then(() => {
    isOver = true
  })
  await stalled(() => written)
  for (let beat = 0; beat < 20; beat++) {
    now.beat()
    // As long as it takes until the kernel asks for more.
    for (const before = written; written === before && !isOver; await turn()) slow.read()
    await stalled(() => written)
    assert.equal(isOver, false, `beat ${beat}`)
  }
  proxy.off('drain', pour)
  for (let beat = 0; beat < 6; beat++) now.beat()
  await over[1]
  slow.destroy()
})

test('a client that is held back stays while the proxy takes anything, and not for ever where it does not', async () => {
  const proxies: Duplex[] = []
  const { port, now, over } = await tunnelled({ proxies })
  const socket = connect(port, '127.0.0.1', () => socket.write(UPGRADE))
  await once(socket, 'data')
  const head = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0])
  socket.write(head)
  let written = 0
  const pour = (): void => {
    do written += 65_536
    while (socket.write(Buffer.alloc(65_536, 'x')))
  }
  socket.on('drain', pour).on('error', () => {})
  pour()
  let isOver = false
  void over[0]!.then(() => {
    isOver = true
  })
  await stalled(() => written)
  for (let beat = 0; beat < 20; beat++) {
    now.beat()
    await once(proxies[0]!, 'readable')
    proxies[0]!.read()
    await stalled(() => written)
    assert.equal(isOver, false, `beat ${beat}`)
  }
  // It may be gone by now, and nobody would know.
  socket.off('drain', pour)
  for (let beat = 0; beat < 6; beat++) now.beat()
  await over[0]
  socket.destroy()
})

test('a thousand tunnels at once', async () => {
  const proxies: Duplex[] = []
  const { url, now } = await tunnelled({ proxies })
  const sockets = await Promise.all(Array.from({ length: 1000 }, () => opened(url)))
  assert.equal(now.connections, 1000)
  for (const proxy of proxies) proxy.on('data', (octets: Buffer) => proxy.write(octets))
  const echoes = sockets.map(async (socket, i) => {
    const back = once(socket as never, 'message') as Promise<[{ data: ArrayBuffer }]>
    socket.send(`hello ${i}`)
    assert.equal(Buffer.from((await back)[0].data).toString(), `hello ${i}`)
  })
  await Promise.all(echoes)
  const closed = sockets.map((socket) => once(socket as never, 'close'))
  for (const socket of sockets) socket.close()
  await Promise.all(closed)
})
