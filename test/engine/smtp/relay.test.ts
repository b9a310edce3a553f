/** Transactions: order of replies, recipients, modes, what the provider lacks, and what must not outlive a message. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import type { SealMode } from '../../../src/engine/account.ts'
import { HOLD, type Player } from '../script.ts'
import { ALL, FakeSealer, LOGIN, login, player, rot13, type World } from './world.ts'

/** A session past its login. @param keywords of the provider */
function joined(world: World = {}, keywords: readonly string[] = ALL): Player {
  return player(world).play(login(...keywords))
}

const received = (encrypt: boolean, mode: SealMode): string =>
  'Received: from [192.0.2.7]:4711 (helo=client.example)\r\n' +
  '\tby [192.0.2.1]:587 (gw.example)\r\n' +
  '\twith VESmail ESMTP Proxy 0.1.0\r\n' +
  `\t(encrypt=${encrypt ? 'TRUE' : 'FALSE'} mode=${mode}); Tue, 24 Nov 2026 12:00:00 +0000\r\n`

/** What the provider gets for a message, as script lines. */
function upstream(message: string, mode: SealMode, sealed: boolean): string {
  const text = received(sealed, mode) + message
  const octets = sealed ? rot13(Buffer.from(text, 'latin1')).toString('latin1') : text
  const lines = octets.split('\r\n').slice(0, -1)
  return [...lines, '.'].map((line) => `U: ${line.replaceAll('\\', '\\\\').replaceAll('\t', '\\t')}`).join('\n')
}

const WARNING = 'VESmail WARNING: This email will NOT be encrypted'
const MAIL = `
  C: MAIL FROM:<alice@example.org>
  U: MAIL FROM:<alice@example.org>
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok`
const RCPT_BOB = `
  C: RCPT TO:<Bob@example.org>
  U: RCPT TO:<Bob@example.org>
  P: 250 2.1.5 Ok
  S: 250 2.1.5 Ok`
const DATA = `
  C: DATA
  U: DATA
  P: 354 End data with <CR><LF>.<CR><LF>
  S: 354 End data with <CR><LF>.<CR><LF>`
const SUBMIT = `
  C: Subject: a
  C:
  C: Hello
  C: .`
const FINAL = `
  P: 250 2.0.0 Ok: queued as 1
  S: 250-2.0.0 Ok: queued as 1
  S: 250 2.0.0 ves://vesmail/m1@example.org`

test('a message is sealed for those whom the provider accepted; then the session takes another', () => {
  const one = joined()
  for (let n = 0; n < 2; n++) {
    one.play(`${MAIL}${RCPT_BOB}${DATA}${SUBMIT}
    ${upstream('Subject: a\r\n\r\nHello\r\n', 'REJECT', true)}
    ${FINAL}`)
  }
  const asked = one.asked.filter(({ kind }) => kind === 'seal-key').map(({ ask }) => ask)
  assert.deepEqual(asked[0], {
    messageId: 'm1@example.org',
    headerRecipients: [],
    recipients: ['bob@example.org'],
    mode: 'REJECT',
  })
  assert.equal(asked.length, 2)
  const log = one.logs.filter(({ event }) => event === 'message').at(-1)!.fields
  assert.equal(log.result, 'accepted')
  assert.deepEqual(log.vaults, ['ves://vesmail/bob@example.org/'])
  assert(!JSON.stringify(one.logs).includes('Hello'))
})

test('the same in chunks of every size', () => {
  for (let chunk = 1; chunk < 60; chunk++) {
    player({ chunk }).play(`${login(...ALL)}${MAIL}${RCPT_BOB}${DATA}
    C: Subject: a
    C:
    C: ..x
    C: .
    ${upstream('Subject: a\r\n\r\n..x\r\n', 'REJECT', true)}
    ${FINAL}
    C: QUIT
    U: QUIT
    S: 221 2.0.0 Bye`)
  }
})

test('PLAIN: nothing is looked up or sealed, and the client is told so', () => {
  const one = joined({ mode: 'PLAIN' }).play(`
  C: MAIL FROM:<alice@example.org>
  U: MAIL FROM:<alice@example.org>
  P: 250 2.1.0 Ok
  S: 250-2.1.0 Ok
  S: 250 2.1.0 ${WARNING}
  C: RCPT TO:<dave@example.org>
  U: RCPT TO:<dave@example.org>
  P: 250 2.1.5 Ok
  S: 250-2.1.5 Ok
  S: 250 2.1.5 ${WARNING}
  ${DATA}
  C: ..x
  C| a\\n.\\nb\\r\\n
  C: .
  ${upstream('..x\r\na\r\n..\\nb\r\n', 'PLAIN', false).replaceAll('\\\\n', '\\n')}
  P: 250 2.0.0 Ok
  S: 250-2.0.0 Ok
  S: 250 2.0.0 VESmail WARNING: This email was NOT encrypted`)
  assert(one.asked.every(({ kind }) => kind !== 'recipient' && kind !== 'seal-key'))
})

