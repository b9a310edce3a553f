/**
 * The spool when things go wrong, and the OAuth key, through the real daemon: a full disk, a worker killed in the middle
 * of a copy, an upload too many; login with a VESkey encrypted to the published key, in both proxies.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { connect, type TLSSocket } from 'node:tls'
import { sendMail } from '../../src/cli/demo/mail.ts'
import { sealToVaultKey } from '../../src/engine/seal/vault-key.ts'
import { messageFile } from '../../src/net/now/spool.ts'
import { freePort, labGateway } from '../lab/gateway.ts'
import { labProvider } from '../lab/provider.ts'

const scratch = mkdtempSync(join(tmpdir(), 'vm-now-spool-'))
const spool = join(scratch, 'spool')
/** Bob's copies have no space: a small file system where we may mount one, else a file where his folder should be. */
const full = join(spool, 'bob@lab.test')
mkdirSync(spool)
mkdirSync(full)
const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=32k', 'tmpfs', full]).status === 0
after(() => {
  if (isMounted) execFileSync('umount', ['--lazy', full])
  rmSync(scratch, { recursive: true, force: true })
})
if (!isMounted) {
  rmSync(full, { recursive: true })
  writeFileSync(full, '')
}
const port = await freePort()
const provider = await labProvider()
const oauthFiles = ['new.pem', 'old.pem'].map((name) => join(scratch, name))
// The key that is on its way out: made by an installation that has it alone.
const { OAuthKeys } = await import('../../src/net/now/oauth-key.ts')
const oldKey = new OAuthKeys([oauthFiles[1]!]).publicKey
const gateway = await labGateway(provider, {
  workers: 1,
  configuration: { '*': { 'oauth-key': oauthFiles, now: { dir: spool, maxsize: 0, uploads: { perMinute: 10 } } } },
  daemons: [{ server: 'now', host: '127.0.0.1', port, tls: { persist: true } }],
})

const submissions = { host: '127.0.0.1', port: gateway.ports.submissions, secure: true, ca: gateway.ca }
const log = () =>
  readFileSync(gateway.logFile, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)

async function until<T>(find: () => T | null | undefined | false): Promise<T> {
  for (;;) {
    const found = find()
    if (found !== null && found !== undefined && found !== false) return found
    await new Promise((later) => setTimeout(later, 20))
  }
}

function mail(from: string, to: string, id: string, lines: number): Buffer {
  const body = 'a line of sixty octets, so that the disk is full soon enough\r\n'.repeat(lines)
  return Buffer.from(`From: ${from}\r\nTo: ${to}\r\nSubject: s\r\nMessage-ID: <${id}>\r\n\r\n${body}`)
}

test('a full disk costs the copy, not the mail', async () => {
  const sent = mail('bob@lab.test', 'alice@lab.test', 'full@lab.test', 10_000)
  const login = { user: 'bob@lab.test', pass: gateway.passwords.bob! }
  const reply = await sendMail(submissions, login, { from: 'bob@lab.test', to: 'alice@lab.test' }, sent)
  assert.match(reply, /^250/)
  const line = await until(() => log().find(({ msg, result }) => msg === 'spool' && result === 'copy lost'))
  assert.equal(line.reason, isMounted ? 'ENOSPC' : 'ENOTDIR')
  assert.equal(existsSync(join(full, messageFile('full@lab.test'))), false)
  // What there is of it is given back: a short one fits again.
  if (isMounted) assert.deepEqual(await until(() => (readdirSync(full).length === 0 ? [] : null)), [])
})

/** An SMTP client that stops wherever it is told to. */
async function smtp(): Promise<{ socket: TLSSocket; say: (line: string) => Promise<string> }> {
  const socket = connect({
    port: gateway.ports.submissions,
    host: '127.0.0.1',
    ca: gateway.ca,
    servername: 'localhost',
  })
  socket.setEncoding('latin1').on('error', () => {})
  const reply = async (): Promise<string> => {
    for (let text = ''; ; ) {
      text += ((await once(socket, 'data')) as [string])[0]
      if (/^\d{3} .*\r\n$/m.test(text)) return text
    }
  }
  await reply()
  return {
    socket,
    say: (line) => {
      const answered = reply()
      socket.write(`${line}\r\n`)
      return answered
    },
  }
}

