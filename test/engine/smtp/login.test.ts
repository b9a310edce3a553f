/** Before the provider: greeting, EHLO, STARTTLS, AUTH, and each way in which a login fails (smtp.md §1–2). */
import assert from 'node:assert/strict'
import test from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { Secret } from '../../../src/base/secret.ts'
import type { Provider, TlsLevel } from '../../../src/engine/account.ts'
import type { Player } from '../script.ts'
import { HOLD } from '../script.ts'
import { ALL, account, LOGIN, login, player, type World } from './world.ts'

function withProvider(provider: Partial<Provider>, world: World = {}): Player {
  const base = account(world)
  return player({
    ...world,
    account: { profile: { imap: null, smtp: { ...base.profile.smtp!, ...provider } } },
  })
}

const GREETED = `
  S: 220 gw.example ESMTP VESmail ready.
  C: EHLO client.example
  S: 250-gw.example
  S: 250-8BITMIME
  S: 250-PIPELINING
  S: 250-ENHANCEDSTATUSCODES
  S: 250-DSN
  S: 250-SMTPUTF8
  S: 250-SIZE
  S: 250-AUTH PLAIN LOGIN
  S: 250-HELP
  S: 250 XVES
`
const AUTH = 'AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHZlc2tleQ=='

test('a login, in chunks of every size', () => {
  for (let chunk = 1; chunk < 80; chunk++) player({ chunk }).play(login(...ALL))
})

test('the fixed list before AUTH, by what is possible', () => {
  const lines = (world: World): string[] => {
    const one = player(world)
    one.output.client = ''
    one.feed('client', Buffer.from('EHLO c\r\n'))
    return one.output.client.split('\r\n').map((line) => line.slice(4))
  }
  assert.deepEqual(
    lines({ start: { tls: false, tlsLevel: 'high' } }).slice(6, -1),
    ['SIZE', 'STARTTLS', 'HELP', 'XVES'].slice(0),
  )
  assert(lines({ start: { tls: false, tlsLevel: 'optional' } }).includes('AUTH PLAIN LOGIN'))
  assert(!lines({ start: { tls: false, tlsLevel: 'none' } }).includes('STARTTLS'))
  assert(lines({ start: { tls: false, tlsLevel: 'none' } }).includes('AUTH PLAIN LOGIN'))
  assert(lines({ start: { tls: false, tlsLevel: 'high', plaintextLogin: true } }).includes('AUTH PLAIN LOGIN'))
  assert(lines({ start: { oauth: true } }).includes('AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER'))
  assert(lines({ start: { maxMessageOctets: 1000 } }).includes('SIZE 1000'))
})

test('commands before login', () => {
  player().play(`
  S: 220 gw.example ESMTP VESmail ready.
  C: AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHZlc2tleQ==
  S: 503 5.5.1 EHLO first
  C: HELO client.example
  S: 250 gw.example
  C: AUTH PLAIN x
  S: 503 5.5.1 EHLO first
  C: MAIL FROM:<a@b>
  C: RCPT TO:<a@b>
  C: DATA
  S: 503 5.5.1 Authentication first
  S: 503 5.5.1 Authentication first
  S: 503 5.5.1 Authentication first
  C: RSET
  C: NOOP
  C: HELP
  S: 250 2.0.0 OK
  S: 250 2.0.0 OK
  S: 214 2.0.0 https://datatracker.ietf.org/doc/html/rfc5321
  C: VRFY bob
  C: EXPN all
  C: ETRN x
  C: TURN
  C: XCLIENT NAME=x
  C: XFORWARD NAME=x
  C: FOO
  C:
  S: 502 5.5.1 Command not implemented
  S: 502 5.5.1 Command not implemented
  S: 502 5.5.1 Command not implemented
  S: 502 5.5.1 Command not implemented
  S: 502 5.5.1 Command not implemented
  S: 502 5.5.1 Command not implemented
  S: 500 5.5.1 Command not recognized
  S: 500 5.5.1 Command not recognized
  C: EHLO
  S: 501 5.5.4 Syntax error
  C: XVES MODE
  C: XVES MODE high
  C: XVES MODE
  C: XVES MODE foo
  C: XVES NOOP
  S: 250 XVES MODE REJECT
  S: 250 XVES MODE HIGH
  S: 250 XVES MODE HIGH
  S: 501 Unknown XVES MODE
  S: 250 XVES NOOP
  C: QUIT
  S: 221 2.0.0 Bye
  `)
})