test('REJECT: a recipient without vault is refused and never passed on', () => {
  joined().play(`${MAIL}
  C: RCPT TO:<dave@example.org>
  S: 450 4.1.0 The recipient has no VES account, so the message cannot be encrypted for them
  ${RCPT_BOB}
  C: DATA
  U: DATA
  P: 354 go
  S: 354 go
  C: .
  ${upstream('', 'REJECT', true)}
  ${FINAL}`)
})

test('the mode: profile, XVES MODE, default', () => {
  joined({ mode: null }).play('C: XVES MODE\nS: 250 XVES MODE REJECT')
  joined({ mode: 'HIGH' }).play('C: XVES MODE\nC: XVES NOOP\nS: 250 XVES MODE HIGH\nS: 250 XVES NOOP')
  const before = (mode: SealMode | null): Player =>
    player({ mode }).play(`
    S: 220 gw.example ESMTP VESmail ready.
    C: XVES MODE XCHG
    S: 250 XVES MODE XCHG
    ${login(...ALL).replace(/ *S: 220 .*\n/, '')}`)
  before('HIGH').play('C: XVES MODE\nS: 250 XVES MODE HIGH')
  before(null).play('C: XVES MODE\nS: 250 XVES MODE XCHG')
  for (const mode of ['PLAIN', 'FALLBACK', 'REJECT', 'XCHG', 'HIGH']) {
    joined().play(`C: xves mode ${mode.toLowerCase()}\nS: 250 XVES MODE ${mode}`)
  }
  joined().play('C: XVES MODE NONE\nC: XVES\nS: 501 Unknown XVES MODE\nS: 501 Unknown XVES command')
})

test('XCHG and HIGH: the mode goes with each question', () => {
  for (const mode of ['XCHG', 'HIGH'] as const) {
    const one = joined({ mode }).play(`${MAIL}${RCPT_BOB}${DATA}${SUBMIT}
    ${upstream('Subject: a\r\n\r\nHello\r\n', mode, true)}${FINAL}`)
    const modes = one.asked.filter(({ kind }) => kind === 'recipient' || kind === 'seal-key')
    assert.deepEqual(
      modes.map(({ ask }) => (ask as { mode: string }).mode),
      [mode, mode],
    )
  }
})

test('FALLBACK: sealed where all have vaults, else plain as a whole', () => {
  joined({ mode: 'FALLBACK' }).play(`${MAIL}${RCPT_BOB}${DATA}${SUBMIT}
  ${upstream('Subject: a\r\n\r\nHello\r\n', 'FALLBACK', true)}${FINAL}`)
  const one = joined({ mode: 'FALLBACK' }).play(`${MAIL}${RCPT_BOB}
  C: RCPT TO:<dave@example.org>
  U: RCPT TO:<dave@example.org>
  P: 250 2.1.5 Ok
  S: 250-2.1.5 Ok
  S: 250 2.1.5 ${WARNING}
  ${DATA}${SUBMIT}
  ${upstream('Subject: a\r\n\r\nHello\r\n', 'FALLBACK', false)}
  P: 250 2.0.0 Ok
  S: 250-2.0.0 Ok
  S: 250 2.0.0 VESmail WARNING: This email was NOT encrypted`)
  assert(one.asked.every(({ kind }) => kind !== 'seal-key'))
})

test('C gateway: FALLBACK turns plain by a recipient that the provider refused', () => {
  joined({ mode: 'FALLBACK' }).play(`${MAIL}${RCPT_BOB}
  C: RCPT TO:<dave@example.org>
  U: RCPT TO:<dave@example.org>
  P: 550 5.1.1 no such user
  S: 550 5.1.1 no such user
  ${DATA}${SUBMIT}
  ${upstream('Subject: a\r\n\r\nHello\r\n', 'FALLBACK', true)}${FINAL}`)
})

test('FALLBACK with the repository in trouble: 451, nothing is passed on, and nothing goes plain', () => {
  const lost = new GatewayError('VES_CONNECTION', { text: 'timeout' })
  joined({ mode: 'FALLBACK', answers: { recipient: () => lost } }).play(`${MAIL}
  C: RCPT TO:<bob@example.org>
  S: 451 4.3.0 XVES-3.2 libVES: Connection: timeout
  C: DATA
  U: RSET
  P: 250 2.0.0 Ok
  S: 554 5.5.1 No valid recipients`)
})

