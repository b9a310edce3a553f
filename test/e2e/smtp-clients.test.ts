/**
 * Clients and providers that nobody here wrote: swaks, curl, msmtp, nodemailer and a Postfix that has us for its
 * smarthost; Postfix (STARTTLS and implicit TLS) and Dovecot submission as providers. Each mail is stored sealed, and
 * opens to what the client wrote.
 */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { promisify } from 'node:util'
import { createTransport } from 'nodemailer'
import { Secret } from '../../src/base/secret.ts'
import { answers, startServer } from '../../src/cli/sandbox/server.ts'
import { selfSigned } from '../../src/net/certificates.ts'
import { serverTls } from '../../src/net/tls.ts'
import { labProvider } from '../lab/provider.ts'
import { type SmtpLab, smtpLab } from './smtp-lab.ts'

const run = promisify(execFile)
const scratch = mkdtempSync(join(tmpdir(), 'vm-clients-'))
chmodSync(scratch, 0o755)
after(() => rmSync(scratch, { recursive: true, force: true }))
const provider = await labProvider()
const { cert, pkey } = selfSigned(['localhost', '127.0.0.1'], Date.now())
const caFile = join(scratch, 'ca.pem')
writeFileSync(caFile, cert)
const tls = serverTls(Buffer.from(cert), Buffer.from(pkey))
const lab = await smtpLab({ provider: { port: provider.ports.submission }, tls })

const BOB = 'bob@lab.test'
const ALICE = 'alice@lab.test'

/** Sends, waits for the mail with that word, and opens it. */
async function sends(word: string, through: SmtpLab, send: () => Promise<unknown>): Promise<string> {
  await send()
  const find = (): Buffer | undefined => {
    const directory = join(provider.maildir('bob'), 'new')
    const all = existsSync(directory) ? readdirSync(directory).map((file) => readFileSync(join(directory, file))) : []
    for (const mail of all) assert(!mail.includes(word), 'plaintext at the provider')
    return all.find((mail) => {
      const id = /^X-VESmail-ID: <?([^\s>]+)/m.exec(mail.toString('latin1'))?.[1]
      return id !== undefined && through.keys.has(id) && through.open(mail).includes(word)
    })
  }
  for (let tries = 0; tries < 200; tries++) {
    const mail = find()
    if (mail !== undefined) return through.open(mail).toString('latin1')
    await new Promise((later) => setTimeout(later, 50))
  }
  throw new Error(`${word} never came`)
}

const swaks =
  (port: number, word: string, ...args: string[]) =>
  () =>
    run('swaks', [
      ...[
        '--server',
        `127.0.0.1:${port}`,
        '--from',
        ALICE,
        '--to',
        BOB,
        '--auth-user',
        'alice',
        '--auth-password',
        'veskey',
      ],
      ...['--header', `Subject: ${word}`, '--body', `body ${word}\n.leading dot\n..two`, ...args],
    ])

