import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { ClientCommand } from '../../../src/engine/imap/command-reader.ts'
import { editedSearch, parseSearch } from '../../../src/engine/imap/search.ts'
import { holds, type Searched } from '../../../src/engine/imap/search-match.ts'
import { ServedScan } from '../../../src/engine/imap/view/served-scan.ts'
import { RealMail, sealedWithoutSizes } from './real-mail.ts'
import { PROVIDER, Stage } from './stage.ts'

const NOTE = ' (incomplete: not all encrypted messages were looked into)'
const SEALED = sealedWithoutSizes(Buffer.from('From: a@lab.test\r\nSubject: y\r\n\r\nthe secret\r\n'))

function command(args: string): ClientCommand {
  const text = Buffer.from(`a UID SEARCH ${args}\r\n`, 'latin1')
  return { tag: 'a', name: 'UID SEARCH', text, argsAt: 'a UID SEARCH'.length, literals: [] }
}

/** The program as it goes up, and the keys in it that depend on what is sealed. */
const read = (args: string): [string, string[]] | null => {
  const program = parseSearch(command(args), (tuid) => (tuid === 'mine' ? 'id1' : null))
  if (program === null) return null
  const text = (each: Buffer): string => each.toString('latin1').slice('a UID SEARCH '.length)
  const keys = program.content.map(
    ({ from, to, negated }) => `${negated ? '-' : '+'}${command(args).text.toString('latin1', from, to)}`,
  )
  return [text(editedSearch(program).text).slice(0, -2), keys]
}