/** A plain mark made by a recipient without vault, then each way to begin anew: the next message is sealed. */
const RESETS: Record<string, string> = {
  RSET: 'C: RSET\nU: RSET\nP: 250 2.0.0 Ok\nS: 250 2.0.0 Ok',
  EHLO: 'C: EHLO again.example\nU: EHLO again.example\nP: 250-p\nP: 250-PIPELINING\nP: 250 ENHANCEDSTATUSCODES\nS: 250-gw.example\nS: 250-PIPELINING\nS: 250-ENHANCEDSTATUSCODES\nS: 250-HELP\nS: 250 XVES',
  HELO: 'C: HELO client.example\nU: EHLO client.example\nP: 250-p\nP: 250-PIPELINING\nP: 250 ENHANCEDSTATUSCODES\nS: 250 gw.example',
  'a refused DATA': 'C: DATA\nU: DATA\nP: 451 4.3.0 full\nU: RSET\nS: 451 4.3.0 full\nP: 250 2.0.0 Ok',
  'the final reply': `C: DATA\nU: DATA\nP: 354 go\nS: 354 go\nC: .\n${upstream('', 'FALLBACK', false)}\nP: 250 2.0.0 Ok\nS: 250-2.0.0 Ok\nS: 250 2.0.0 VESmail WARNING: This email was NOT encrypted`,
  'a refused message': `C: DATA\nU: DATA\nP: 354 go\nS: 354 go\nC: .\n${upstream('', 'FALLBACK', false)}\nP: 554 5.7.1 spam\nS: 554 5.7.1 spam`,
}
for (const [name, script] of Object.entries(RESETS)) {
  test(`C gateway: the plain mark outlives ${name}`, () => {
    const one = joined({ mode: 'FALLBACK' }).play(`${MAIL}
    C: RCPT TO:<dave@example.org>
    U: RCPT TO:<dave@example.org>
    P: 250 2.1.5 Ok
    S: 250-2.1.5 Ok
    S: 250 2.1.5 ${WARNING}
    ${script}
    ${MAIL}${RCPT_BOB}${DATA}`)
    one.feed('client', Buffer.from('Subject: a\r\n\r\nHello\r\n.\r\n'))
    assert(!one.output.upstream.includes('Hello'))
    assert(one.output.upstream.includes('Uryyb'))
    assert.deepEqual(
      one.asked
        .filter(({ kind }) => kind === 'seal-key')
        .map(({ ask }) => (ask as { recipients: string[] }).recipients),
      [['bob@example.org']],
    )
    one.output.upstream = ''
  })
}

test('a refused MAIL begins with a clean state', () => {
  joined().play(`
  C: MAIL FROM:<mallory@example.org>
  U: MAIL FROM:<mallory@example.org>
  P: 550 5.7.1 not yours
  S: 550 5.7.1 not yours
  C: RCPT TO:<bob@example.org>
  C: DATA
  S: 503 5.5.1 Bad sequence of commands
  S: 503 5.5.1 Bad sequence of commands
  ${MAIL}${RCPT_BOB}`)
})

test('C gateway: recipients answered with 251 or 252 get no key', () => {
  const one = joined().play(`${MAIL}
  C: RCPT TO:<bob@example.org>
  C: RCPT TO:<carol@example.org>
  U: RCPT TO:<bob@example.org>
  U: RCPT TO:<carol@example.org>
  P: 251 2.1.5 will forward
  P: 252 2.1.5 cannot verify
  S: 251 2.1.5 will forward
  S: 252 2.1.5 cannot verify
  ${DATA}${SUBMIT}
  ${upstream('Subject: a\r\n\r\nHello\r\n', 'REJECT', true)}${FINAL}`)
  const { ask } = one.asked.find(({ kind }) => kind === 'seal-key')! as { ask: { recipients: string[] } }
  assert.deepEqual(ask.recipients, ['bob@example.org', 'carol@example.org'])
})

test('C gateway: LF and blanks are taken for the end of data', () => {
  joined({ mode: 'PLAIN' }).play(`
  C: MAIL FROM:<alice@example.org>
  U: MAIL FROM:<alice@example.org>
  P: 250 2.1.0 Ok
  S: 250-2.1.0 Ok
  S: 250 2.1.0 ${WARNING}
  C: RCPT TO:<dave@example.org>
  U: RCPT TO:<dave@example.org>
  P: 250 2.1.5 Ok
  S: 250-2.1.5 Ok
  S: 250 2.1.5 ${WARNING}
  ${DATA}
  C| x\\n.\\nMAIL FROM:<evil@example.org>\\r\\n. \\r\\nRCPT TO:<victim@example.org>\\r\\n
  C: .
  ${upstream('x\r\n..\\nMAIL FROM:<evil@example.org>\r\n \r\nRCPT TO:<victim@example.org>\r\n', 'PLAIN', false).replaceAll('\\\\n', '\\n')}
  P: 250 2.0.0 Ok
  S: 250-2.0.0 Ok
  S: 250 2.0.0 VESmail WARNING: This email was NOT encrypted`)
})

