/** The short way of a header scan says what the long one says, and takes nothing that the long one would not pass. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Cursor } from '../../../src/engine/imap/cursor.ts'
import { type Evidence, evidenceFor, knownEvidence } from '../../../src/engine/imap/evidence.ts'
import { parseFetchItems } from '../../../src/engine/imap/fetch-items.ts'
import { plainRun } from '../../../src/engine/imap/plain-run.ts'
import { parseFetchAnswer } from '../../../src/engine/imap/response.ts'
import { Stage } from './stage.ts'

const evidence = (items: string): Evidence => evidenceFor(parseFetchItems(new Cursor(Buffer.from(items))))
const literal = (text: string): string => `{${text.length}}\r\n${text}`
const BOTH = evidence('(FLAGS RFC822.SIZE)')
const ENVELOPES = evidence('(ENVELOPE)')
const LISTS = evidence('(FLAGS BODY.PEEK[HEADER.FIELDS (From Message-ID)])')
const HEADERS = evidence('(FLAGS BODY.PEEK[HEADER])')
const KNOWN = knownEvidence(parseFetchItems(new Cursor(Buffer.from('(ENVELOPE)'))), 9)
const mark = (header = 'Message-ID: <m@b>\r\n\r\n'): string =>
  `BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] ${literal(header)}`
const idMark = (header = '\r\n'): string => `BODY[HEADER.FIELDS (X-VESMAIL-ID)] ${literal(header)}`
const envelope = (id = '"<m@b>"'): string =>
  `ENVELOPE (NIL "a \\"b)" ((NIL NIL "a" "b")) NIL NIL NIL NIL NIL ${literal(')\r\n* 9 FETCH (')} ${id})`
const list = (header = 'Message-ID: <m@b>\r\n\r\n'): string =>
  `BODY[HEADER.FIELDS (FROM MESSAGE-ID X-VESMAIL-ID)] ${literal(header)}`

/** The long way, for one answer. */
function twin(by: Evidence, answer: string, dropsUid: boolean): { text: string; uid: number | null } {
  const bytes = Buffer.from(answer, 'latin1')
  const parsed = parseFetchAnswer(bytes)
  const verdict = by.judge(parsed, bytes, dropsUid)
  assert.ok(verdict?.is === 'plain', answer)
  return { text: Buffer.concat(verdict.pieces).toString('latin1'), uid: parsed.uid }
}

function run(text: string, dropsUid = false, by = BOTH): { text: string; octets: number; uids: number[] } | null {
  const uids: number[] = []
  const result = plainRun(Buffer.from(text, 'latin1'), by.shape, dropsUid, (uid) => uids.push(uid))
  return result === null ? null : { text: result.bytes.toString('latin1'), octets: result.octets, uids }
}

