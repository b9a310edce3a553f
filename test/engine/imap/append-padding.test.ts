/**
 * APPEND of what neither memory nor the session's file has room for (imap.md §3, synchronous mode): the size is guessed,
 * blank lines fill what it was too much. Never cut, never to be seen; where the guess was too small, nothing is appended.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { open } from '../seal/through.ts'
import { plainAnswer, RealMail } from './real-mail.ts'
import { type Answers, KEY, type Stage, type StageOptions } from './stage.ts'

const MAXBUF = 16 * 1024
const MIB = 1024 * 1024

function noSpace(): Answers {
  return {
    spill: ({ op }) => {
      if (op !== 'clear') throw new GatewayError('IO', { reason: 'ENOSPC', errno: 28 })
      return { bytes: null }
    },
  }
}

const OPTIONS: StageOptions = { settings: { maxbufOctets: MAXBUF }, answers: noSpace(), chunk: 4096 }

function multipart(...parts: readonly string[]): string {
  const bodies = parts.map((part) => `--b1\r\n${part}\r\n`).join('')
  return `From: a@lab.test\r\nSubject: no space\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n${bodies}--b1--\r\n`
}

const TEXT = '0123456789'.repeat(7).concat('\r\n')
const BASE64 = Buffer.alloc(57, 0xa5).toString('base64').concat('\r\n')
const MESSAGES: Readonly<Record<string, string>> = {
  'text in 7 bit': `Subject: x\r\n\r\n${TEXT.repeat(2000)}`,
  'text in 8 bit, without a line end': `Subject: x\r\n\r\n${'\xe4'.repeat(300_001)}`,
  'text in one line, and a blank one behind it': `Subject: x\r\n\r\n${'x'.repeat(200_000)}\r\n\r\n`,
  'base64 at the root': `Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n${BASE64.repeat(3000)}`,
  'base64 and blank lines': `Content-Transfer-Encoding: base64\r\n\r\n${BASE64.repeat(3000)}\r\n\r\n\r\n`,
  'quoted-printable': `Content-Transfer-Encoding: quoted-printable\r\n\r\n${'caf=C3=A9 =3D\r\n'.repeat(9000)}`,
  'an attachment': multipart(`\r\n${TEXT}`, `Content-Transfer-Encoding: base64\r\n\r\n${BASE64.repeat(3000)}`),
  'an attachment, and text behind the last delimiter': `${multipart(`\r\n${TEXT.repeat(1000)}`)}epilogue\r\n`,
  'no final delimiter': multipart(`\r\n${TEXT.repeat(1000)}`).replace(/--b1--\r\n$/, ''),
  'empty parts': multipart(...new Array(80).fill('Content-Type: text/plain\r\n\r\n'), `\r\n${TEXT.repeat(900)}`),
  'a header of one-letter fields': `${'a:\r\n'.repeat(4000)}\r\n${TEXT.repeat(600)}`,
  'a message in a message': `Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n${TEXT.repeat(1500)}`,
}

/** Sends the APPEND. @returns the announced size and what followed it */
function append(stage: Stage, message: string): { announced: number; up: string } {
  stage.client(`b APPEND INBOX (\\Seen) {${message.length}+}\r\n${message}\r\n`)
  const start = stage.takeUpstream()
  const announced = Number(/^VES1 APPEND INBOX \(\\Seen\) \{(\d+)\}\r\n$/.exec(start)?.[1])
  assert.ok(announced > 0, start.slice(0, 100))
  stage.server('+ go\r\n')
  return { announced, up: stage.takeUpstream() }
}

