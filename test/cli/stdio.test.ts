/** One session on descriptors 0 and 1, as inetd, xinetd and systemd give them. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { LogWatch } from '../lab/log-secrets.ts'

/** Over the logs of all. */
const watch = new LogWatch()
const PASSWORD = watch.secret('a-password-of-stdio')
const VESMAIL = fileURLToPath(new URL('../../bin/vesmail', import.meta.url))

function configuration(t: TestContext, all: object): { conf: string; log: string; directory: string } {
  const directory = mkdtempSync(join(tmpdir(), 'vm-stdio-'))
  t.after(() => {
    const written = existsSync(log) ? readFileSync(log, 'utf8') : ''
    rmSync(directory, { recursive: true, force: true })
    watch.assertClean(written)
  })
  const conf = join(directory, 'vesmail.conf')
  const log = join(directory, 'log')
  writeFileSync(
    conf,
    JSON.stringify({
      '*': { state: directory, log, pool: { threads: 1 }, ves: { api: 'http://127.0.0.1:1/' }, ...all },
    }),
  )
  return { conf, log, directory }
}

test('over pipes', async (t) => {
  const { conf } = configuration(t, { tls: { level: 'none' } })
  const child = spawn(VESMAIL, ['smtp', '-C', conf], { stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.end('EHLO me\r\nQUIT\r\n')
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
  assert.match(out, /^220 \S+ ESMTP VESmail ready\.\r\n250-/)
  assert.match(out, /\r\n221 [^\r]*\r\n$/)
  assert.equal(err, '')
  assert.deepEqual(await ended(child), 0)
})

test('over a socket that is also descriptor 2: not a word but the session’s; the client’s address is known', async (t) => {
  const { conf, log } = configuration(t, { tls: { level: 'none' } })
  const { client, server } = await pair(t)
  const child = spawn(VESMAIL, ['imap', '-C', conf], { stdio: [server, server, server] })
  server.destroy()
  client.write(`a CAPABILITY\r\nc LOGIN somebody@x.org ${PASSWORD}\r\nb LOGOUT\r\n`)
  const lines = (await text(client)).split('\r\n')
  assert.match(lines[0]!, /^\* OK \[CAPABILITY /)
  assert.match(lines.at(-2)!, /^b OK /)
  assert.equal(await ended(child), 0)
  assert.match(readFileSync(log, 'utf8'), /"account":"somebody@x\.org".*"msg":"login"/)
  const session = readFileSync(log, 'utf8')
    .split('\n')
    .find((line) => line.includes('"msg":"session"'))
  assert.match(session ?? '', /"peer":"127\.0\.0\.1"/)
})

test('--tls begins with TLS, with the certificate of the host that --sni names', async (t) => {
  const { conf, directory } = configuration(t, { sni: { prefix: '', suffix: '.conf' } })
  const main = JSON.parse(readFileSync(conf, 'utf8')) as { '*': { sni: { prefix: string } } }
  main['*'].sni.prefix = `${directory}/`
  writeFileSync(conf, JSON.stringify(main))
  writeFileSync(join(directory, 'a.example.conf'), '{"imap": {"tls": {"level": "optional"}}}')
  const { client, server } = await pair(t)
  const child = spawn(VESMAIL, ['imap', '--tls', '--sni=a.example', `--conf=${conf}`], {
    stdio: [server, server, 'ignore'],
  })
  server.destroy()
  const secured = connectTls({ socket: client, rejectUnauthorized: false })
  secured.end('a LOGOUT\r\n')
  assert.match(await text(secured), /^\* OK [\s\S]*a OK [^\r]*\r\n$/)
  assert.equal(await ended(child), 0)
})

test('a bad configuration is exit code 67, and told on stderr', async (t) => {
  const { conf } = configuration(t, { maxbuf: 'x' })
  const child = spawn(VESMAIL, ['smtp', '-C', conf], { stdio: ['ignore', 'ignore', 'pipe'] })
  assert.match(await text(child.stderr), /\*\.maxbuf/)
  assert.equal(await ended(child), 67)
})

async function ended(child: ReturnType<typeof spawn>): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode
}

async function pair(t: TestContext): Promise<{ client: Socket; server: Socket }> {
  const listener = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const client = connect((listener.address() as { port: number }).port, '127.0.0.1')
  const [server] = (await once(listener, 'connection')) as [Socket]
  t.after(() => {
    client.destroy()
    listener.close()
  })
  return { client, server }
}
