/** Sizes of messages that do not declare any (imap.md §5): by arithmetic, remembered, estimated; once told, for good. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { decodeSizes, encodeSizes } from '../../../src/engine/imap/message-sizes.ts'
import { plainAnswer, RealMail, sealedWithoutSizes } from './real-mail.ts'
import { Stage } from './stage.ts'

const MIB = 1024 * 1024

function withAttachment(octets: number, text = 'see attachment\r\n'): Buffer {
  const base64 = randomBytes(octets).toString('base64').replace(/.{76}/g, '$&\r\n')
  return Buffer.from(
    'From: a@lab.test\r\nSubject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n' +
      `--b1\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n${text}\r\n` +
      `--b1\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n${base64}\r\n--b1--\r\n`,
    'latin1',
  )
}

const ITEMS = '(UID RFC822.SIZE BODYSTRUCTURE)'
/** Neither counted nor measured: too long to be read beside. */
const LONG = withAttachment(3000, 'caf=C3=A9 =3D\r\n'.repeat(50_000))
const SEALED_LONG = sealedWithoutSizes(LONG, 32 * 1024)
const readsBody = (asked: readonly string[]): boolean => asked.some((line) => line.includes('BODY.PEEK[])'))

describe('a 100 MB attachment sealed by the C gateway’s rules', () => {
  const message = withAttachment(100 * MIB)
  const sealed = sealedWithoutSizes(message, MIB)

  for (const items of [ITEMS, '(RFC822.SIZE ENVELOPE)', '(BODY)']) {
    it(`has its sizes told exactly without being read: ${items}`, () => {
      for (const sizes of ['auto', 'exact', 'estimate'] as const) {
        const mail = new RealMail([sealed], { settings: { maxbufOctets: MIB, sizes } })
        assert.equal(mail.ask(`FETCH 1 ${items}`), plainAnswer(message, items))
        assert.ok(mail.server.sentOctets < 20_000, `${mail.server.sentOctets} octets from the server`)
      }
    })
  }
})

