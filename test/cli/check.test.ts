/** `vesmail check` over real files, ports and servers: what it says names the place, what is wrong, what to do. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createSecureContext, createServer as createTlsServer, TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { runCheck } from '../../src/cli/check.ts'
import { freePorts } from '../guard/stage.ts'
import { TestAuthority } from '../net/authority.ts'

const VESMAIL = fileURLToPath(new URL('../../bin/vesmail', import.meta.url))
const DAY_MS = 86_400_000
const authority = new TestAuthority('Check Root')

class Stage {
  readonly directory = mkdtempSync(join(tmpdir(), 'vm-check-'))
  readonly conf = join(this.directory, 'vesmail.conf')
  readonly api: string

  private constructor(t: TestContext, api: string) {
    this.api = api
    t.after(() => rmSync(this.directory, { recursive: true }))
  }

  static async start(t: TestContext): Promise<Stage> {
    return new Stage(
      t,
      `http://127.0.0.1:${await serving(
        t,
        createHttpServer((_, answer) => answer.end('{}')),
      )}/v1/`,
    )
  }

  put(name: string, content: string | Buffer): string {
    const path = join(this.directory, name)
    writeFileSync(path, content, { mode: 0o600 })
    return path
  }

  pair(name: string, days?: readonly [number, number]): { cert: string; pkey: string } {
    const { cert, pkey } = authority.issue(name, days ?? [-1, 90])
    return { cert: this.put(`${name}.crt`, Buffer.concat([cert, authority.ca])), pkey: this.put(`${name}.key`, pkey) }
  }

  /** Of a configuration whose parts stand on lines of their own. */
  async said(
    all: object,
    daemons: readonly object[],
    more: Parameters<typeof runCheck>[0] | object = {},
  ): Promise<string[]> {
    const program = { state: this.directory, ves: { api: this.api }, ...all }
    this.put('vesmail.conf', JSON.stringify({ '*': program, daemons }, null, 1))
    const lines: string[] = []
    const isWell = await runCheck({ conf: this.conf, provider: [], timeoutMs: 5000, user: null, ...more }, (line) =>
      lines.push(line),
    )
    assert.equal(isWell, !lines.some((line) => line.startsWith('FAIL')))
    for (const line of lines) this.#pointsAtItsKey(line)
    return lines
  }

  /** The line that a message names has the key that it names. */
  #pointsAtItsKey(line: string): void {
    const [, file, number, key] = /^\S+ +(\/\S+?):(\d+):\d+: (\S+)/.exec(line) ?? []
    if (file === undefined || !/^[\w*[\].-]+:$/.test(key!)) return
    const text = readFileSync(file, 'utf8').split('\n')[Number(number) - 1] ?? ''
    const last = /([\w*-]+)(?:\[\d+\])?:$/.exec(key!)![1]!
    assert.ok(
      key!.startsWith('daemons[') ? /[{"]/.test(text) : text.includes(`"${last}"`),
      `${line}\nbut there is\n${text}`,
    )
  }
}