test('STARTTLS forgets EHLO and XVES MODE', () => {
  const one = player({ start: { tls: false } }).play(`
  S: 220 gw.example ESMTP VESmail ready.
  C: EHLO client.example
  S: 250-gw.example
  S: 250-8BITMIME
  S: 250-PIPELINING
  S: 250-ENHANCEDSTATUSCODES
  S: 250-DSN
  S: 250-SMTPUTF8
  S: 250-SIZE
  S: 250-STARTTLS
  S: 250-HELP
  S: 250 XVES
  C: ${AUTH}
  S: 530 5.7.11 XVES-80 Denied, STARTTLS first
  C: STARTTLS x
  S: 501 5.5.4 Syntax error
  C: XVES MODE PLAIN
  S: 250 XVES MODE PLAIN
  C: STARTTLS
  S: 220 2.0.0 Ready to start TLS
  C: XVES MODE
  S: 250 XVES MODE REJECT
  C: ${AUTH}
  S: 503 5.5.1 EHLO first
  C: STARTTLS
  S: 503 5.5.1 STARTTLS is not available
  `)
  assert.equal(one.asked.filter(({ kind }) => kind === 'start-tls').length, 1)
})

test('C gateway: input read together with STARTTLS is run after the handshake', () => {
  const one = player({ start: { tls: false } })
  one.output.client = ''
  one.feed('client', Buffer.from('EHLO c\r\n'))
  one.output.client = ''
  one.play(`
  C: STARTTLS
  C: RSET
  S: 554 5.5.1 Input after STARTTLS
  `)
  assert.equal((one.closed as GatewayError).code, 'TLS_INJECTION')
  assert.equal(one.asked.length, 0)
})

test('AUTH exchanges', () => {
  const one = player({ answers: { login: () => HOLD } }).play(`
  ${GREETED}
  C: AUTH FOO
  S: 504 5.5.4 Unrecognized authentication type
  C: AUTH XOAUTH2 dXNlcj1h
  S: 504 5.5.4 Unrecognized authentication type
  C: AUTH
  S: 501 5.5.4 Syntax error
  C: AUTH PLAIN a b
  S: 501 5.5.4 Syntax error
  C: AUTH PLAIN !!!
  S: 501 5.5.4 Syntax error
  C: AUTH PLAIN
  S: 334${' '}
  C: *
  S: 501 5.7.0 Authentication cancelled
  C: AUTH PLAIN eA==
  S: 535 5.7.8 XVES-19 Incorrect SASL authentication sequence
  C: AUTH LOGIN
  S: 334 VXNlcm5hbWU6
  C: YWxpY2VAZXhhbXBsZS5vcmc=
  S: 334 UGFzc3dvcmQ6
  C: dmVza2V5
  `)
  const { ask } = one.asked[0]! as { ask: { account: string; password: Secret<Buffer> } }
  assert.equal(ask.account, 'alice@example.org')
  assert.equal(ask.password.expose().toString(), 'veskey')
})

