/**
 * The HTTP side through the real daemon: the guard's socket, our TLS, uWebSockets.js behind the relay; with curl and
 * Node's fetch (undici). What was sealed by SMTP is brought by a relay, and had by those it is for, and nobody else.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect as connectPlain, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { connect } from 'node:tls'
import { promisify } from 'node:util'
import { Agent, WebSocket } from 'undici'
import { sendMail, writeMail } from '../../src/cli/demo/mail.ts'
import { openFromVaultKey, unlockPrivateKey } from '../../src/engine/seal/vault-key.ts'
import { messageFile } from '../../src/net/now/spool.ts'
import { freePorts } from '../guard/stage.ts'
import { labGateway } from '../lab/gateway.ts'
import { LAB_USERS, labProvider } from '../lab/provider.ts'

const run = promisify(execFile)
const scratch = mkdtempSync(join(tmpdir(), 'vm-now-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
const [secure = 0, plainPort = 0] = await freePorts(2)
/** A server behind a tunnel that is lost in the middle of a word. */
const breaking = createServer((socket) => {
  socket.on('error', () => {}).on('data', () => socket.resetAndDestroy())
  socket.write('hello')
})
await new Promise<void>((resolve) => breaking.listen(0, '127.0.0.1', resolve))
after(() => breaking.close())
/** And one that says a word, and then stays. */
const staying = createServer((socket) => socket.on('error', () => {}).write('hello'))
await new Promise<void>((resolve) => staying.listen(0, '127.0.0.1', resolve))
after(() => staying.close())
const at = (server: typeof staying): string => `127.0.0.1:${(server.address() as AddressInfo).port}`
const provider = await labProvider()
const spool = join(scratch, 'spool')
const limits = { sessionsPerAddress: 20, drainSeconds: 1 }
const gateway = await labGateway(provider, {
  users: ['alice', 'bob', 'carol'],
  configuration: {
    imap: { limits: { drainWindowSeconds: 0 } },
    '*': {
      'oauth-key': join(scratch, 'oauth.pem'),
      now: {
        dir: spool,
        manifest: { name: 'lab' },
        e2e: 'https://viewer.example/#',
        websock: { dead: '127.0.0.1:1', lost: at(breaking), stays: at(staying) },
        headers: ['Access-Control-Allow-Origin: *'],
      },
    },
  },
  daemons: [
    { server: 'now', host: '127.0.0.1', port: secure, tls: { persist: true }, limits },
    { server: 'now', host: '127.0.0.1', port: plainPort, tls: { level: 'none' }, limits },
  ],
})

const https = `https://127.0.0.1:${secure}`
const http = `http://127.0.0.1:${plainPort}`

/** By curl: status, headers and body. */
async function curl(...args: string[]): Promise<{ status: number; head: string; body: string }> {
  const { stdout } = await run('curl', ['--silent', '--show-error', '--include', '--cacert', gateway.caFile, ...args])
  const [head = '', ...rest] = stdout.replace(/^HTTP\/1\.1 100 [^\r]*\r\n\r\n/, '').split('\r\n\r\n')
  return { status: Number(/^HTTP\/\S+ (\d+)/.exec(head)?.[1]), head, body: rest.join('\r\n\r\n') }
}

const post = (url: string, ask: unknown) => curl('--data-binary', JSON.stringify(ask), url)

async function sealed(id: string): Promise<string> {
  const message = `From: alice@lab.test\r\nTo: bob@lab.test\r\nSubject: the plan\r\nMessage-ID: <${id}>\r\n\r\nmeet at dawn\r\n`
  const child = run(join(import.meta.dirname, '../../bin/vesmail'), [
    ...['encrypt', '-a', 'alice@lab.test', '-u', gateway.passwords.alice!, '--api', gateway.api],
  ])
  child.child.stdin?.end(message)
  return (await child).stdout
}

test('rows that need no secret', async () => {
  assert.deepEqual(JSON.parse((await curl(`${http}/ves.json`)).body), { name: 'lab' })
  const preflight = await curl('--request', 'OPTIONS', `${https}/anything`)
  assert.equal(preflight.status, 200)
  assert.match(preflight.head, /^access-control-allow-origin: \*\r?$/im)
  const e2e = await curl(`${http}/e2e/x/y?a=b`)
  assert.deepEqual([e2e.status, /^location: (.*?)\r?$/im.exec(e2e.head)?.[1]], [302, 'https://viewer.example/#x/y#a=b'])
  assert.match((await curl(`${http}/oauth`)).body, /BEGIN PUBLIC KEY/)
  const allowed = async (...args: string[]) => {
    const { status, head } = await curl(...args)
    return [status, /^allow: (.*?)\r?$/im.exec(head)?.[1]]
  }
  assert.deepEqual(await allowed('--request', 'DELETE', `${https}/x`), [405, 'GET, HEAD, OPTIONS, POST, PUT'])
  assert.deepEqual(await allowed(`${https}/nothing`), [405, 'OPTIONS, POST, PUT'])
  assert.equal((await curl(`${https}/ws/imap`)).status, 426)
  const tooMuch = await post(`${https}/`, { messageId: 'x'.repeat(33_000) })
  assert.equal(tooMuch.status, 413)
})

