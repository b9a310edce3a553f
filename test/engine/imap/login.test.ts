import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { PROVIDER, Stage } from './stage.ts'

const GREETING =
  '* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID STARTTLS AUTH=PLAIN AUTH=LOGIN XVES] VESmail ready.\r\n'

describe('before login', () => {
  it('greets, and answers the few commands there are', () => {
    const stage = new Stage()
    assert.equal(stage.takeClient(), GREETING)
    stage.client('1 NOOP\r\n2 CAPABILITY\r\n3 ID ("name" "x")\r\n4 XVES NOOP\r\n5 SELECT INBOX\r\n6 LOGOUT\r\n')
    assert.equal(
      stage.takeClient(),
      '1 OK NOOP completed\r\n' +
        '* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID STARTTLS AUTH=PLAIN AUTH=LOGIN XVES\r\n2 OK CAPABILITY completed\r\n' +
        '* ID ("name" "VESmail" "version" "0.1")\r\n3 OK ID completed\r\n' +
        '4 OK XVES NOOP completed\r\n5 BAD Unknown command, or not before login\r\n' +
        '* BYE VESmail logging out\r\n6 OK LOGOUT completed\r\n',
    )
    assert.equal(stage.ended, 'quit')
  })

  it('takes no password without TLS where the listener asks for it', () => {
    const stage = new Stage({ start: { tlsLevel: 'high' } })
    assert.match(stage.takeClient(), / STARTTLS LOGINDISABLED XVES\]/)
    stage.client('1 LOGIN bob@lab.test veskey\r\n2 AUTHENTICATE PLAIN\r\n')
    assert.equal(
      stage.takeClient(),
      '1 NO [PRIVACYREQUIRED] XVES-80 Denied, STARTTLS first\r\n2 NO [PRIVACYREQUIRED] XVES-80 Denied, STARTTLS first\r\n',
    )
    stage.client('3 STARTTLS\r\n')
    assert.equal(stage.takeClient(), '3 OK Begin TLS negotiation now\r\n')
    stage.client('4 CAPABILITY\r\n')
    assert.match(stage.takeClient(), /^\* CAPABILITY IMAP4rev1 LITERAL\+ SASL-IR ID AUTH=PLAIN AUTH=LOGIN XVES\r\n/)
  })

  it('closes on octets smuggled behind STARTTLS', () => {
    const stage = new Stage()
    stage.takeClient()
    stage.client('1 STARTTLS\r\n2 LOGIN bob@lab.test veskey\r\n')
    assert.match(stage.takeClient(), /^\* BYE /)
    assert.ok(stage.ended instanceof GatewayError)
    assert.deepEqual(stage.asked, [])
  })

  it('takes literals in LOGIN, synchronizing or not, at every split', () => {
    for (const chunk of [0, 1, 2, 3, 5, 7]) {
      for (const [input, output] of [
        ['a LOGIN {12}\r\nbob@lab.test {6}\r\nveskey\r\n', '+ OK\r\n+ OK\r\n'],
        ['a LOGIN {12+}\r\nbob@lab.test {6+}\r\nveskey\r\n', ''],
        ['a login "bob@lab.test" "veskey"\r\n', ''],
      ] as const) {
        const stage = new Stage({ chunk })
        stage.takeClient()
        stage.client(input)
        assert.equal(stage.takeClient(), output)
        assert.deepEqual(stage.asked, ['login', 'connect'])
      }
    }
  })

  it('refuses literals elsewhere without losing its place', () => {
    const stage = new Stage()
    stage.takeClient()
    stage.client('1 SELECT {5+}\r\n2 X Y\r\n3 NOOP\r\n4 LOGIN {99999}\r\n5 NOOP\r\n')
    assert.equal(
      stage.takeClient(),
      '1 BAD Syntax error: log in first\r\n3 OK NOOP completed\r\n4 NO [LIMIT] Literal too large\r\n5 OK NOOP completed\r\n',
    )
  })

  it('tells a wrong password after a while, and closes after five', () => {
    const stage = new Stage()
    stage.takeClient()
    for (let i = 1; i <= 5; i++) {
      stage.client(`${i} LOGIN bob@lab.test wrong\r\n`)
      assert.match(
        stage.takeClient(),
        new RegExp(`^${i} NO \\[AUTHENTICATIONFAILED\\] XVES-6 Invalid VESmail credentials\r\n`),
      )
    }
    assert.equal(stage.asked.filter((kind) => kind === 'wait').length, 5)
    assert.ok(stage.ended instanceof GatewayError)
  })

  it('speaks SASL PLAIN and LOGIN, with and without initial response', () => {
    const plain = Buffer.from('\0bob@lab.test\0veskey').toString('base64')
    for (const [input, output] of [
      [`a AUTHENTICATE PLAIN ${plain}\r\n`, ''],
      [`a AUTHENTICATE PLAIN\r\n${plain}\r\n`, '+ \r\n'],
      [
        `a authenticate login\r\n${Buffer.from('bob@lab.test').toString('base64')}\r\n${Buffer.from('veskey').toString('base64')}\r\n`,
        `+ ${Buffer.from('Username:').toString('base64')}\r\n+ ${Buffer.from('Password:').toString('base64')}\r\n`,
      ],
    ] as const) {
      const stage = new Stage()
      stage.takeClient()
      stage.client(input)
      assert.equal(stage.takeClient(), output)
      assert.deepEqual(stage.asked, ['login', 'connect'])
    }
    const stage = new Stage()
    stage.takeClient()
    stage.client('1 AUTHENTICATE PLAIN\r\n*\r\n2 NOOP\r\n')
    assert.equal(stage.takeClient(), '+ \r\n1 BAD Authentication cancelled\r\n2 OK NOOP completed\r\n')
  })

  it('says what is wrong with account or repository', () => {
    for (const [code, text] of [
      ['PROFILE_INVALID', 'NO [AUTHENTICATIONFAILED] XVES-7 Invalid or missing VESmail profile object'],
      ['ACCESS_DENIED', 'NO [AUTHORIZATIONFAILED] XVES-8 Access denied'],
      ['VES_CONNECTION', 'NO [UNAVAILABLE] XVES-3.2 libVES: Connection'],
      ['UPSTREAM_DNS', 'NO [UNAVAILABLE] XVES-16 DNS error, check the hostname in the VESmail profile'],
    ] as const) {
      const refuse = (): never => {
        throw new GatewayError(code)
      }
      const stage = new Stage({ answers: code === 'UPSTREAM_DNS' ? { connect: refuse } : { login: refuse } })
      stage.takeClient()
      stage.client('a LOGIN bob@lab.test veskey\r\nb NOOP\r\n')
      assert.equal(stage.takeClient(), `a ${text}\r\nb OK NOOP completed\r\n`)
    }
    const stage = new Stage({ imap: null })
    stage.takeClient()
    stage.client('a LOGIN bob@lab.test veskey\r\n')
    assert.match(stage.takeClient(), /^a NO \[AUTHENTICATIONFAILED\] XVES-7 /)
  })

  it('ends after 30 seconds of silence', () => {
    const stage = new Stage()
    assert.equal(stage.deadlineMs, 30_000)
    stage.takeClient()
    stage.event({ on: 'deadline' })
    assert.equal(stage.takeClient(), '* BYE Timeout\r\n')
  })

  it('lasts five minutes at most, though an octet comes now and then', () => {
    const stage = new Stage()
    const begunMs = stage.nowMs
    for (; stage.nowMs <= begunMs + 270_000; stage.nowMs += 27_000) {
      stage.client('x')
      assert.equal(stage.deadlineMs, 30_000)
    }
    stage.client('x')
    assert.equal(stage.deadlineMs, 3000)
    stage.client('\r\na LOGIN bob@lab.test veskey\r\n')
    assert.equal(stage.deadlineMs, 60_000)
    stage.server('* OK ready\r\n* CAPABILITY IMAP4rev1\r\nVES1 OK done\r\nVES2 OK [CAPABILITY IMAP4rev1] in\r\n')
    assert.equal(stage.deadlineMs, 30 * 60_000)
  })

  it('takes a hundred commands at most', () => {
    for (const command of ['x NOOP\r\n', 'x SELECT a {1+}\r\nb\r\n', 'x\r\n', 'x AUTHENTICATE PLAIN\r\n*\r\n']) {
      const stage = new Stage()
      stage.takeClient()
      stage.client(command.repeat(200))
      const answers = stage.takeClient().split('\r\n').slice(0, -1)
      assert.equal(answers.filter((line) => !line.startsWith('+')).length, 101, command)
      assert.match(answers.at(-1)!, /^\* BYE /)
      assert.ok(stage.ended instanceof GatewayError)
    }
  })
})

