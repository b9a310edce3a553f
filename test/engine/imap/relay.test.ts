import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { DOVECOT, Stage, seal } from './stage.ts'

describe('pass-through', () => {
  it('passes commands and answers octet for octet, pipelined, at every split', () => {
    const commands =
      'b LIST "" "*"\r\nc STATUS INBOX (MESSAGES)\r\nd UID STORE 1:* +FLAGS.SILENT (\\Seen)\r\ne X-ODD thing\r\n'
    const answers =
      '* LIST () "/" {3}\r\na\r\n\r\n* STATUS INBOX (MESSAGES 3)\r\n* 3 FETCH (FLAGS (\\Seen) UID 7)\r\n' +
      'b OK done {5}\r\nc OK [X] ok\r\n* 2 EXPUNGE\r\nd OK\r\n* NO [ALERT] look {7}\r\ne BAD what\r\n'
    for (const chunk of [0, 1, 2, 3, 5, 11]) {
      const stage = Stage.ready({ chunk })
      stage.client(commands)
      assert.equal(stage.takeUpstream(), commands)
      stage.server(answers)
      assert.equal(stage.takeClient(), answers)
    }
  })

  it('filters capabilities wherever they show', () => {
    const stage = Stage.ready()
    stage.client('b CAPABILITY\r\n')
    stage.server(
      `* CAPABILITY ${DOVECOT}\r\nb OK [CAPABILITY ${DOVECOT}] done\r\n* OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE NEWTHING] x\r\n`,
    )
    const kept =
      'IMAP4rev1 SASL-IR ID ENABLE IDLE MULTIAPPEND UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS MOVE STATUS=SIZE SAVEDATE SPECIAL-USE LITERAL+ XVES'
    assert.equal(
      stage.takeClient(),
      `* CAPABILITY ${kept}\r\nb OK [CAPABILITY ${kept}] done\r\n* OK [CAPABILITY IMAP4rev1 LITERAL+ XVES] x\r\n`,
    )
  })

  it('takes out of ENABLE what would change answers', () => {
    const stage = Stage.ready()
    stage.client('b ENABLE CONDSTORE UTF8=ACCEPT\r\nc ENABLE IMAP4rev2\r\nd ENABLE QRESYNC\r\n')
    assert.equal(stage.takeUpstream(), 'b ENABLE CONDSTORE\r\nc ENABLE X-VES-NOTHING\r\nd ENABLE QRESYNC\r\n')
  })

  it('tells APPENDLIMIT as it is for unsealed messages', () => {
    const stage = Stage.ready()
    stage.client('b STATUS INBOX (APPENDLIMIT)\r\n')
    stage.server(
      '* STATUS INBOX (MESSAGES 1 APPENDLIMIT 1408192)\r\n* STATUS {5}\r\nINBOX (APPENDLIMIT 1408192)\r\nb OK\r\n',
    )
    assert.equal(
      stage.takeClient(),
      '* STATUS INBOX (MESSAGES 1 APPENDLIMIT 1000000)\r\n* STATUS {5}\r\nINBOX (APPENDLIMIT 1000000)\r\nb OK\r\n',
    )
  })

  it('refuses what would bypass it, keeping its place behind any literal', () => {
    const stage = Stage.ready()
    const refused = [
      'STARTTLS',
      'LOGIN a b',
      'AUTHENTICATE PLAIN',
      'COMPRESS DEFLATE',
      'UNAUTHENTICATE',
      'REPLACE 1 INBOX {5+}\r\nhello',
      'UID REPLACE 1 INBOX ~{5+}\r\nx QUI',
      'NOTIFY NONE',
      'UID SORT (SUBJECT) UTF-8 ALL',
      'THREAD REFERENCES UTF-8 ALL',
      'GENURLAUTH "imap://x" INTERNAL',
      'X-UNKNOWN {7+}\r\nx NOOP\n',
      'APPEND INBOX CATENATE (TEXT {5+}\r\nhello URL "/x")',
      'APPEND INBOX CATENATE (URL "/x")',
      'APPEND INBOX UTF8 (~{5+}\r\nhello)',
      'FETCH 1 BINARY[1]',
      'FETCH 1 PREVIEW',
      'FETCH 1 (X-SECRET-BODY)',
      'XVES CALC 5',
    ]
    refused.forEach((command, i) => {
      stage.client(`r${i} ${command}\r\nn${i} NOOP\r\n`)
      assert.equal(stage.takeUpstream(), `n${i} NOOP\r\n`, command)
      assert.match(stage.takeClient(), new RegExp(`^r${i} BAD `), command)
      stage.server(`n${i} OK\r\n`)
      stage.takeClient()
    })
  })

  it('carries literals to a server with and without LITERAL+', () => {
    const plus = Stage.ready()
    plus.client('b SEARCH TO {5}\r\n')
    assert.equal(plus.takeClient(), '+ OK\r\n')
    plus.client('hello FROM {2+}\r\nab\r\n')
    assert.equal(plus.takeUpstream(), 'b SEARCH TO {5+}\r\nhello FROM {2+}\r\nab\r\n')
    const sync = Stage.ready({}, 'IMAP4rev1')
    sync.client('b SEARCH TO {5+}\r\nhello FROM {2+}\r\nab\r\nc NOOP\r\n')
    assert.equal(sync.takeUpstream(), 'b SEARCH TO {5}\r\n')
    sync.server('+ go\r\n')
    assert.equal(sync.takeUpstream(), 'hello FROM {2}\r\n')
    sync.server('* 3 EXISTS\r\n+ go\r\n')
    assert.equal(sync.takeUpstream(), 'ab\r\n')
    sync.server('* SEARCH 1\r\nb OK\r\n')
    assert.equal(sync.takeUpstream(), 'c NOOP\r\n')
    assert.equal(sync.takeClient(), '* 3 EXISTS\r\n* SEARCH 1\r\nb OK\r\n')
  })

  it('passes IDLE both ways, also when DONE comes at once', () => {
    const stage = Stage.ready()
    stage.client('b IDLE\r\n')
    stage.server('+ idling\r\n* 4 EXISTS\r\n')
    assert.equal(stage.takeClient(), '+ idling\r\n* 4 EXISTS\r\n')
    stage.client('DONE\r\nc NOOP\r\n')
    assert.equal(stage.takeUpstream(), 'b IDLE\r\nDONE\r\nc NOOP\r\n')
    stage.server('b OK\r\nc OK\r\n')
    stage.client('d IDLE\r\nDONE\r\ne IDLE\r\n')
    stage.server('+ idling\r\nd OK\r\n+ idling\r\n')
    stage.client('DONE\r\n')
    assert.equal(stage.takeUpstream(), 'd IDLE\r\nDONE\r\ne IDLE\r\nDONE\r\n')
    stage.server('e OK\r\n')
    stage.client('f IDLE\r\n')
    stage.server('f NO not now\r\n')
    stage.client('g NOOP\r\n')
    assert.equal(stage.takeUpstream(), 'f IDLE\r\ng NOOP\r\n')
  })
})