test('a relay spools, the reader gets it sealed or opened, others do not', async () => {
  const id = 'now-1@lab.test'
  const file = join(scratch, 'sealed.eml')
  writeFileSync(file, await sealed(id))
  const put = await curl('--upload-file', file, `${https}/spool`)
  assert.equal(put.status, 201, put.body)
  const stored = join(spool, 'alice@lab.test', messageFile(id))
  assert.deepEqual(readFileSync(stored), readFileSync(file))
  assert.equal(statSync(stored).mode & 0o777, 0o640)
  assert.equal((await curl('--upload-file', file, `${https}/spool`)).status, 403, 'it is there already')

  const opened = await post(`${https}/`, { messageId: id, externalId: 'bob@lab.test', VESkey: gateway.passwords.bob })
  assert.equal(opened.status, 200)
  assert.match(opened.body, /Subject: the plan\r\n[\s\S]*meet at dawn/)
  const carol = { messageId: id, externalId: 'carol@lab.test', VESkey: gateway.passwords.carol }
  assert.equal((await post(`${https}/`, carol)).status, 403)
  assert.equal((await post(`${https}/`, { ...carol, VESkey: 'wrong' })).status, 401)
  assert.equal((await post(`${http}/`, carol)).status, 426, 'never in plaintext')
  assert.equal((await post(`${https}/`, { ...carol, messageId: 'none@lab.test' })).status, 404)
  for (const token of ['no-such-token', '€']) {
    assert.equal((await post(`${https}/`, { messageId: id, token })).status, 403)
  }
  assert.equal((await post(`${https}/`, { messageId: id, token: 'a\r\nb' })).status, 400)
  assert.equal((await post(`${https}/`, { messageId: 'a\0b', token: 'x' })).status, 400)
})

test('what the SMTP proxy sealed is in the spool, as the provider got it', async () => {
  const written = await writeMail('alice@lab.test', 'bob@lab.test')
  const endpoint = { host: '127.0.0.1', port: gateway.ports.submissions, secure: true, ca: gateway.ca }
  const login = { user: 'alice@lab.test', pass: gateway.passwords.alice! }
  await sendMail(endpoint, login, { from: 'alice@lab.test', to: 'bob@lab.test' }, written)
  const id = /^Message-ID: <(.*)>\r?$/m.exec(written.toString())![1]!
  const file = join(spool, 'alice@lab.test', messageFile(id))
  for (let tries = 0; tries < 200 && !existsSync(file); tries++) await new Promise((later) => setTimeout(later, 50))
  const copy = readFileSync(file)
  assert.match(copy.toString('latin1'), /^X-VESmail-ID: /m)
  const ask = { messageId: id, externalId: 'bob@lab.test', VESkey: gateway.passwords.bob }
  const opened = await post(`${https}/`, ask)
  assert.ok(Buffer.from(opened.body).includes(written.subarray(written.indexOf('\r\n\r\n'))))
})

test('an upload without a token, with a bad one, or of something else is refused, and nothing is kept', async () => {
  const file = join(scratch, 'bad.eml')
  const message = await sealed('now-2@lab.test')
  const carol = await sessionToken('carol@lab.test')
  for (const [text, status] of [
    [message.replace(/^X-VESmail-Verify:.*\r\n/m, ''), 401],
    [message.replace(/^(X-VESmail-Verify:) .*(\r\n)/m, '$1 forged$2'), 401],
    // Someone with an account, for whom the message is not.
    [message.replace(/^(X-VESmail-Verify:) .*(\r\n)/m, `$1 ${carol}$2`), 401],
    ['Subject: plain\r\n\r\nhello\r\n', 400],
  ] as const) {
    writeFileSync(file, text)
    assert.equal((await curl('--upload-file', file, `${https}/spool`)).status, status)
  }
  assert.equal(existsSync(join(spool, 'alice@lab.test', messageFile('now-2@lab.test'))), false)
  assert.deepEqual(
    readdirSync(join(spool, 'alice@lab.test')).filter((name) => name.endsWith('.part')),
    [],
  )
})