test('C gateway: octets of BDAT are run as commands', () => {
  const one = joined().play(`${MAIL}${RCPT_BOB}
  C: BDAT 40 LAST
  C: RSET
  C: MAIL FROM:<evil@example.org>
  S: 503 5.5.1 BDAT is not supported`)
  assert(one.closed !== null)
})

test('pipelined commands to a provider that pipelines: in one go, replies in order', () => {
  const one = joined({ answers: { recipient: () => HOLD } })
  one.feed(
    'client',
    Buffer.from(
      'MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nRCPT TO:<dave@example.org>\r\n' +
        'RCPT TO:<carol@example.org>\r\nDATA\r\n',
    ),
  )
  assert.equal(one.held.length, 3, 'looked up at the same time')
  // The second is known first: it waits for its turn.
  one.step({ on: 'refused', id: one.held[1]!.id, error: new GatewayError('RECIPIENT_WITHOUT_VAULT') })
  one.step({ on: 'answer', id: one.held[2]!.id, answer: { uri: 'ves://vesmail/carol@example.org/' } })
  one.play('U: MAIL FROM:<alice@example.org>')
  one.step({ on: 'answer', id: one.held[0]!.id, answer: { uri: 'ves://vesmail/bob@example.org/' } })
  one.play(`
  U: RCPT TO:<bob@example.org>
  U: RCPT TO:<carol@example.org>
  P: 250 2.1.0 Ok
  P: 250 2.1.5 Ok
  S: 250 2.1.0 Ok
  S: 250 2.1.5 Ok
  S: 450 4.1.0 The recipient has no VES account, so the message cannot be encrypted for them
  P: 250 2.1.5 Ok
  S: 250 2.1.5 Ok
  U: DATA
  P: 354 go
  S: 354 go`)
})

test('pipelined commands to a provider that does not: one at a time, none lost', () => {
  joined({}, ['SIZE', 'ENHANCEDSTATUSCODES']).play(`
  C: MAIL FROM:<alice@example.org>
  C: RCPT TO:<bob@example.org>
  C: RCPT TO:<dave@example.org>
  C: NOOP
  C: RCPT TO:<carol@example.org>
  C: DATA
  U: MAIL FROM:<alice@example.org>
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok
  U: RCPT TO:<bob@example.org>
  P: 250 2.1.5 Ok
  S: 250 2.1.5 Ok
  S: 450 4.1.0 The recipient has no VES account, so the message cannot be encrypted for them
  U: NOOP
  P: 250 2.0.0 Ok
  S: 250 2.0.0 Ok
  U: RCPT TO:<carol@example.org>
  P: 250 2.1.5 Ok
  S: 250 2.1.5 Ok
  U: DATA
  P: 354 go
  S: 354 go`)
})

test('input behind DATA waits for the answer; after a refusal it is not run as commands', () => {
  joined().play(`${MAIL}${RCPT_BOB}
  C: DATA
  C: .
  U: DATA
  P: 354 go
  S: 354 go
  ${upstream('', 'REJECT', true)}
  ${FINAL}`)
  const one = joined().play(`${MAIL}${RCPT_BOB}
  C: DATA
  C: RSET
  C: MAIL FROM:<evil@example.org>
  U: DATA
  P: 451 4.3.0 full
  U: RSET
  S: 451 4.3.0 full`)
  assert(one.closed !== null)
})

test('input behind a DATA that we refuse is not run as commands either', () => {
  const smuggled = `
  C: Subject: x
  C: MAIL FROM:<evil@example.org>
  C: RCPT TO:<carol@example.org>`
  const refusals: [string, World, readonly string[], string][] = [
    ['', {}, ALL, '503 5.5.1 Bad sequence of commands'],
    [MAIL, {}, ALL, '554 5.5.1 No valid recipients'],
    [MAIL, {}, ALL, '501 5.5.4 Syntax error'],
    [
      MAIL.replaceAll('org>', 'org> BODY=8BITMIME').replace(
        'U: MAIL FROM:<alice@example.org> BODY=8BITMIME',
        'U: MAIL FROM:<alice@example.org>',
      ) + RCPT_BOB.replace(/(S: 250) (2.1.5) Ok/, `$1-$2 Ok\n  $1 $2 ${WARNING}`),
      { mode: 'FALLBACK', answers: { recipient: () => new GatewayError('RECIPIENT_WITHOUT_VAULT') } },
      without('8BITMIME'),
      '554 5.6.3 The provider takes no 8-bit mail',
    ],
  ]
  for (const [before, world, keywords, reply] of refusals) {
    const data = reply.startsWith('501') ? 'DATA x' : 'DATA'
    const one = joined(world, keywords).play(`${before}\n  C: ${data}${smuggled}\n  S: ${reply}`)
    assert(one.closed !== null, reply)
  }
})

