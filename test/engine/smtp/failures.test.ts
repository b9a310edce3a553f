/**
 * The table of failures: what breaks, at which step, and what client and provider get then. In every row: nothing goes
 * in plaintext, no part of a message becomes one, and nothing is acknowledged that the provider did not take.
 */
import assert from 'node:assert/strict'
import test from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import type { Transform, TransformAction } from '../../../src/engine/transform.ts'
import { HOLD, type Player } from '../script.ts'
import { ALL, FakeSealer, login, player, type World } from './world.ts'

const LOST = '421 4.4.2 XVES-17 Connection error, check host & port in the VESmail profile'
const VES = new GatewayError('VES_CONNECTION', { text: 'timeout' })
const VES_451 = 'S: 451 4.3.0 XVES-3.2 libVES: Connection: timeout'
const VES_421 = 'S: 421 4.4.2 XVES-3.2 libVES: Connection: timeout'
const MAIL = `
  C: MAIL FROM:<alice@example.org>
  U: MAIL FROM:<alice@example.org>`
const MAIL_OK = `${MAIL}
  P: 250 2.1.0 Ok
  S: 250 2.1.0 Ok`
const RCPT = `${MAIL_OK}
  C: RCPT TO:<bob@example.org>
  U: RCPT TO:<bob@example.org>`
const RCPT_OK = `${RCPT}
  P: 250 2.1.5 Ok
  S: 250 2.1.5 Ok`
const DATA = `${RCPT_OK}
  C: DATA
  U: DATA`
const DATA_OK = `${DATA}
  P: 354 go
  S: 354 go`
/** Header and part of the body, no end. */
const SOME = 'C: Subject: secret\nC:\nC: first line'
const REST = 'C: second line\nC: .'

interface Row {
  readonly what: string
  readonly world?: World
  /** Up to the failure, and the failure. */
  readonly before: string
  /** Octets that went to the provider may be dropped from the comparison here. */
  readonly fail?: (one: Player) => void
  readonly after: string
  readonly hungUp?: 'no' | 'finished' | 'aborted'
  readonly closes?: boolean
  /** Why the log has to say that nobody knows whether the message is delivered. */
  readonly unknown?: string
}

/** A sealer that breaks when the text appears in its input. */
class BreaksAt implements Transform {
  readonly #inner = new FakeSealer()
  readonly #text: string
  readonly #code: 'MIME_HEADER_TOO_LARGE' | null

  constructor(text: string, code: 'MIME_HEADER_TOO_LARGE' | null) {
    this.#text = text
    this.#code = code
  }

  get wants(): boolean {
    return this.#inner.wants
  }