describe('APPEND without space for the file', () => {
  for (const [name, message] of Object.entries(MESSAGES)) {
    it(`loses and adds nothing: ${name}`, () => {
      // Two lengths, so that the padding is of an even and of an odd number of octets.
      for (const plain of [message, message.replace('Subject:', 'Subject:x').replace('a:', 'a: x')]) {
        const mail = new RealMail([], OPTIONS)
        const { announced, up } = append(mail.stage, plain)
        assert.equal(up.length, announced + 2, 'the literal is as long as announced, and the command ends')
        mail.stage.server('VES1 OK [APPENDUID 9 7] done\r\n')
        assert.equal(mail.stage.takeClient(), 'b OK [APPENDUID 9 7] done\r\n')
        const sealed = Buffer.from(up.slice(0, announced), 'latin1')
        const octets = Buffer.from(plain, 'latin1')
        assert.ok(open(sealed, KEY).equals(octets))
        const sizes = new Map(mail.stage.sizes)
        for (const options of [{}, { sizes }, { settings: { maxbufOctets: MAXBUF } }]) {
          const reader = new RealMail([sealed], { settings: { maxbufOctets: 1024 * 1024, sizes: 'exact' }, ...options })
          for (const items of [
            '(RFC822.SIZE)',
            '(BODYSTRUCTURE)',
            'BODY.PEEK[]',
            `BODY.PEEK[]<${octets.length - 9}.99>`,
            `BODY.PEEK[TEXT]<${octets.length}.9>`,
            'BODY.PEEK[1]<50.20>',
            'BODY.PEEK[TEXT]',
          ]) {
            assert.ok(reader.ask(`FETCH 1 ${items}`) === plainAnswer(octets, items), items)
          }
        }
      }
    })
  }

  it('is refused where the guess was too small, and the literal never ends', () => {
    // 22 times as long when sealed, and nobody can know before.
    const message = multipart(`\r\n${TEXT.repeat(400)}`, ...new Array(400).fill(`${'a:\r\n'.repeat(60)}\r\n`))
    const stage = new RealMail([], OPTIONS).stage
    const { announced, up } = append(stage, message)
    assert.ok(up.length < announced, `${up.length} of ${announced}`)
    assert.equal(stage.takeClient(), 'b NO [UNAVAILABLE] XVES-4.28 I/O error\r\n')
    assert.ok(stage.hungUp)
    assert.ok(stage.ended instanceof GatewayError)
  })

  it('is refused where sealing fails half way, and the literal never ends', () => {
    const message = multipart(`\r\n${TEXT.repeat(400)}`, `X: ${'x'.repeat(1_200_000)}\r\n\r\n`)
    const stage = new RealMail([], OPTIONS).stage
    const { announced, up } = append(stage, message)
    assert.ok(up.length < announced)
    assert.match(stage.takeClient(), /^b NO /)
    assert.ok(stage.hungUp)
  })

  it('announces the exact size where all of it is there by then', () => {
    const message = `Subject: x\r\n\r\n${TEXT.repeat(240)}`
    const stage = new RealMail([], OPTIONS).stage
    stage.client(`z NOOP\r\nb APPEND INBOX {${message.length}+}\r\n${message}\r\n`)
    assert.equal(stage.takeUpstream(), 'z NOOP\r\n')
    stage.server('z OK\r\n')
    const up = stage.takeUpstream()
    const announced = Number(/^VES1 APPEND INBOX \{(\d+)\+\}\r\n/.exec(up)![1])
    const sealed = up.slice(up.indexOf('\r\n') + 2, -2)
    assert.equal(sealed.length, announced)
    assert.doesNotMatch(sealed, /\r\n\r\n\r\n$/)
    assert.ok(open(Buffer.from(sealed, 'latin1'), KEY).equals(Buffer.from(message)))
  })

  it('reads no more of the message than memory is for, before its turn and before the server’s +', () => {
    const stage = new RealMail([], { ...OPTIONS, chunk: 1024 }).stage
    const message = `Subject: x\r\n\r\n${TEXT.repeat(100_000)}`
    stage.client('z NOOP\r\n').client(`b APPEND INBOX {${message.length}+}\r\n`)
    let sent = 0
    const feed = (): void => {
      for (; sent < message.length && stage.session.wants('client'); sent += 1024) {
        stage.client(message.slice(sent, sent + 1024))
      }
    }
    feed()
    assert.ok(sent < 4 * MIB && sent < message.length, `${sent} octets read before its turn`)
    assert.equal(stage.takeUpstream(), 'z NOOP\r\n')
    const before = sent
    stage.server('z OK\r\n')
    assert.match(stage.takeUpstream(), /^VES1 APPEND INBOX \{\d+\}\r\n$/)
    feed()
    assert.ok(sent < before + 4 * MIB, 'not before the +')
    stage.server('+ go\r\n')
    feed()
    assert.ok(sent >= message.length)
    stage.client('\r\n')
    stage.server('VES1 OK done\r\n')
    assert.equal(stage.takeClient(), 'z OK\r\nb OK done\r\n')
  })

  it('passes the server’s refusal, and goes on with the next command', () => {
    const stage = new RealMail([], OPTIONS).stage
    const message = `Subject: x\r\n\r\n${TEXT.repeat(40_000)}`
    stage.client(`b APPEND INBOX {${message.length}+}\r\n${message.slice(0, 2_000_000)}`)
    assert.match(stage.takeUpstream(), /^VES1 APPEND/)
    stage.server('VES1 NO [OVERQUOTA] full\r\n')
    assert.equal(stage.takeClient(), 'b NO [OVERQUOTA] full\r\n')
    stage.client(`${message.slice(2_000_000)}\r\nc NOOP\r\n`)
    assert.equal(stage.takeUpstream(), 'c NOOP\r\n')
    stage.server('c OK\r\n')
    assert.equal(stage.takeClient(), 'c OK\r\n')
    assert.equal(stage.ended, null)
  })

  it('owes the octets it announced though the server has refused them', () => {
    const stage = new RealMail([], OPTIONS).stage
    const message = `Subject: x\r\n\r\n${TEXT.repeat(40_000)}`
    stage.client(`b APPEND INBOX {${message.length}+}\r\n${message.slice(0, 2_000_000)}`)
    const announced = Number(/\{(\d+)\}/.exec(stage.takeUpstream())![1])
    stage.server('+ go\r\nVES1 NO [OVERQUOTA] full\r\n')
    assert.equal(stage.takeClient(), '')
    stage.client(`${message.slice(2_000_000)}\r\nc NOOP\r\n`)
    assert.equal(stage.takeUpstream().length, announced + 2 + 'c NOOP\r\n'.length)
    assert.equal(stage.takeClient(), 'b NO [OVERQUOTA] full\r\n')
  })

  it('takes several messages, and none of them alone', () => {
    const stage = new RealMail([], OPTIONS).stage
    const large = `Subject: large\r\n\r\n${TEXT.repeat(20_000)}`
    const small = 'Subject: small\r\n\r\nx\r\n'
    stage.client(`b APPEND INBOX {${small.length}+}\r\n${small} (\\Seen) {${large.length}+}\r\n${large}`)
    let up = stage.takeUpstream()
    const first = Number(/^VES1 APPEND INBOX \{(\d+)\+\}\r\n/.exec(up)![1])
    const at = up.indexOf('\r\n') + 2
    assert.ok(open(Buffer.from(up.slice(at, at + first), 'latin1'), KEY).equals(Buffer.from(small)))
    const second = Number(/^ \(\\Seen\) \{(\d+)\}\r\n$/.exec(up.slice(at + first))![1])
    stage.server('+ go\r\n')
    stage.client(` {${small.length}+}\r\n${small}\r\n`)
    up = stage.takeUpstream()
    assert.ok(open(Buffer.from(up.slice(0, second), 'latin1'), KEY).equals(Buffer.from(large)))
    assert.match(up.slice(second), /^ \{\d+\+\}\r\n[\s\S]*\r\n\r\n$/)
    stage.server('VES1 OK done\r\n')
    assert.equal(stage.takeClient(), 'b OK done\r\n')
    const broken = new RealMail([], OPTIONS).stage
    broken.client(`b APPEND INBOX {${large.length}+}\r\n${large}`).takeUpstream()
    broken.server('+ go\r\n')
    broken.client(' CATENATE (URL "/x")\r\n')
    assert.match(broken.takeClient(), /^b (NO|BAD) /)
    assert.ok(broken.hungUp, 'the first one must not stay')
  })
})

describe('two large messages one behind the other', () => {
  it('do not mix in the session’s file, whenever their parts are sealed', () => {
    const text = (name: string): string => `Subject: ${name}\r\n\r\n${`${name} `.repeat(60_000)}\r\n`
    for (const held of [true, false]) {
      const stage = new RealMail([], { settings: { maxbufOctets: 64 * 1024 }, chunk: 50_000 }).stage
      if (held) stage.held.add('batch')
      for (const name of ['one', 'two']) {
        const message = text(name)
        stage.client(`${name} APPEND INBOX {${message.length}+}\r\n${message}\r\n`)
        // Nothing is sealed yet that goes by a thread.
      }
      stage.release()
      for (const name of ['one', 'two']) {
        const announced = Number(/\{(\d+)\}\r\n$/.exec(stage.takeUpstream())![1])
        stage.server('+ go\r\n')
        const up = stage.takeUpstream()
        assert.ok(open(Buffer.from(up.slice(0, announced), 'latin1'), KEY).equals(Buffer.from(text(name))), name)
        stage.server(`VES${name === 'one' ? 1 : 2} OK\r\n`)
      }
      assert.equal(stage.takeClient(), 'one OK\r\ntwo OK\r\n')
    }
  })
})
