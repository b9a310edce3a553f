/** Large sealed messages read range after range: the right octets, and what they cost at the provider. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { RealMail, sealedWithoutSizes } from './real-mail.ts'

const STEP = 64 * 1024
/** What a range may cost beyond its own octets: headers, structure, the first piece read ahead. */
const CONSTANT = 64 * 1024

const HEAD =
  'From: a@lab.test\r\nSubject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n'

/** A message with a short text and one large leaf. */
function messageOf(encoding: string, body: string): Buffer {
  return Buffer.from(
    `${HEAD}--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\nContent-Type: text/html\r\n` +
      `Content-Transfer-Encoding: ${encoding}\r\n\r\n${body}\r\n--b1--\r\n`,
    'latin1',
  )
}

function base64(octets: number): string {
  const bytes = Buffer.from(Array.from({ length: octets }, (_, i) => (i * 7 + (i >> 8) * 13) & 255))
  return (
    bytes
      .toString('base64')
      .match(/.{1,76}/g)
      ?.join('\r\n') ?? ''
  )
}

const LINE = 'Zeile mit Umlaut =C3=BC und so weiter, =3D auch das'
const QUOTED = Array.from({ length: 20_000 }, (_, i) => `${LINE} ${i}`).join('\r\n')
/** Not as any encoder writes it: opening makes it with a patch. */
const ODD = Array.from(
  { length: 20_000 },
  (_, i) => `${LINE.replace('=C3=BC', i % 3 === 0 ? '=c3=bc' : '=C3=BC')} ${i}`,
).join('\r\n')
const KINDS = {
  base64: messageOf('base64', base64(900_000)),
  'quoted-printable': messageOf('quoted-printable', QUOTED),
  'quoted-printable in its own way': messageOf('quoted-printable', ODD),
  '7bit': messageOf('7bit', QUOTED),
}

/** The literal of an answer to BODY[…]. */
function literalOf(answer: string): string {
  const match = /\{(\d+)\}\r\n/.exec(answer)
  if (match === null) return /BODY\S* ""/.test(answer) ? '' : assert.fail(answer.slice(0, 200))
  const at = match.index + match[0].length
  return answer.slice(at, at + Number(match[1]))
}

function bodyOf(message: Buffer, section: string): string {
  const text = message.toString('latin1')
  if (section === '') return text
  if (section === 'TEXT') return text.slice(text.indexOf('\r\n\r\n') + 4)
  const from = text.lastIndexOf('\r\n\r\n') + 4
  return text.slice(from, text.lastIndexOf('\r\n--b1--'))
}

describe('ranges of a large sealed message', () => {
  for (const [kind, message] of Object.entries(KINDS)) {
    for (const section of ['', 'TEXT', '2']) {
      it(`cost what they give: BODY[${section}], ${kind}`, () => {
        const expected = bodyOf(message, section)
        const sealed = sealedWithoutSizes(message, 10_000_000)
        const mail = new RealMail([sealed])
        // The structure, and whether it is sealed at all, are asked once.
        mail.ask(`UID FETCH 7 (RFC822.SIZE BODYSTRUCTURE)`)
        mail.ask(`UID FETCH 7 BODY.PEEK[${section}]<0.1000>`)
        const before = mail.server.sentOctets
        let got = ''
        for (let at = 0; at < expected.length; at += STEP) {
          const answer = literalOf(mail.ask(`UID FETCH 7 (UID RFC822.SIZE BODY.PEEK[${section}]<${at}.${STEP}>)`))
          assert.equal(answer, expected.slice(at, at + STEP), `at ${at}`)
          got += answer
        }
        assert.equal(got.length, expected.length)
        const cost = (mail.server.sentOctets - before) / got.length
        // Quoted-printable is sealed as what it stands for, text of one octet a character as base64.
        const allowed = kind === '7bit' ? 1.5 : 1.3
        assert.ok(cost < allowed, `upstream octets for one: ${cost}`)
      })
    }
  }

  it('do not read beyond them but for a constant', () => {
    for (const section of ['', 'TEXT', '2']) {
      const mail = new RealMail([sealedWithoutSizes(KINDS['quoted-printable'], 10_000_000)])
      mail.ask(`UID FETCH 7 (RFC822.SIZE BODYSTRUCTURE)`)
      const before = mail.server.sentOctets
      mail.ask(`UID FETCH 7 BODY.PEEK[${section}]<0.2048>`)
      const cost = mail.server.sentOctets - before
      assert.ok(cost < 2048 + CONSTANT, `BODY[${section}]: ${cost} octets for ${mail.asked().join(', ')}`)
    }
  })

  it('are right in any order, of several messages and parts', () => {
    const messages = Object.values(KINDS)
    const sealed = messages.map((message) => sealedWithoutSizes(message, 10_000_000))
    const mail = new RealMail(sealed)
    const range = fc.record({
      message: fc.nat(messages.length - 1),
      section: fc.constantFrom('', 'TEXT', '1', '2'),
      start: fc.nat(1_300_000),
      count: fc.oneof(fc.nat(100_000), fc.nat(2_000_000)),
    })
    fc.assert(
      fc.property(fc.array(range, { maxLength: 6 }), (ranges) => {
        for (const { message, section, start, count } of ranges) {
          const whole = section === '1' ? 'hello' : bodyOf(messages[message]!, section)
          const answer = mail.ask(`UID FETCH ${7 + message} BODY.PEEK[${section}]<${start}.${count}>`)
          assert.equal(literalOf(answer), whole.slice(start, start + count))
        }
      }),
      { numRuns: 25 },
    )
  })
})

describe('flags that the server puts into an answer to a question of ours', () => {
  it('reach the client, in their order, whatever was asked and however it is read', () => {
    const sealed = sealedWithoutSizes(KINDS.base64, 10_000_000)
    const small = sealedWithoutSizes(messageOf('7bit', 'short'), 10_000_000)
    for (const settings of [{}, { sizes: 'exact' as const, maxbufOctets: 100_000 }]) {
      const mail = new RealMail([sealed, small], { settings })
      const told: string[] = []
      mail.reply = (line) =>
        mail.server.answer(line).replaceAll(/^\* (\d) FETCH \((?!FLAGS)/gm, (_, number) => {
          told.push(`n${told.length}`)
          return `* ${number} FETCH (FLAGS (${told.at(-1)}) `
        })
      for (const items of [
        'BODY.PEEK[]<0.70000>',
        'BODY.PEEK[]<100000.70000>',
        'BODY.PEEK[2]<200000.5000>',
        'BODY.PEEK[]',
        'BODY[TEXT]',
        'BODY[2]',
        'BODYSTRUCTURE',
        'RFC822.SIZE',
        'ENVELOPE',
        'BODY.PEEK[1.MIME]',
      ]) {
        for (const uid of [7, 8]) {
          const before = told.length
          const out = mail.ask(`UID FETCH ${uid} (${items})`)
          const got = [...out.matchAll(/FLAGS \((n\d+)\)/g)].map(([, flag]) => flag!)
          assert.equal(got.at(-1), told.length > before ? told.at(-1) : undefined, `${items} of ${uid}`)
          assert.deepEqual(
            got,
            told.filter((flag) => got.includes(flag)),
          )
        }
      }
    }
  })
})