describe('the end', () => {
  it('waits for a quiet point to drain; IDLE is quiet', () => {
    const stage = Stage.ready()
    stage.client('b NOOP\r\n')
    stage.event({ on: 'drain', forced: false })
    assert.equal(stage.ended, null)
    stage.server('b OK\r\n')
    assert.equal(stage.takeClient(), 'b OK\r\n* BYE Server restarting, reconnect\r\n')
    assert.equal(stage.ended, 'drained')
    const idle = Stage.ready()
    idle.client('b IDLE\r\n')
    idle.server('+ idling\r\n')
    idle.event({ on: 'drain', forced: false })
    assert.equal(idle.ended, 'drained')
    const partial = Stage.ready()
    partial.client('b NO')
    partial.event({ on: 'drain', forced: false })
    assert.equal(partial.ended, null)
    partial.event({ on: 'drain', forced: true })
    assert.equal(partial.ended, 'drained')
  })

  it('relays the server’s goodbye, says its own when the server just goes', () => {
    const stage = Stage.ready()
    stage.client('b LOGOUT\r\n')
    stage.server('* BYE bye\r\nb OK out\r\n').event({ on: 'closed', side: 'upstream', error: null })
    assert.equal(stage.takeClient(), '* BYE bye\r\nb OK out\r\n')
    assert.equal(stage.ended, 'quit')
    const gone = Stage.ready()
    gone.event({ on: 'closed', side: 'upstream', error: null })
    assert.match(gone.takeClient(), /^\* BYE XVES-17 /)
  })

  it('answers a client that only half-closes, and ends', () => {
    const stage = Stage.ready()
    stage.client('b NOOP\r\n').event({ on: 'closed', side: 'client', error: null })
    assert.equal(stage.ended, null)
    stage.server('b OK\r\n')
    assert.equal(stage.takeClient(), 'b OK\r\n')
    assert.equal(stage.ended, 'quit')
  })

  it('costs a hostile client or server one session', () => {
    const client = Stage.ready()
    client.client(`b ${'x'.repeat(300_000)}`)
    assert.match(client.takeClient(), /^\* BYE Line too long/)
    const quoted = Stage.ready()
    quoted.client('b SEARCH SUBJECT "x {5+}\r\nc APPEND\r\n')
    assert.ok(quoted.ended instanceof GatewayError)
    const server = Stage.ready()
    server.server('zz OK what\r\n')
    assert.match(server.takeClient(), /^\* BYE XVES-20 /)
    const long = Stage.ready()
    long.server(`* OK ${'x'.repeat(2_000_000)}`)
    assert.match(long.takeClient(), /^\* BYE XVES-20 /)
  })

  it('allows half an hour of silence', () => {
    const stage = Stage.ready()
    assert.equal(stage.deadlineMs, 30 * 60_000)
  })
})

