/**
 * The HTTP side's real listener (guard, TLS, front, uWebSockets.js) against clients that mean no good: request smuggling,
 * half requests, probes into inner networks, guesses at passwords.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { connect } from 'node:tls'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { Agent, request } from 'undici'
import { openFromVaultKey, unlockPrivateKey } from '../../src/engine/seal/vault-key.ts'
import { freePorts } from '../guard/stage.ts'
import { labGateway } from '../lab/gateway.ts'
import { labProvider } from '../lab/provider.ts'

const [port = 0, adminPort = 0] = await freePorts(2)
const spool = mkdtempSync(join(tmpdir(), 'vm-now-hostile-'))
after(() => rmSync(spool, { recursive: true, force: true }))
const provider = await labProvider()
const gateway = await labGateway(provider, {
  workers: 2,
  configuration: {
    '*': {
      'abuse-sense': 250,
      admin: { listen: `127.0.0.1:${adminPort}` },
      now: { dir: spool, manifest: { name: 'lab' }, headers: ['X-Site: lab'] },
    },
  },
  daemons: [{ server: 'now', host: '127.0.0.1', port, tls: { persist: true } }],
})

async function raw(text: string): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', ca: gateway.ca, servername: 'localhost' })
  let seen = ''
  socket.setEncoding('latin1').on('data', (piece) => {
    seen += piece
  })
  socket.on('error', () => {})
  socket.write(text)
  await once(socket, 'close')
  return seen
}

const statuses = (text: string): string[] => [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]!)
const GET = 'GET /ves.json HTTP/1.1\r\nHost: a\r\n\r\n'
const LAST = 'GET /ves.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'

test('request smuggling: every doubtful border is refused, and nothing behind it is answered', async () => {
  for (const [head, status] of [
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', '400'],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n', '400'],
    ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n', '400'],
    ['PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n', '400'],
    ['POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n', '400'],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n', '400'],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n', '501'],
    ['POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\n\n', '400'],
    ['GET / HTTP/1.1\nHost: a\n\n', '400'],
    ['GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', '400'],
    ['GET / HTTP/1.0\r\nHost: a\r\n\r\n', '505'],
    [`GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(200)}\r\n`, '413'],
    [`GET /${'x'.repeat(40_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, '413'],
  ] as const) {
    const answer = await raw(`${GET}${head}${GET}`)
    assert.deepEqual(statuses(answer), ['200', status], JSON.stringify(head.slice(0, 90)))
    assert.equal(answer.match(/^x-site: lab\r$/gim)?.length, 2)
  }
  const form = await raw(`GET https://elsewhere.example/ves.json HTTP/1.1\r\nHost: a\r\n\r\n${GET}${LAST}`)
  assert.deepEqual(statuses(form), ['200', '200', '200'])
  assert.ok(!form.includes('elsewhere'))
})

test('nothing compressed is unpacked, and nothing is packed: bombs are octets, and no length tells of a secret', async () => {
  const bomb = gzipSync(Buffer.alloc(16 * 1024 * 1024, '{}'))
  const dispatcher = new Agent({ connect: { ca: gateway.ca } })
  for (const [method, coding] of [
    ['POST', 'gzip'],
    ['POST', 'deflate'],
    ['PUT', 'gzip'],
  ] as const) {
    const headers = { 'content-encoding': coding }
    const answer = await request(`https://127.0.0.1:${port}/`, { method, body: bomb, headers, dispatcher })
    assert.equal(answer.statusCode, 400, `${method} ${coding}`)
    await answer.body.dump()
  }
  await dispatcher.close()
  const chunk = `${bomb.length.toString(16)}\r\n${bomb.toString('latin1')}\r\n0\r\n\r\n`
  const coded = await raw(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n${chunk}`)
  assert.deepEqual(statuses(coded), ['501'])
  const curl = ['--silent', '--compressed', '--include', '--cacert', gateway.caFile]
  for (const path of ['/ves.json', '/now/', '/now/config.json']) {
    const { stdout } = await promisify(execFile)('curl', [...curl, `https://127.0.0.1:${port}${path}`])
    assert.match(stdout, /^HTTP\/1\.1 200 /)
    assert.doesNotMatch(stdout, /^content-encoding:/im)
  }
})

test('every answer: careful headers, no cookie, nothing stored but what is public', async () => {
  const dispatcher = new Agent({ connect: { ca: gateway.ca } })
  for (const [method, path, status] of [
    ['GET', '/ves.json', 200],
    ['GET', '/nothing', 405],
    ['GET', '/e2e/x', 404],
    ['GET', '/oauth', 404],
    ['GET', '/ws/imap', 426],
    ['POST', '/', 400],
    ['DELETE', '/', 405],
    ['PATCH', '/ves.json', 405],
    ['OPTIONS', '/', 200],
    ['PUT', '/', 400],
  ] as const) {
    const answer = await request(`https://127.0.0.1:${port}${path}`, { method, dispatcher })
    await answer.body.dump()
    const { headers } = answer
    assert.equal(answer.statusCode, status, `${method} ${path}`)
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.match(String(headers['content-security-policy']), /default-src 'none'/)
    assert.equal(headers['set-cookie'], undefined)
    assert.equal(headers['x-site'], 'lab')
    assert.equal(
      headers['cache-control'],
      path === '/ves.json' && method === 'GET' ? 'public, max-age=300' : 'no-store',
    )
  }
  await dispatcher.close()
})

async function sessionToken(name: string): Promise<string> {
  const answer = await fetch(`${gateway.api}vaultKeys?fields=id,privateKey,encSessionToken`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ externals: [{ domain: 'vesmail', externalId: `${name}@lab.test` }], $op: 'fetch' }),
  })
  const { result } = (await answer.json()) as { result: { privateKey: string; encSessionToken: string } }
  const key = unlockPrivateKey(result.privateKey, Buffer.from(gateway.passwords[name]!))
  return openFromVaultKey(key, Buffer.from(result.encSessionToken, 'base64')).toString()
}

const dispatcher = new Agent({ connect: { ca: gateway.ca } })
const probe = (ask: unknown, token: string) =>
  request(`https://127.0.0.1:${port}/`, { method: 'POST', body: JSON.stringify({ probe: ask, token }), dispatcher })

test('a probe reaches no inner network, by whatever name', async () => {
  const token = await sessionToken('alice')
  let reached = 0
  const inner = createServer((socket) => {
    reached++
    socket.destroy()
  })
  await once(inner.listen(0, '::1'), 'listening')
  const { port: innerPort } = inner.address() as { port: number }
  for (const host of [
    '::1',
    '[::1]',
    '10.0.0.1',
    '169.254.169.254',
    '0.0.0.0',
    '::',
    '::ffff:10.0.0.1',
    '0x0a000001',
    'fe80::1',
  ]) {
    const answer = await probe({ imap: { host, port: innerPort, login: 'a', password: 'b' } }, token)
    const text = await answer.body.text()
    assert.doesNotMatch(text, /connected/, host)
    assert.match(text, /^probe NO XVES-1[67] /m, `${host}: ${text}`)
  }
  assert.equal(reached, 0)
  inner.close()
})

test('a probe streams its dialogue while it goes on', async () => {
  const token = await sessionToken('alice')
  const silent = createServer()
  const taken = once(silent, 'connection')
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  const { port: silentPort } = silent.address() as { port: number }
  const answer = await probe({ imap: { host: '127.0.0.1', port: silentPort, login: 'a', password: 'b' } }, token)
  const [socket] = await taken
  // The server has not said a word, and the first lines are here.
  let text = ''
  let greeted = false
  for await (const piece of answer.body) {
    text += piece
    if (/connected\r\n/.test(text) && !greeted) {
      greeted = true
      socket.end('* BYE go away\r\n')
    }
  }
  assert.ok(greeted)
  assert.match(text, /^probe NO XVES-/m)
  silent.close()
})

/** Of all workers, as Prometheus has it. */
async function refusedForAbuse(): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text()
  return Number(/^vesmail_connections_refused_total\{reason="abuse"\} (\d+)$/m.exec(text)?.[1] ?? 0)
}