  push(bytes: Buffer): TransformAction[] {
    if (bytes.includes(this.#text)) throw this.#code === null ? new TypeError('a bug') : new GatewayError(this.#code)
    return this.#inner.push(bytes)
  }

  end(): TransformAction[] {
    if (this.#text === '') throw new TypeError('a bug')
    return this.#inner.end()
  }

  answer(): TransformAction[] {
    return this.#inner.answer()
  }
}

/** The provider has the whole message, and has not answered yet. */
function atFinalDot(one: Player): void {
  one.feed('client', Buffer.from('.\r\n'))
  assert(one.output.upstream.endsWith('\r\n.\r\n'))
  one.output.upstream = ''
}

const heldKey: World = { answers: { 'seal-key': () => HOLD } }
const refuseKey = (one: Player): void => one.release('seal-key', VES)

const ROWS: Row[] = [
  // The provider goes
  { what: 'provider gone while idle', before: '! provider gone', after: `S: ${LOST}`, closes: true },
  { what: 'provider says 421 while idle', before: 'P: 421 4.4.2 timeout', after: 'S: 421 4.4.2 timeout', closes: true },
  {
    what: 'provider says something nobody asked for',
    before: 'P: 250 2.0.0 Ok',
    after: 'S: 421 4.4.2 XVES-20 Unexpected response from the remote server',
    closes: true,
  },
  {
    what: 'provider says what is no reply',
    before: `${MAIL}\nP: garbage`,
    after: 'S: 421 4.4.2 XVES-20 Unexpected response from the remote server',
    closes: true,
  },
  {
    what: 'provider gone before its reply to MAIL',
    before: `${MAIL}\n! provider gone`,
    after: `S: ${LOST}`,
    closes: true,
  },
  {
    what: 'provider gone before its reply to RCPT',
    before: `${RCPT}\n! provider gone`,
    after: `S: ${LOST}`,
    closes: true,
  },
  {
    what: 'provider gone before its reply to DATA',
    before: `${DATA}\n! provider gone`,
    after: `S: ${LOST}`,
    closes: true,
  },
  { what: 'provider says 421 to RCPT', before: `${RCPT}\nP: 421 4.3.2 bye`, after: 'S: 421 4.3.2 bye', closes: true },
  {
    what: 'provider gone within the message: read to its end, then 451 and 421',
    before: `${DATA_OK}\n${SOME}`,
    fail: (one) => {
      one.output.upstream = ''
      one.play('! provider gone')
    },
    after: `${REST}\nS: 451 4.3.0 XVES-17 Connection error, check host & port in the VESmail profile\nS: ${LOST}`,
    hungUp: 'aborted',
    closes: true,
  },
  {
    what: 'provider refuses in the middle of the message: its words, at the end',
    before: `${DATA_OK}\n${SOME}`,
    fail: (one) => {
      one.output.upstream = ''
      one.play('P: 552 5.3.4 too big')
    },
    after: `${REST}\nS: 552 5.3.4 too big\nS: 421 4.4.2 XVES-20 Unexpected response from the remote server`,
    hungUp: 'aborted',
    closes: true,
  },
  {
    what: 'provider accepts in the middle of the message: nobody is told that it was accepted',
    before: `${DATA_OK}\n${SOME}`,
    fail: (one) => {
      one.output.upstream = ''
      one.play('P: 250 2.0.0 Ok')
    },
    after: `${REST}
    S: 451 4.3.0 XVES-20 Unexpected response from the remote server
    S: 421 4.4.2 XVES-20 Unexpected response from the remote server`,
    hungUp: 'aborted',
    closes: true,
  },
  {
    what: 'provider gone between the final dot and its reply: not acknowledged',
    before: `${DATA_OK}\n${SOME}`,
    fail: atFinalDot,
    after: `! provider gone\nS: 451 4.3.0 XVES-17 Connection error, check host & port in the VESmail profile\nS: ${LOST}`,
    closes: true,
    unknown: 'UPSTREAM_CONNECTION',
  },
  {
    what: 'provider silent after the final dot: not acknowledged',
    before: `${DATA_OK}\n${SOME}`,
    fail: atFinalDot,
    after: '! deadline\nS: 420 Timeout',
    closes: true,
    unknown: 'TIMEOUT',
  },
  {
    what: 'forced to stop after the final dot: not acknowledged',
    before: `${DATA_OK}\n${SOME}`,
    fail: atFinalDot,
    after: '! drain!\nS: 421 4.3.2 Server restarting, reconnect',
    closes: true,
    unknown: 'drained',
  },
  {
    what: 'provider says nonsense after the final dot: not acknowledged',
    before: `${DATA_OK}\n${SOME}`,
    fail: atFinalDot,
    after: `P: what?
    S: 451 4.3.0 XVES-20 Unexpected response from the remote server
    S: 421 4.4.2 XVES-20 Unexpected response from the remote server`,
    closes: true,
    unknown: 'UPSTREAM_UNEXPECTED',
  },
  {
    what: 'client and then provider gone after the final dot',
    before: `${DATA_OK}\n${SOME}`,
    fail: (one) => {
      atFinalDot(one)
      one.play('! client gone')
    },
    after: `! provider gone\nS: 451 4.3.0 XVES-17 Connection error, check host & port in the VESmail profile`,
    closes: true,
    unknown: 'UPSTREAM_CONNECTION',
  },
  {
    what: 'provider refuses the whole message: passed on, the session goes on',
    before: `${DATA_OK}\n${SOME}`,
    fail: (one) => {
      one.feed('client', Buffer.from('.\r\n'))
      one.output.upstream = ''
    },
    after: 'P: 554 5.7.1 spam\nS: 554 5.7.1 spam\nC: NOOP\nU: NOOP\nP: 250 2.0.0 Ok\nS: 250 2.0.0 Ok',
  },
  // The repository goes
  {
    what: 'repository lost at RCPT: 451, not passed on, the session goes on',
    world: { answers: { recipient: () => VES } },
    before: `${MAIL_OK}\nC: RCPT TO:<bob@example.org>`,
    after: `${VES_451}\nC: RSET\nU: RSET\nP: 250 2.0.0 Ok\nS: 250 2.0.0 Ok`,
  },
  {
    what: 'repository lost within the header: nothing of it has gone',
    world: heldKey,
    before: `${DATA_OK}\n${SOME}`,
    fail: refuseKey,
    after: `${REST}\n${VES_451}\n${VES_421}`,
    hungUp: 'aborted',
    closes: true,
  },
  {
    what: 'repository lost after the final dot was read: no dot goes on',
    world: heldKey,
    before: `${DATA_OK}\n${SOME}\n${REST}`,
    fail: refuseKey,
    after: `${VES_451}\n${VES_421}`,
    hungUp: 'aborted',
    closes: true,
  },
  {
    what: 'a recipient lost its vault between RCPT and DATA',
    world: { answers: { 'seal-key': () => new GatewayError('RECIPIENT_WITHOUT_VAULT') } },
    before: `${DATA_OK}\n${SOME}\n${REST}`,
    after: `S: 450 4.1.0 The recipient has no VES account, so the message cannot be encrypted for them
    S: 421 4.4.2 The recipient has no VES account, so the message cannot be encrypted for them`,
    hungUp: 'aborted',
    closes: true,
  },
  // Sealing goes
  {
    what: 'sealing fails in mid-message',
    world: { makeTransform: () => new BreaksAt('second', null) },
    before: `${DATA_OK}\n${SOME}`,
    fail: (one) => (one.output.upstream = ''),
    after: `${REST}\nS: 451 4.3.0 XVES-32 Internal error\nS: 421 4.4.2 XVES-32 Internal error`,
    hungUp: 'aborted',
    closes: true,
  },
  {
    what: 'sealing fails at the end of the message',
    world: { makeTransform: () => new BreaksAt('', null) },
    before: `${DATA_OK}\nC: Subject: x`,
    after: 'C: .\nS: 451 4.3.0 XVES-32 Internal error\nS: 421 4.4.2 XVES-32 Internal error',
    hungUp: 'aborted',
    closes: true,
  },
  {
    what: 'a header block too large',
    world: { makeTransform: () => new BreaksAt('Subject', 'MIME_HEADER_TOO_LARGE') },
    before: `${DATA_OK}\n${SOME}`,
    after: `${REST}\nS: 552 5.3.4 Header block larger than 1 MiB\nS: 421 4.4.2 Header block larger than 1 MiB`,
    hungUp: 'aborted',
    closes: true,
  },
  {
    what: 'larger than the limit, whatever it declared',
    world: { start: { maxMessageOctets: 30 } },
    before: `${DATA_OK}`,
    after: `C: Subject: a long enough one
    C:
    C: ..
    C: .
    S: 552 5.3.4 Message too large for the provider once it is encrypted
    S: 421 4.4.2 Message too large for the provider once it is encrypted`,
    hungUp: 'aborted',
    closes: true,
  },
  // The client goes
  { what: 'client gone while idle', before: '! client gone', after: '', closes: true },
  { what: 'client gone after MAIL', before: `${MAIL}\n! client gone`, after: '', closes: true },
  {
    what: 'client gone within the message: the provider never sees an end',
    before: `${DATA_OK}\n${SOME}`,
    fail: (one) => {
      assert(!one.output.upstream.includes('\r\n.\r\n'))
      one.output.upstream = ''
      one.play('! client gone')
    },
    after: '',
    hungUp: 'aborted',
    closes: true,
  },
  {
    what: 'client gone while the key is made, final dot read',
    world: heldKey,
    before: `${DATA_OK}\n${SOME}\n${REST}\n! client gone`,
    after: 'S: 451 4.3.0 XVES-4 I/O error',
    hungUp: 'aborted',
    closes: true,
  },
  {
    what: 'client gone after its message went up whole: the reply is waited for',
    before: `${DATA_OK}\n${SOME}`,
    fail: (one) => {
      one.feed('client', Buffer.from('.\r\n'))
      one.output.upstream = ''
      one.play('! client gone')
      assert.equal(one.closed, null)
    },
    // It may have closed its sending half only.
    after: 'P: 250 2.0.0 Ok\nS: 250-2.0.0 Ok\nS: 250 2.0.0 ves://vesmail/m1@example.org',
    closes: true,
  },
]

for (const row of ROWS) {
  test(row.what, () => {
    const world = row.what.startsWith('larger')
      ? login(...ALL).replace('250-SIZE', `250-SIZE ${row.world?.start?.maxMessageOctets}`)
      : login(...ALL)
    const one = player(row.world).play(world)
    if (row.fail === undefined) {
      one.play(`${row.before}\n${row.after}`)
    } else {
      // What goes up before the failure is the failure's to look at.
      feed(one, row.before)
      row.fail(one)
      one.play(row.after)
    }
    assert.equal(one.hungUp, row.hungUp ?? 'no')
    assert.equal(one.closed !== null, row.closes ?? false)
    const accepted = one.logs.filter(({ event, fields }) => event === 'message' && fields.result === 'accepted')
    assert.equal(accepted.length, row.what.startsWith('client gone after its message') ? 1 : 0)
    // A copy is kept of what was taken, or may have been.
    const last = one.spooled.at(-1) ?? 'drop'
    assert.equal(last, accepted.length > 0 || row.unknown !== undefined ? 'keep' : 'drop')
    const unknown = one.logs.filter(({ fields }) => fields.result === 'outcome unknown')
    assert.deepEqual(
      unknown.map(({ fields }) => fields.code),
      row.unknown === undefined ? [] : [row.unknown],
    )
  })
}

/** Plays a script whose last input leaves sealed octets with the provider. */
function feed(one: Player, script: string): void {
  const at = script.indexOf('C: Subject')
  one.play(script.slice(0, at))
  one.feed(
    'client',
    Buffer.from(
      script
        .slice(at)
        .split('\n')
        .map((line) => `${line.trim().slice(3)}\r\n`)
        .join(''),
    ),
  )
  assert.equal(one.output.client, '')
  assert(!/secret|first line|second line/.test(one.output.upstream), 'plaintext')
}

test('a failure in one message, cut in every way: never a final dot, never plaintext', () => {
  for (let chunk = 1; chunk < 70; chunk++) {
    const one = player({ chunk, makeTransform: () => new BreaksAt('d l', null) }).play(`${login(...ALL)}${DATA_OK}`)
    one.feed(
      'client',
      Buffer.from('Subject: secret\r\n\r\nfirst line\r\nsecond line\r\n.\r\nMAIL FROM:<evil@example.org>\r\n'),
    )
    // In chunks shorter than the text it does not break.
    if (one.hungUp === 'aborted') {
      assert(!one.output.upstream.includes('\r\n.\r\n'))
      assert.match(one.output.client, /^451 [^\r]*\r\n421 [^\r]*\r\n$/)
    }
    assert(!/secret|first line|second line|evil/.test(one.output.upstream))
  }
})