const PLAIN_MARK = 'BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] {2}\r\n\r\n'
const SEALED_MARK = 'BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] {21}\r\nX-VESmail-ID: <m>\r\n\r\n'
const MARK = 'BODY.PEEK[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)]'
/** Where ENVELOPE is asked for, which tells the Message-ID. */
const ID_MARK = 'BODY.PEEK[HEADER.FIELDS (X-VESMAIL-ID)]'
const withId = (mark: string): string => mark.replace(' MESSAGE-ID', '')
const LEARN = `(UID ${MARK})`
const LEARN_SIZED = LEARN.replace(/\)$/, ' RFC822.SIZE)')
const MESSAGE = 'Subject: secret\r\n\r\nhello\r\n'

describe('FETCH', () => {
  const selected = (options = {}): Stage => {
    const stage = Stage.ready(options)
    stage.client('s SELECT INBOX\r\n')
    stage.server('* 4 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\ns OK [READ-WRITE] done\r\n')
    stage.takeUpstream()
    stage.takeClient()
    return stage
  }
  const literal = (text: string): string => `{${text.length}}\r\n${text}`

  it('passes what is not about content at once', () => {
    const stage = selected()
    stage.client('b FETCH 1:* (UID FLAGS INTERNALDATE MODSEQ)\r\n')
    assert.equal(stage.takeUpstream(), 'b FETCH 1:* (UID FLAGS INTERNALDATE MODSEQ)\r\n')
  })

  it('passes the client’s own command when all are plain, and remembers it by UID', () => {
    const stage = selected()
    stage.client('b UID FETCH 7,9 (BODY[])\r\n')
    assert.equal(stage.takeUpstream(), `VES1 UID FETCH 7,9 ${LEARN_SIZED}\r\n`)
    stage.server(
      `* 1 FETCH (UID 7 ${PLAIN_MARK})\r\n* 3 FETCH (FLAGS (\\Seen))\r\n* 2 FETCH (UID 9 ${PLAIN_MARK})\r\nVES1 OK\r\n`,
    )
    assert.equal(stage.takeUpstream(), 'b UID FETCH 7,9 (BODY[])\r\n')
    const answer = `* 1 FETCH (UID 7 BODY[] ${literal('a b')} FLAGS (\\Seen))\r\nb OK done\r\n`
    stage.server(answer)
    assert.equal(stage.takeClient(), `* 3 FETCH (FLAGS (\\Seen))\r\n${answer}`)
    stage.client('c UID FETCH 9 RFC822.SIZE\r\nd UID FETCH 7 BODY.PEEK[1]\r\n')
    assert.equal(stage.takeUpstream(), 'c UID FETCH 9 RFC822.SIZE\r\nd UID FETCH 7 BODY.PEEK[1]\r\n')
  })

  it('forgets when the mailbox changes', () => {
    const stage = selected()
    stage.client('b UID FETCH 7 BODY[1]\r\n')
    stage.server(`* 1 FETCH (UID 7 ${PLAIN_MARK})\r\nVES1 OK\r\n* 1 FETCH (UID 7 BODY[1] {1}\r\nx)\r\nb OK\r\n`)
    stage.takeUpstream()
    stage.client('c SELECT other\r\n')
    stage.server('* OK [UIDVALIDITY 10] x\r\nc OK\r\n')
    stage.client('d UID FETCH 7 BODY[1]\r\n')
    assert.equal(stage.takeUpstream(), `c SELECT other\r\nVES2 UID FETCH 7 ${LEARN_SIZED}\r\n`)
  })

  it('learns and answers in one when no bodies are asked for; what follows a sealed one waits for it', () => {
    const stage = selected()
    stage.client('b FETCH 1:3 (ENVELOPE)\r\n')
    assert.equal(stage.takeUpstream(), `VES1 FETCH 1:3 (UID ENVELOPE ${ID_MARK})\r\n`)
    const sealedOne = `* 2 FETCH (UID 8 ENVELOPE (x) ${withId(SEALED_MARK)})\r\n`
    stage.server(`* 1 FETCH (UID 7 ENVELOPE ("a" NIL) ${withId(PLAIN_MARK)})\r\n* 4 EXISTS\r\n${sealedOne}`)
    assert.equal(stage.takeClient(), '* 1 FETCH (ENVELOPE ("a" NIL))\r\n* 4 EXISTS\r\n')
    stage.server(`* 3 FETCH (ENVELOPE ("c" NIL) UID 9 FLAGS (\\Seen) ${withId(PLAIN_MARK)})\r\nVES1 OK done\r\n`)
    assert.equal(stage.takeClient(), '')
    assert.match(stage.takeUpstream(), /^VES2 FETCH 2 \(UID RFC822.SIZE BODYSTRUCTURE BODY.PEEK\[HEADER\]\)\r\n$/)
    const header = `X-VESmail-ID: <m>\r\nX-Header: ${Buffer.from('Subject: secret\r\n\r\n').toString('base64')}\r\n\r\n`
    stage.server(
      `* 2 FETCH (UID 8 RFC822.SIZE 99 BODYSTRUCTURE ("text" "plain" NIL NIL NIL "7bit" 9 1) BODY[HEADER] ${literal(header)})\r\nVES2 OK done\r\n`,
    )
    assert.equal(
      stage.takeClient(),
      '* 2 FETCH (ENVELOPE (NIL "secret" NIL NIL NIL NIL NIL NIL NIL NIL))\r\n' +
        '* 3 FETCH (ENVELOPE ("c" NIL) FLAGS (\\Seen))\r\nb OK done\r\n',
    )
    const ordered = selected()
    ordered.client('a XVES ORDER 1\r\nb FETCH 1:3 (ENVELOPE)\r\n')
    assert.equal(ordered.takeClient(), '* XVES ORDER 1\r\na OK XVES ORDER completed\r\n')
    assert.equal(ordered.takeUpstream(), `VES1 FETCH 1:3 ${LEARN}\r\n`)
  })

  it('answers sealed ones from their content, in the server’s order of messages and items', () => {
    for (const chunk of [0, 1, 3]) {
      const stage = selected({ chunk })
      stage.client('b FETCH 1:3 (RFC822.SIZE FLAGS BODY.PEEK[TEXT]<2.2>)\r\nz NOOP\r\n')
      assert.equal(stage.takeUpstream(), `VES1 FETCH 1:3 ${LEARN_SIZED}\r\n`)
      stage.server(
        `* 1 FETCH (UID 7 ${PLAIN_MARK})\r\n* 2 FETCH (UID 8 ${SEALED_MARK})\r\n* 3 FETCH (UID 9 ${PLAIN_MARK})\r\nVES1 OK\r\n`,
      )
      assert.equal(stage.takeUpstream(), 'VES2 FETCH 1 (RFC822.SIZE FLAGS BODY.PEEK[TEXT]<2.2>)\r\n')
      stage.server('* 1 FETCH (FLAGS () RFC822.SIZE 3 BODY[TEXT]<2> {1}\r\nx)\r\nVES2 OK\r\n')
      assert.equal(
        stage.takeUpstream(),
        'VES3 FETCH 2 (UID BODY.PEEK[])\r\nVES4 FETCH 2 (RFC822.SIZE FLAGS BODY.PEEK[TEXT]<0.1>)\r\n',
      )
      stage.server(
        `* 2 FETCH (UID 8 BODY[] ${literal(seal(MESSAGE))})\r\nVES3 OK\r\n* 9 EXISTS\r\n` +
          `* 2 FETCH (FLAGS (\\Flagged))\r\n* 2 FETCH (FLAGS (\\Flagged) RFC822.SIZE 999 BODY[TEXT]<0> {1}\r\nQ)\r\nVES4 OK\r\n`,
      )
      assert.equal(stage.takeUpstream(), 'VES5 FETCH 3 (RFC822.SIZE FLAGS BODY.PEEK[TEXT]<2.2>)\r\n')
      stage.server('* 3 FETCH (FLAGS () RFC822.SIZE 5 BODY[TEXT]<2> {0}\r\n)\r\nVES5 OK Fetch completed (0.1).\r\n')
      assert.equal(stage.takeUpstream(), 'z NOOP\r\n')
      assert.equal(
        stage.takeClient(),
        '* 1 FETCH (FLAGS () RFC822.SIZE 3 BODY[TEXT]<2> {1}\r\nx)\r\n' +
          '* 9 EXISTS\r\n* 2 FETCH (FLAGS (\\Flagged))\r\n' +
          `* 2 FETCH (FLAGS (\\Flagged) RFC822.SIZE ${MESSAGE.length} BODY[TEXT]<2> {2}\r\nll)\r\n` +
          '* 3 FETCH (FLAGS () RFC822.SIZE 5 BODY[TEXT]<2> {0}\r\n)\r\nb OK Fetch completed (0.1).\r\n',
      )
    }
  })

  it('asks for our field in the client’s own list where that has Message-ID, and takes its name out again', () => {
    const stage = selected()
    stage.client('b FETCH 1:4 (FLAGS BODY.PEEK[HEADER.FIELDS (From "Message-ID")])\r\n')
    assert.equal(
      stage.takeUpstream(),
      'VES1 FETCH 1:4 (UID FLAGS BODY.PEEK[HEADER.FIELDS (From "Message-ID" X-VESMAIL-ID)])\r\n',
    )
    const header = 'Message-ID: <ves.m@b>\r\n\r\n'
    stage.server(
      `* 1 FETCH (UID 7 FLAGS () BODY[HEADER.FIELDS (FROM MESSAGE-ID X-VESMAIL-ID)] ${literal(header)})\r\n` +
        `* 2 FETCH (UID 8 FLAGS () body[header.fields ("FROM" "Message-ID" "x-vesmail-id")] ${literal(header)})\r\n` +
        `* 3 FETCH (FLAGS (\\Seen))\r\n` +
        `* 4 FETCH (UID 9 FLAGS () BODY[HEADER.FIELDS (FROM MESSAGE-ID)] ${literal(header)})\r\n` +
        `* 3 FETCH (UID 6 FLAGS () BODY[HEADER.FIELDS (FROM MESSAGE-ID X-VESMAIL-ID)] ${literal(`X-VESmail-ID: <m>\r\n${header}`)})\r\n`,
    )
    assert.equal(
      stage.takeClient(),
      `* 1 FETCH (FLAGS () BODY[HEADER.FIELDS (FROM MESSAGE-ID)] ${literal(header)})\r\n` +
        `* 2 FETCH (FLAGS () body[header.fields ("FROM" "Message-ID")] ${literal(header)})\r\n` +
        `* 3 FETCH (FLAGS (\\Seen))\r\n`,
    )
    stage.server('VES1 OK done\r\n')
    assert.match(stage.takeUpstream(), /^VES2 FETCH 3 .*\r\n$/)
    // Gone: nothing to tell. An answer without the name tells nothing of its message: it is asked about last.
    stage.server('VES2 OK done\r\n')
    stage.server(stage.takeUpstream().replace(/^(VES3) FETCH 3 .*/, '$1 OK done'))
    assert.equal(stage.takeUpstream(), `VES4 FETCH 4 ${LEARN}\r\n`)
    stage.server(`* 4 FETCH (UID 9 ${PLAIN_MARK})\r\nVES4 OK done\r\n`)
    assert.match(stage.takeUpstream(), /^VES5 FETCH 4 \(FLAGS .*\r\n$/)
  })

  it('asks with a list of its own where the client asks for our field himself', () => {
    const stage = selected()
    stage.client('b FETCH 1 (ENVELOPE BODY.PEEK[HEADER.FIELDS (Message-ID X-VESmail-ID)])\r\n')
    assert.match(
      stage.takeUpstream(),
      /\(Message-ID X-VESmail-ID\)\] BODY\.PEEK\[HEADER\.FIELDS \(X-VESMAIL-ID MESSAGE-ID\)\]\)/,
    )
  })

  const sealedOne = (items: string, options = {}): Stage => {
    const stage = selected(options)
    stage.client(`b UID FETCH 8 ${items}\r\n`)
    stage.server(`* 2 FETCH (UID 8 ${SEALED_MARK})\r\nVES1 OK\r\n`)
    stage.takeUpstream()
    return stage
  }

  it('sets \\Seen where the client’s item would, after the message could be opened', () => {
    const stage = sealedOne('BODY[]')
    stage.server(`* 2 FETCH (UID 8 BODY[] ${literal(seal(MESSAGE))})\r\nVES2 OK\r\n`)
    assert.equal(stage.takeUpstream(), 'VES3 UID FETCH 8 (BODY[]<0.1>)\r\n')
    stage.server('* 2 FETCH (UID 8 FLAGS (\\Seen) BODY[]<0> {1}\r\nX)\r\nVES3 OK done\r\n')
    assert.equal(stage.takeClient(), `* 2 FETCH (UID 8 FLAGS (\\Seen) BODY[] ${literal(MESSAGE)})\r\nb OK done\r\n`)
  })

  it('sets it also for a header alone, and tells it; flags that come beside are told too', () => {
    const stage = selected()
    stage.client('b UID FETCH 8 BODY[HEADER.FIELDS (SUBJECT)]\r\n')
    assert.equal(stage.takeUpstream(), `VES1 UID FETCH 8 ${LEARN}\r\n`)
    const light = selected()
    light.client('b UID FETCH 8 (ENVELOPE)\r\n')
    light.takeUpstream()
    light.server(`* 2 FETCH (UID 8 ENVELOPE (x) FLAGS (\\Flagged) ${withId(SEALED_MARK)})\r\nVES1 OK\r\n`)
    // It is gone when we ask again, or cannot be opened: its flags have changed all the same, if it is there.
    light.server(light.takeUpstream().replace(/^(VES2) .*/, '$1 OK'))
    light.server(`* 2 FETCH (UID 8 BODY[] ${literal(seal(MESSAGE, 'locked'))})\r\nVES3 OK done\r\n`)
    assert.equal(light.takeClient(), '* 2 FETCH (UID 8 FLAGS (\\Flagged))\r\nb OK done\r\n')
  })

  it('keeps the opened message at hand for ranges', () => {
    const stage = sealedOne('BODY.PEEK[]<0.5>')
    stage.server(
      `* 2 FETCH (UID 8 BODY[] ${literal(seal(MESSAGE))})\r\nVES2 OK\r\n* 2 FETCH (UID 8 BODY[]<0> {1}\r\nX)\r\nVES3 OK done\r\n`,
    )
    assert.equal(stage.takeClient(), '* 2 FETCH (UID 8 BODY[]<0> {5}\r\nSubje)\r\nb OK done\r\n')
    stage.client('c UID FETCH 8 (UID RFC822.SIZE BODY.PEEK[]<5.5>)\r\n')
    assert.equal(stage.takeUpstream(), 'VES4 UID FETCH 8 (UID RFC822.SIZE BODY.PEEK[]<0.1>)\r\n')
    stage.server('* 2 FETCH (UID 8 RFC822.SIZE 77 BODY[]<0> {1}\r\nX)\r\nVES4 OK done\r\n')
    assert.equal(
      stage.takeClient(),
      `* 2 FETCH (UID 8 RFC822.SIZE ${MESSAGE.length} BODY[]<5> {5}\r\nct: s)\r\nc OK done\r\n`,
    )
    stage.client('d UID FETCH 8 (BODY.PEEK[]<5000.5>)\r\n')
    stage.server('* 2 FETCH (UID 8 BODY[]<0> {1}\r\nX)\r\nVES5 OK done\r\n')
    assert.equal(stage.takeClient(), '* 2 FETCH (UID 8 BODY[]<5000> {0}\r\n)\r\nd OK done\r\n')
  })

  it('renumbers for EXPUNGE and VANISHED in between, and drops what is gone', () => {
    const pattern = '* 5 FETCH (UID 8 BODY[]<0> {1}\r\nX)\r\nVES3 OK done\r\n'
    const content = `* 5 FETCH (UID 8 BODY[] ${literal(seal(MESSAGE))})\r\nVES2 OK\r\n`
    for (const [news, number] of [
      ['* 3 EXPUNGE\r\n', 4],
      ['* 6 EXPUNGE\r\n', 5],
      ['* VANISHED 1:2,7,9:12\r\n', 2],
      ['* VANISHED (EARLIER) 1:2\r\n', 5],
      ['* FLAGS (\\Seen new)\r\n', 5],
      ['* 5 EXPUNGE\r\n', 0],
      ['* VANISHED 6:8\r\n', 0],
    ] as const) {
      const stage = sealedOne('BODY.PEEK[]')
      stage.held.add('open-key')
      stage.server(content + pattern + news).release()
      const answer = number === 0 ? '' : `* ${number} FETCH (UID 8 BODY[] ${literal(MESSAGE)})\r\n`
      assert.equal(stage.takeClient(), `${news}${answer}b OK done\r\n`, news)
    }
  })

  it('hides content without a key, but not FLAGS; \\Seen stays as it was', () => {
    const locked = literal(seal(MESSAGE, 'locked'))
    const hidden = sealedOne('(BODY[])')
    hidden.server(`* 2 FETCH (UID 8 BODY[] ${locked})\r\nVES2 OK done\r\n`)
    assert.equal(hidden.takeUpstream(), '')
    assert.equal(hidden.takeClient(), 'b OK done\r\n')
    const flags = sealedOne('(UID FLAGS BODY[] RFC822.SIZE)')
    flags.server(`* 2 FETCH (UID 8 BODY[] ${locked})\r\nVES2 OK done\r\n`)
    assert.equal(flags.takeUpstream(), 'VES3 UID FETCH 8 (UID FLAGS)\r\n')
    flags.server('* 2 FETCH (UID 8 FLAGS (\\Flagged))\r\nVES3 OK done\r\n')
    assert.equal(flags.takeClient(), '* 2 FETCH (UID 8 FLAGS (\\Flagged))\r\nb OK done\r\n')
    const peek = sealedOne('(FLAGS BODY.PEEK[])')
    peek.server(
      `* 2 FETCH (UID 8 BODY[] ${locked})\r\nVES2 OK done\r\n* 2 FETCH (UID 8 FLAGS () BODY[]<0> {1}\r\nX)\r\nVES3 OK done\r\n`,
    )
    assert.equal(peek.takeClient(), '* 2 FETCH (UID 8 FLAGS ())\r\nb OK done\r\n')
  })

  it('says NO when the repository is away, and passes nothing half', () => {
    const stage = sealedOne('BODY.PEEK[]', {
      answers: {
        'open-key': () => {
          throw new GatewayError('VES_CONNECTION')
        },
      },
    })
    stage.server(
      `* 2 FETCH (UID 8 BODY[] ${literal(seal(MESSAGE))})\r\nVES2 OK\r\n* 2 FETCH (UID 8 BODY[]<0> {1}\r\nX)\r\nVES3 OK done\r\n`,
    )
    assert.equal(stage.takeClient(), 'b NO [UNAVAILABLE] XVES-3.2 libVES: Connection\r\n')
  })

  it('answers nothing for a message that has gone, and passes the server’s own NO and BAD', () => {
    const gone = sealedOne('BODY.PEEK[]')
    gone.server('VES2 OK nothing\r\nVES3 OK nothing\r\n')
    assert.equal(gone.takeClient(), 'b OK nothing\r\n')
    const bad = selected()
    bad.client('b FETCH 999 BODY[]\r\n')
    bad.server('VES1 BAD Invalid messageset\r\n')
    assert.equal(bad.takeClient(), 'b BAD Invalid messageset\r\n')
  })

  it('tells VANISHED once, and keeps CHANGEDSINCE', () => {
    const stage = selected()
    stage.client('b UID FETCH 1:* (FLAGS BODY.PEEK[]) (CHANGEDSINCE 5 VANISHED)\r\n')
    assert.equal(
      stage.takeUpstream(),
      `VES1 UID FETCH 1:* (FLAGS BODY.PEEK[]) (CHANGEDSINCE 5 VANISHED)\r\n`.replace(/\(F.*?\) /, `${LEARN_SIZED} `),
    )
    stage.server(`* VANISHED (EARLIER) 3\r\n* 1 FETCH (UID 7 ${PLAIN_MARK} RFC822.SIZE 5 MODSEQ (6))\r\nVES1 OK\r\n`)
    assert.equal(stage.takeUpstream(), 'b UID FETCH 1:* (FLAGS BODY.PEEK[]) (CHANGEDSINCE 5)\r\n')
    assert.equal(stage.takeClient(), '* VANISHED (EARLIER) 3\r\n')
  })
})