test('a worker killed in the middle of a copy leaves nothing that can be read', async () => {
  const { socket, say } = await smtp()
  await say('EHLO client')
  const plain = Buffer.from(`\0alice@lab.test\0${gateway.passwords.alice}`).toString('base64')
  assert.match(await say(`AUTH PLAIN ${plain}`), /^235/)
  await say('MAIL FROM:<alice@lab.test>')
  await say('RCPT TO:<bob@lab.test>')
  assert.match(await say('DATA'), /^354/)
  socket.write(mail('alice@lab.test', 'bob@lab.test', 'killed@lab.test', 20_000))
  const folder = join(spool, 'alice@lab.test')
  const unfinished = await until(() => {
    const name = existsSync(folder) && readdirSync(folder).find((one) => one.endsWith('.part'))
    return name !== false && name !== undefined && statSync(join(folder, name)).size > 100_000 ? name : null
  })
  const worker = Number(log().findLast(({ msg }) => msg === 'worker started')?.workerPid)
  process.kill(worker, 'SIGKILL')
  await once(socket, 'close')
  assert.deepEqual(readdirSync(folder), [unfinished])
  assert.match(unfinished, /^\..*\.part$/)
  assert.equal(statSync(join(folder, unfinished)).mode & 0o777, 0o640)
  // The client sends it again, as clients do, and now it is there.
  const login = { user: 'alice@lab.test', pass: gateway.passwords.alice! }
  const sent = mail('alice@lab.test', 'bob@lab.test', 'killed@lab.test', 100)
  await until(() => log().filter(({ msg }) => msg === 'worker started').length > 1)
  const reply = await sendMail(submissions, login, { from: 'alice@lab.test', to: 'bob@lab.test' }, sent)
  assert.match(reply, /^250/)
  const copy = await until(
    () => existsSync(join(folder, messageFile('killed@lab.test'))) && join(folder, messageFile('killed@lab.test')),
  )
  assert.match(readFileSync(copy, 'latin1'), /^X-VESmail-ID: /m)
})

/** By curl: an upload, its status. */
async function put(file: string): Promise<number> {
  const args = ['-s', '-o', '/dev/null', '-w', '%{http_code}', '--cacert', gateway.caFile, '--upload-file', file]
  const child = spawn('curl', [...args, `https://127.0.0.1:${port}/`], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [status] = (await once(child.stdout, 'data')) as [Buffer]
  return Number(status.toString())
}

test('uploads: one too large is 413; of one creator too many in a minute is 503', async () => {
  const message = mail('alice@lab.test', 'bob@lab.test', 'upload@lab.test', 10)
  const args = ['encrypt', '-a', 'alice@lab.test', '-u', gateway.passwords.alice!, '--api', gateway.api]
  const sealed = execFileSync(join(import.meta.dirname, '../../bin/vesmail'), args, { input: message })
  const file = join(scratch, 'upload.eml')
  writeFileSync(file, Buffer.concat([sealed, Buffer.alloc(64 * 1024 * 1024, 'x\r\n')]))
  assert.equal(await put(file), 413)
  assert.equal(existsSync(join(spool, 'alice@lab.test', messageFile('upload@lab.test'))), false)
  writeFileSync(file, sealed)
  assert.equal(await put(file), 201)
  const answers = []
  for (let n = 0; n < 60; n++) answers.push(await put(file))
  assert.deepEqual([...new Set(answers)], [403, 503])
})

test('the OAuth key: private, published, and both proxies take a VESkey encrypted to it or to the one before', async () => {
  const answer = execFileSync('curl', ['-s', '--cacert', gateway.caFile, `https://127.0.0.1:${port}/oauth`]).toString()
  for (const file of oauthFiles) assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.notEqual(answer, oldKey)
  const bearerTo = (key: string, veskey = gateway.passwords.alice!) =>
    sealToVaultKey(key, Buffer.from(veskey)).toString('base64')
  const xoauth2 = (bearer: string) =>
    Buffer.from(`user=alice@lab.test\x01auth=Bearer ${bearer}\x01\x01`).toString('base64')
  const oauthbearer = (bearer: string) =>
    Buffer.from(`n,a=alice@lab.test,\x01host=h\x01auth=Bearer ${bearer}\x01\x01`).toString('base64')
  for (const [mechanism, first, key] of [
    ['XOAUTH2', xoauth2, answer],
    ['OAUTHBEARER', oauthbearer, answer],
    ['XOAUTH2', xoauth2, oldKey],
    ['OAUTHBEARER', oauthbearer, oldKey],
  ] as const) {
    const { socket, say } = await smtp()
    assert.match(await say('EHLO client'), new RegExp(`^250.AUTH .*\\b${mechanism}\\b`, 'm'))
    assert.match(await say(`AUTH ${mechanism} ${first(bearerTo(key))}`), /^235/, `smtp ${mechanism}`)
    socket.destroy()
    assert.match(await imapAuth(mechanism, first(bearerTo(key))), /^a OK /m, `imap ${mechanism}`)
  }
  assert.match(await imapAuth('XOAUTH2', xoauth2(bearerTo(answer, 'wrong'))), /^a NO /m)
  const foreign = new OAuthKeys([join(scratch, 'foreign.pem')]).publicKey
  assert.match(await imapAuth('XOAUTH2', xoauth2(bearerTo(foreign))), /^a NO /m)
})

async function imapAuth(mechanism: string, first: string): Promise<string> {
  const socket = connect({ port: gateway.ports.imaps, host: '127.0.0.1', ca: gateway.ca, servername: 'localhost' })
  socket.setEncoding('latin1').on('error', () => {})
  let text = ''
  let asked = false
  for await (const piece of socket) {
    text += piece
    if (!asked && /^\* OK /m.test(text)) {
      asked = true
      socket.write(`a AUTHENTICATE ${mechanism} ${first}\r\n`)
    }
    // A refusal comes with a challenge, which an empty line answers.
    if (/^\+ /m.test(text) && !/^a /m.test(text)) socket.write('\r\n')
    if (/^a (?:OK|NO|BAD)/m.test(text)) break
  }
  socket.destroy()
  return text
}