async function serving(t: TestContext, server: Server): Promise<number> {
  const open = new Set<Socket>()
  server.on('connection', (socket: Socket) => open.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

const daemon = async (more: object = {}): Promise<object> => ({
  server: 'imap',
  host: '127.0.0.1',
  port: (await freePorts(1))[0]!,
  ...more,
})

const about = (lines: readonly string[], what: RegExp): string[] => lines.filter((line) => what.test(line))

test('what works is said of each thing once, however many listeners share it', async (t) => {
  const stage = await Stage.start(t)
  const [one, two] = await freePorts(2)
  const at = (port: number) => ({ server: 'imap', host: '127.0.0.1', port })
  const lines = await stage.said({ tls: stage.pair('mail.example') }, [at(one!), at(two!)])
  assert.deepEqual(about(lines, /^FAIL/), [])
  assert.equal(about(lines, /tls\.cert: certificate CN=mail\.example, until \d{4}-\d\d-\d\d$/).length, 1)
  assert.equal(about(lines, /the port is free$/).length, 2)
  assert.equal(about(lines, /^ok .*: ves\.api: key repository http:.*: answers \(200\)$/).length, 1)
})

test('certificates: too early, too late, of another key; the line of the option that named the file', async (t) => {
  const stage = await Stage.start(t)
  const tls = stage.pair('mail.example')
  const one = await daemon()
  const early = await stage.said({ tls }, [one], { nowMs: Date.now() - 5 * DAY_MS })
  assert.match(
    about(early, /^FAIL/).join('\n'),
    /^FAIL \S+:\d+:\d+: tls\.cert: .*mail\.example\.crt \(CN=mail\.example\) is not valid before .*: wait/,
  )
  const late = await stage.said({ tls }, [one], { nowMs: Date.now() + 100 * DAY_MS })
  assert.match(about(late, /^FAIL/).join('\n'), /^FAIL \S+: tls\.cert: .*has expired/)
  const { pkey } = stage.pair('other.example')
  const foreign = await stage.said({ tls }, [{ ...one, tls: { pkey } }])
  assert.match(
    about(foreign, /^FAIL/).join('\n'),
    /^FAIL \S+: daemons\[0\]\.tls\.pkey: .*other\.example\.key is not the key of the first/,
  )
  const { cert } = authority.issue('mail.example')
  const bare = await stage.said({ tls: { ...tls, cert: stage.put('bare.crt', cert), pkey: tls.pkey } }, [one])
  assert.match(about(bare, /^FAIL/).join('\n'), /tls\.pkey: /, 'issued anew: its key is another')
  const lonely = authority.issue('mail.example')
  const short = { cert: stage.put('short.crt', lonely.cert), pkey: stage.put('short.key', lonely.pkey) }
  assert.match(
    about(await stage.said({ tls: short }, [one]), /^warn.*tls\.cert/).join('\n'),
    /chain is incomplete: "CN=Check Root"/,
  )
  // One file for both, named by either key.
  const both = stage.put('both.pem', Buffer.concat([lonely.cert, authority.ca, lonely.pkey]))
  assert.deepEqual(about(await stage.said({ tls: { pkey: both } }, [one]), /^FAIL/), [])
})

test('host files: each is read, with its certificate and key, for its own name', async (t) => {
  const stage = await Stage.start(t)
  const hosts = join(stage.directory, 'hosts')
  mkdirSync(hosts)
  const put = (name: string, content: object | string): void =>
    writeFileSync(join(hosts, name), typeof content === 'string' ? content : JSON.stringify(content, null, 1))
  put('a.example.conf', { imap: { tls: stage.pair('a.example') } })
  put('b.example.conf', '{"*": {"subject": 5}}')
  put('c.example.conf', '{"*": ')
  put('d.example.conf', { '*': { tls: { cert: stage.pair('d.example').cert } } })
  put('e.example.conf', { '*': { tls: stage.pair('not-e.example') } })
  put('f.example.conf', { '*': { subjekt: 'x' } })
  put('G.example.conf', {})
  put('g.example.conf~', 'an editor left it')
  put('h.example.conf', { '*': { tls: stage.pair('h.example', [-30, -1]) } })
  put('i.example.conf', { '*': { banner: join(hosts, 'none') } })
  const sni = { prefix: `${hosts}/`, suffix: '.conf' }
  const lines = await stage.said({ tls: stage.pair('main.example'), sni }, [await daemon(), await daemon()])
  const fails = about(lines, /^FAIL/)
  assert.equal(fails.length, 5, fails.join('\n'))
  assert.match(fails[0]!, /b\.example\.conf:1:19: \*\.subject: expected/)
  assert.match(fails[1]!, /c\.example\.conf:1:7: /)
  assert.match(
    fails[2]!,
    /d\.example\.conf:\d+:\d+: \*\.tls\.cert: .*main\.example\.key is not the key of .*d\.example\.crt/,
  )
  assert.match(fails[3]!, /h\.example\.conf:\d+:\d+: \*\.tls\.cert: .*has expired/)
  assert.match(fails[4]!, /i\.example\.conf:\d+:\d+: \*\.banner: .*ENOENT/)
  const warns = about(lines, /^warn/).join('\n')
  assert.match(warns, /e\.example\.conf: the certificate CN=not-e\.example is not for e\.example/)
  assert.match(warns, /f\.example\.conf:\d+:\d+: \*\.subjekt is unknown; is "subject" meant/)
  assert.match(warns, /G\.example\.conf is never read/)
  assert.match(warns, /sni\.prefix: 8 host files, not all good/)
  assert.doesNotMatch(warns, /certificate CN=a\.example/)
  const gone = await stage.said({ tls: stage.pair('main.example'), sni: { prefix: '/nowhere/x-' } }, [await daemon()])
  assert.match(about(gone, /^FAIL/).join('\n'), /sni\.prefix: \/nowhere: .*ENOENT.*: make it, or correct sni\.prefix/)
})

test('ten thousand host files: all are looked at, and little is said', async (t) => {
  const stage = await Stage.start(t)
  const hosts = join(stage.directory, 'hosts')
  mkdirSync(hosts)
  const { cert, pkey } = authority.issue('*.example')
  const tls = { cert: stage.put('wild.crt', Buffer.concat([cert, authority.ca])), pkey: stage.put('wild.key', pkey) }
  for (let i = 0; i < 10_000; i++) {
    writeFileSync(join(hosts, `h${i}.example`), i % 2 === 0 ? '{"*": {"subject": "s"}}' : '{"*": {"maxbuf": "s"}}')
  }
  const lines = await stage.said({ tls, sni: { prefix: `${hosts}/` } }, [await daemon(), await daemon()])
  assert.equal(about(lines, /^FAIL.*maxbuf/).length, 10)
  assert.equal(about(lines, /^FAIL.*sni\.prefix: 4990 more like these/).length, 1)
  assert.equal(about(lines, /sni\.prefix: 10000 host files/).length, 1)
  assert.ok(lines.length < 40)
})

test('headers and manifests that the daemon could not use, of the program and of hosts', async (t) => {
  const stage = await Stage.start(t)
  const hosts = join(stage.directory, 'hosts')
  mkdirSync(hosts)
  const manifest = stage.put('manifest.json', '{"app": ')
  const host = { '*': { now: { headers: ['no colon here'] } }, now: { manifest } }
  writeFileSync(join(hosts, 'one.example.conf'), JSON.stringify(host, null, 1))
  const now = { headers: ['X-Good: 1', 'X-Bad'], manifest: stage.put('other.json', 'x') }
  const sni = { prefix: `${hosts}/`, suffix: '.conf' }
  const one = await daemon({ server: 'now', tls: stage.pair('one.example') })
  const fails = about(await stage.said({ sni, now, manifest }, [one]), /^FAIL/)
  const found = (what: RegExp): void => {
    assert.equal(about(fails, what).length, 1, `${what}\n${fails.join('\n')}`)
  }
  found(/vesmail\.conf:\d+:\d+: manifest: \S+manifest\.json: .*JSON/)
  found(/vesmail\.conf:\d+:\d+: now\.manifest: not JSON: name a file of JSON/)
  found(/vesmail\.conf:\d+:\d+: now\.headers: "X-Bad" is not "Name: value"/)
  found(/one\.example\.conf:\d+:\d+: \*\.now\.headers: "no colon here" is not/)
  found(/one\.example\.conf:\d+:\d+: now\.manifest: \S+manifest\.json: .*JSON/)
  assert.equal(fails.length, 5)
})

test('ports: who has them, which exclude each other, which address is none of ours', async (t) => {
  const stage = await Stage.start(t)
  const tls = { level: 'none' }
  const taken = await serving(t, createServer())
  const [port, admin] = await freePorts(2)
  const at = (host: string | undefined, number: number) => ({ server: 'imap', port: number, ...(host && { host }) })
  const lines = await stage.said({ tls, admin: { listen: `127.0.0.1:${admin}` } }, [
    at('127.0.0.1', taken),
    at('127.0.0.1', port!),
    at(undefined, port!),
    at('192.0.2.1', port!),
    at('::1', admin!),
    at(undefined, admin!),
  ])
  const fails = about(lines, /^FAIL/)
  assert.match(
    fails[0]!,
    new RegExp(
      `daemons\\[0\\]: imap 127.0.0.1:${taken}: the port is in use by .+ \\(process ${process.pid}\\): stop that`,
    ),
  )
  assert.match(
    fails[1]!,
    new RegExp(`daemons\\[2\\]: imap \\*:${port}: excludes imap 127.0.0.1:${port} \\(.*daemons\\[1\\]\\)`),
  )
  assert.match(fails[2]!, /daemons\[3\]: imap 192\.0\.2\.1:\d+: this machine has no address 192\.0\.2\.1/)
  assert.match(fails[3]!, /daemons\[5\]: imap \*:\d+: excludes imap ::1/)
  assert.equal(fails.length, 4)
})

test('the ports of the gateway that runs with this file are as they should be', async (t) => {
  const stage = await Stage.start(t)
  const one = await daemon({ tls: { level: 'none' } })
  const [port] = await freePorts(1)
  const embedded = { repository: { listen: `127.0.0.1:${port}`, data: join(stage.directory, 'repository') } }
  await stage.said(embedded, [one])
  const child = spawn(VESMAIL, ['daemon', '-C', stage.conf], { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = once(child, 'exit')
  // It has a key repository of its own to stop.
  t.after(async () => {
    child.kill('SIGTERM')
    await exited
  })
  let told = ''
  for await (const text of child.stderr.setEncoding('utf8')) {
    told += text
    if (told.includes('"msg":"ready"')) break
  }
  const lines = await stage.said(embedded, [one])
  assert.equal(about(lines, /^ok .*repository\.listen: .*: the running gateway listens there/).length, 1, told)
  assert.equal(
    about(lines, new RegExp(`^ok .*the running gateway listens there \\(process ${child.pid}\\)$`)).length,
    1,
    told,
  )
})

test('the key repository: reached with ves.caBundle, and what to do where it is not', async (t) => {
  const stage = await Stage.start(t)
  const one = await daemon({ tls: { level: 'none' } })
  const { cert, pkey } = authority.issue('localhost')
  const key = { cert, key: pkey }
  const port = await serving(
    t,
    createHttpsServer(key, (_, answer) => answer.writeHead(404).end('{"error":"x"}')),
  )
  const caBundle = stage.put('ca.pem', authority.ca)
  const said = async (ves: object, more: object = {}): Promise<string> =>
    about(await stage.said({ ves, ...more }, [one]), /key repository|ves\./).join('\n')
  const api = `https://localhost:${port}/v1/`
  assert.match(await said({ api, caBundle }), /^ok .*ves\.api: key repository https:.*: answers \(404\)$/)
  assert.match(
    await said({ api }),
    /^FAIL .*ves\.api: .*not trusted: put its authority into the file of ves\.caBundle$/,
  )
  assert.match(
    await said({ api: `https://127.0.0.1:${port}/`, caBundle }),
    /^FAIL .*for another name: correct ves\.api$/,
  )
  assert.match(await said({ api, caBundle: stage.put('x.pem', 'x') }), /^FAIL .*ves\.caBundle: .*holds no certificate/)
  assert.match(
    await said({ api, caBundle: '/none.pem' }),
    /^FAIL .*ves\.caBundle: \/none\.pem cannot be read \(ENOENT\)/,
  )
  const [nobody] = await freePorts(1)
  const dead = `http://127.0.0.1:${nobody}/v1/`
  assert.match(await said({ api: dead }), /^FAIL .*ECONNREFUSED: nothing listens there: start it, or correct ves\.api$/)
  assert.match(await said({ api: 'repository' }), /^FAIL .*ves\.api: key repository repository: expected https:/)
  assert.match(await said({ api: dead }, { repository: { listen: dead.slice(7, -4) } }), /^FAIL .*ECONNREFUSED/)
  assert.match(
    await said({ api: null }, { repository: { listen: dead.slice(7, -4) } }),
    /^warn .*repository\.listen: .*starts with the gateway/,
  )
  const page = await serving(
    t,
    createHttpServer((ask, answer) => {
      if (ask.url === '/moved/users/0') answer.writeHead(302, { location: '/v1/' }).end()
      else answer.end('<html>')
    }),
  )
  assert.match(
    await said({ api: `http://127.0.0.1:${page}/` }),
    /^FAIL .*answers 200, but not as a key repository does/,
  )
  assert.match(await said({ api: `http://127.0.0.1:${page}/moved` }), /^FAIL .*sends elsewhere \(302, \/v1\/\)/)
})

test('providers: TLS from the first octet and STARTTLS, trusted and not, none, and no mail server', async (t) => {
  const stage = await Stage.start(t)
  const one = await daemon({ tls: { level: 'none' } })
  const { cert, pkey } = authority.issue('localhost')
  const caBundle = stage.put('ca.pem', authority.ca)
  const limits = { providerNetworks: ['127.0.0.0/8', '::1'] }
  const said = async (provider: string, all: object = {}): Promise<string> =>
    about(
      await stage.said({ caBundle, limits, ...all }, [one], { provider: [provider], timeoutMs: 2000 }),
      /provider /,
    ).join('\n')
  const imap = await serving(t, starttls('* OK hello\r\n', { 'a STARTTLS': 'a OK\r\n' }, cert, pkey))
  assert.match(await said(`localhost:${imap}`), /^ok .*: IMAP, STARTTLS, its certificate is trusted, at /)
  assert.match(
    await said(`localhost:${imap}`, { caBundle: null }),
    /^FAIL .*TLS: .*not trusted: put its authority into the file of caBundle$/,
  )
  assert.match(await said(`127.0.0.1:${imap}`), /^FAIL .*for another name/)
  assert.match(
    await said(`localhost:${imap}`, { limits: {} }),
    /^FAIL .*address not allowed \(limits\.providerNetworks\)/,
  )
  const replies = { 'EHLO vesmail-check': '250-me\r\n250 STARTTLS\r\n', STARTTLS: '220 go\r\n' }
  const smtp = await serving(t, starttls('220-a\r\n220 b\r\n', replies, cert, pkey))
  assert.match(await said(`localhost:${smtp}`), /^ok .*: SMTP, STARTTLS, its certificate is trusted/)
  const plain = await serving(t, starttls('220 b\r\n', { ...replies, STARTTLS: '502 no\r\n' }, cert, pkey))
  assert.match(await said(`localhost:${plain}`), /^warn .*: SMTP without STARTTLS: profiles need/)
  const implicit = await serving(
    t,
    createTlsServer({ cert, key: pkey }, (socket) => socket.on('error', () => {}).write('* OK hi\r\n')),
  )
  assert.match(await said(`localhost:${implicit}/tls`), /^ok .*: IMAP, TLS, its certificate is trusted/)
  const web = await serving(
    t,
    createServer((socket) => socket.end('421 go away\r\n')),
  )
  assert.match(await said(`localhost:${web}`), /^FAIL .*no mail server's greeting: "421 go away"/)
  const silent = await serving(
    t,
    createServer(() => {}),
  )
  assert.match(await said(`localhost:${silent}`, {}), /^FAIL .*timeout: no answer/)
  assert.match(await said('localhost'), /^FAIL provider localhost: expected host:port/)
})

/** Answers lines as told; turns to TLS after its own answer to STARTTLS. */
function starttls(greeting: string, replies: Readonly<Record<string, string>>, cert: Buffer, key: Buffer): Server {
  return createServer((socket) => {
    socket.on('error', () => {})
    socket.write(greeting)
    socket.on('data', (bytes) => {
      const line = bytes.toString().trim()
      const reply = replies[line]
      if (reply === undefined) return
      socket.write(reply)
      if (!line.endsWith('STARTTLS') || reply.startsWith('5')) return
      socket.removeAllListeners('data')
      new TLSSocket(socket, { isServer: true, secureContext: createSecureContext({ cert, key }) }).on('error', () => {})
    })
  })
}
