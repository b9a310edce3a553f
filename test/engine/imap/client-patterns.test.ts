/** Servers with a MIME bug, and clients that read by ranges until there is no more: whatever they believed about sizes. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { plainAnswer, RealMail, sealedWithoutSizes } from './real-mail.ts'
import type { StageOptions } from './stage.ts'

const MESSAGE = Buffer.from(
  'From: a@lab.test\r\nSubject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n' +
    `--b1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n${'caf=C3=A9\r\n'.repeat(9000)}\r\n` +
    `--b1\r\nContent-Type: image/png; name=a.png\r\nContent-Disposition: attachment; filename=a.png\r\n` +
    `Content-Transfer-Encoding: base64\r\n\r\n${Buffer.alloc(60_000, 7).toString('base64').replace(/.{76}/g, '$&\r\n')}\r\n--b1--\r\n`,
)
const SEALED = sealedWithoutSizes(MESSAGE)

/** As Yahoo and AOL answer: only Content-* fields in BODY[n.MIME]. */
class BuggyMail extends RealMail {
  override reply(line: string): string {
    return super
      .reply(line)
      .replace(/BODY\[([\d.]+)\.MIME\] \{\d+\}\r\n((?:[^\r\n].*\r\n)*)\r\n/g, (_, part: string, header: string) => {
        const fields = header.split(/\r\n(?![ \t])/).filter((field) => /^Content-/i.test(field))
        const kept = fields.map((field) => `${field}\r\n`).join('')
        return `BODY[${part}.MIME] {${kept.length + 2}}\r\n${kept}\r\n`
      })
  }
}

describe('a server that leaves fields out of part headers', () => {
  it('is found out, once a session, and every answer is right', () => {
    const mail = new BuggyMail([SEALED, SEALED])
    for (const items of ['BODYSTRUCTURE', '(UID BODY.PEEK[2.MIME])', 'BODY.PEEK[1]<5.20>', '(RFC822.SIZE BODY)']) {
      assert.equal(mail.ask(`FETCH 1 ${items}`), plainAnswer(MESSAGE, items), items)
    }
    assert.equal(mail.asked().filter((line) => line.includes('[1.MIME]')).length, 1)
    assert.equal(mail.ask('FETCH 2 BODYSTRUCTURE'), plainAnswer(MESSAGE, 'BODYSTRUCTURE').replace('* 1', '* 2'))
    assert.ok(!mail.asked().some((line) => line.includes('[1.MIME]')), 'not asked again')
  })
})

/** Reads a section in steps until an answer is shorter than asked for. */
function download(mail: RealMail, section: string, step: number, beside: string): { text: string; answers: number } {
  let text = ''
  for (let answers = 1; answers < 1000; answers++) {
    const answer = mail.ask(`UID FETCH 7 (${beside}BODY.PEEK[${section}]<${text.length}.${step}>)`)
    const match = new RegExp(`BODY\\[${section}\\]<(\\d+)> \\{(\\d+)\\}\r\n`).exec(answer)
    assert.ok(match !== null, `no literal: ${answer.slice(0, 200)}`)
    assert.equal(Number(match[1]), text.length, 'the origin is echoed')
    const from = match.index + match[0].length
    text += answer.slice(from, from + Number(match[2]))
    if (Number(match[2]) < step) return { text, answers }
  }
  throw new Error('it never ends')
}

const MODES: readonly StageOptions[] = (['exact', 'auto', 'estimate'] as const).flatMap((sizes) =>
  [4 * 1024, 1024 * 1024].map((maxbufOctets) => ({ settings: { sizes, maxbufOctets, sizeBudgetOctets: 10_000 } })),
)

describe('clients that read in ranges', () => {
  const body = (section: string): string => {
    const answer = plainAnswer(MESSAGE, `BODY.PEEK[${section}]`)
    const from = answer.indexOf('}\r\n') + 3
    return answer.slice(from, answer.lastIndexOf(')\r\nc OK'))
  }

  for (const options of MODES) {
    const { sizes, maxbufOctets } = options.settings!
    it(`get all of it and come to an end: sizes ${sizes}, memory ${maxbufOctets}`, () => {
      for (const [section, step, beside] of [
        ['', 20_000, 'UID RFC822.SIZE '],
        ['1', 16_384, ''],
        ['2', 24_000, 'UID RFC822.SIZE BODYSTRUCTURE '],
        ['2', body('2').length / 2, ''],
        ['TEXT', 393_216, 'RFC822.SIZE '],
      ] as const) {
        const { text } = download(new RealMail([SEALED], options), section, step, beside)
        assert.ok(text === body(section), `BODY[${section}] by ${step}`)
      }
    })

    it(`and those that trust a size beyond the end get nothing, not NIL: sizes ${sizes}, memory ${maxbufOctets}`, () => {
      const mail = new RealMail([SEALED], options)
      const told = mail.ask('UID FETCH 7 (RFC822.SIZE BODYSTRUCTURE)')
      const { length } = body('2')
      for (let i = 0; i < 40; i++) {
        const start = length + i * 1000
        assert.equal(
          mail.ask(`UID FETCH 7 (BODY.PEEK[2]<${start}.393216>)`),
          `* 1 FETCH (UID 7 BODY[2]<${start}> {0}\r\n)\r\nc OK UID FETCH done\r\n`,
        )
      }
      assert.equal(mail.ask('UID FETCH 7 (RFC822.SIZE BODYSTRUCTURE)'), told, 'a size once told stays')
    })
  }
})