/** An IMAP client's end of a tunnel: everything received so far, and a way to wait for a piece of it. */
function tunnelTo(port: number, path: string, ca: string, origin?: string) {
  const dispatcher = new Agent({ connect: { ca } })
  const headers = origin === undefined ? {} : { origin }
  const socket = new WebSocket(`wss://127.0.0.1:${port}${path}`, { dispatcher, headers })
  socket.binaryType = 'arraybuffer'
  let text = ''
  let wake = (): void => {}
  socket.addEventListener('message', ({ data }) => {
    text += Buffer.from(data as ArrayBuffer).toString('latin1')
    wake()
  })
  const closed = new Promise<number>((resolve) => socket.addEventListener('close', ({ code }) => resolve(code)))
  return {
    socket,
    closed,
    send: (line: string) => socket.send(line),
    until: async (piece: RegExp): Promise<string> => {
      while (!piece.test(text)) {
        const more = new Promise<void>((resolve) => {
          wake = resolve
        })
        const code = await Promise.race([more, closed])
        assert.equal(code, undefined, `closed with ${code} after ${text}`)
      }
      return text
    },
    close: () => dispatcher.close(),
  }
}

test('a WebSocket tunnel carries a whole IMAP session, frames of every size', async () => {
  const tunnel = tunnelTo(secure, '/ws/imap', gateway.ca)
  await tunnel.until(/^\* OK /)
  // Octet by octet, and in one frame of more than 126 octets.
  for (const octet of 'a LOGIN bob@lab.test ') tunnel.send(octet)
  tunnel.send(`${gateway.passwords.bob}\r\n`)
  await tunnel.until(/^a OK /m)
  const body = 'x'.repeat(70_000)
  tunnel.send(`b APPEND Drafts {${body.length}+}\r\n${body}\r\nc SELECT Drafts\r\nd FETCH * BODY.PEEK[TEXT]\r\n`)
  await tunnel.until(/^d OK /m)
  tunnel.send('e LOGOUT\r\n')
  assert.match(await tunnel.until(/^e OK /m), /^\* BYE/m)
  assert.equal(await tunnel.closed, 1000)
  await tunnel.close()
})

const UPGRADE =
  'Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

/** All that comes on a connection, until it is closed from there. */
async function spoken(port: number, ...said: (string | Buffer)[]): Promise<Buffer> {
  const socket = connect({ port, host: '127.0.0.1', ca: gateway.ca, servername: 'localhost' })
  socket.on('error', () => {})
  for (const octets of said) socket.write(octets)
  const parts: Buffer[] = []
  for await (const part of socket) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

test('frames that are none end a tunnel with 1002; a server that is lost, with 1013', async () => {
  const close = (octets: Buffer): string => octets.subarray(octets.lastIndexOf(0x88)).toString('latin1')
  const huge = Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5])
  for (const frame of [
    huge,
    Buffer.from([0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]),
    // Each reserved bit; no mask; a reserved opcode; a continuation of nothing; a ping in fragments, and one too long.
    ...[0xc2, 0xa2, 0x92, 0x83, 0x80, 0x09].map((first) => Buffer.from([first, 0x81, 1, 2, 3, 4, 5])),
    Buffer.from([0x82, 1]),
    Buffer.from([0x89, 0xfe, 0, 126, 1, 2, 3, 4]),
  ]) {
    const seen = await spoken(secure, `GET /ws/imap HTTP/1.1\r\n${UPGRADE}`, frame)
    assert.match(seen.toString('latin1'), /^HTTP\/1\.1 101 /)
    assert.equal(close(seen), '\x88\x02\x03\xea', frame.toString('hex'))
  }
  const word = Buffer.from([0x82, 0x81, 0, 0, 0, 0, 65])
  const seen = await spoken(secure, `GET /ws/lost HTTP/1.1\r\n${UPGRADE}`, word)
  assert.match(close(seen), /^\x88\x0f\x03\xf5no connection$/)
})

test('beyond the sessions of an address: 503, and when to come again; a tunnel is one of them, and none in the proxy', async () => {
  // Addresses of their own: connections of other tests may not be closed yet.
  for (const [port, localAddress] of [
    [secure, '127.0.0.8'],
    [plainPort, '127.0.0.9'],
  ] as const) {
    const held: Socket[] = []
    const begun = async (until: RegExp): Promise<string> => {
      const at = { port, host: '127.0.0.1', localAddress }
      const socket = port === plainPort ? connectPlain(at) : connect({ ...at, ca: gateway.ca, servername: 'localhost' })
      socket.on('error', () => {}).setEncoding('latin1')
      held.push(socket)
      socket.write(`GET /ws/imap HTTP/1.1\r\n${UPGRADE}`)
      let seen = ''
      while (!until.test(seen)) seen += ((await once(socket, 'data')) as [string])[0]
      return seen
    }
    for (let n = 0; n < limits.sessionsPerAddress; n++)
      assert.match(await begun(/\* [A-Z]+ /), /^HTTP\/1\.1 101 [\s\S]*\* OK /)
    const refused = await begun(/\r\n\r\n/)
    assert.match(refused, /^HTTP\/1\.1 503 /)
    assert.match(refused, /^retry-after: 60\r$/im)
    assert.match(refused, /^access-control-allow-origin: \*\r$/im)
    for (const socket of held) socket.destroy()
  }
})