test('a reply 3yz where none belongs ends the session: nobody is led to write a message', () => {
  const error = 'XVES-20 Unexpected response from the remote server'
  const scripts = [
    'C: MAIL FROM:<alice@example.org>\nU: MAIL FROM:<alice@example.org>\nP: 354 go',
    `${MAIL}\nC: RCPT TO:<bob@example.org>\nU: RCPT TO:<bob@example.org>\nP: 354 go`,
    `${MAIL}${RCPT_BOB}\nC: DATA\nU: DATA\nP: 334 go`,
    // A yes to DATA is no 354.
    `${MAIL}${RCPT_BOB}\nC: DATA\nU: DATA\nP: 250 2.0.0 Ok`,
  ]
  for (const script of scripts) {
    const one = joined().play(
      script.replace(/$/, `\nS: 421 4.4.2 ${error}`).replace('P: 250 2.0.0 Ok\n', 'P: 250 2.0.0 Ok\nU: RSET\n'),
    )
    assert(one.closed !== null)
  }
  const one = joined().play(`${MAIL}${RCPT_BOB}${DATA}${SUBMIT}
  ${upstream('Subject: a\r\n\r\nHello\r\n', 'REJECT', true)}
  P: 354 once more
  S: 451 4.3.0 ${error}
  S: 421 4.4.2 ${error}`)
  assert.equal(one.logs.at(-1)?.fields.result, 'outcome unknown')
})

test('what ends a group waits for all before it, and is not read past', () => {
  const one = joined().play(`
  C: NOOP
  C: EHLO again.example
  U: NOOP
  P: 250 2.0.0 Ok
  S: 250 2.0.0 Ok
  U: EHLO again.example`)
  one.feed('upstream', Buffer.from('250-p\r\n250 PIPELINING\r\n'))
  assert.match(one.output.client, /^250-gw\.example\r\n250-PIPELINING\r\n250-HELP\r\n250 XVES\r\n$/)
  one.output.client = ''
  joined().play(`
  C: MAIL FROM:<alice@example.org>
  C: BDAT 6 LAST
  C: RSET
  U: MAIL FROM:<alice@example.org>
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok
  S: 503 5.5.1 BDAT is not supported`)
})

test('commands under way are bounded; the others wait unread', () => {
  const one = joined()
  one.feed('client', Buffer.from('NOOP\r\n'.repeat(100)))
  assert.equal(one.output.upstream, 'NOOP\r\n'.repeat(64))
  one.output.upstream = ''
  one.feed('upstream', Buffer.from('250 2.0.0 Ok\r\n'))
  assert.equal(one.output.upstream, 'NOOP\r\n')
  one.output.upstream = ''
  one.feed('client', Buffer.from('NOOP\r\n'.repeat(12_000)))
  assert(!one.session.wants('client'), 'what is not read is bounded too')
})

test('an EHLO that the provider refuses ends the transaction there too', () => {
  joined().play(`${MAIL}${RCPT_BOB}
  C: EHLO again.example
  U: EHLO again.example
  P: 502 5.5.1 no
  U: RSET
  S: 502 5.5.1 no
  P: 250 2.0.0 Ok
  C: DATA
  S: 503 5.5.1 Bad sequence of commands`)
})

test('a failure whose reply is one of the login gets one of the transaction', () => {
  joined({ answers: { recipient: () => new GatewayError('BAD_CREDENTIALS') } }).play(`${MAIL}
  C: RCPT TO:<bob@example.org>
  S: 451 4.3.0 XVES-6 Invalid VESmail credentials`)
})

test('the next message may stand right behind the final dot', () => {
  joined().play(`${MAIL}${RCPT_BOB}${DATA}
  C: x
  C:
  C: .
  C: MAIL FROM:<alice@example.org>
  C: RCPT TO:<bob@example.org>
  ${upstream('x\r\n\r\n', 'REJECT', true)}
  P: 250 2.0.0 Ok
  S: 250-2.0.0 Ok
  S: 250 2.0.0 ves://vesmail/m1@example.org
  U: MAIL FROM:<alice@example.org>
  U: RCPT TO:<bob@example.org>
  P: 250 2.1.0 Ok
  P: 250 2.1.5 Ok
  S: 250 2.1.0 Ok
  S: 250 2.1.5 Ok`)
})