describe('the size memory', () => {
  const options = { settings: { sizes: 'exact' } } as const

  it('spares the second session the reading', () => {
    const sizes = new Map<string, string>()
    const first = new RealMail([SEALED_LONG], { ...options, sizes })
    assert.equal(first.ask(`FETCH 1 ${ITEMS}`), plainAnswer(LONG, ITEMS))
    assert.ok(readsBody(first.asked()))
    assert.deepEqual([...sizes.keys()], ['INBOX 9 7'])
    for (const name of ['inbox', '"InBox"', '{5+}\r\nINBOX']) {
      const second = new RealMail([SEALED_LONG], { ...options, sizes }, name)
      assert.equal(second.ask(`FETCH 1 ${ITEMS}`), plainAnswer(LONG, ITEMS), name)
      assert.ok(!readsBody(second.asked()), name)
      assert.equal(second.ask('FETCH 1 RFC822.SIZE'), plainAnswer(LONG, 'RFC822.SIZE'), name)
      assert.ok(second.server.sentOctets < 20_000)
    }
  })

  it('tells the size from the root alone', () => {
    const sizes = new Map<string, string>()
    new RealMail([SEALED_LONG], { ...options, sizes }).ask('FETCH 1 (RFC822.SIZE)')
    const second = new RealMail([SEALED_LONG], { ...options, sizes })
    assert.equal(second.ask('FETCH 1 (RFC822.SIZE ENVELOPE)'), plainAnswer(LONG, '(RFC822.SIZE ENVELOPE)'))
    assert.equal(second.asked().filter((line) => line.includes('BODYSTRUCTURE')).length, 1)
  })

  it('spares the first pass over a large body, and keeps ranges cheap', () => {
    const message = withAttachment(4 * MIB, 'caf=C3=A9 =3D\r\n'.repeat(80_000))
    const sealed = sealedWithoutSizes(message, MIB)
    const sizes = new Map<string, string>()
    const settings = { sizes: 'exact', maxbufOctets: MIB } as const
    new RealMail([sealed], { settings, sizes }).ask('FETCH 1 (BODYSTRUCTURE)')
    const second = new RealMail([sealed], { settings, sizes })
    assert.equal(second.ask('FETCH 1 (BODY.PEEK[])'), plainAnswer(message, '(BODY.PEEK[])'))
    assert.ok(second.server.sentOctets < 1.1 * sealed.length)
    second.server.sentOctets = 0
    assert.equal(second.ask('FETCH 1 BODY.PEEK[2]<3000000.9>'), plainAnswer(message, 'BODY.PEEK[2]<3000000.9>'))
    assert.ok(second.server.sentOctets < 20_000, `${second.server.sentOctets}`)
  })

  it('knows nothing of another mailbox, UIDVALIDITY or message', () => {
    const sizes = new Map<string, string>()
    new RealMail([SEALED_LONG], { ...options, sizes }).ask(`FETCH 1 ${ITEMS}`)
    const others = [
      new RealMail([SEALED_LONG], { ...options, sizes }, 'INBOX', 10),
      new RealMail([SEALED_LONG], { ...options, sizes }, 'other', 9),
    ]
    for (const mail of others) {
      assert.equal(mail.ask(`FETCH 1 ${ITEMS}`), plainAnswer(LONG, ITEMS))
      assert.ok(readsBody(mail.asked()))
    }
    const longer = Buffer.from(
      LONG.toString('latin1').replace('Subject: large', 'Subject: another one, larger'),
      'latin1',
    )
    const replaced = new RealMail([sealedWithoutSizes(longer, 32 * 1024)], { ...options, sizes })
    assert.equal(replaced.ask(`FETCH 1 ${ITEMS}`), plainAnswer(longer, ITEMS))
    assert.ok(readsBody(replaced.asked()))
  })

  it('is not used where UIDs do not last', () => {
    const sizes = new Map<string, string>()
    const mail = new RealMail([SEALED_LONG], { ...options, sizes })
    mail.select('INBOX', 9, '* NO [UIDNOTSTICKY] x\r\n')
    mail.ask(`FETCH 1 ${ITEMS}`)
    assert.equal(sizes.size, 0)
  })

  it('is of no use when it is damaged: then the message is read', () => {
    const damaged = ['', 'x', '1 2 l3', `${SEALED_LONG.length} 5 l1.1`, '-1 2 l1.1', '99999999999999999 2 l1.1']
    for (const value of damaged) {
      const mail = new RealMail([SEALED_LONG], { ...options, sizes: new Map([['INBOX 9 7', value]]) })
      assert.equal(mail.ask(`FETCH 1 (UID BODYSTRUCTURE)`), plainAnswer(LONG, '(UID BODYSTRUCTURE)'), value)
    }
  })

  it('does not wait for ever: the answer may come late, or be a refusal', () => {
    const mail = new RealMail([SEALED_LONG], options)
    mail.stage.held.add('sizes')
    assert.equal(mail.ask(`FETCH 1 ${ITEMS}`), '')
    mail.stage.release()
    mail.stage.held.clear()
    assert.match(mail.stage.takeUpstream(), /BODY\.PEEK\[1\.MIME\]/)
  })

  it('learns the sizes of a large message from its APPEND', () => {
    const sizes = new Map<string, string>()
    const writer = new RealMail([], { ...options, sizes })
    writer.stage.client(`a APPEND "inbox" {${LONG.length}+}\r\n`).client(`${LONG.toString('latin1')}\r\n`)
    const announced = Number(/\{(\d+)\}\r\n$/.exec(writer.stage.takeUpstream())?.[1])
    writer.stage.server('+ go\r\n')
    const sealed = Buffer.from(writer.stage.takeUpstream().slice(0, announced), 'latin1')
    writer.stage.server('VES1 OK [APPENDUID 9 7] done\r\n')
    assert.equal(writer.stage.takeClient(), 'a OK [APPENDUID 9 7] done\r\n')
    const reader = new RealMail([sealed], { ...options, sizes })
    assert.equal(reader.ask(`FETCH 1 ${ITEMS}`), plainAnswer(LONG, ITEMS))
    assert.ok(!readsBody(reader.asked()))
  })

  it('takes what the server says by APPENDUID only where it fits', () => {
    for (const code of [
      'APPENDUID 9',
      'APPENDUID 9 7:8',
      'APPENDUID 9 1:4294967295',
      'APPENDUID 9 x',
      'COPYUID 9 7 8',
    ]) {
      const sizes = new Map<string, string>()
      const stage = Stage.ready({ sizes })
      stage.client(`b APPEND INBOX {70000+}\r\n${'x'.repeat(70_000)}\r\n`)
      stage.server(`+ go\r\nVES1 OK [${code}] done\r\n`)
      assert.equal(stage.takeClient(), `b OK [${code}] done\r\n`)
      assert.equal(sizes.size, 0, code)
    }
    const sizes = new Map<string, string>()
    const stage = Stage.ready({ sizes })
    stage.client(`b APPEND x {2+}\r\nab {70000+}\r\n${'x'.repeat(70_000)}\r\n`)
    stage.server('+ go\r\nVES1 OK [APPENDUID 3 9:8] done\r\n')
    assert.deepEqual([...sizes.keys()], ['x 3 8'])
  })

  it('reads what it wrote, and a result or null for anything', () => {
    const part = fc.record(
      { kind: fc.constantFrom('leaf' as const, 'message' as const), octets: fc.nat(), lines: fc.nat() },
      { noNullPrototype: true },
    )
    const known = fc.record(
      { sealedOctets: fc.nat(), octets: fc.nat(), parts: fc.array(part, { maxLength: 100 }) },
      { noNullPrototype: true },
    )
    fc.assert(fc.property(known, (sizes) => assert.deepEqual(decodeSizes(encodeSizes(sizes)!), sizes)))
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => void decodeSizes(Buffer.from(bytes))))
    const leaf = { kind: 'leaf', octets: 1, lines: 1 } as const
    assert.equal(encodeSizes({ sealedOctets: 1, octets: 1, parts: new Array(101).fill(leaf) }), null)
  })
})