test('swaks: PLAIN and LOGIN, STARTTLS, pipelined, attachment', async () => {
  for (const [word, args] of [
    ['swaksplain', ['--auth', 'PLAIN']],
    ['swakslogin', ['--auth', 'LOGIN', '--tls']],
    ['swakspipe', ['--auth', 'PLAIN', '--pipeline']],
    ['swaksattach', ['--auth', 'PLAIN', '--attach', '@/etc/services']],
  ] as const) {
    const mail = await sends(word, lab, swaks(lab.port, word, ...args))
    assert.match(mail, /\n\.leading dot\r?\n\.\.two\r?\n/)
    assert.match(mail, /^Received: from \[127\.0\.0\.1\]:\d+ \(helo=/m)
  }
})

test('curl over STARTTLS', async () => {
  const file = join(scratch, 'curl.eml')
  writeFileSync(file, `From: ${ALICE}\r\nTo: ${BOB}\r\nSubject: curlword\r\n\r\n.dot\r\nlast`)
  const mail = await sends('curlword', lab, () =>
    run('curl', [
      ...['--silent', '--show-error', '--ssl-reqd', '--cacert', caFile, '--user', 'alice:veskey'],
      ...[
        '--mail-from',
        ALICE,
        '--mail-rcpt',
        BOB,
        '--upload-file',
        file,
        `smtp://localhost:${lab.port}/client.lab.test`,
      ],
    ]),
  )
  assert.match(mail, /\n\.dot\r?\nlast/)
})

test('msmtp over STARTTLS', async () => {
  const mail = await sends('msmtpword', lab, () => {
    const child = spawn('msmtp', [
      ...['--file=/dev/null', '--host=localhost', `--port=${lab.port}`, '--tls=on', `--tls-trust-file=${caFile}`],
      ...['--auth=plain', '--user=alice', '--passwordeval=echo veskey', `--from=${ALICE}`, BOB],
    ])
    child.stdin.end(`From: ${ALICE}\nTo: ${BOB}\nSubject: msmtpword\n\n.dot\nlast\n`)
    return new Promise((resolve, reject) =>
      child.on('exit', (code) => (code === 0 ? resolve(0) : reject(new Error(`${code}`)))),
    )
  })
  assert.match(mail, /\n\.dot\r?\nlast\r?\n/)
})

test('nodemailer: several messages on one connection, with and without attachments, a wrong password', async () => {
  const options = { host: 'localhost', port: lab.port, requireTLS: true, tls: { ca: cert } }
  const transport = createTransport({
    ...options,
    auth: { user: 'alice', pass: 'veskey' },
    pool: true,
    maxConnections: 1,
  })
  for (const word of ['nodemailerone', 'nodemailertwo', 'nodemailerthree']) {
    const mail = await sends(word, lab, async () => {
      const { response } = await transport.sendMail({
        from: ALICE,
        to: [BOB, 'carol@lab.test'],
        subject: word,
        text: '.x\n..y\n',
        attachments: word === 'nodemailertwo' ? [{ filename: 'a.bin', content: Buffer.alloc(200_000, 7) }] : [],
      })
      assert.match(response, /^250.*ves:\/\/vesmail\//s)
    })
    assert.match(mail, /\n\.x\r?\n\.\.y\r?\n/)
  }
  transport.close()
  const wrong = createTransport({ ...options, auth: { user: 'alice', pass: 'wrong' } })
  await assert.rejects(
    wrong.sendMail({ from: ALICE, to: BOB, text: 'x' }),
    /535 5\.7\.8 XVES-6 Invalid VESmail credentials/,
  )
})

test('providers: Postfix with TLS from the first octet, Dovecot submission (BURL and CHUNKING are not offered on)', async () => {
  const implicit = await smtpLab({
    provider: { port: provider.ports.submissions, tls: { level: 'unsecure', persist: true } },
  })
  await sends('implicitword', implicit, swaks(implicit.port, 'implicitword', '--auth', 'PLAIN'))
  const dovecot = await smtpLab({ provider: { port: provider.ports.dovecotSubmission } })
  await sends('dovecotword', dovecot, swaks(dovecot.port, 'dovecotword', '--auth', 'PLAIN'))
  const { stdout } = await run('swaks', [
    ...[
      '--server',
      `127.0.0.1:${dovecot.port}`,
      '--auth',
      'PLAIN',
      '--auth-user',
      'alice',
      '--auth-password',
      'veskey',
    ],
    ...['--quit-after', 'AUTH'],
  ])
  assert.doesNotMatch(stdout, /BURL|CHUNKING|BINARYMIME|VRFY|ETRN/)
})

test('SCRAM-SHA-256 at a real server: the password stays here, a wrong one is refused', async () => {
  for (const port of [provider.ports.submission, provider.ports.dovecotSubmission]) {
    const scram = await smtpLab({ provider: { port, sasl: 'SCRAM-SHA-256' } })
    await sends(`scramword${port}`, scram, swaks(scram.port, `scramword${port}`, '--auth', 'PLAIN'))
    const wrong = await smtpLab({ provider: { port, sasl: 'SCRAM-SHA-256', password: new Secret('wrong') } })
    await assert.rejects(swaks(wrong.port, 'never', '--auth', 'PLAIN')(), (error: { stdout: string }) => {
      assert.match(error.stdout, /535-5\.7\.8 XVES-31 Refused by the remote server/)
      return true
    })
  }
})

test('a Postfix that has us for its smarthost', async () => {
  const port = await smarthost(lab.port)
  const mail = await sends('smarthostword', lab, () =>
    run('swaks', [
      ...['--server', `127.0.0.1:${port}`, '--from', ALICE, '--to', `${BOB},carol@lab.test`],
      ...['--header', 'Subject: smarthostword', '--body', '.dot\nlast'],
    ]),
  )
  assert.match(mail, /\n\.dot\r?\nlast\r?\n/)
  // A second one goes over the same cached connection or a new one: both have to work.
  await sends('smarthostagain', lab, () =>
    run('swaks', ['--server', `127.0.0.1:${port}`, '--from', ALICE, '--to', BOB, '--body', 'smarthostagain']),
  )
})

/** @returns the port where it takes mail to relay */
async function smarthost(relay: number): Promise<number> {
  const directory = join(scratch, 'smarthost')
  for (const name of ['etc', 'queue', 'data', 'log']) mkdirSync(join(directory, name), { recursive: true })
  const postfixUid = Number((await run('id', ['-u', 'postfix'])).stdout)
  chownSync(join(directory, 'data'), postfixUid, -1)
  const port = 20_000 + (process.pid % 10_000)
  const etc = join(directory, 'etc')
  writeFileSync(
    join(etc, 'main.cf'),
    `compatibility_level = 3.6
queue_directory = ${directory}/queue
data_directory = ${directory}/data
maillog_file = ${directory}/log/postfix
maillog_file_prefixes = ${directory}/log
myhostname = smarthost.lab.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
relayhost = [127.0.0.1]:${relay}
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = static:alice:veskey
smtp_sasl_security_options =
smtp_tls_security_level = none
smtputf8_enable = no
`,
  )
  writeFileSync(
    join(etc, 'master.cf'),
    `127.0.0.1:${port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
smtp unix - - n - - smtp
relay unix - - n - - smtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`,
  )
  // Makes the queue's folders. The master itself is started: who stops `postfix start-fg` leaves it behind.
  await run('postfix', ['-c', etc, 'check'])
  const server = startServer('/usr/lib/postfix/sbin/master', ['-s', '-c', etc], join(directory, 'log', 'postfix-out'))
  after(() => server.stop())
  await answers(server, port)
  return port
}