test('sequence and syntax within the relay', () => {
  joined().play(`
  C: RCPT TO:<bob@example.org>
  C: AUTH PLAIN x
  C: STARTTLS
  C: VRFY bob
  C: FOO
  C: HELP
  C: MAIL bob
  C: MAIL FROM:<a@b> FOO=1
  C: MAIL FROM:<a@b> BODY=BINARYMIME
  C: MAIL FROM:<a@b> SIZE=x
  S: 503 5.5.1 Bad sequence of commands
  S: 503 5.5.1 AUTH is not permitted any more
  S: 503 5.5.1 STARTTLS is not permitted any more
  S: 502 5.5.1 Command not implemented
  S: 500 5.5.1 Command not recognized
  S: 214 2.0.0 https://datatracker.ietf.org/doc/html/rfc5321
  S: 501 5.5.4 Syntax error
  S: 555 5.5.4 Unsupported parameter
  S: 555 5.5.4 Unsupported parameter
  S: 501 5.5.4 Syntax error
  C: DATA
  S: 503 5.5.1 Bad sequence of commands
  ${MAIL}
  C: MAIL FROM:<alice@example.org>
  C: RCPT TO:<>
  C: RCPT TO:
  C: RCPT TO:<bob@example.org> FOO
  C: DATA x
  S: 503 5.5.1 Bad sequence of commands
  S: 501 5.5.4 Syntax error
  S: 501 5.5.4 Syntax error
  S: 555 5.5.4 Unsupported parameter
  S: 501 5.5.4 Syntax error
  ${RCPT_BOB}`)
})

test('recipients of one message are bounded', () => {
  joined({ start: { maxRecipients: 1 } }).play(`${MAIL}${RCPT_BOB}
  C: RCPT TO:<carol@example.org>
  S: 452 4.5.3 Too many recipients`)
})

// What the provider lacks (smtp.md §1)

const without = (keyword: string): string[] => ALL.filter((line) => !line.startsWith(keyword))

test('SIZE: the declared size grows by sealing; above the limit the client learns before it uploads', () => {
  joined().play(`
  C: MAIL FROM:<alice@example.org> SIZE=1000
  U: MAIL FROM:<alice@example.org> SIZE=9592
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok`)
  joined().play(`
  C: MAIL FROM:<alice@example.org> SIZE=720000
  S: 552 5.3.4 Message too large for the provider once it is encrypted`)
  joined({}, without('SIZE')).play(`
  C: MAIL FROM:<alice@example.org> SIZE=720000
  U: MAIL FROM:<alice@example.org>
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok`)
  joined({}, [...without('SIZE'), 'SIZE 0']).play(`
  C: MAIL FROM:<alice@example.org> SIZE=72000000
  U: MAIL FROM:<alice@example.org> SIZE=100808192
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok`)
  player({ start: { maxMessageOctets: 5000 } }).play(`
  ${login(...ALL).replace('250-SIZE', '250-SIZE 5000')}
  C: MAIL FROM:<alice@example.org> SIZE=5001
  S: 552 5.3.4 Message too large for the provider once it is encrypted`)
})

test('8BITMIME: dropped while we seal, 554 5.6.3 while we do not', () => {
  const mail = 'C: MAIL FROM:<alice@example.org> BODY=8BITMIME'
  joined().play(`${mail}\nU: MAIL FROM:<alice@example.org> BODY=8BITMIME\nP: 250 2.1.0 Ok\nS: 250 2.1.0 Ok`)
  joined({}, without('8BIT')).play(`${mail}\nU: MAIL FROM:<alice@example.org>\nP: 250 2.1.0 Ok\nS: 250 2.1.0 Ok`)
  joined({ mode: 'PLAIN' }, without('8BIT')).play(`${mail}\nS: 554 5.6.3 The provider takes no 8-bit mail`)
  joined({ mode: 'FALLBACK' }, without('8BIT')).play(`${mail}
  U: MAIL FROM:<alice@example.org>
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok
  C: RCPT TO:<dave@example.org>
  U: RCPT TO:<dave@example.org>
  P: 250 2.1.5 Ok
  S: 250-2.1.5 Ok
  S: 250 2.1.5 ${WARNING}
  C: DATA
  U: RSET
  P: 250 2.0.0 Ok
  S: 554 5.6.3 The provider takes no 8-bit mail`)
})

test('8BITMIME: 8-bit octets that sealing leaves in plain are refused at the end of data', () => {
  const one = joined({}, without('8BIT')).play(`
  C: MAIL FROM:<alice@example.org> BODY=8BITMIME
  U: MAIL FROM:<alice@example.org>
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok
  ${RCPT_BOB}${DATA}`)
  one.feed('client', Buffer.from('From: ž\r\n\r\nx\r\n.\r\n'))
  assert(!one.output.upstream.endsWith('\r\n.\r\n'), 'no final dot')
  one.output.upstream = ''
  one.play('S: 554 5.6.3 The provider takes no 8-bit mail\nS: 421 4.4.2 The provider takes no 8-bit mail')
  assert.equal(one.hungUp, 'aborted')
})

test('SIZE of sixteen to twenty digits is a size, however large', () => {
  const one = joined(
    {},
    ALL.filter((line) => !line.startsWith('SIZE')),
  )
  for (const size of ['9007199254740993', '18446744073709551616', '99999999999999999999']) {
    one.play(`
    C: MAIL FROM:<alice@example.org> SIZE=${size}
    S: 552 5.3.4 Message too large for the provider once it is encrypted`)
  }
  one.play(`
  C: MAIL FROM:<alice@example.org> SIZE=999999999999999999999
  S: 501 5.5.4 Syntax error`)
})