test('a wrong VESkey is told after two seconds, the third time ends it; what was sent meanwhile waits', () => {
  const one = player({ answers: { wait: () => HOLD } })
  const wrong = 'AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHdyb25n'
  one.play(`${GREETED}\nC: ${wrong}\nC: NOOP`)
  assert.deepEqual(one.asked.at(-1), { kind: 'wait', ask: { ms: 2000 } })
  one.release('wait', null)
  one.play(`
  S: 535 5.7.8 XVES-6 Invalid VESmail credentials
  S: 250 2.0.0 OK
  C: ${wrong}`)
  one.release('wait', null)
  one.play(`
  S: 535 5.7.8 XVES-6 Invalid VESmail credentials
  C: ${wrong}`)
  one.release('wait', null)
  one.play(`
  S: 535 5.7.8 XVES-6 Invalid VESmail credentials
  S: 421 4.7.0 Too many failed logins
  `)
  assert.equal((one.closed as GatewayError).code, 'BAD_CREDENTIALS')
  assert(one.logs.every(({ fields }) => !JSON.stringify(fields).includes('wrong')))
  assert.deepEqual(one.logs[0], {
    event: 'login',
    fields: { result: 'denied', code: 'BAD_CREDENTIALS', account: 'alice@example.org', reason: null },
  })
})

/** Each failure of the `login` and `connect` questions, with its stable reply (daemon.md §6). */
const FAILURES: [GatewayError, string][] = [
  [new GatewayError('BAD_CREDENTIALS'), '535 5.7.8 XVES-6 Invalid VESmail credentials'],
  [new GatewayError('PROFILE_INVALID'), '535 5.7.8 XVES-7 Invalid or missing VESmail profile object'],
  [new GatewayError('ACCESS_DENIED'), '535 5.7.8 XVES-8 Access denied'],
  [new GatewayError('VES_CONNECTION', { text: 'refused' }), '454 4.7.0 XVES-3.2 libVES: Connection: refused'],
  [new GatewayError('VES_SERVER'), '454 4.7.0 XVES-3.8 libVES: Server'],
  [new GatewayError('ABUSE'), '454 4.7.0 XVES-21 Abuse detected, try later'],
  [new GatewayError('OVERRIDE', { text: '[503] no' }), '454 4.7.0 XVES-22 Override: [503] no'],
  [new GatewayError('UPSTREAM_DNS'), '454 4.7.0 XVES-16 DNS error, check the hostname in the VESmail profile'],
  [
    new GatewayError('UPSTREAM_CONNECTION'),
    '454 4.7.0 XVES-17 Connection error, check host & port in the VESmail profile',
  ],
  [new GatewayError('UPSTREAM_TLS'), '454 4.7.0 XVES-18 TLS error'],
  [new GatewayError('INTERNAL'), '454 4.7.0 XVES-32 Internal error'],
]
for (const [error, reply] of FAILURES) {
  test(`login refused: ${reply}`, () => {
    player({ answers: error.code.startsWith('UPSTREAM') ? { connect: () => error } : { login: () => error } }).play(`
    ${GREETED}
    C: ${AUTH}
    S: ${reply}
    C: NOOP
    S: 250 2.0.0 OK
    `)
  })
}

test('a profile without smtp', () => {
  player({ account: { profile: { imap: null, smtp: null } } }).play(`
  ${GREETED}
  C: ${AUTH}
  S: 535 5.7.8 XVES-7 Invalid or missing VESmail profile object
  `)
})

test("a provider's refusal is relayed between our lines", () => {
  player().play(`
  ${LOGIN}
  P: 250-p
  P: 250 AUTH PLAIN
  U: AUTH PLAIN AGFsaWNlAHByb3ZpZGVyLXB3
  P: 535-5.7.8 Error: authentication failed:
  P: 535 5.7.8 bad password
  S: 535-5.7.8 XVES-31 Refused by the remote server
  S: 535-535 5.7.8 Error: authentication failed:
  S: 535-535 5.7.8 bad password
  S: 535 5.7.8 Check the server, login and password in the VESmail profile
  `)
})

test('a temporary refusal is temporary for the client too', () => {
  player().play(`
  ${LOGIN}
  P: 250-p
  P: 250 AUTH PLAIN
  U: AUTH PLAIN AGFsaWNlAHByb3ZpZGVyLXB3
  P: 454 4.7.0 try later
  S: 454-4.7.0 XVES-31 Refused by the remote server
  S: 454-454 4.7.0 try later
  S: 454 4.7.0 Check the server, login and password in the VESmail profile
  `)
})