describe('login at the provider', () => {
  const entered = (imap: object = {}, options: object = {}): Stage => {
    const stage = new Stage({ imap: { ...PROVIDER, ...imap }, ...options } as never)
    stage.takeClient()
    stage.client('a LOGIN bob@lab.test veskey\r\n')
    return stage
  }

  it('passes the tagged OK with filtered capabilities, under the client’s tag', () => {
    const stage = entered()
    stage.server('* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN] hi\r\n')
    assert.equal(stage.takeUpstream(), 'VES1 LOGIN "bob" "bob-pw"\r\n')
    stage.server('* OK [ALERT] be warned\r\nVES1 OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE IDLE] in\r\n')
    assert.equal(stage.takeClient(), '* OK [ALERT] be warned\r\na OK [CAPABILITY IMAP4rev1 IDLE LITERAL+ XVES] in\r\n')
  })

  it('quotes what LOGIN carries, with literals where it must', () => {
    const stage = entered({ login: 'b"o\\b', password: { expose: () => 'pä' } })
    stage.server('* OK [CAPABILITY IMAP4rev1] hi\r\n')
    assert.equal(stage.takeUpstream(), 'VES1 LOGIN "b\\"o\\\\b" {3}\r\n')
    stage.server('+ go\r\n')
    assert.equal(stage.takeUpstream(), Buffer.from('pä\r\n').toString('latin1'))
  })

  it('does STARTTLS as the level says, and believes nothing from before', () => {
    const stage = entered({ tls: { level: 'high', persist: false } })
    stage.server('* OK [CAPABILITY IMAP4rev1 STARTTLS XLIST] hi\r\n')
    assert.equal(stage.takeUpstream(), 'VES1 STARTTLS\r\n')
    stage.server('VES1 OK go\r\n')
    assert.deepEqual(stage.asked, ['login', 'connect', 'start-tls'])
    assert.equal(stage.takeUpstream(), 'VES2 CAPABILITY\r\n')
  })

  it('refuses a provider without STARTTLS where TLS is asked for, or with octets behind it', () => {
    const stripped = entered({ tls: { level: 'medium', persist: false } })
    stripped.server('* OK [CAPABILITY IMAP4rev1] hi\r\n')
    assert.equal(stripped.takeClient(), 'a NO [UNAVAILABLE] XVES-18 TLS error\r\n')
    assert.ok(stripped.hungUp)
    assert.equal(stripped.takeUpstream(), '')
    const injected = entered({ tls: { level: 'high', persist: false } })
    injected.server('* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n')
    injected.server('VES1 OK go\r\n* CAPABILITY IMAP4rev1\r\n')
    assert.equal(injected.takeClient(), 'a NO [UNAVAILABLE] XVES-18 TLS error\r\n')
  })

  it('goes on without TLS at level optional', () => {
    const stage = entered({ tls: { level: 'optional', persist: false } })
    stage.server('* OK [CAPABILITY IMAP4rev1] hi\r\n')
    assert.equal(stage.takeUpstream(), 'VES1 LOGIN "bob" "bob-pw"\r\n')
  })

  it('relays a refusal, and stays for another try', () => {
    const stage = entered()
    stage.server('* OK [CAPABILITY IMAP4rev1] hi\r\n')
    stage.server('VES1 NO [AUTHENTICATIONFAILED] Wrong, sorry.\r\n')
    assert.equal(
      stage.takeClient(),
      'a NO [AUTHENTICATIONFAILED] XVES-31 Refused by the remote server: Wrong, sorry.\r\n',
    )
    assert.ok(stage.hungUp)
    stage.client('b NOOP\r\n')
    assert.equal(stage.takeClient(), 'b OK NOOP completed\r\n')
  })

  it('relays a greeting that is a goodbye, refuses one that is nothing, and loops to itself', () => {
    const bye = entered()
    bye.server('* BYE overloaded\r\n')
    assert.match(bye.takeClient(), /^a NO \[AUTHENTICATIONFAILED\] XVES-31 .*: overloaded\r\n$/)
    const odd = entered()
    odd.server('220 smtp.test ESMTP\r\n')
    assert.equal(odd.takeClient(), 'a NO [UNAVAILABLE] XVES-20 Unexpected response from the remote server\r\n')
    const loop = entered()
    loop.server('* OK [CAPABILITY IMAP4rev1 XVES] VESmail ready.\r\n')
    assert.match(loop.takeClient(), /^a NO \[UNAVAILABLE\] XVES-20 .*proxy itself\r\n$/)
  })

  it('takes PREAUTH as logged in', () => {
    const stage = entered()
    stage.server('* PREAUTH [CAPABILITY IMAP4rev1 IDLE] hi\r\n')
    assert.match(stage.takeClient(), /^a OK /)
  })

  it('speaks the SASL mechanism of the profile', () => {
    const stage = entered({ sasl: 'PLAIN' })
    stage.server('* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n')
    assert.equal(stage.takeUpstream(), 'VES1 AUTHENTICATE PLAIN\r\n')
    stage.server('+ \r\n')
    assert.equal(stage.takeUpstream(), `${Buffer.from('\0bob\0bob-pw').toString('base64')}\r\n`)
    const initial = entered({ sasl: 'PLAIN' })
    initial.server('* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n')
    assert.equal(
      initial.takeUpstream(),
      `VES1 AUTHENTICATE PLAIN ${Buffer.from('\0bob\0bob-pw').toString('base64')}\r\n`,
    )
  })

  it('strips referrals, and tells a provider that hangs up or is late', () => {
    const referral = entered()
    referral.server('* OK [CAPABILITY IMAP4rev1] hi\r\n')
    referral.server('VES1 OK [REFERRAL imap://x/] in\r\n* CAPABILITY IMAP4rev1\r\nVES2 OK\r\n')
    assert.equal(referral.takeClient(), 'a OK in\r\n')
    const closed = entered()
    closed.event({ on: 'closed', side: 'upstream', error: null })
    assert.match(closed.takeClient(), /^a NO \[UNAVAILABLE\] XVES-17 /)
    const late = entered()
    late.event({ on: 'deadline' })
    assert.match(late.takeClient(), /^a NO \[UNAVAILABLE\] XVES-17 /)
  })
})
