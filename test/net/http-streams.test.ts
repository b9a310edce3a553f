import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import {
  type HttpRequest,
  type HttpResponse,
  listen,
  type WebSocketEnd,
  type WebSocketOptions,
} from '../../src/net/http.ts'

interface Serving {
  readonly handle?: (request: HttpRequest) => HttpResponse | Promise<HttpResponse>
  readonly webSocket?: WebSocketOptions
}

async function serving(options: Serving, use: (origin: string, port: number) => Promise<void>): Promise<void> {
  const server = await listen({
    host: '127.0.0.1',
    port: 0,
    maxBodyOctets: 1000,
    streams: ({ method }) => method === 'PUT',
    handle: options.handle ?? (() => ({ status: 404 })),
    ...(options.webSocket === undefined ? {} : { webSocket: options.webSocket }),
  })
  try {
    await use(`127.0.0.1:${server.port}`, server.port)
  } finally {
    await server.close()
  }
}

test('a streamed body arrives whole, above the limit for whole bodies', async () => {
  const handle = async ({ stream, body }: HttpRequest): Promise<HttpResponse> => {
    assert.equal(body.length, 0)
    let octets = 0
    for await (const chunk of stream!) octets += chunk.length
    return { status: 201, body: String(octets) }
  }
  await serving({ handle }, async (origin) => {
    const answer = await fetch(`http://${origin}/x`, { method: 'PUT', body: Buffer.alloc(5_000_000) })
    assert.equal(answer.status, 201)
    assert.equal(await answer.text(), '5000000')
  })
})

test('a slow reader of an upload holds the client back', async () => {
  let release = (): void => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const handle = async ({ stream }: HttpRequest): Promise<HttpResponse> => {
    await held
    let octets = 0
    for await (const chunk of stream!) octets += chunk.length
    return { status: 200, body: String(octets) }
  }
  await serving({ handle }, async (_, port) => {
    const total = 64 * 1024 * 1024
    const socket = connect(port, '127.0.0.1')
    socket.write(`PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: ${total}\r\n\r\n`)
    // Far more than the kernel's buffers and the read-ahead hold together: the rest has to stay on this side.
    for (let written = 0; written < total; written += 1024 * 1024) socket.write(Buffer.alloc(1024 * 1024))
    let before = -1
    while (socket.bytesWritten - socket.writableLength !== before) {
      before = socket.bytesWritten - socket.writableLength
      await new Promise((later) => setTimeout(later, 100))
    }
    assert.ok(socket.writableLength > total / 2, `${before} octets were taken unread`)
    release()
    const answered = new Promise<string>((resolve) => socket.on('data', (data) => resolve(data.toString())))
    assert.match(await answered, new RegExp(`${total}$`))
    socket.destroy()
  })
})

test('a streamed answer comes chunk by chunk; one that fails is cut, not ended', async () => {
  let fail = false
  const handle = (): HttpResponse => ({
    status: 200,
    body: (async function* () {
      yield Buffer.from('first ')
      if (fail) throw new Error('disk')
      yield Buffer.from('second')
    })(),
  })
  await serving({ handle }, async (origin) => {
    assert.equal(await (await fetch(`http://${origin}/`)).text(), 'first second')
    fail = true
    await assert.rejects(async () => (await fetch(`http://${origin}/`)).text())
  })
})

test('an upload that is refused early ends with its answer and the connection', async () => {
  await serving({ handle: () => ({ status: 401 }) }, async (origin) => {
    const answer = await fetch(`http://${origin}/x`, { method: 'PUT', body: Buffer.alloc(100) })
    assert.equal(answer.status, 401)
    assert.equal((await fetch(`http://${origin}/y`)).status, 401)
  })
})

const echo = (seen: WebSocketEnd[] = []): WebSocketOptions => ({
  prefix: '/ws/',
  maxMessageOctets: 1024 * 1024,
  accept: async ({ path }) => {
    if (path === '/ws/unknown') return { status: 404, body: 'no such tunnel' }
    return (end) => {
      seen.push(end)
      return { message: (bytes) => end.send(bytes), drained: () => {}, closed: () => {} }
    }
  },
})

test('a WebSocket carries messages of any size, text and binary', async () => {
  await serving({ webSocket: echo() }, async (origin) => {
    const socket = new WebSocket(`ws://${origin}/ws/imap`)
    socket.binaryType = 'arraybuffer'
    await new Promise((opened) => socket.addEventListener('open', opened, { once: true }))
    for (const size of [0, 1, 125, 126, 127, 65_535, 65_536, 300_000]) {
      const sent = Buffer.alloc(size, 0x61 + (size % 26))
      const back = new Promise<ArrayBuffer>((resolve) => {
        socket.addEventListener('message', ({ data }) => resolve(data as ArrayBuffer), { once: true })
      })
      socket.send(size % 2 === 0 ? sent : sent.toString())
      assert.deepEqual(Buffer.from(await back), sent, `${size} octets`)
    }
    const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener('close', resolve, { once: true }))
    socket.send(Buffer.alloc(1024 * 1024 + 1))
    assert.equal((await closed).wasClean, false)
  })
})

test('a WebSocket may be refused with an answer, and after its close its end is harmless', async () => {
  const seen: WebSocketEnd[] = []
  await serving({ webSocket: echo(seen) }, async (origin) => {
    const refused = new WebSocket(`ws://${origin}/ws/unknown`)
    await new Promise((failed) => refused.addEventListener('error', failed, { once: true }))
    const socket = new WebSocket(`ws://${origin}/ws/imap`)
    await new Promise((opened) => socket.addEventListener('open', opened, { once: true }))
    const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener('close', resolve, { once: true }))
    seen[0]!.close(1001, 'going')
    const { code, reason } = await closed
    assert.deepEqual({ code, reason }, { code: 1001, reason: 'going' })
    seen[0]!.send(Buffer.from('late'))
    assert.equal(seen[0]!.waitingOctets, 0)
  })
})

test('a request without upgrade on a WebSocket path is an ordinary one', async () => {
  await serving({ webSocket: echo(), handle: () => ({ status: 426 }) }, async (origin) => {
    assert.equal((await fetch(`http://${origin}/ws/imap`)).status, 426)
  })
})