test('what a provider can do wrong before AUTH', () => {
  const cases: [string, string][] = [
    [
      'P: 554 5.7.1 go away',
      '454-4.7.0 XVES-20 Unexpected response from the remote server\n S: 454-554 5.7.1 go away\n S: 454 4.7.0 Check the server, login and password in the VESmail profile',
    ],
    ['P: hello', '454 4.7.0 XVES-17 Connection error, check host & port in the VESmail profile'],
    ['! provider gone', '454 4.7.0 XVES-17 Connection error, check host & port in the VESmail profile'],
    [
      'P: 220 hi\nU: EHLO client.example\nP: 502 no',
      '454-4.7.0 XVES-20 Unexpected response from the remote server\n S: 454-502 no\n S: 454 4.7.0 Check the server, login and password in the VESmail profile',
    ],
    ['P: 220 hi\nU: EHLO client.example\nP: 250 p', '535 5.7.8 XVES-19 Incorrect SASL authentication sequence'],
    [
      'P: 220 hi\nU: EHLO client.example\nP: 250-p\nP: 250 AUTH GSSAPI',
      '535 5.7.8 XVES-19 Incorrect SASL authentication sequence',
    ],
    // Two gateways in a row would encrypt twice, or go round for ever.
    [
      'P: 220 hi\nU: EHLO client.example\nP: 250-p\nP: 250-AUTH PLAIN\nP: 250 XVES',
      '454 4.7.0 XVES-20 Unexpected response from the remote server: the server in the VESmail profile is a VESmail gateway itself',
    ],
  ]
  for (const [says, reply] of cases) {
    const one = player().play(`${GREETED}\nC: ${AUTH}\n${says}\nS: ${reply}`)
    assert.equal(one.closed, null)
    assert.equal(one.hungUp, 'finished')
  }
})

const EHLO = 'P: 220 hi\nU: EHLO client.example'
const SECURE = `${EHLO}
  P: 250-p
  P: 250-STARTTLS
  P: 250 AUTH PLAIN
  U: STARTTLS
  P: 220 go
  U: EHLO client.example
  P: 250-p
  P: 250 AUTH PLAIN
  U: AUTH PLAIN AGFsaWNlAHByb3ZpZGVyLXB3
  P: 235 2.7.0 ok
  S: 235 2.7.0 ok`

test('STARTTLS to the provider at every level but none', () => {
  for (const level of ['optional', 'unsecure', 'medium', 'high'] as const) {
    const one = withProvider({ tls: { level, persist: false } }).play(`${GREETED}\nC: ${AUTH}\n${SECURE}`)
    assert.deepEqual(one.asked.find(({ kind }) => kind === 'start-tls')?.ask, { side: 'upstream', level })
  }
})

test('after STARTTLS the list of before counts for nothing', () => {
  const list = (auth: string): string => `P: 250-p\nP: 250-STARTTLS\nP: 250 AUTH ${auth}`
  withProvider({ tls: { level: 'high', persist: false } }).play(`
  ${GREETED}
  C: ${AUTH}
  ${EHLO}
  ${list('PLAIN')}
  U: STARTTLS
  P: 220 go
  U: EHLO client.example
  ${list('LOGIN')}
  U: AUTH LOGIN`)
})

test('replies that nobody asked for, before STARTTLS and while a token is fetched', () => {
  const tlsError = 'S: 454 4.7.0 XVES-18 TLS error'
  withProvider({ tls: { level: 'high', persist: false } }).play(`
  ${GREETED}
  C: ${AUTH}
  ${EHLO}
  P: 250-p
  P: 250-STARTTLS
  P: 250 AUTH PLAIN
  P: 220 go
  ${tlsError}`)
  const password = new Secret('https://login.example/token#a=b')
  withProvider({ password }, { answers: { token: () => HOLD } }).play(`
  ${LOGIN}
  P: 250-p
  P: 250 AUTH XOAUTH2
  P: 235 2.7.0 welcome
  S: 454-4.7.0 XVES-20 Unexpected response from the remote server
  S: 454-235 2.7.0 welcome
  S: 454 4.7.0 Check the server, login and password in the VESmail profile`)
})