describe('a size once told', () => {
  const estimating = { settings: { sizes: 'estimate' } } as const

  it('stays to the end of the session, also when the truth is known meanwhile', () => {
    const sizes = new Map<string, string>()
    const mail = new RealMail([SEALED_LONG], { ...estimating, sizes })
    const told = mail.ask(`FETCH 1 ${ITEMS}`)
    assert.notEqual(told, plainAnswer(LONG, ITEMS))
    assert.equal(mail.ask('FETCH 1 BODY.PEEK[]'), plainAnswer(LONG, 'BODY.PEEK[]'), 'literals are always exact')
    assert.equal(sizes.size, 1)
    assert.equal(mail.ask(`FETCH 1 ${ITEMS}`), told)
    mail.select('other', 3)
    mail.select('INBOX', 9)
    assert.equal(mail.ask(`FETCH 1 ${ITEMS}`), told, 'selected again')
    mail.stage.client('x XVES CALC 1\r\n')
    mail.stage.takeClient()
    assert.equal(mail.ask(`FETCH 1 ${ITEMS}`), told, 'exact concerns UIDs not yet told')
    assert.equal(
      mail.ask('FETCH 1 RFC822.SIZE'),
      /RFC822.SIZE \d+/.exec(told)![0].replace(/^/, '* 1 FETCH (').concat(')\r\nc OK FETCH done\r\n'),
    )
    const next = new RealMail([SEALED_LONG], { ...estimating, sizes })
    assert.equal(next.ask(`FETCH 1 ${ITEMS}`), plainAnswer(LONG, ITEMS), 'the next session tells the exact one')
  })

  it('is another one for another message with the same UID', () => {
    const mail = new RealMail([SEALED_LONG], estimating)
    const told = mail.ask(`FETCH 1 ${ITEMS}`)
    mail.select('INBOX', 10)
    mail.stage.client('x XVES CALC 1\r\n')
    mail.stage.takeClient()
    assert.notEqual(mail.ask(`FETCH 1 ${ITEMS}`), told)
  })
})