describe('SEARCH', () => {
  it('leaves the server’s keys alone', () => {
    for (const args of [
      'ALL',
      '1:*,7 UNSEEN',
      'CHARSET UTF-8 UID 5:9 NOT DELETED SINCE 1-Jan-2026',
      'RETURN (MIN MAX COUNT ALL) OR FROM bob (TO "x y" CC z)',
      'MODSEQ 7',
      'MODSEQ "/flags/\\\\draft" all 620162338',
      '$ KEYWORD $Junk',
      'HEADER References <x@y>',
    ]) {
      assert.deepEqual(read(args), [args, []], args)
    }
  })

  it('knows what the server cannot see', () => {
    const cases: readonly (readonly [string, ...string[]])[] = [
      ['SUBJECT x', '+SUBJECT x'],
      ['NOT BODY "y"', '-BODY "y"'],
      ['NOT (NOT TEXT a SEEN)', '+TEXT a'],
      ['OR SEEN TEXT z', '+TEXT z'],
      ['LARGER 5 NOT SMALLER 5', '+LARGER 5', '-SMALLER 5'],
      ['HEADER X-TUID abc', '+HEADER X-TUID abc'],
      ['FUZZY SUBJECT x', '+FUZZY SUBJECT x'],
      ['X-GM-RAW "x y"', '+X-GM-RAW "x y"'],
    ]
    for (const [args, ...keys] of cases) assert.deepEqual(read(args), [args, keys], args)
  })

  it('finds sealed messages by their own Message-ID', () => {
    assert.deepEqual(read('UNDELETED HEADER Message-ID <seed.4@lab.test> ALL'), [
      'UNDELETED OR HEADER Message-ID <seed.4@lab.test> HEADER X-VESMAIL-ID <seed.4@lab.test> ALL',
      [],
    ])
    assert.deepEqual(read('HEADER X-TUID mine'), ['OR HEADER X-TUID mine HEADER X-VESMAIL-ID "id1"', []])
  })

  it('passes what it does not understand', () => {
    for (const args of ['', 'WHATEVER', '(ALL', 'SUBJECT', 'IN (mailboxes x) ALL']) assert.equal(read(args), null, args)
    assert.equal(read(`${'('.repeat(60)}ALL${')'.repeat(60)}`), null)
  })

  it('asks the server for the rest, and judges what is sealed', () => {
    const mail = new RealMail([SEALED], { imap: { ...PROVIDER, search: 'open' } })
    const { stage } = mail
    stage.client('b SEARCH RETURN (COUNT) CHARSET UTF-8 NOT SUBJECT "x" OR SEEN BODY {6+}\r\nsecret\r\nc NOOP\r\n')
    const sealed = 'OR HEADER X-VESMAIL-ID "" HEADER MESSAGE-ID ".m.ves.world"'
    assert.equal(stage.takeUpstream(), `VES1 UID SEARCH CHARSET UTF-8 ${sealed} NOT NOT ALL OR SEEN ALL\r\n`)
    stage.server('* 3 EXISTS\r\n* SEARCH 7 9\r\nVES1 OK\r\n')
    assert.equal(stage.takeUpstream(), 'VES2 UID FETCH 7,9 (UID RFC822.SIZE)\r\n')
    stage.server('* 1 FETCH (UID 7 RFC822.SIZE 900)\r\n* 2 FETCH (UID 9 RFC822.SIZE 900)\r\nVES2 OK\r\n')
    assert.equal(stage.takeUpstream(), 'VES3 UID FETCH 9 (UID BODY.PEEK[])\r\n')
    // It is gone.
    stage.server('VES3 OK\r\n')
    assert.equal(stage.takeUpstream(), 'VES4 UID FETCH 7 (UID BODY.PEEK[])\r\n')
    stage.server(`* 1 FETCH (UID 7 BODY[] {${SEALED.length}}\r\n${SEALED.toString('latin1')})\r\nVES4 OK\r\n`)
    assert.equal(stage.takeUpstream(), 'VES5 UID SEARCH CHARSET UTF-8 UID 7 NOT NOT ALL OR SEEN ALL\r\n')
    stage.server('* SEARCH 7\r\nVES5 OK\r\n')
    const own = `(NOT SUBJECT "x" OR SEEN BODY {6+}\r\nsecret NOT (${sealed}))`
    assert.equal(stage.takeUpstream(), `b SEARCH RETURN (COUNT) CHARSET UTF-8 OR ${own} UID 7\r\n`)
    stage.server('* ESEARCH (TAG "b") COUNT 4\r\nb OK Search completed.\r\n')
    assert.equal(stage.takeClient(), `* 3 EXISTS\r\n* ESEARCH (TAG "b") COUNT 4\r\nb OK Search completed.${NOTE}\r\n`)
    assert.equal(stage.takeUpstream(), 'c NOOP\r\n')
  })

  it('says in the tagged OK that an answer is incomplete: nothing is opened for it by default', () => {
    const { stage } = new RealMail([])
    stage.client('b UID SEARCH SUBJECT x\r\n')
    stage.server('* SEARCH 7\r\nVES1 OK\r\n')
    stage.takeUpstream()
    stage.server('* SEARCH 1\r\nb OK Search completed.\r\n')
    assert.equal(stage.takeClient(), `* SEARCH 1\r\nb OK Search completed.${NOTE}\r\n`)
    stage.client('c SEARCH ALL\r\n')
    stage.server('* SEARCH 1 2\r\nc OK Search completed.\r\n')
    assert.equal(stage.takeClient(), '* SEARCH 1 2\r\nc OK Search completed.\r\n')
  })

  it('tells flags that the server puts into answers to our questions', () => {
    for (const key of ['TEXT x', 'SUBJECT x']) {
      const mail = new RealMail([SEALED], { imap: { ...PROVIDER, search: 'open' } })
      let told = 0
      const { stage } = mail
      stage.client(`b UID SEARCH ${key}\r\n`)
      let out = ''
      for (let lines = stage.takeUpstream(); lines !== ''; lines = stage.takeUpstream()) {
        for (const line of lines.split('\r\n').slice(0, -1)) {
          if (/ UID FETCH /.test(line)) {
            const answer = mail.reply(line.replace(' RFC822.SIZE BODYSTRUCTURE', ' BODYSTRUCTURE RFC822.SIZE'))
            stage.server(answer.replace('* 1 FETCH (', `* 1 FETCH (FLAGS (n${told++}) `))
          } else stage.server(`* SEARCH 7\r\n${line.split(' ')[0]} OK\r\n`)
        }
        out += stage.takeClient()
      }
      assert.ok(told >= 2)
      assert.deepEqual(
        [...out.matchAll(/^\* 1 FETCH \(UID 7 FLAGS \(n(\d)\)\)\r\n/gm)].map(([, n]) => Number(n)),
        Array.from({ length: told }, (_, i) => i),
      )
      assert.match(out, /\r\nb OK/)
    }
  })

  it('does not take words without end', () => {
    const { stage } = new RealMail([], { chunk: 50_000 })
    stage.client('b UID SEARCH TEXT x\r\n')
    stage.server(`* SEARCH ${'1'.repeat(2_000_000)}`)
    assert.match(stage.takeClient(), /^\* BYE XVES-20 /)
  })

  it('opens no more than the budget, the newest first', () => {
    const options = { imap: { ...PROVIDER, search: 'open' as const }, settings: { sizeBudgetOctets: 1000 } }
    const { stage } = new RealMail([], options)
    stage.client('b UID SEARCH TEXT x\r\n')
    stage.server('* SEARCH 7 8 9\r\nVES1 OK\r\n')
    stage.server(
      '* 1 FETCH (UID 7 RFC822.SIZE 90)\r\n* 2 FETCH (UID 8 RFC822.SIZE 1000)\r\n* 3 FETCH (UID 9 RFC822.SIZE 900)\r\nVES2 OK\r\n',
    )
    stage.takeUpstream()
    stage.server('VES3 OK\r\n')
    assert.equal(stage.takeUpstream(), 'VES4 UID FETCH 7 (UID BODY.PEEK[])\r\n')
  })

  it('takes the server’s list in pieces, and what it refuses as the client’s own affair', () => {
    const { stage } = new RealMail([], { chunk: 50_000 })
    stage.client('b UID SEARCH TEXT x\r\n')
    stage.server(`* SEARCH ${'12345678 '.repeat(300_000).trim()}\r\nVES1 OK\r\n`)
    assert.match(stage.takeUpstream(), /^VES1 .*\r\nb UID SEARCH \(TEXT x NOT \(/)
    const refused = new RealMail([]).stage
    refused.client('b UID SEARCH CHARSET X-ODD TEXT x\r\n')
    refused.server('VES1 NO [BADCHARSET] x\r\n')
    refused.server('b NO [BADCHARSET] x\r\n')
    assert.equal(refused.takeClient(), 'b NO [BADCHARSET] x\r\n')
  })

  it('sends literals one by one where the server wants it so', () => {
    const stage = Stage.ready({}, 'IMAP4rev1')
    stage.client('b SEARCH SUBJECT {2+}\r\nxy KEYWORD a\r\n')
    assert.match(stage.takeUpstream(), /^VES1 UID SEARCH OR .* ALL KEYWORD a\r\n$/)
    stage.server('* SEARCH\r\nVES1 OK\r\n')
    assert.equal(stage.takeUpstream(), 'b SEARCH (SUBJECT {2}\r\n')
    stage.server('+ go\r\n')
    assert.match(stage.takeUpstream(), /^xy KEYWORD a NOT \(/)
  })

  it('finds what this session has uploaded by its X-TUID, as mbsync does without UIDPLUS', () => {
    const stage = Stage.ready()
    const message = 'Subject: x\r\nX-TUID: 4abcDEF+/=\r\n\r\nbody\r\n'
    stage.client(`a APPEND INBOX {${message.length}+}\r\n${message}\r\n`)
    stage.server('VES1 OK done\r\n')
    stage.takeUpstream()
    stage.client('b UID SEARCH HEADER X-TUID 4abcDEF+/=\r\n')
    assert.equal(stage.takeUpstream(), 'b UID SEARCH OR HEADER X-TUID 4abcDEF+/= HEADER X-VESMAIL-ID "m1"\r\n')
  })

  it('ends in a program or null for anything', () => {
    const words = fc.constantFrom(
      'SUBJECT',
      'NOT',
      'OR',
      '(',
      ')',
      '"x"',
      'ALL',
      'HEADER',
      'UID',
      '1:*',
      '{1+}',
      'BODY',
    )
    fc.assert(fc.property(fc.array(words, { maxLength: 20 }), (given) => void read(given.join(' '))))
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (given) => void read(given)))
  })
})

describe('content keys', () => {
  const view = (message: string): Searched => {
    const scan = new ServedScan()
    const content = Buffer.from(message, 'utf8')
    scan.push(content)
    const { root, size } = scan.end()!
    return { root, octets: size.octets, content }
  }
  const message = view(
    'Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= aus\r\n =?iso-8859-1?Q?K=F6ln?=\r\nX-Odd: one\r\n two\r\n' +
      'Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\nContent-Type: text/plain; charset=windows-1251\r\n' +
      'Content-Transfer-Encoding: base64\r\n\r\n7/Do4uXy\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nCaf=C3=A9 long=\r\ner\r\n' +
      '--b\r\nContent-Type: image/png\r\n\r\nhidden\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ndeep\r\n--b--\r\n',
  )
  const is = (args: string, at = message): boolean | null => {
    const text = Buffer.from(`a SEARCH ${args}\r\n`, 'utf8')
    const [key] = parseSearch({ tag: 'a', name: 'SEARCH', text, argsAt: 8, literals: [] })!.content
    return holds(key!, at, null)
  }

  it('look through encodings and case', () => {
    for (const args of [
      'SUBJECT "grüße aus KÖLN"',
      'SUBJECT ""',
      'HEADER x-odd "one two"',
      'HEADER X-Odd ""',
      'TEXT "x-odd: ONE"',
      'BODY "ПРИВЕТ"',
      'BODY "café longer"',
      'BODY inner',
      'BODY DEEP',
      'TEXT deep',
      'LARGER 100',
      'SMALLER 2000',
    ]) {
      assert.equal(is(args), true, args)
    }
    for (const args of [
      'SUBJECT inner',
      'BODY hidden',
      'BODY preamble',
      'BODY x-odd',
      'HEADER X-None ""',
      'LARGER 2000',
    ]) {
      assert.equal(is(args), false, args)
    }
  })

  it('say so where what is at hand does not tell', () => {
    const header = { ...message, content: null, octets: null }
    for (const args of ['BODY x', 'TEXT nowhere', 'LARGER 5', 'SMALLER 5', 'FUZZY SUBJECT x'])
      assert.equal(is(args, header), null, args)
    for (const args of ['TEXT grüße', 'SUBJECT grüße']) assert.equal(is(args, header), true, args)
  })
})