test('TLS from the first octet: no STARTTLS although it is offered', () => {
  const one = withProvider({ tls: { level: 'high', persist: true } }).play(`
  ${GREETED}
  C: ${AUTH}
  ${EHLO}
  P: 250-p
  P: 250-STARTTLS
  P: 250 AUTH PLAIN
  U: AUTH PLAIN AGFsaWNlAHByb3ZpZGVyLXB3
  P: 235 2.7.0 ok
  S: 235 2.7.0 ok`)
  assert.deepEqual(one.asked[1], {
    kind: 'connect',
    ask: { host: 'smtp.provider.example', port: 587, level: 'high', persist: true },
  })
})

test('a provider without STARTTLS, or one whose STARTTLS was stripped', () => {
  const tlsError = 'S: 454 4.7.0 XVES-18 TLS error'
  for (const level of ['unsecure', 'medium', 'high'] as const satisfies TlsLevel[]) {
    withProvider({ tls: { level, persist: false } }).play(`
    ${GREETED}
    C: ${AUTH}
    ${EHLO}
    P: 250-p
    P: 250 AUTH PLAIN
    ${tlsError}`)
  }
  withProvider({ tls: { level: 'optional', persist: false } }).play(`
  ${GREETED}
  C: ${AUTH}
  ${EHLO}
  P: 250-p
  P: 250 AUTH PLAIN
  U: AUTH PLAIN AGFsaWNlAHByb3ZpZGVyLXB3
  P: 235 2.7.0 ok
  S: 235 2.7.0 ok`)
})

test('STARTTLS refused, or its handshake failed', () => {
  withProvider({ tls: { level: 'high', persist: false } }).play(`
  ${GREETED}
  C: ${AUTH}
  ${EHLO}
  P: 250-p
  P: 250-STARTTLS
  P: 250 AUTH PLAIN
  U: STARTTLS
  P: 454 4.7.0 TLS not available
  S: 454-4.7.0 XVES-18 TLS error
  S: 454-454 4.7.0 TLS not available
  S: 454 4.7.0 Check the server, login and password in the VESmail profile`)
  withProvider(
    { tls: { level: 'high', persist: false } },
    { answers: { 'start-tls': () => new GatewayError('UPSTREAM_TLS', { reason: 'CERT_HAS_EXPIRED' }) } },
  ).play(`
  ${GREETED}
  C: ${AUTH}
  ${EHLO}
  P: 250-p
  P: 250-STARTTLS
  P: 250 AUTH PLAIN
  U: STARTTLS
  P: 220 go
  S: 454 4.7.0 XVES-18 TLS error`)
})

test('C gateway: replies read before the handshake count after it', () => {
  for (const injected of ['P: 220 go\nP: 250-evil\nP: 250 AUTH LOGIN', 'P: 220 go\nP| 2']) {
    const one = withProvider({ tls: { level: 'high', persist: false } }).play(`
    ${GREETED}
    C: ${AUTH}
    ${EHLO}
    P: 250-p
    P: 250-STARTTLS
    P: 250 AUTH PLAIN
    U: STARTTLS
    ${injected}
    S: 454 4.7.0 XVES-18 TLS error`)
    assert(one.asked.every(({ kind }) => kind !== 'start-tls'))
  }
})

test('a second login after a failed one begins a new connection', () => {
  let times = 0
  player({ answers: { connect: () => (times++ === 0 ? new GatewayError('UPSTREAM_DNS') : { tls: false }) } }).play(`
  ${GREETED}
  C: ${AUTH}
  S: 454 4.7.0 XVES-16 DNS error, check the hostname in the VESmail profile
  C: ${AUTH}
  ${EHLO}
  P: 250-p
  P: 250 AUTH PLAIN
  U: AUTH PLAIN AGFsaWNlAHByb3ZpZGVyLXB3
  P: 235 2.7.0 ok
  S: 235 2.7.0 ok`)
})

