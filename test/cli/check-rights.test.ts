/** `vesmail check`: whose rights to files count, the shared Redis, and a configuration without listeners. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { runCheck } from '../../src/cli/check.ts'
import { selfSigned } from '../../src/net/certificates.ts'
import { OAuthKeys } from '../../src/net/now/oauth-key.ts'
import { freePorts } from '../guard/stage.ts'
import { until } from '../lab/until.ts'

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'vm-rights-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  chmodSync(folder, 0o755)
  return folder
}

async function said(folder: string, configuration: object, user: string | null): Promise<string[]> {
  const conf = join(folder, 'vesmail.conf')
  writeFileSync(conf, JSON.stringify(configuration, null, 1))
  chmodSync(conf, 0o644)
  const lines: string[] = []
  await runCheck({ conf, provider: [], timeoutMs: 5000, user }, (line) => lines.push(line))
  return lines
}

const about = (lines: readonly string[], what: RegExp): string[] => lines.filter((line) => what.test(line))

test('what the service’s user may not read or write is found, though root may', async (t) => {
  const folder = folderOf(t)
  const { cert, pkey } = selfSigned(['localhost'], Date.now())
  const at = (name: string): string => join(folder, name)
  writeFileSync(at('cert.pem'), cert, { mode: 0o644 })
  writeFileSync(at('key.pem'), pkey, { mode: 0o600 })
  mkdirSync(at('state'), { mode: 0o700 })
  mkdirSync(at('spool'), { mode: 0o755 })
  mkdirSync(at('open'), { mode: 0o755 })
  chmodSync(at('open'), 0o777)
  const configuration = (now: object) => ({
    '*': {
      state: at('state'),
      log: at('logs/vesmail.log'),
      tls: { cert: at('cert.pem'), pkey: at('key.pem') },
      ves: { api: 'http://127.0.0.1:1/' },
      now,
    },
    daemons: [{ server: 'imap', host: '127.0.0.1', port: 1 }],
  })
  // Only root can ask for somebody else; who is not root asks for itself, and has no right to what is made read-only.
  const isRoot = process.getuid?.() === 0
  if (!isRoot) for (const name of ['state', 'spool']) chmodSync(at(name), 0o500)
  if (!isRoot) chmodSync(at('key.pem'), 0o200)
  const who = isRoot ? 'nobody' : null
  const by = isRoot ? ' by user nobody' : ''
  const lines = await said(folder, configuration({ dir: at('spool') }), who)
  const fails = about(lines, /^FAIL .*cannot be (?:read|written|made)/)
  assert.deepEqual(
    fails.map((line) => line.replace(/^FAIL \S+?:\d+:\d+: /, '').replaceAll(folder, '')),
    [
      `state: /state cannot be written${by}: chown ${isRoot ? 'nobody' : 'vesmail'}, or name another`,
      `tls.pkey: /key.pem cannot be read${by}: chgrp ${isRoot ? 'nobody' : 'vesmail'}, chmod 640, and look at its folders`,
      `now.dir: /spool cannot be written${by}: chown ${isRoot ? 'nobody' : 'vesmail'}, or name another`,
    ],
  )
  assert.match(about(lines, /log:/)[0]!, /^FAIL .*log: .*\/logs does not exist: make it, or name another file$/)
  const better = await said(folder, configuration({ dir: at('open/spool') }), who)
  assert.deepEqual(about(better, /now\.dir/).length, 1)
  assert.match(about(better, /now\.dir/)[0]!, /^ok .*now\.dir: .*\/open\/spool is made when it is needed$/)
  assert.match(about(await said(folder, configuration({}), 'no-such-user'), /--user/)[0]!, /^FAIL --user no-such-user/)
})

test('a folder where a file should be, and a file where a folder should be, are found', async (t) => {
  const folder = folderOf(t)
  const at = (name: string): string => join(folder, name)
  writeFileSync(at('file'), '')
  mkdirSync(at('logs'))
  const lines = await said(
    folder,
    {
      '*': {
        state: at('file/state'),
        log: at('logs'),
        now: { dir: at('file/a/spool') },
        ves: { api: 'http://127.0.0.1:1/' },
      },
      daemons: [{ server: 'now', host: '127.0.0.1', port: 1 }],
    },
    null,
  )
  assert.deepEqual(
    about(lines, /: (?:state|log|now\.dir): /).map((line) => line.replace(/:\d+:\d+:/, ':').replaceAll(folder, '')),
    [
      'FAIL /vesmail.conf: state: /file is no directory: name another',
      'FAIL /vesmail.conf: log: /logs is a directory: name a file',
      'FAIL /vesmail.conf: now.dir: /file is no directory: name another',
    ],
  )
  for (const device of ['/dev/zero', '/dev/null']) {
    const [line] = about(
      await said(folder, { caBundle: device, daemons: [{ server: 'imap', port: 1 }] }, null),
      /caBundle/,
    )
    assert.match(line!, new RegExp(`^FAIL .*${device} cannot be read \\(it is no file\\)`))
  }
})

test('Redis: reached, refused for its password, not there, something else; never a password in a line', async (t) => {
  const folder = folderOf(t)
  const [port, nobody] = await freePorts(2)
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--requirepass',
    'right-pass',
    '--dir',
    folder,
  ]
  const redis = spawn('redis-server', args, { stdio: 'ignore' })
  t.after(async () => {
    redis.kill('SIGKILL')
    await once(redis, 'exit')
  })
  await until(
    () =>
      new Promise<true | null>((resolve) => {
        const socket = connect(port!, '127.0.0.1', () => resolve(true)).on('error', () => resolve(null))
        socket.on('connect', () => socket.destroy())
      }),
  )
  const babbler = createServer((socket) => socket.on('error', () => {}).end('hello, who are you?\r\n'))
  babbler.listen(0, '127.0.0.1')
  await once(babbler, 'listening')
  t.after(() => babbler.close())
  const { port: other } = babbler.address() as { port: number }
  const of = async (url: string): Promise<string> => {
    const all = { redis: url, state: folder, tls: { level: 'none' }, ves: { api: 'http://127.0.0.1:1/' } }
    const lines = about(await said(folder, { '*': all, daemons: [{ server: 'imap', port: nobody }] }, null), /redis/i)
    assert.equal(lines.length, 1, lines.join('\n'))
    assert.doesNotMatch(lines[0]!, /right-pass|wrong-pass/)
    return lines[0]!
  }
  assert.match(
    await of(`redis://:right-pass@127.0.0.1:${port}/0`),
    /^ok .*redis: Redis redis:\/\/127\.0\.0\.1:\d+: answers$/,
  )
  assert.match(
    await of(`redis://:wrong-pass@127.0.0.1:${port}/0`),
    /^FAIL .*redis: .*WRONGPASS.*correct the password in redis/,
  )
  assert.match(await of(`redis://127.0.0.1:${port}/0`), /^FAIL .*NOAUTH.*correct the password in redis/)
  assert.match(
    await of(`redis://127.0.0.1:${nobody}`),
    /^FAIL .*ECONNREFUSED: nothing listens there: start it, or correct redis/,
  )
  assert.match(await of(`redis://127.0.0.1:${other}`), /^FAIL .*redis: Redis/)
  assert.match(await of('127.0.0.1:6379'), /^FAIL .*redis: expected redis:\/\//)
})

test('without listeners: a warning, and what single sessions would use is looked at', async (t) => {
  const folder = folderOf(t)
  const program = { state: folder, ves: { api: 'http://127.0.0.1:1/' }, tls: { cert: '/none', pkey: '/none' } }
  const lines = await said(folder, { '*': program }, null)
  assert.match(about(lines, /daemons/)[0]!, /^warn .*none is configured: enough for one process per connection/)
  assert.deepEqual(about(lines, /^FAIL .*tls\.cert: \/none cannot be read/).length, 1, 'told once')
  assert.deepEqual(about(lines, /\*:0|:0:0/), [])
  const without = await said(folder, { '*': { ...program, tls: { level: 'none' } } }, null)
  assert.deepEqual(
    about(without, /^FAIL/).filter((line) => !line.includes('ves.api')),
    [],
  )
})

test('OAuth keys: those that are there must open; the first is made by the daemon, not by a check', async (t) => {
  const folder = folderOf(t)
  const of = async (files: readonly string[]): Promise<string[]> => {
    const all = { 'oauth-key': files, state: folder, tls: { level: 'none' }, ves: { api: 'http://127.0.0.1:1/' } }
    return about(await said(folder, { '*': all }, null), /oauth-key/)
  }
  const [absent, broken] = [join(folder, 'absent.pem'), join(folder, 'broken.pem')]
  writeFileSync(broken, 'no key', { mode: 0o600 })
  assert.deepEqual(await of([absent]), [])
  assert.equal(existsSync(absent), false)
  assert.match((await of([broken]))[0]!, /^FAIL .*vesmail\.conf:3:\d+: oauth-key: .*broken\.pem/)
  new OAuthKeys([absent])
  assert.match((await of([absent]))[0]!, /^ok .*oauth-key: 1 of 1 keys are there, and open$/)
  chmodSync(absent, 0o644)
  assert.match(
    (await of([absent, join(folder, 'gone.pem')])).join('\n'),
    /^FAIL .*gone\.pem does not exist.*\nwarn .*can be read by others/,
  )
})