test('an unknown tunnel, a foreign origin, and a server that is not there are refused', async () => {
  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
  const upgrade = ['--header', 'Connection: Upgrade', '--header', 'Upgrade: websocket', '--header', key]
  const ask = (path: string) =>
    curl(...upgrade, '--header', 'Sec-WebSocket-Version: 13', '--max-time', '5', `${https}${path}`)
  assert.equal((await ask('/ws/nothing')).status, 404)
  assert.equal((await ask('/ws/dead')).status, 502)
})

test('a probe streams the provider login, without secrets; bad askers are told apart', async () => {
  const { password } = LAB_USERS.find(({ name }) => name === 'bob')!
  const server = (port: number, more = {}) => ({ host: '127.0.0.1', port, login: 'bob', password, ...more })
  const probe = (ask: unknown, token: string | undefined) => post(`${https}/`, { probe: ask, token })
  const token = await sessionToken('bob@lab.test')
  const good = await probe({ imap: server(provider.ports.imap) }, token)
  assert.equal(good.status, 200)
  assert.match(good.head, /^x-vesmail-abuse: 0\r?$/im)
  assert.match(good.body, /^\* XDEBUG Connecting to \[127\.0\.0\.1\]:\d+ \.\.\.\r\n\* XDEBUG \.\.\. connected\r\n/)
  assert.match(good.body, /XDEBUG STARTTLS\r\n/)
  assert.match(good.body, /XDEBUG \[crt verify\] 0 ok\r\n/)
  assert.match(good.body, /^probe OK .*\r\n$/m)
  const bad = await probe({ smtp: server(provider.ports.submission, { password: 'a-wrong-password' }) }, token)
  assert.match(bad.body, /^099-\[DEBUG\] AUTH PLAIN\r\n/m)
  assert.match(bad.body, /^535 .*\r\n$/m)
  for (const { body } of [good, bad]) {
    assert.doesNotMatch(body, new RegExp(`${password}|a-wrong-password`))
    assert.ok(!body.includes(Buffer.from(`\0bob\0${password}`).toString('base64')))
  }
  assert.match((await probe({ imap: server(1) }, token)).body, /\.\.\. failed \(ECONNREFUSED\)\r\nprobe NO XVES-17 /)
  assert.equal((await probe({ imap: server(1) }, undefined)).status, 401)
  assert.equal((await probe({ imap: server(1) }, 'no-such-token')).status, 502)
  assert.equal((await probe({}, token)).status, 400)
  const { port: _, ...noPort } = server(1)
  assert.match((await probe({ imap: noPort }, token)).body, /^probe\.imap: host and port/)
  assert.equal((await probe({ imap: noPort }, undefined)).status, 401)
  assert.equal((await post(`${http}/`, { probe: { imap: noPort }, token })).status, 426)
  assert.equal((await post(`${http}/`, { probe: { imap: server(1) }, token })).status, 426)
})

/** As a set-up page gets one: the vault's key is public, opening the sealed token is the proof. */
async function sessionToken(email: string): Promise<string> {
  const answer = await fetch(`${gateway.api}vaultKeys?fields=id,privateKey,encSessionToken`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ externals: [{ domain: 'vesmail', externalId: email }], $op: 'fetch' }),
  })
  const { result } = (await answer.json()) as { result: { privateKey: string; encSessionToken: string } }
  const key = unlockPrivateKey(result.privateKey, Buffer.from(gateway.passwords[email.split('@')[0]!]!))
  return openFromVaultKey(key, Buffer.from(result.encSessionToken, 'base64')).toString()
}

// Last: from here on other workers serve.
test('a restart ends tunnels with 1001: into a proxy of ours behind its goodbye, elsewhere at the deadline', async () => {
  const ours = tunnelTo(secure, '/ws/imap', gateway.ca)
  const elsewhere = tunnelTo(secure, '/ws/stays', gateway.ca)
  await Promise.all([ours.until(/^\* OK /), elsewhere.until(/hello/)])
  const goodbye = ours.until(/^\* BYE /m)
  process.kill(gateway.pid, 'SIGHUP')
  await goodbye
  assert.deepEqual(await Promise.all([ours.closed, elsewhere.closed]), [1001, 1001])
  await Promise.all([ours.close(), elsewhere.close()])
})