test('a provider that has no enhanced codes: they are added', () => {
  player().play(`
  ${LOGIN}
  P: 250-p
  P: 250 AUTH PLAIN
  U: AUTH PLAIN AGFsaWNlAHByb3ZpZGVyLXB3
  P: 235 welcome
  S: 235 2.0.0 welcome`)
})

test('a provider password too long for the AUTH line goes after the 334', () => {
  const long = 'p'.repeat(600)
  withProvider({ password: new Secret(long) }).play(`
  ${LOGIN}
  P: 250-p
  P: 250 AUTH PLAIN
  U: AUTH PLAIN
  P: 334
  U: ${Buffer.from(`\0alice\0${long}`).toString('base64')}
  P: 235 2.7.0 ok
  S: 235 2.7.0 ok`)
})

test('AUTH LOGIN at the provider', () => {
  player().play(`
  ${LOGIN}
  P: 250-p
  P: 250 AUTH LOGIN
  U: AUTH LOGIN
  P: 334 VXNlcm5hbWU6
  U: YWxpY2U=
  P: 334 UGFzc3dvcmQ6
  U: cHJvdmlkZXItcHc=
  P: 235 2.7.0 ok
  S: 235 2.7.0 ok`)
})

test('a token endpoint is asked for a token and never sent as a password', () => {
  const endpoint = 'https://login.example/token#grant_type=refresh_token&refresh_token=r'
  const world: World = { answers: { token: () => ({ token: new Secret('tok') }) } }
  const one = withProvider({ password: new Secret(endpoint) }, world).play(`
  ${LOGIN}
  P: 250-p
  P: 250 AUTH PLAIN LOGIN XOAUTH2
  U: AUTH XOAUTH2 ${Buffer.from('user=alice\x01auth=Bearer tok\x01\x01').toString('base64')}
  P: 334 eyJzdGF0dXMiOiI0MDEifQ==
  U:${' '}
  P: 535 5.7.8 no
  S: 535-5.7.8 XVES-31 Refused by the remote server
  S: 535-535 5.7.8 no
  S: 535 5.7.8 Check the server, login and password in the VESmail profile`)
  assert(one.asked.some(({ kind }) => kind === 'token'))
  withProvider({ password: new Secret(endpoint) }, world).play(`
  ${LOGIN}
  P: 250-p
  P: 250 AUTH PLAIN LOGIN
  S: 535 5.7.8 XVES-19 Incorrect SASL authentication sequence`)
})

test('SCRAM-SHA-256 at the provider: a yes without its proof is a no', () => {
  const nonce = Buffer.alloc(24, 7).toString('base64url')
  const b64 = (text: string): string => Buffer.from(text).toString('base64')
  const one = player({ answers: { 'derive-key': () => Buffer.alloc(32) } })
  one.play(`
  ${LOGIN}
  P: 250-p
  P: 250 AUTH SCRAM-SHA-256
  U: AUTH SCRAM-SHA-256 ${b64(`n,,n=alice,r=${nonce}`)}`)
  one.feed('upstream', Buffer.from(`334 ${b64(`r=${nonce}x,s=QSXCR+Q6sek8bf92,i=4096`)}\r\n`))
  assert.match(one.output.upstream, /^[A-Za-z0-9+/=]+\r\n$/)
  one.output.upstream = ''
  one.play(`
  P: 235 2.7.0 ok
  S: 535 5.7.8 XVES-19 Incorrect SASL authentication sequence`)
})

test('silence before login ends it; at the provider too', () => {
  const one = player()
  assert.equal(one.deadlineMs, 30_000)
  one.play('S: 220 gw.example ESMTP VESmail ready.\n! deadline\nS: 420 Timeout')
  assert.equal((one.closed as GatewayError).code, 'TIMEOUT')
  const two = player({ answers: { login: () => HOLD } }).play(`${GREETED}\nC: ${AUTH}\n! deadline\nS: 420 Timeout`)
  assert.equal((two.closed as GatewayError).code, 'TIMEOUT')
})

