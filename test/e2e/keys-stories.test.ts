/**
 * Three stories of keys over real servers (daemon, repository, Dovecot and Postfix): mail to people who have no account
 * yet, with and without the key travelling along, and an auditor whom nobody shares with by hand.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { readMail, SECRET_WORDS, sendMail, storedMail, withoutTrace, writeMail } from '../../src/cli/demo/mail.ts'
import { labGateway } from '../lab/gateway.ts'
import { LAB_USERS, labProvider } from '../lab/provider.ts'

const VESMAIL = fileURLToPath(new URL('../../bin/vesmail', import.meta.url))
const ALICE = 'alice@lab.test'
const AUDITOR = 'auditor@lab.test'
const provider = await labProvider()
const gateway = await labGateway(provider, {
  users: ['alice'],
  workers: 1,
  configuration: { '*': { audit: [AUDITOR] } },
})
const auditorPassword = await gateway.createAccount(AUDITOR)
const alice = { user: ALICE, pass: gateway.passwords.alice! }
const imap = { host: '127.0.0.1', port: gateway.ports.imaps, secure: true, ca: gateway.ca }
const submission = { host: '127.0.0.1', port: gateway.ports.submission, secure: false, ca: gateway.ca }

function profile(name: string, mode: string): unknown {
  const password = LAB_USERS.find((user) => user.name === name)?.password
  const server = (port: number) => ({ host: provider.host, port, login: name, password, tls: { level: 'high' } })
  return { imap: server(provider.ports.imap), smtp: { ...server(provider.ports.submission), mode } }
}

/** Delivery takes a moment. */
async function arrived(name: string): Promise<Buffer> {
  for (let tries = 0; tries < 200; tries++) {
    const mail = storedMail(provider.maildir(name))
    if (mail !== null) return mail
    await new Promise((later) => setTimeout(later, 50))
  }
  throw new Error('never came')
}

async function send(mode: string, to: string): Promise<Buffer> {
  await gateway.setProfile(ALICE, alice.pass, profile('alice', mode))
  const written = await writeMail(ALICE, to)
  assert.match(await sendMail(submission, alice, { from: ALICE, to }, written), /^250/)
  return written
}

async function openAccount(name: string): Promise<{ user: string; pass: string }> {
  const user = `${name}@lab.test`
  const pass = await gateway.createAccount(user)
  await gateway.setProfile(user, pass, profile(name, 'REJECT'))
  return { user, pass }
}

test('XCHG: who has no account makes one, and reads what was sent before', async () => {
  const written = await send('XCHG', 'bob@lab.test')
  const stored = (await arrived('bob')).toString('latin1')
  assert.match(stored, /^X-VESmail-Xchg: \[\[\d+,\d+,"[^"]+"\]\]\r?$/m)
  for (const word of SECRET_WORDS) assert.ok(!stored.includes(word))
  const read = await readMail(imap, await openAccount('bob'))
  assert.equal(withoutTrace(read!).toString('latin1'), written.toString('latin1'))
})

test('HIGH: the key does not travel along; it comes with the next contact of the sender', async () => {
  const written = await send('HIGH', 'carol@lab.test')
  const stored = (await arrived('carol')).toString('latin1')
  assert.doesNotMatch(stored, /X-VESmail-Xchg/)
  const carol = await openAccount('carol')
  const early = (await readMail(imap, carol))?.toString('latin1') ?? ''
  for (const word of SECRET_WORDS) assert.ok(!early.includes(word))
  // The sender looks into her mailbox, and that is all she does.
  await readMail(imap, alice)
  const wanted = written.toString('latin1')
  for (let tries = 0; tries < 100; tries++) {
    const read = await readMail(imap, carol)
    if (read !== null && withoutTrace(read).toString('latin1') === wanted) return
    await new Promise((later) => setTimeout(later, 100))
  }
  assert.fail('carol cannot read it')
})

test('an auditor reads what nobody shared with them by hand', async () => {
  const stored = await arrived('bob')
  const args = ['decrypt', '-a', AUDITOR, '-u', auditorPassword, '--api', gateway.api]
  const running = promisify(execFile)(VESMAIL, args, { encoding: 'buffer' })
  running.child.stdin!.end(stored)
  const opened = (await running).stdout.toString('latin1')
  for (const word of SECRET_WORDS.slice(0, 2)) assert.ok(opened.includes(word), word)
  assert.ok(readFileSync(join(gateway.directory, 'vesmail.log'), 'utf8').includes('"sealed"'))
})