describe('APPEND', () => {
  const sealed = (text: string): string => {
    const octets = seal(text)
    return `${octets.length}+}\r\n${octets}`
  }

  it('goes up sealed, with the exact size', () => {
    for (const chunk of [0, 1, 2, 3, 7]) {
      const stage = Stage.ready({ chunk })
      stage.client('b APPEND INBOX (\\Seen) "14-Nov-2023 10:00:00 +0000" {5}\r\n')
      assert.equal(stage.takeClient(), '+ OK\r\n')
      stage.client('hello\r\n')
      assert.equal(
        stage.takeUpstream(),
        `VES1 APPEND INBOX (\\Seen) "14-Nov-2023 10:00:00 +0000" {${sealed('hello')}\r\n`,
      )
      stage.server('* 1 EXISTS\r\nVES1 OK [APPENDUID 1 2] done\r\n')
      assert.equal(stage.takeClient(), '* 1 EXISTS\r\nb OK [APPENDUID 1 2] done\r\n')
    }
  })

  it('tells the message from a mailbox name in a literal', () => {
    const stage = Stage.ready()
    stage.client('b APPEND {5+}\r\nINBOX (\\Seen) ~{5+}\r\nhello\r\nc NOOP\r\n')
    assert.equal(stage.takeUpstream(), `VES1 APPEND {5+}\r\nINBOX (\\Seen) {${sealed('hello')}\r\n`)
    stage.server('VES1 OK\r\n')
    assert.equal(stage.takeUpstream(), 'c NOOP\r\n')
    const sync = Stage.ready({}, 'IMAP4rev1')
    sync.client('b APPEND {5+}\r\nINBOX {5+}\r\nhello\r\n')
    assert.equal(sync.takeUpstream(), 'VES1 APPEND {5}\r\n')
    sync.server('+ go\r\n')
    assert.equal(sync.takeUpstream(), `INBOX {${seal('hello').length}}\r\n`)
    sync.server('+ go\r\n')
    assert.equal(sync.takeUpstream(), `${seal('hello')}\r\n`)
    const refused = Stage.ready({}, 'IMAP4rev1')
    refused.client('b APPEND nowhere {5+}\r\nhello\r\nc NOOP\r\n')
    refused.server('VES1 NO [TRYCREATE] no such mailbox\r\n')
    assert.equal(refused.takeClient(), 'b NO [TRYCREATE] no such mailbox\r\n')
    assert.match(refused.takeUpstream(), /\}\r\nc NOOP\r\n$/)
  })

  it('seals each message of a MULTIAPPEND', () => {
    const stage = Stage.ready()
    stage.client('b APPEND INBOX {3+}\r\none () {3}\r\n')
    assert.equal(stage.takeClient(), '+ OK\r\n')
    stage.client('two\r\n')
    assert.equal(stage.takeUpstream(), `VES1 APPEND INBOX {${sealed('one')} () {${sealed('two')}\r\n`)
  })

  it('takes nothing behind the last message: it would be one that was not sealed', () => {
    const stage = Stage.ready()
    stage.client('b APPEND x {3+}\r\none CATENATE (URL "/b;UID=1")\r\nc NOOP\r\n')
    assert.equal(stage.takeUpstream(), 'c NOOP\r\n')
    assert.match(stage.takeClient(), /^b BAD /)
  })

  it('waits its turn, and for the key', () => {
    const stage = Stage.ready()
    stage.held.add('seal-key')
    stage.client('a1 NOOP\r\nb APPEND INBOX {5+}\r\nhello\r\nc NOOP\r\n')
    assert.equal(stage.takeUpstream(), 'a1 NOOP\r\n')
    stage.release()
    assert.equal(stage.takeUpstream(), '')
    stage.server('a1 OK\r\n')
    assert.match(stage.takeUpstream(), /^VES1 APPEND/)
    stage.server('VES1 OK\r\n')
    assert.equal(stage.takeUpstream(), 'c NOOP\r\n')
  })

  it('never goes up when it cannot be sealed', () => {
    const stage = Stage.ready({
      answers: {
        'seal-key': () => {
          throw new GatewayError('VES_CONNECTION')
        },
      },
    })
    stage.client('b APPEND INBOX {5+}\r\nhello\r\nc NOOP\r\n')
    assert.equal(stage.takeUpstream(), 'c NOOP\r\n')
    assert.equal(stage.takeClient(), 'b NO [UNAVAILABLE] XVES-3.2 libVES: Connection\r\n')
    stage.server('c OK\r\n')
    stage.client('d APPEND INBOX {3+}\r\none').client(' {3}\r\n')
    assert.equal(stage.takeClient(), 'c OK\r\nd NO [UNAVAILABLE] XVES-3.2 libVES: Connection\r\n')
    assert.equal(stage.takeUpstream(), '')
  })

  it('takes a large message through the file, asks before it sends the octets, and cleans up', () => {
    const message = 'x'.repeat(70_000)
    const octets = seal(message)
    const stage = Stage.ready()
    stage.client('b APPEND INBOX {70000}\r\n')
    assert.equal(stage.takeClient(), '+ OK\r\n')
    stage.client(`${message}\r\nc NOOP\r\n`)
    assert.equal(stage.takeUpstream(), `VES1 APPEND INBOX {${octets.length}}\r\n`)
    assert.equal(stage.spilled.length, octets.length)
    stage.server('+ go\r\n')
    assert.equal(stage.takeUpstream(), `${octets}\r\n`)
    stage.server('VES1 OK done\r\n')
    assert.equal(stage.takeClient(), 'b OK done\r\n')
    assert.equal(stage.takeUpstream(), 'c NOOP\r\n')
    assert.equal(stage.spilled.length, 0)
    const refused = Stage.ready()
    refused.client(`b APPEND INBOX {70000+}\r\n${message}\r\nc NOOP\r\n`)
    refused.takeUpstream()
    refused.server('VES1 NO [OVERQUOTA] full\r\n')
    assert.equal(refused.takeUpstream(), 'c NOOP\r\n')
    assert.equal(refused.takeClient(), 'b NO [OVERQUOTA] full\r\n')
  })

  it('owes the server the octets it announced, whatever the answer', () => {
    const stage = Stage.ready()
    stage.client('b APPEND INBOX {3+}\r\none {60000+}\r\n').client(`${'x'.repeat(60_000)}\r\nc NOOP\r\n`)
    stage.held.add('spill')
    assert.match(stage.takeUpstream(), /^VES1 APPEND INBOX \{\d+\+\}\r\n[\s\S]* \{\d+\}\r\n$/)
    stage.server('VES1 NO over\r\n')
    assert.equal(stage.takeUpstream(), 'c NOOP\r\n')
  })

  it('says so when there is no space for the file; nothing goes up', () => {
    const stage = Stage.ready({
      answers: {
        spill: ({ op }) => {
          if (op === 'write') throw new GatewayError('IO', { errno: 28 })
          return { bytes: null }
        },
      },
    })
    stage.client(`b APPEND INBOX {70000+}\r\n${'x'.repeat(70_000)}\r\nc NOOP\r\n`)
    assert.equal(stage.takeClient(), 'b NO [UNAVAILABLE] XVES-4.28 I/O error\r\n')
    assert.equal(stage.takeUpstream(), 'c NOOP\r\n')
  })

  it('ends the connection in the literal rather than cut a message', () => {
    let reads = 0
    const stage = Stage.ready({
      answers: {
        spill: ({ op }) => {
          if (op === 'read' && ++reads > 0) throw new GatewayError('IO', { errno: 5 })
          return { bytes: null }
        },
      },
    })
    stage.client(`b APPEND INBOX {70000+}\r\n${'x'.repeat(70_000)}\r\n`)
    stage.server('+ go\r\n')
    assert.ok(stage.hungUp)
    assert.ok(stage.ended instanceof GatewayError)
  })

  it('refuses a literal that is too large, asked or not, and stays in step', () => {
    const stage = Stage.ready()
    stage.client('b APPEND INBOX {2147483649}\r\nc NOOP\r\n')
    assert.equal(stage.takeClient(), 'b NO [LIMIT] Literal too large\r\n')
    assert.equal(stage.takeUpstream(), 'c NOOP\r\n')
    stage.client('d APPEND INBOX {3+}\r\none {2147483649}\r\ne NOOP\r\n')
    stage.server('c OK\r\n')
    assert.equal(stage.takeClient(), 'c OK\r\nd NO [LIMIT] Literal too large\r\n')
    assert.equal(stage.takeUpstream(), 'e NOOP\r\n')
    // What an attachment of 1 GiB takes in base64 fits.
    stage.server('e OK\r\n')
    stage.takeClient()
    stage.client('f APPEND INBOX {2147483648}\r\n')
    assert.match(stage.takeClient(), /^\+ /)
  })
})
