/**
 * Real clients, the real daemon, a real provider: mail goes through sealed and comes back byte for byte.
 * Clients that nobody here wrote: nodemailer, imapflow, swaks, curl, mbsync.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import { ImapFlow } from 'imapflow'
import { readMail, sendMail, storedMail, withoutTrace, writeMail } from '../../src/cli/demo/mail.ts'
import { labGateway } from '../lab/gateway.ts'
import { labProvider } from '../lab/provider.ts'
import { until } from '../lab/until.ts'

const run = promisify(execFile)
const scratch = mkdtempSync(join(tmpdir(), 'vm-e2e-'))
const ALICE = 'alice@lab.test'
const BOB = 'bob@lab.test'
// At the top level: `after` within a hook would run at the end of that hook.
const provider = await labProvider()
const gateway = await labGateway(provider)
after(() => rmSync(scratch, { recursive: true, force: true }))

const login = (name: string) => ({ user: `${name}@lab.test`, pass: gateway.passwords[name]! })
const endpoint = (name: 'imap' | 'imaps' | 'submission' | 'submissions') => ({
  host: '127.0.0.1',
  port: gateway.ports[name],
  secure: name.endsWith('s'),
  ca: gateway.ca,
})

const swaks = (...args: string[]) =>
  run('swaks', [
    '--server',
    `127.0.0.1:${gateway.ports.submission}`,
    '--tls',
    '--tls-verify',
    '--tls-ca-path',
    gateway.caFile,
    ...args,
  ])

const curl = (user: string, path: string, ...args: string[]) => {
  const url = `imaps://127.0.0.1:${gateway.ports.imaps}/${path}`
  const { user: name, pass } = login(user)
  return run('curl', [
    '--silent',
    '--show-error',
    '--cacert',
    gateway.caFile,
    '--user',
    `${name}:${pass}`,
    ...args,
    url,
  ])
}

test('nodemailer sends over STARTTLS, imapflow reads the same bytes, the provider holds none of them', async () => {
  const written = await writeMail(ALICE, BOB)
  const reply = await sendMail(endpoint('submission'), login('alice'), { from: ALICE, to: BOB }, written)
  assert.match(reply, /^250/)
  assert.match(reply, /ves:\/\/vesmail\//, 'the final reply names the item')
  const stored = await until(() => storedMail(provider.maildir('bob')))
  assert.match(stored.toString('latin1'), /^X-VESmail-ID: /m)
  assert.match(stored.toString('latin1'), /^Subject: <VESmail encrypted message>\r?$/m)
  assert.doesNotMatch(stored.toString('latin1'), /heron|kingfisher|cormorant/)
  const read = await readMail(endpoint('imap'), login('bob'))
  assert.deepEqual(withoutTrace(read!).toString('latin1'), written.toString('latin1'))
})

test('swaks sends, curl fetches and searches', async () => {
  const { stdout } = await swaks(
    ...['--auth', 'PLAIN', '--auth-user', ALICE, '--auth-password', gateway.passwords.alice!],
    ...['--from', ALICE, '--to', BOB, '--header', 'Subject: swaks was here', '--body', 'a body from swaks'],
  )
  assert.match(stdout, /250/)
  const text = await until(async () => {
    const { stdout: body } = await curl('bob', 'INBOX;MAILINDEX=*')
    return body.includes('a body from swaks') ? body : null
  })
  assert.match(text, /^Subject: swaks was here\r$/m)
})

test('mbsync mirrors a sealed mailbox in plain', async () => {
  const { user, pass } = login('bob')
  mkdirSync(join(scratch, 'md'), { recursive: true })
  const rc = join(scratch, 'mbsyncrc')
  writeFileSync(
    rc,
    `IMAPAccount a\nHost 127.0.0.1\nPort ${gateway.ports.imap}\nUser ${user}\nPass ${pass}\nSSLType STARTTLS\nCertificateFile ${gateway.caFile}\n\nIMAPStore r\nAccount a\n\nMaildirStore l\nPath ${scratch}/md/\nInbox ${scratch}/md/INBOX\nSubFolders Verbatim\n\nChannel c\nFar :r:\nNear :l:\nPatterns INBOX\nCreate Near\nSync Pull\nSyncState *\n`,
  )
  await run('mbsync', ['-c', rc, '-a'])
  const folder = join(scratch, 'md/INBOX')
  const mails = ['new', 'cur'].flatMap((sub) =>
    readdirSync(join(folder, sub)).map((f) => readFileSync(join(folder, sub, f), 'latin1')),
  )
  assert.ok(mails.length >= 2)
  assert.ok(mails.some((mail) => mail.includes('a body from swaks')))
  assert.ok(mails.some((mail) => mail.includes('Subject: The heron is back')))
  assert.ok(mails.every((mail) => !mail.includes('X-VESmail')))
})

test('curl APPENDs: the provider stores it sealed, and it comes back exact', async () => {
  const message =
    'From: bob@lab.test\r\nSubject: a draft of mine\r\nMessage-ID: <draft-1@lab.test>\r\n\r\nsecret thoughts\r\n'
  const file = join(scratch, 'draft')
  writeFileSync(file, message)
  await curl('bob', 'Drafts', '--upload-file', file)
  const stored = await until(() => storedMail(join(provider.maildir('bob'), '.Drafts')))
  assert.doesNotMatch(stored.toString('latin1'), /secret thoughts|a draft of mine/)
  const { stdout } = await curl('bob', 'Drafts;MAILINDEX=1')
  assert.equal(stdout, message)
})

test('IDLE tells of a mail that arrives', async () => {
  const { host, port, secure, ca } = endpoint('imaps')
  const client = new ImapFlow({ host, port, secure, auth: login('bob'), tls: { ca }, logger: false })
  await client.connect()
  try {
    await client.mailboxOpen('INBOX')
    const told = new Promise<number>((resolve) => client.once('exists', ({ count }) => resolve(count)))
    const idling = client.idle()
    await sendMail(endpoint('submissions'), login('alice'), { from: ALICE, to: BOB }, await writeMail(ALICE, BOB))
    assert.ok((await told) > 0)
    await client.noop()
    await idling
  } finally {
    await client.logout()
  }
})

test('a recipient without a vault is refused in words that say why', async () => {
  const refused = await swaks(
    ...['--auth', 'PLAIN', '--auth-user', ALICE, '--auth-password', gateway.passwords.alice!],
    ...['--from', ALICE, '--to', 'stranger@lab.test'],
  ).catch((error: { stdout: string }) => error)
  assert.match(refused.stdout, /450 4\.1\.0 .*(VES|vault|encrypt)/i)
})

test('a wrong password and an unknown account get the same answer, and cost only that session', async () => {
  const answers: string[] = []
  for (const [user, password] of [
    [ALICE, 'wrong'],
    ['nobody@lab.test', 'wrong'],
  ] as const) {
    const failed = await swaks(
      ...['--auth', 'PLAIN', '--auth-user', user, '--auth-password', password, '--quit-after', 'AUTH'],
    ).catch((error: { stdout: string }) => error)
    answers.push(/535 .*/.exec(failed.stdout)?.[0] ?? failed.stdout)
  }
  assert.match(answers[0]!, /^535 5\.7\.8 XVES-6 Invalid VESmail credentials/)
  assert.equal(answers[1], answers[0])
  await assert.rejects(
    run('curl', [
      '--silent',
      '--cacert',
      gateway.caFile,
      '--user',
      `${BOB}:wrong`,
      `imaps://127.0.0.1:${gateway.ports.imaps}/INBOX`,
    ]),
  )
  await curl('bob', 'INBOX', '--request', 'NOOP')
})
