/** The SMTP proxy of the real daemon against clients that mean harm, and the options that say who may do what. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { freePort, labGateway } from '../lab/gateway.ts'
import { labProvider } from '../lab/provider.ts'
import { RawClient } from './smtp-lab.ts'

const MAX_OCTETS = 20_000

const hosts = mkdtempSync(join(tmpdir(), 'vm-hosts-'))
after(() => rmSync(hosts, { recursive: true }))
writeFileSync(
  join(hosts, 'tenant.test.conf'),
  JSON.stringify({ smtp: { limits: { messageOctets: MAX_OCTETS / 2, recipients: 1 } } }),
)

const provider = await labProvider()
const [loopback, behindBalancer, strict] = [await freePort(), await freePort(), await freePort()]
const gateway = await labGateway(provider, {
  configuration: {
    '*': { sni: { prefix: `${hosts}/`, suffix: '.conf' } },
    smtp: { limits: { messageOctets: MAX_OCTETS, providerNetworks: ['127.0.0.0/8'] } },
  },
  daemons: [
    { server: 'smtp', host: '127.0.0.1', port: loopback, tls: { loopback: true } },
    {
      server: 'smtp',
      host: '127.0.0.1',
      port: behindBalancer,
      tls: { loopback: true },
      'proxy-protocol': ['127.0.0.0/8'],
    },
    { server: 'smtp', host: '127.0.0.1', port: strict },
  ],
})
const secret = (): string => Buffer.from(`\0alice@lab.test\0${gateway.passwords.alice}`).toString('base64')

async function greeted(port: number, first = ''): Promise<RawClient> {
  const client = new RawClient(connect({ port, host: '127.0.0.1', noDelay: true }))
  client.socket.write(first)
  assert.match(await client.reply(), /^220 /)
  return client
}

const loggedIn = async (): Promise<RawClient> =>
  new RawClient(connect({ port: loopback, host: '127.0.0.1', noDelay: true })).login(
    'alice@lab.test',
    gateway.passwords.alice,
  )

function delivered(): string {
  return ['alice', 'bob', 'carol']
    .flatMap((name) => ['new', 'cur'].map((folder) => join(provider.maildir(name), folder)))
    .flatMap((folder) => {
      try {
        return readdirSync(folder).map((file) => readFileSync(join(folder, file), 'latin1'))
      } catch {
        // No mail came there yet.
        return []
      }
    })
    .join('\n')
}

test('plaintext login: on loopback as configured, by who the client really is', async () => {
  const local = await greeted(loopback)
  const list = await local.say('EHLO x\r\n')
  assert.match(list, /AUTH PLAIN LOGIN/)
  assert.match(list, /STARTTLS/)
  assert.match(await local.say(`AUTH PLAIN ${secret()}\r\n`), /^235/)
  local.close()

  const elsewhere = await greeted(behindBalancer, 'PROXY TCP4 192.0.2.7 198.51.100.1 40000 587\r\n')
  assert.doesNotMatch(await elsewhere.say('EHLO x\r\n'), /AUTH/)
  assert.match(await elsewhere.say(`AUTH PLAIN ${secret()}\r\n`), /^530 5\.7\.11 .*STARTTLS/)
  elsewhere.close()

  const without = await greeted(strict)
  assert.doesNotMatch(await without.say('EHLO x\r\n'), /AUTH/)
  assert.match(await without.say(`AUTH PLAIN ${secret()}\r\n`), /^530 5\.7\.11 /)
  without.close()
})

test('limits.messageOctets: told in EHLO, at MAIL, and at the end of what declared nothing', async () => {
  const one = await loggedIn()
  assert.match(await one.say('EHLO again\r\n'), new RegExp(`SIZE ${MAX_OCTETS}\r\n`))
  assert.match(await one.say(`MAIL FROM:<alice@lab.test> SIZE=${MAX_OCTETS + 1}\r\n`), /^552 5\.3\.4/)
  await one.envelope('alice@lab.test', 'bob@lab.test')
  one.socket.write(`Subject: toolarge\r\n\r\n${`${'x'.repeat(70)}\r\n`.repeat(400)}`)
  assert.match(await one.say('.\r\n'), /^552 5\.3\.4/)
  assert.match(await one.reply(), /^421 /)
})

test('limits of a host that the client names: with TLS from the first octet, and after STARTTLS', async () => {
  const tls = { host: '127.0.0.1', ca: gateway.ca, servername: 'tenant.test', checkServerIdentity: () => undefined }
  const opened = async (socket: TLSSocket): Promise<RawClient> => {
    await once(socket, 'secureConnect')
    return new RawClient(socket)
  }
  const first = await opened(connectTls({ ...tls, port: gateway.ports.submissions }))
  assert.match(await first.reply(), /^220 /)
  const plain = await greeted(strict)
  await plain.say('EHLO x\r\n')
  assert.match(await plain.say('STARTTLS\r\n'), /^220 /)
  plain.socket.removeAllListeners()
  const second = await opened(connectTls({ ...tls, socket: plain.socket }))
  for (const one of [first, second]) {
    assert.match(await one.say('EHLO x\r\n'), new RegExp(`SIZE ${MAX_OCTETS / 2}\r\n`))
    assert.match(await one.say(`AUTH PLAIN ${secret()}\r\n`), /^235/)
    assert.match(await one.say(`MAIL FROM:<alice@lab.test> SIZE=${MAX_OCTETS / 2 + 1}\r\n`), /^552 5\.3\.4/)
    assert.match(await one.say('MAIL FROM:<alice@lab.test>\r\n'), /^250/)
    assert.match(await one.say('RCPT TO:<bob@lab.test>\r\n'), /^250/)
    assert.match(await one.say('RCPT TO:<alice@lab.test>\r\n'), /^452 4\.5\.3/)
    one.close()
  }
})

test('everything at once before login: nothing is done, nothing is kept for after it', async () => {
  const one = await greeted(loopback)
  const replies = []
  one.socket.write(
    'MAIL FROM:<x@lab.test>\r\nRCPT TO:<bob@lab.test>\r\nDATA\r\nSubject: smuggled1\r\n\r\nx\r\n.\r\nEHLO x\r\n' +
      `RCPT TO:<bob@lab.test>\r\nAUTH PLAIN ${secret()}\r\nRCPT TO:<bob@lab.test>\r\nDATA\r\nQUIT\r\n`,
  )
  for (let reply = await one.reply(); reply !== ''; reply = await one.reply()) replies.push(reply)
  assert.deepEqual(
    replies.map((reply) => reply.slice(0, 3)),
    // MAIL, RCPT, DATA; Subject, blank, x, dot; EHLO, RCPT, AUTH, RCPT, DATA; what stands behind that is not read
    ['503', '503', '503', '500', '500', '500', '500', '250', '503', '235', '503', '503'],
  )
})

test('AUTH: cancelled, unknown, repeated and overlong, until it is enough', async () => {
  const one = await greeted(loopback)
  await one.say('EHLO x\r\n')
  assert.match(await one.say('AUTH PLAIN\r\n'), /^334/)
  assert.match(await one.say('*\r\n'), /^501/)
  assert.match(await one.say('AUTH CRAM-MD5\r\n'), /^504 5\.5\.4/)
  assert.match(await one.say('AUTH PLAIN !!!\r\n'), /^501/)
  assert.match(await one.say(`AUTH PLAIN ${'QUFB'.repeat(3000)}\r\n`), /^535|^501/)
  let last = ''
  for (let i = 0; i < 30 && !one.closed; i++) last = await one.say('AUTH LOGIN\r\n*\r\n').then(() => one.reply())
  assert.match(last, /^421|^$/)
  const two = await greeted(loopback)
  await two.say('EHLO x\r\n')
  two.socket.on('error', () => {})
  assert.match(await two.say(`AUTH PLAIN ${'QUFB'.repeat(8000)}\r\n`), /^500 5\.5\.6/)
  assert.equal(await two.reply(), '')
})

test('parameters, names and modes that want to be more than one line or another address', async () => {
  const one = await loggedIn()
  const refused = [
    'MAIL FROM:<alice@lab.test> SIZE=1\rRCPT TO:<carol@lab.test>',
    'MAIL FROM:<alice@lab.test> BODY=BINARYMIME',
    'MAIL FROM:<alice@lab.test> XFOO=1',
    'MAIL FROM:<alice@lab.test>\0',
    'EHLO a b',
    'EHLO x\0y',
    'XVES MODE PLAIN\rREJECT',
    'XVES MODE PLAINTEXT',
    'XVES MODE',
  ]
  for (const line of refused.slice(0, -1)) assert.match(await one.say(`${line}\r\n`), /^5\d\d/, line)
  assert.equal(await one.say('XVES MODE\r\n'), '250 XVES MODE REJECT\r\n', 'the mode is what it was')
  assert.match(await one.say('MAIL FROM:<alice@lab.test>\r\n'), /^250/)
  for (const line of [
    'RCPT TO:<bob@lab.test> NOTIFY=NEVER ORCPT=rfc822;x\rDATA',
    'RCPT TO:<bob@lab.test><carol@lab.test>',
    'RCPT TO:<bob@lab.test>,<carol@lab.test>',
    'RCPT TO:<@carol.test:>',
    `RCPT TO:<${Buffer.from('bo\u212a@lab.test').toString('latin1')}>`,
  ]) {
    assert.match(await one.say(`${line}\r\n`), /^5\d\d/, line)
  }
  assert.match(await one.say('DATA\r\n'), /^554/)
  one.close()
})

test('BDAT: its octets are nobody’s commands', async () => {
  const one = await loggedIn()
  await one.say('MAIL FROM:<alice@lab.test>\r\n')
  await one.say('RCPT TO:<bob@lab.test>\r\n')
  const body =
    'RSET\r\nMAIL FROM:<x@lab.test>\r\nRCPT TO:<bob@lab.test>\r\nDATA\r\nSubject: smuggled2\r\n\r\nx\r\n.\r\n'
  assert.match(await one.say(`BDAT ${body.length} LAST\r\n${body}`), /^503/)
  assert.equal(await one.reply(), '')
  assert.doesNotMatch(delivered(), /smuggled/)
})

test('a name full of line ends and fields stays one field of one line in the log, and is cut', async () => {
  const forged = `mallory@lab.test\r\n{"level":"info","msg":"login","result":"ok"}${'x'.repeat(2000)}`
  const one = await greeted(loopback)
  await one.say('EHLO x\r\n')
  const auth = Buffer.from(`\0${forged}\0wrong`).toString('base64')
  assert.match(await one.say(`AUTH PLAIN ${auth}\r\n`), /^535 5\.7\.8 XVES-6/)
  one.close()
  const lines = readFileSync(gateway.logFile, 'utf8')
    .split('\n')
    .filter((line) => line.includes('mallory'))
  assert.equal(lines.length, 1)
  const { msg, result, account } = JSON.parse(lines[0]!) as Record<string, string>
  assert.deepEqual([msg, result], ['login', 'denied'])
  assert.equal(account, forged.slice(0, 256))
})

test('after all that a mail goes as ever', async () => {
  const one = await loggedIn()
  await one.envelope('alice@lab.test', 'bob@lab.test')
  assert.match(await one.say('Subject: fine\r\n\r\nfine\r\n.\r\n'), /^250[ -].*ves:\/\/vesmail\//s)
  one.close()
})