test('failed probes count for address and account, and shut the door of the proxies, too', async () => {
  const token = await sessionToken('bob')
  const server = { host: '127.0.0.1', port: provider.ports.imap, login: 'bob', password: 'a-wrong-password' }
  const first = await probe({ imap: server }, token)
  assert.equal(first.statusCode, 200)
  assert.equal(await refusedForAbuse(), 0)
  assert.ok(Number(first.headers['x-vesmail-abuse']) <= 3600)
  assert.match(await first.body.text(), /^probe NO /m)
  let status = 0
  while (status !== 503) {
    const next = await probe({ imap: server }, token)
    status = next.statusCode
    assert.match(await next.body.text(), status === 503 ? /XVES-21/ : /probe/)
  }
  // What is public stays so; guesses at VESkeys are over.
  const manifest = await request(`https://127.0.0.1:${port}/ves.json`, { dispatcher })
  assert.equal(manifest.statusCode, 200)
  await manifest.body.dump()
  const guess = { messageId: 'a@b', externalId: 'alice@lab.test', VESkey: 'guess' }
  const guessed = await request(`https://127.0.0.1:${port}/`, {
    method: 'POST',
    body: JSON.stringify(guess),
    dispatcher,
  })
  assert.equal(guessed.statusCode, 503)
  await guessed.body.dump()
  const socket = connect({ port: gateway.ports.imaps, host: '127.0.0.1', ca: gateway.ca, servername: 'localhost' })
  const [greeting] = (await once(socket, 'data')) as [Buffer]
  assert.match(greeting.toString(), /^\* BYE XVES-21 /)
  // One probe, one guess, one mail session: what was let in, as the manifest's connection, is none.
  assert.equal(await refusedForAbuse(), 3)
  socket.destroy()
  await dispatcher.close()
})
