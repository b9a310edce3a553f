import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type HttpRequest, type HttpResponse, listen } from '../../src/net/http.ts'

async function serving(
  handle: (request: HttpRequest) => HttpResponse | Promise<HttpResponse>,
  use: (url: string, port: number) => Promise<void>,
): Promise<void> {
  const server = await listen({ host: '127.0.0.1', port: 0, maxBodyOctets: 1000, handle })
  try {
    await use(`http://127.0.0.1:${server.port}`, server.port)
  } finally {
    await server.close()
  }
}

const echo = ({ method, path, query, headers, body, address }: HttpRequest): HttpResponse => ({
  status: 200,
  headers: { 'content-type': 'application/json', 'x-two': ['a', 'b'] },
  body: JSON.stringify({ method, path, query, type: headers['content-type'] ?? null, body: body.toString(), address }),
})

test('a request arrives whole and its answer goes back whole', async () => {
  await serving(echo, async (url) => {
    const answer = await fetch(`${url}/v1/items/a%2Fb?x=1&y=%20`, {
      method: 'POST',
      body: 'hello',
      headers: { 'Content-Type': 'text/x' },
    })
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.get('x-two'), 'a, b')
    assert.deepEqual(await answer.json(), {
      method: 'POST',
      path: '/v1/items/a%2Fb',
      query: 'x=1&y=%20',
      type: 'text/x',
      body: 'hello',
      address: '127.0.0.1',
    })
    assert.equal(((await (await fetch(`${url}/`)).json()) as { body: string }).body, '')
    assert.equal((await fetch(`${url}/`, { method: 'HEAD' })).headers.get('content-type'), 'application/json')
  })
})

test('a body above the limit is 413, declared or not, and the server lives on', async () => {
  let asked = 0
  const count = (): HttpResponse => {
    asked++
    return { status: 204 }
  }
  await serving(count, async (url) => {
    assert.equal((await fetch(url, { method: 'PUT', body: 'x'.repeat(1001) })).status, 413)
    const chunked = new ReadableStream({
      start(controller) {
        for (let n = 0; n < 11; n++) controller.enqueue(Buffer.alloc(100))
        controller.close()
      },
    })
    assert.equal((await fetch(url, { method: 'PUT', body: chunked, duplex: 'half' } as RequestInit)).status, 413)
    assert.equal((await fetch(url, { method: 'PUT', body: 'x'.repeat(1000) })).status, 204)
    assert.equal(asked, 1)
  })
})

test('a header block of 20 KiB is taken, since tokens are long', async () => {
  await serving(
    ({ headers }) => ({ status: 200, body: String(headers['x-long']?.length) }),
    async (url) => {
      const answer = await fetch(url, { headers: { 'x-long': 'a'.repeat(20_000) } })
      assert.equal(await answer.text(), '20000')
    },
  )
})

/** Statuses of all answers until the server ends the connection, or of so many. */
async function exchange(port: number, text: string, enough = Number.POSITIVE_INFINITY): Promise<string[]> {
  const socket = connect(port, '127.0.0.1')
  socket.write(text)
  let seen = ''
  const statuses = (): string[] => [...seen.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]!)
  for await (const piece of socket.setEncoding('latin1')) {
    seen += piece
    if (statuses().length >= enough) break
  }
  return statuses()
}

test('a body whose end two servers may see in two places is refused, and nothing behind it is read', async () => {
  const asked: string[] = []
  const note = ({ path }: HttpRequest): HttpResponse => {
    asked.push(path)
    return { status: 204 }
  }
  await serving(note, async (_, port) => {
    for (const fields of [
      'Content-Length: 0\r\nContent-Length: 44',
      'Content-Length: 2\r\nContent-Length: 2',
      'Content-Length:',
      'Content-Length: 2, 2',
      'Content-Length: 5\r\nTransfer-Encoding: chunked',
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
      'Transfer-Encoding: gzip, chunked',
      'Transfer-Encoding: xchunked',
      'Transfer-Encoding: identity',
    ]) {
      const hidden = 'GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n'
      const answers = await exchange(port, `POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n\r\n0\r\n\r\n${hidden}`)
      // What uWebSockets.js itself sees is answered.
      assert.match(answers.join(), /^(?:400|505)?$/, fields)
    }
    assert.deepEqual(asked, [])
  })
})

