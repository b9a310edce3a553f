/** The short way of a header scan says what the long one says, and takes nothing that the long one would not pass. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { stringAt } from '../../../src/engine/imap/cursor.ts'
import { plainRun } from '../../../src/engine/imap/plain-run.ts'
import { parseFetchAnswer } from '../../../src/engine/imap/response.ts'
import { isMarkAt, isSealed, MARK_LABEL } from '../../../src/engine/imap/sealed-mark.ts'
import { without } from '../../../src/engine/imap/template.ts'
import { Stage } from './stage.ts'

const literal = (text: string): string => `{${text.length}}\r\n${text}`
const mark = (header = 'Message-ID: <m@b>\r\n\r\n'): string => `${MARK_LABEL} ${literal(header)}`
const ENVELOPE = `ENVELOPE (NIL "a \\"b)" ((NIL NIL "a" "b")) NIL NIL NIL NIL NIL NIL ${literal(')\r\n* 9 FETCH (')})`

/** The long way, for one answer. */
function twin(answer: string, dropsUid: boolean): { text: string; uid: number | null } {
  const bytes = Buffer.from(answer, 'latin1')
  const parsed = parseFetchAnswer(bytes)
  const last = parsed.items.at(-1)!
  assert.ok(isMarkAt(bytes, last.label))
  assert.ok(!isSealed(stringAt(bytes, last.value[0])))
  const pieces = without(parsed, bytes, (item) => item === last || (dropsUid && item.name === 'UID'))
  return { text: Buffer.concat(pieces).toString('latin1'), uid: parsed.uid }
}

function run(text: string, dropsUid = false): { text: string; octets: number; uids: number[] } | null {
  const uids: number[] = []
  const result = plainRun(Buffer.from(text, 'latin1'), dropsUid, (uid) => uids.push(uid))
  return result === null ? null : { text: result.bytes.toString('latin1'), octets: result.octets, uids }
}

describe('a run of plain answers', () => {
  const answers = [
    `* 1 FETCH (UID 7 ${ENVELOPE} ${mark()})\r\n`,
    `* 2 FETCH (UID 8 FLAGS (\\Seen $x) RFC822.SIZE 55 BODY[HEADER.FIELDS (FROM TO)] ${literal('From: a\r\n\r\n')} ${mark('\r\n')})\r\n`,
    `* 4294967295 FETCH (UID 4294967295 ENVELOPE NIL ${mark('')})\r\n`,
  ]

  it('is each of them without the mark', () => {
    for (const dropsUid of [false, true]) {
      const expected = answers.map((each) => twin(each, dropsUid))
      assert.deepEqual(run(answers.join(''), dropsUid), {
        text: expected.map(({ text }) => text).join(''),
        octets: answers.join('').length,
        uids: expected.map(({ uid }) => uid),
      })
    }
  })

  it('takes whole ones only, wherever what is there ends', () => {
    const all = answers.join('')
    for (let end = 0; end < all.length; end++) {
      const whole = answers.filter((_, i) => answers.slice(0, i + 1).join('').length <= end)
      assert.equal(run(all.slice(0, end))?.octets ?? 0, whole.join('').length, `end at ${end}`)
    }
  })

  for (const [name, answer] of [
    ['a sealed message', `* 2 FETCH (UID 8 FLAGS () ${mark('X-VESmail-ID: x\r\n\r\n')})\r\n`],
    [
      'a sealed message by its Message-ID',
      `* 2 FETCH (UID 8 FLAGS () ${mark('Message-ID: <a@b.M.ves.World>\r\n\r\n')})\r\n`,
    ],
    ['no mark', '* 2 FETCH (UID 8 FLAGS (\\Seen))\r\n'],
    ['an item behind the mark', `* 2 FETCH (UID 8 FLAGS () ${mark()} MODSEQ (5))\r\n`],
    ['a mark that is no literal', `* 2 FETCH (UID 8 FLAGS () ${MARK_LABEL} NIL)\r\n`],
    ['no UID', `* 2 FETCH (FLAGS () ${mark()})\r\n`],
    ['another response', '* 2 EXPUNGE\r\n'],
    ['the tagged one', 'VES1 OK done\r\n'],
    [
      'a name that is a literal',
      `* 2 FETCH (UID 8 BODY[HEADER.FIELDS (${literal('A')})] ${literal('')} ${mark()})\r\n`,
    ],
    ['a literal8', `* 2 FETCH (UID 8 X ~${literal('a')} ${mark()})\r\n`],
    ['an answer too large to be sure of', `* 2 FETCH (UID 8 X ${literal('a'.repeat(65_536))} ${mark()})\r\n`],
  ] as const) {
    it(`ends before ${name}`, () => {
      assert.equal(run(answer), null)
      assert.deepEqual(run(answers[0] + answer + answers[1]), run(answers[0]!))
    })
  }

  it('leaves a UID alone that is not the first item, or all there is, to the long way', () => {
    assert.equal(run(`* 2 FETCH (FLAGS () UID 8 ${mark()})\r\n`, true), null)
    assert.equal(run(`* 2 FETCH (UID 8 ${mark()})\r\n`, true), null)
    assert.notEqual(run(`* 2 FETCH (FLAGS () UID 8 ${mark()})\r\n`, false), null)
  })

  it('is the long way’s word, whatever octets are in it', () => {
    const noise = fc.constantFrom(
      ' ',
      '(',
      ')',
      '"',
      '\\',
      '{1}\r\na',
      '{',
      '~',
      '\r\n',
      'UID 3 ',
      mark(),
      'X ',
      '[',
      ']',
      '\x80',
      '0',
    )
    fc.assert(
      fc.property(
        fc.constantFrom(...answers),
        fc.nat(),
        fc.nat(6),
        noise,
        fc.boolean(),
        (answer, where, gone, more, dropsUid) => {
          const at = where % answer.length
          const text = answer.slice(0, at) + more + answer.slice(at + gone)
          const short = run(text, dropsUid)
          if (short === null) return
          assert.deepEqual({ text: short.text, uid: short.uids[0] }, twin(text.slice(0, short.octets), dropsUid))
        },
      ),
      { numRuns: 5000 },
    )
  })

  it('is the same to the client as its answers in pieces, sealed ones and news between', () => {
    const said = (chunk: number): string => {
      const stage = Stage.ready({ chunk })
      stage.client('s SELECT many\r\n')
      stage.takeUpstream()
      stage.server('* OK [UIDVALIDITY 7] x\r\ns OK done\r\n')
      stage.takeClient()
      stage.client('f FETCH 1:4 (ENVELOPE)\r\n')
      const tag = /^\S+/.exec(stage.takeUpstream())![0]
      const news = '* 1 FETCH (FLAGS (\\Seen))\r\n* 9 EXISTS\r\n'
      stage.server(`${answers[0]}${news}${answers[1]}${answers[0]!.replace('* 1', '* 3')}${tag} OK done\r\n`)
      return stage.takeClient()
    }
    const whole = said(0)
    assert.ok(whole.includes('* 9 EXISTS\r\n* 2 FETCH (FLAGS'), whole)
    assert.ok(!whole.includes('UID') && !whole.includes('X-VESMAIL-ID'), whole)
    for (const chunk of [1, 7, 50, 130, 333]) assert.equal(said(chunk), whole)
  })
})
