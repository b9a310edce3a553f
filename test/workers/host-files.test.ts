import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { ConfigFile } from '../../src/base/config/config-file.ts'
import { type Log, silentLog } from '../../src/base/log.ts'
import { HostFiles, hostFileName } from '../../src/workers/host-files.ts'

const subjectOf = async (file: ConfigFile): Promise<string> => String(file.all.get('subject')?.value)

function stage(t: TestContext, maxEntries = 1000, log: Log = silentLog) {
  const directory = mkdtempSync(join(tmpdir(), 'vm-hosts-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const clock = { ms: 0 }
  const made: string[] = []
  const files = new HostFiles(
    { prefix: `${directory}/`, suffix: '.conf', maxEntries, log, nowMs: () => clock.ms },
    async (file, host) => {
      made.push(host)
      return subjectOf(file)
    },
  )
  const put = (host: string, subject: string): void =>
    writeFileSync(join(directory, `${host}.conf`), JSON.stringify({ '*': { subject } }))
  return { directory, clock, made, files, put }
}

test('names are lower-cased, and nothing that a path could be made of', () => {
  assert.equal(hostFileName('Mail.Example.ORG'), 'mail.example.org')
  assert.equal(hostFileName('mail.example.org.'), 'mail.example.org')
  assert.equal(hostFileName('xn--bcher-kva.example'), 'xn--bcher-kva.example')
  for (const bad of [
    '',
    '.',
    '..',
    '../etc/passwd',
    'a/b',
    'a..b',
    '.a',
    '-a',
    'a-',
    'a b',
    'a\0b',
    'ä.example',
    'x'.repeat(64),
    `${'a.'.repeat(128)}`,
    'a%2fb',
    '[::1]',
    'a\\b',
    'con:',
  ]) {
    assert.equal(hostFileName(bad), null, JSON.stringify(bad))
  }
})

test('ten thousand hosts: read when asked for, kept within the bound', async (t) => {
  const { files, made, put } = stage(t, 100)
  for (let i = 0; i < 10_000; i++) put(`h${i}.example`, `s${i}`)
  assert.equal(files.size, 0, 'nothing is read ahead of need')
  for (let i = 0; i < 10_000; i += 37) assert.equal(await files.find(`H${i}.example`), `s${i}`)
  assert.ok(files.size <= 100)
  const before = made.length
  assert.equal(await files.find('h9990.example'), 's9990')
  assert.equal(made.length, before, 'the last ones are remembered')
  for (let i = 0; i < 1000; i++) assert.equal(await files.find(`nobody${i}.example`), null)
  assert.ok(files.size <= 100, 'names that strangers make up are bounded, too')
})

test('two handshakes for one name read its file once', async (t) => {
  const { files, made, put } = stage(t)
  put('a.example', 'one')
  assert.deepEqual(await Promise.all([files.find('a.example'), files.find('A.example')]), ['one', 'one'])
  assert.deepEqual(made, ['a.example'])
})

test('a changed file is read again; one that is gone is a tenant that is gone; one that comes is there', async (t) => {
  const { directory, files, clock, made, put } = stage(t)
  put('a.example', 'one')
  assert.equal(await files.find('a.example'), 'one')
  put('a.example', 'two')
  utimesSync(join(directory, 'a.example.conf'), 1, 1)
  assert.equal(await files.find('a.example'), 'one', 'not looked at twice in a second')
  clock.ms += 1000
  assert.equal(await files.find('a.example'), 'two')
  clock.ms += 1000
  assert.equal(await files.find('a.example'), 'two')
  assert.equal(made.length, 2)
  rmSync(join(directory, 'a.example.conf'))
  clock.ms += 1000
  assert.equal(await files.find('a.example'), null)
  assert.equal(await files.find('b.example'), null)
  put('b.example', 'new')
  clock.ms += 1000
  assert.equal(await files.find('b.example'), 'new')
})

test('a file that cannot be used refuses its host, and says why', async (t) => {
  const reasons: unknown[] = []
  const log: Log = { write: (_, __, fields) => reasons.push(fields?.reason), child: () => log }
  const { directory, files } = stage(t, 10, log)
  writeFileSync(join(directory, 'a.example.conf'), '{"*": {"maxbuf": "x"}}')
  await assert.rejects(files.find('a.example'), { code: 'CONFIG_INVALID' })
  assert.match(String(reasons[0]), /a\.example\.conf:1:18: \*\.maxbuf: expected/)
})

test('a name that is longer than any file can be is a stranger, like others', async (t) => {
  const { files } = stage(t)
  const name = `${'a.'.repeat(126)}a`
  assert.equal(name.length, 253)
  assert.equal(hostFileName(name), name)
  assert.equal(await files.find(name), null)
})