test('a client that never logs in is hung up on, however polite', () => {
  const one = player()
  one.output.client = ''
  one.feed('client', Buffer.from('NOOP\r\n'.repeat(200)))
  assert.equal(one.output.client, `${'250 2.0.0 OK\r\n'.repeat(100)}421 4.7.0 Too many commands before login\r\n`)
  assert(one.closed !== null)
})

test('BDAT before login: its octets are nobody’s commands', () => {
  const one = player().play('S: 220 gw.example ESMTP VESmail ready.')
  one.feed('client', Buffer.from('BDAT 12 LAST\r\nQUIT\r\nNOOP\r\n'))
  one.play('S: 503 5.5.1 Authentication first')
  assert(one.closed !== null)
})

test('what a client sends while it is being logged in waits, and no more of it is read than has a place', () => {
  const one = player({ answers: { login: () => HOLD } }).play(`${GREETED}\nC: ${AUTH}`)
  assert(one.session.wants('client'))
  one.feed('client', Buffer.from('NOOP\r\n'.repeat(12_000)))
  assert(!one.session.wants('client'))
})

test('an octet now and then is no silence, but does not last for ever', () => {
  let nowMs = 0
  const one = player({ start: { nowMs: () => nowMs } }).play('S: 220 gw.example ESMTP VESmail ready.')
  for (; nowMs <= 270_000; nowMs += 27_000) {
    one.feed('client', Buffer.from('E'))
    assert.equal(one.deadlineMs, 30_000)
  }
  one.feed('client', Buffer.from('E'))
  assert.equal(one.deadlineMs, 3000)
  one.play('! deadline\nS: 420 Timeout')
  const two = player({ start: { nowMs: () => nowMs } })
  nowMs += 299_000
  two.play(login(...ALL))
  assert.equal(two.deadlineMs, 120_000)
})

test('a client that only makes errors is hung up on', () => {
  const one = player()
  one.output.client = ''
  one.feed('client', Buffer.from('GET / HTTP/1.1\r\n'.repeat(30)))
  assert.equal(one.output.client.split('500 5.5.1').length - 1, 20)
  assert(one.output.client.endsWith('421 4.7.0 Too many errors\r\n'))
  assert(one.closed !== null)
})

test('errors before login do not count after it', () => {
  const errors = (text: string): string => text.repeat(15)
  player().play(`
  S: 220 gw.example ESMTP VESmail ready.
  ${errors('C: FOO\n')}
  ${errors('S: 500 5.5.1 Command not recognized\n')}
  ${login(...ALL).replace('S: 220 gw.example ESMTP VESmail ready.', '')}
  ${errors('C: FOO\n')}
  ${errors('S: 500 5.5.1 Command not recognized\n')}
  C: NOOP
  U: NOOP`)
})

test('a command line without end', () => {
  const one = player()
  one.output.client = ''
  one.feed('client', Buffer.alloc(17 * 1024, 0x41))
  assert.equal(one.output.client, '500 5.5.6 Line too long\r\n')
  assert.equal((one.closed as GatewayError).code, 'LINE_TOO_LONG')
})

test('drain before login', () => {
  player().play('S: 220 gw.example ESMTP VESmail ready.\n! drain\nS: 421 4.3.2 Server restarting, reconnect')
  const one = player({ answers: { login: () => HOLD } }).play(`${GREETED}\nC: ${AUTH}\n! drain`)
  assert.equal(one.closed, null)
  one.release('login', new GatewayError('BAD_CREDENTIALS'))
  one.play('S: 535 5.7.8 XVES-6 Invalid VESmail credentials\nS: 421 4.3.2 Server restarting, reconnect')
  assert.equal(one.closed, 'drained')
})