describe('a run of plain answers', () => {
  const answers = [
    `* 1 FETCH (UID 7 ${envelope()} ${mark()})\r\n`,
    `* 2 FETCH (UID 8 FLAGS (\\Seen $x) RFC822.SIZE 55 BODY[HEADER.FIELDS (FROM TO)] ${literal('From: a\r\n\r\n')} ${mark('\r\n')})\r\n`,
    `* 4294967295 FETCH (UID 4294967295 ENVELOPE NIL ${mark('')})\r\n`,
  ]
  const envelopes = [
    `* 1 FETCH (UID 7 ${envelope()} ${idMark()})\r\n`,
    `* 2 FETCH (UID 8 FLAGS (\\Seen) ${envelope('NIL')} ${idMark('')})\r\n`,
    `* 3 FETCH (UID 9 ${envelope(literal('<vesa@b>'))} INTERNALDATE "x" ${idMark()})\r\n`,
  ]
  const lists = [
    `* 1 FETCH (UID 7 FLAGS () ${list()})\r\n`,
    `* 2 FETCH (UID 8 ${list('From: lives\r\n\r\n')} FLAGS (\\Seen))\r\n`,
    `* 3 FETCH (UID 9 FLAGS () ${list('\r\n')})\r\n`,
  ]
  const headers = [
    `* 1 FETCH (UID 7 BODY[HEADER] ${literal('Subject: lives\r\n\r\n')} FLAGS ())\r\n`,
    `* 2 FETCH (UID 8 FLAGS () BODY[HEADER] ${literal('')})\r\n`,
  ]
  const known = [
    `* 1 FETCH (UID 7 ${envelope()})\r\n`,
    `* 2 FETCH (UID 8 FLAGS (\\Seen) ${envelope('NIL')})\r\n`,
    `* 3 FETCH (UID 9 ENVELOPE NIL INTERNALDATE "x")\r\n`,
  ]
  const forms = [
    ['a list of our own', BOTH, answers],
    ['ENVELOPE', ENVELOPES, envelopes],
    ['the client’s list', LISTS, lists],
    ['the whole header', HEADERS, headers],
    ['what is known', KNOWN, known],
  ] as const

  for (const [name, by, all] of forms) {
    it(`is each of them without what is ours: ${name}`, () => {
      for (const dropsUid of [false, true]) {
        const expected = all.map((each) => twin(by, each, dropsUid))
        assert.deepEqual(run(all.join(''), dropsUid, by), {
          text: expected.map(({ text }) => text).join(''),
          octets: all.join('').length,
          uids: expected.map(({ uid }) => uid),
        })
        assert.doesNotMatch(expected.map(({ text }) => text).join(''), /X-VESMAIL/)
      }
    })
  }

  it('takes whole ones only, wherever what is there ends', () => {
    for (const [, by, each] of forms) {
      const all = each.join('')
      for (let end = 0; end < all.length; end++) {
        const whole = each.filter((_, i) => each.slice(0, i + 1).join('').length <= end)
        assert.equal(run(all.slice(0, end), false, by)?.octets ?? 0, whole.join('').length, `end at ${end}`)
      }
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
    ['a mark that is no literal', `* 2 FETCH (UID 8 FLAGS () ${mark().replace(/ \{.*/s, '')} NIL)\r\n`],
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

  const SEALED_ID = '<a@b.M.ves.World>'
  for (const [name, by, answer] of [
    ['a sealed message beside ENVELOPE', ENVELOPES, `UID 8 ${envelope()} ${idMark('X-VESmail-ID: x\r\n\r\n')}`],
    ['a sealed Message-ID in ENVELOPE', ENVELOPES, `UID 8 ${envelope(`"${SEALED_ID}"`)} ${idMark()}`],
    ['such a literal', ENVELOPES, `UID 8 ${envelope(literal(SEALED_ID))} ${idMark()}`],
    ['an ENVELOPE that is none', ENVELOPES, `UID 8 ENVELOPE NIL ${idMark()}`],
    ['no ENVELOPE', ENVELOPES, `UID 8 FLAGS () ${idMark()}`],
    ['an ENVELOPE without mark', ENVELOPES, `UID 8 ${envelope()}`],
    ['a sealed message in the list', LISTS, `UID 8 FLAGS () ${list('X-VESmail-ID: x\r\n\r\n')}`],
    ['a sealed Message-ID in the list', LISTS, `UID 8 FLAGS () ${list(`Message-ID: ${SEALED_ID}\r\n\r\n`)}`],
    ['a list that is no literal', LISTS, `UID 8 FLAGS () ${list().replace(/\{.*/s, '')}NIL`],
    ['two lists', LISTS, `UID 8 ${list()} ${list()}`],
    ['a list without our name', LISTS, `UID 8 FLAGS () ${list().replace(' X-VESMAIL-ID', '')}`],
    ['no list', LISTS, 'UID 8 FLAGS (\\Seen)'],
    ['a sealed message’s header', HEADERS, `UID 8 BODY[HEADER] ${literal('A: b\r\nX-VESmail-ID: x\r\n\r\n')}`],
    ['a sealed Message-ID in the header', HEADERS, `UID 8 BODY[HEADER] ${literal(`Message-ID: ${SEALED_ID}\r\n\r\n`)}`],
    ['a header that is none', HEADERS, 'UID 8 FLAGS () BODY[HEADER] NIL'],
    ['some of a header', HEADERS, `UID 8 FLAGS () BODY[HEADER]<0> ${literal('A: b\r\n')}`],
    ['a message that is newer than what is known', KNOWN, `UID 10 ${envelope()}`],
    ['one without a UID', KNOWN, envelope()],
  ] as const) {
    it(`ends before ${name}`, () => {
      const all = `* 2 FETCH (${answer})\r\n`
      assert.equal(run(all, false, by), null)
      const [first] = forms.find((form) => form[1] === by)![2]
      assert.deepEqual(run(`${first}${all}${first}`, false, by), run(`${first}`, false, by))
      const bytes = Buffer.from(all, 'latin1')
      const verdict = by.judge(parseFetchAnswer(bytes), bytes, false)
      // Only "no literal, and NIL" is plain in the long way's eyes: nothing stands there.
      assert.equal(verdict?.is === 'plain', name === 'a list that is no literal', `${verdict?.is}`)
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
      idMark(),
      list(),
      'ves.',
      'VESM',
      'X ',
      '[',
      ']',
      '\x80',
      '0',
    )
    fc.assert(
      fc.property(
        fc.constantFrom(...forms.flatMap(([, by, all]) => all.map((answer) => ({ by, answer })))),
        fc.nat(),
        fc.nat(6),
        noise,
        fc.boolean(),
        ({ by, answer }, where, gone, more, dropsUid) => {
          const at = where % answer.length
          const text = answer.slice(0, at) + more + answer.slice(at + gone)
          const short = run(text, dropsUid, by)
          if (short === null) return
          assert.deepEqual({ text: short.text, uid: short.uids[0] }, twin(by, text.slice(0, short.octets), dropsUid))
        },
      ),
      { numRuns: 10_000 },
    )
  })

  it('is the same to the client as its answers in pieces, sealed ones and news between', () => {
    const said = (chunk: number, items: string, all: readonly string[]): string => {
      const stage = Stage.ready({ chunk })
      stage.client('s SELECT many\r\n')
      stage.takeUpstream()
      stage.server('* OK [UIDVALIDITY 7] x\r\ns OK done\r\n')
      stage.takeClient()
      stage.client(`f FETCH 1:4 ${items}\r\n`)
      const tag = /^\S+/.exec(stage.takeUpstream())![0]
      const news = '* 1 FETCH (FLAGS (\\Seen))\r\n* 9 EXISTS\r\n'
      stage.server(`${all[0]}${news}${all[1]}${all[0]!.replace('* 1', '* 3')}${tag} OK done\r\n`)
      return stage.takeClient()
    }
    for (const [items, all] of [
      ['(ENVELOPE)', envelopes],
      ['(FLAGS BODY.PEEK[HEADER.FIELDS (From Message-ID)])', lists],
      ['(FLAGS RFC822.SIZE)', answers],
    ] as const) {
      const whole = said(0, items, all)
      assert.ok(whole.includes('* 1 FETCH (FLAGS (\\Seen))\r\n* 9 EXISTS\r\n* 2 FETCH ('), whole)
      assert.ok(!whole.includes('UID') && !whole.includes('X-VESMAIL-ID'), whole)
      for (const chunk of [1, 7, 50, 130, 333]) assert.equal(said(chunk, items, all), whole)
    }
  })
})