test('SIZE in plain: our Received counts', () => {
  joined({ mode: 'PLAIN' }).play(`
  C: MAIL FROM:<alice@example.org> SIZE=999600
  S: 552 5.3.4 Message too large for the provider once it is encrypted
  C: MAIL FROM:<alice@example.org> SIZE=999488
  U: MAIL FROM:<alice@example.org> SIZE=1000000
  P: 250 2.1.0 Ok
  S: 250-2.1.0 Ok
  S: 250 2.1.0 ${WARNING}`)
})

test('AUTH= of MAIL goes on where the provider knows AUTH; an address beyond ASCII needs SMTPUTF8 also unsaid', () => {
  const mail = 'MAIL FROM:<alice@example.org>'
  const one = joined().play(`
  C: ${mail} AUTH=<>
  U: ${mail} AUTH=<>
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok
  C: EHLO again.example
  U: EHLO again.example`)
  one.feed('upstream', Buffer.from('250-p\r\n250 PIPELINING\r\n'))
  one.output.client = ''
  one.play(`
  C: ${mail} AUTH=<>
  U: ${mail}
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok`)
  joined({}, without('SMTPUTF8')).play(`
  C: MAIL FROM:<žofie@example.org>
  S: 553 5.6.7 The provider takes no UTF-8 addresses`)
})

test('SMTPUTF8: kept where the provider knows it, 553 5.6.7 where it is needed and lacking', () => {
  joined().play(`
  C: MAIL FROM:<alice@example.org> SMTPUTF8
  U: MAIL FROM:<alice@example.org> SMTPUTF8
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok
  C: RCPT TO:<Žofie@example.org>
  U: RCPT TO:<Žofie@example.org>
  P: 250 2.1.5 Ok
  S: 250 2.1.5 Ok`)
  joined({}, without('SMTPUTF8')).play(`
  C: MAIL FROM:<alice@example.org> SMTPUTF8
  S: 553 5.6.7 The provider takes no UTF-8 addresses
  ${MAIL}
  C: RCPT TO:<žofie@example.org>
  S: 553 5.6.7 The provider takes no UTF-8 addresses`)
})

test('DSN: parameters pass, or are dropped', () => {
  const mail =
    'C: MAIL FROM:<alice@example.org> RET=HDRS ENVID=e1\nC: RCPT TO:<bob@example.org> NOTIFY=NEVER ORCPT=rfc822;b@x'
  joined().play(`${mail}
  U: MAIL FROM:<alice@example.org> RET=HDRS ENVID=e1
  U: RCPT TO:<bob@example.org> NOTIFY=NEVER ORCPT=rfc822;b@x
  P: 250 2.1.0 Ok
  P: 250 2.1.5 Ok
  S: 250 2.1.0 Ok
  S: 250 2.1.5 Ok`)
  joined({}, without('DSN')).play(`${mail}
  U: MAIL FROM:<alice@example.org>
  U: RCPT TO:<bob@example.org>
  P: 250 2.1.0 Ok
  P: 250 2.1.5 Ok
  S: 250 2.1.0 Ok
  S: 250 2.1.5 Ok`)
})

test('ENHANCEDSTATUSCODES: added to bare replies, until an EHLO after AUTH says otherwise', () => {
  const one = player().play(`
  ${LOGIN}
  P: 250-p
  P: 250 AUTH PLAIN
  U: AUTH PLAIN AGFsaWNlAHByb3ZpZGVyLXB3
  P: 235 ok
  S: 235 2.0.0 ok
  C: MAIL FROM:<alice@example.org>
  U: MAIL FROM:<alice@example.org>
  P: 250 Ok
  S: 250 2.0.0 Ok
  C: RCPT TO:<bob@example.org>
  U: RCPT TO:<bob@example.org>
  P: 550-no such
  P: 550 user
  S: 550-5.0.0 no such
  S: 550 5.0.0 user
  C: EHLO client.example
  U: EHLO client.example
  P: 250 p
  S: 250-gw.example
  S: 250-HELP
  S: 250 XVES
  C: NOOP
  U: NOOP
  P: 250 Ok
  S: 250 Ok`)
  assert.equal(one.closed, null)
})

// Copies

test('audit: the auditors are named, and the sealing question is theirs to know of', () => {
  const audit = ['boss@example.org', `${'x'.repeat(60)}@example.org`]
  joined({ settings: { audit } }).play(`
  C: MAIL FROM:<alice@example.org>
  U: MAIL FROM:<alice@example.org>
  P: 250 2.1.0 Ok
  S: 250-2.1.0 Ok
  S: 250-2.1.0 VESmail WARNING: Big Brother <boss@example.org>
  S: 250 2.1.0 VESmail WARNING: Big Brother <${'x'.repeat(48)}>`)
})