test('where a body of chunks ends is taken loosely, so that the connection ends with it', async () => {
  const asked: string[] = []
  const note = ({ path }: HttpRequest): HttpResponse => {
    asked.push(path)
    return { status: 204 }
  }
  await serving(note, async (_, port) => {
    for (const chunks of [
      '2\r\n{}\r\n0\r\n\r\n',
      // Another server may see no border in any of these.
      '2\n{}\n0\n\n',
      '2\r\n{}\r\n0\n\n',
      '2\r\n{}XX0\r\n\r\n',
    ]) {
      asked.length = 0
      const request = `POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n${chunks}`
      const socket = connect(port, '127.0.0.1')
      socket.setEncoding('latin1').write(request)
      let seen = ''
      for await (const piece of socket) {
        seen += piece
        // The answer is here, and the connection not yet closed: what comes now is the next request, if there is one.
        socket.write('GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n')
      }
      assert.deepEqual(asked, ['/chunked'], JSON.stringify(chunks))
      assert.deepEqual(await exchange(port, `${request}GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n`, 2), [])
      assert.deepEqual(asked, ['/chunked', '/chunked'], JSON.stringify(chunks))
      assert.match(seen, /^HTTP\/1\.1 204[\s\S]*connection: close\r\n/i)
      assert.equal(seen.split('HTTP/1.1').length, 2)
    }
    asked.length = 0
    const large = `1001\r\n${'x'.repeat(4097)}\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n`
    await exchange(port, `POST /large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${large}`, 2)
    assert.deepEqual(asked, [])
  })
})

test('what a handler throws is a bare 500; a response header cannot be split', async () => {
  const seen: unknown[] = []
  const server = await listen({
    host: '127.0.0.1',
    port: 0,
    maxBodyOctets: 10,
    handle: ({ path }) => {
      if (path === '/split') return { status: 200, headers: { location: 'a\r\nset-cookie: b' } }
      throw new Error('secret inside')
    },
    failed: (error) => seen.push(error),
  })
  for (const path of ['/', '/split']) {
    const answer = await fetch(`http://127.0.0.1:${server.port}${path}`)
    assert.equal(answer.status, 500)
    assert.doesNotMatch(await answer.text(), /secret/)
    assert.equal(answer.headers.get('set-cookie'), null)
  }
  assert.equal(seen.length, 2)
  await server.close()
})

test('a client that leaves early is told by the signal, and nothing is written to it', async () => {
  let aborted: () => void
  const noticed = new Promise<void>((resolve) => {
    aborted = resolve
  })
  const handle = async ({ aborted: signal }: HttpRequest): Promise<HttpResponse> => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    aborted()
    return { status: 200, body: 'late' }
  }
  await serving(handle, async (_, port) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'))
    setTimeout(() => socket.destroy(), 30)
    await noticed
  })
})

test('a taken port is an error, and close() frees it', async () => {
  const first = await listen({ host: '127.0.0.1', port: 0, maxBodyOctets: 10, handle: () => ({ status: 200 }) })
  const again = { host: '127.0.0.1', port: first.port, maxBodyOctets: 10, handle: () => ({ status: 200 }) }
  await assert.rejects(listen(again), /cannot listen on 127.0.0.1/)
  await first.close()
  await (await listen(again)).close()
})

test('serves on a UNIX socket', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'vesmail-http-'))
  const unixPath = join(folder, 'http.sock')
  const server = await listen({ unixPath, maxBodyOctets: 10, handle: ({ path }) => ({ status: 200, body: path }) })
  const text = await new Promise((resolve, reject) => {
    http
      .get({ socketPath: unixPath, path: '/healthz' }, (answer) => answer.on('data', (data) => resolve(String(data))))
      .on('error', reject)
  })
  assert.equal(text, '/healthz')
  await server.close()
  rmSync(folder, { recursive: true })
})