test('bcc: asked for before DATA, a refusal does not fail the message, no key for them', () => {
  const one = joined({ settings: { bcc: ['archive@example.org', 'The Boss <boss@example.org>'] } }).play(`
  ${MAIL}${RCPT_BOB}
  C: DATA
  U: RCPT TO:<archive@example.org>
  U: RCPT TO:<boss@example.org>
  U: DATA
  P: 250 2.1.5 Ok
  P: 550 5.1.1 no
  P: 354 go
  S: 354 go
  ${SUBMIT}
  ${upstream('Subject: a\r\n\r\nHello\r\n', 'REJECT', true)}${FINAL}`)
  const { ask } = one.asked.find(({ kind }) => kind === 'seal-key')! as { ask: { recipients: string[] } }
  assert.deepEqual(ask.recipients, ['bob@example.org'])
  assert(one.logs.some(({ event, fields }) => event === 'bcc' && fields.address === 'boss@example.org'))
})

test('bcc that is no address: left out and logged, whoever wrote it', () => {
  const bcc = ['x@example.org,y@example.org', '<>', 'archive@example.org', '"a b', 'x@example.org> NOTIFY=NEVER']
  const one = joined({ settings: { bcc } }).play(`
  ${MAIL}${RCPT_BOB}
  C: DATA
  U: RCPT TO:<archive@example.org>
  U: RCPT TO:<x@example.org>
  U: DATA`)
  assert.equal(one.logs.filter(({ event, fields }) => event === 'bcc' && fields.result === 'no address').length, 3)
})

test('bcc of plaintext outcomes only by bcc-plain', () => {
  const plain = `
  C: MAIL FROM:<alice@example.org>
  C: RCPT TO:<dave@example.org>
  U: MAIL FROM:<alice@example.org>
  U: RCPT TO:<dave@example.org>
  P: 250 2.1.0 Ok
  P: 250 2.1.5 Ok
  S: 250-2.1.0 Ok
  S: 250 2.1.0 ${WARNING}
  S: 250-2.1.5 Ok
  S: 250 2.1.5 ${WARNING}
  C: DATA`
  const bcc = ['archive@example.org']
  joined({ mode: 'PLAIN', settings: { bcc } }).play(`${plain}\nU: DATA`)
  joined({ mode: 'PLAIN', settings: { bcc, bccPlain: true } }).play(
    `${plain}\nU: RCPT TO:<archive@example.org>\nU: DATA`,
  )
})

test('a message is under way: drain waits for its final reply, and reads no further', () => {
  const one = joined().play(`${MAIL}
  ! drain
  ${RCPT_BOB}${DATA}
  C: x
  C:
  C: .
  C: MAIL FROM:<alice@example.org>
  ${upstream('x\r\n\r\n', 'REJECT', true)}
  P: 250 2.0.0 Ok
  S: 250-2.0.0 Ok
  S: 250 2.0.0 ves://vesmail/m1@example.org
  S: 421 4.3.2 Server restarting, reconnect
  U: QUIT`)
  assert.equal(one.closed, 'drained')
})

test('a forced drain cuts', () => {
  const one = joined().play(`${MAIL}${RCPT_BOB}${DATA}
  ! drain!
  S: 421 4.3.2 Server restarting, reconnect`)
  assert.equal(one.hungUp, 'aborted')
})

test('timers: 120 s for a command, 900 s of silence in data and for the provider', () => {
  const one = joined()
  assert.equal(one.deadlineMs, 120_000)
  one.play('C: NOOP\nU: NOOP')
  assert.equal(one.deadlineMs, 900_000)
  one.play('P: 250 2.0.0 Ok\nS: 250 2.0.0 Ok')
  assert.equal(one.deadlineMs, 120_000)
  one.play(`${MAIL}${RCPT_BOB}${DATA}`)
  assert.equal(one.deadlineMs, 900_000)
  one.play('! deadline\nS: 420 Timeout')
  assert.equal(one.hungUp, 'aborted')
})

test('a client that writes on while its key is being made is not read', () => {
  const one = joined({ answers: { 'seal-key': () => HOLD } }).play(`${MAIL}${RCPT_BOB}${DATA}`)
  assert(one.session.wants('client'))
  one.play('C: Subject: a\nC:')
  assert(!one.session.wants('client'))
  one.release('seal-key', { key: null, uri: 'ves://vesmail/m1', xchg: null, verify: null })
  assert(one.session.wants('client'))
  assert(one.output.upstream.length > 0)
})

test('nothing of the message leaves before its key is there', () => {
  const one = joined({ answers: { 'seal-key': () => HOLD }, makeTransform: () => new FakeSealer() })
  one.play(`${MAIL}${RCPT_BOB}${DATA}\nC: Subject: secret\nC:\nC: body\nC: .`)
  assert.equal(one.output.upstream, '')
})
