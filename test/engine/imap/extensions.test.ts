/** docs/imap-extensions.md, a test for each row: what is advertised of it, what becomes of its commands and items. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { Stage, seal } from './stage.ts'

/** @param words offered by the server. @returns what of them the client is told */
function advertised(words: string): string {
  const stage = Stage.ready()
  stage.client('c CAPABILITY\r\n')
  stage.server(`* CAPABILITY IMAP4rev1 ${words}\r\nc OK\r\n`)
  return /\* CAPABILITY IMAP4rev1 ?(.*?) ?LITERAL\+ XVES\r\n/.exec(stage.takeClient())![1]!
}

/** The command never reaches the server, and what follows is understood. */
function refused(command: string): void {
  const stage = Stage.ready()
  stage.client(`r ${command}\r\nn NOOP\r\n`)
  assert.equal(stage.takeUpstream(), 'n NOOP\r\n', command)
  assert.match(stage.takeClient(), /^r BAD /, command)
}

function passes(command: string, answer = ''): void {
  const stage = Stage.ready()
  stage.client(`p ${command}\r\n`)
  assert.equal(stage.takeUpstream(), `p ${command}\r\n`)
  stage.server(`${answer}p OK done\r\n`)
  assert.equal(stage.takeClient(), `${answer}p OK done\r\n`)
}

interface Row {
  readonly name: string
  /** Capability words of the row. */
  readonly words: string
  readonly told: 'all' | 'none'
  readonly refused?: readonly string[]
  readonly passes?: readonly (readonly [string, string?])[]
}

const ROWS: readonly Row[] = [
  { name: 'COMPRESS=DEFLATE', words: 'COMPRESS=DEFLATE', told: 'none', refused: ['COMPRESS DEFLATE'] },
  {
    name: 'BINARY',
    words: 'BINARY',
    told: 'none',
    refused: ['FETCH 1 BINARY[1]', 'FETCH 1 (UID BINARY.PEEK[1]<0.3>)', 'UID FETCH 1 BINARY.SIZE[1]'],
  },
  { name: 'IMAP4rev2', words: 'IMAP4rev2', told: 'none' },
  {
    name: 'CATENATE',
    words: 'CATENATE',
    told: 'none',
    refused: ['APPEND a CATENATE (URL "/b;UID=1")', 'APPEND a CATENATE (TEXT {2+}\r\nhi)'],
  },
  {
    name: 'REPLACE',
    words: 'REPLACE',
    told: 'none',
    refused: [
      'REPLACE 4 a {5+}\r\nhello',
      'UID REPLACE 4 a ~{5+}\r\nhello',
      'REPLACE 4 a CATENATE (URL "/b;UID=1")',
      'UID REPLACE 4 a CATENATE (URL "/b;UID=1")',
    ],
  },
  { name: 'UTF8=ACCEPT', words: 'UTF8=ACCEPT UTF8=ONLY', told: 'none', refused: ['APPEND a UTF8 (~{5+}\r\nhello)'] },
  {
    name: 'CONDSTORE, QRESYNC',
    words: 'CONDSTORE QRESYNC',
    told: 'all',
    passes: [
      ['SELECT a (QRESYNC (1 2 1:3))', '* VANISHED (EARLIER) 2\r\n* 1 FETCH (UID 1 FLAGS () MODSEQ (7))\r\n'],
      ['STORE 1 (UNCHANGEDSINCE 5) +FLAGS (\\Seen)'],
      ['ENABLE CONDSTORE', '* ENABLED CONDSTORE\r\n'],
    ],
  },
  { name: 'UIDONLY', words: 'UIDONLY', told: 'none' },
  { name: 'NOTIFY', words: 'NOTIFY', told: 'none', refused: ['NOTIFY SET (SELECTED (MessageNew (RFC822.HEADER)))'] },
  { name: 'IDLE', words: 'IDLE', told: 'all' },
  {
    name: 'PREVIEW, SNIPPET',
    words: 'PREVIEW PREVIEW=FUZZY SNIPPET=FUZZY',
    told: 'none',
    refused: ['FETCH 1 PREVIEW', 'FETCH 1 (PREVIEW (LAZY))', 'FETCH 1 (SNIPPET (FUZZY))'],
  },
  {
    name: 'FUZZY, MULTISEARCH',
    words: 'SEARCH=FUZZY MULTISEARCH',
    told: 'none',
    refused: ['ESEARCH IN (mailboxes "a") SUBJECT x'],
  },
  {
    name: 'ESEARCH, SEARCHRES, CONTEXT, WITHIN, PARTIAL',
    words: 'ESEARCH SEARCHRES CONTEXT=SEARCH WITHIN PARTIAL',
    told: 'all',
    passes: [
      ['SEARCH RETURN (MIN COUNT) UNSEEN', '* ESEARCH (TAG "p") MIN 1 COUNT 6\r\n'],
      ['SEARCH RETURN (SAVE) ALL'],
      ['FETCH $ (FLAGS)', '* 1 FETCH (FLAGS ())\r\n'],
      ['UID SEARCH RETURN (PARTIAL 1:10) YOUNGER 60', '* ESEARCH (TAG "p") UID PARTIAL (1:10 1,5)\r\n'],
      ['UID FETCH 1:* (FLAGS) (PARTIAL -1:-10)', '* 1 FETCH (UID 1 FLAGS ())\r\n'],
    ],
  },
  {
    name: 'SORT, THREAD, ESORT',
    words: 'SORT SORT=DISPLAY ESORT THREAD=REFERENCES THREAD=ORDEREDSUBJECT THREAD=REFS',
    told: 'none',
    refused: [
      'SORT (SUBJECT) UTF-8 ALL',
      'UID SORT (SIZE) UTF-8 ALL',
      'THREAD REFERENCES UTF-8 ALL',
      'UID THREAD REFS UTF-8 ALL',
    ],
  },
  {
    name: 'STATUS=SIZE, QUOTA',
    words: 'STATUS=SIZE QUOTA QUOTASET QUOTA=RES-STORAGE',
    told: 'all',
    passes: [
      ['STATUS a (SIZE)', '* STATUS a (SIZE 560)\r\n'],
      ['GETQUOTAROOT INBOX', '* QUOTA "" (STORAGE 10 512)\r\n'],
    ],
  },
  {
    name: 'URLAUTH, URL-PARTIAL',
    words: 'URLAUTH URLAUTH=BINARY URL-PARTIAL',
    told: 'none',
    refused: ['GENURLAUTH "imap://x" INTERNAL', 'URLFETCH "imap://x"', 'RESETKEY'],
  },
  {
    name: 'LOGIN-REFERRALS, MAILBOX-REFERRALS, JMAPACCESS',
    words: 'LOGIN-REFERRALS MAILBOX-REFERRALS JMAPACCESS',
    told: 'none',
  },
  {
    name: 'UNAUTHENTICATE, STARTTLS and AUTH= after login',
    words: 'UNAUTHENTICATE STARTTLS AUTH=PLAIN',
    told: 'none',
    refused: ['UNAUTHENTICATE', 'STARTTLS', 'AUTHENTICATE PLAIN', 'LOGIN x y'],
  },
  {
    name: 'CONVERT, ANNOTATE',
    words: 'CONVERT ANNOTATE-EXPERIMENT-1',
    told: 'none',
    refused: [
      'CONVERT 1 ("text/plain")',
      'UID CONVERT 1 ("text/plain")',
      'CONVERSIONS "text/html" *',
      'FETCH 1 (ANNOTATION (/comment value))',
    ],
  },
  {
    name: 'OBJECTID, SAVEDATE',
    words: 'OBJECTID SAVEDATE',
    told: 'all',
    passes: [
      [
        'FETCH 1 (EMAILID THREADID SAVEDATE)',
        '* 1 FETCH (EMAILID (M1) THREADID (T1) SAVEDATE "23-Nov-2026 17:21:21 +0000")\r\n',
      ],
    ],
  },
  {
    name: 'UIDPLUS, MOVE, UNSELECT, ENABLE, ID, NAMESPACE, CHILDREN, SPECIAL-USE, LIST-EXTENDED, LIST-STATUS, LIST-METADATA, ACL, METADATA, INPROGRESS, LANGUAGE',
    words:
      'UIDPLUS MOVE UNSELECT ENABLE ID NAMESPACE CHILDREN SPECIAL-USE CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS LIST-METADATA LIST-MYRIGHTS ACL RIGHTS=texk METADATA METADATA-SERVER INPROGRESS LANGUAGE I18NLEVEL=1 I18NLEVEL=2',
    told: 'all',
    passes: [
      ['UID EXPUNGE 3:5', '* 3 EXPUNGE\r\n'],
      ['MOVE 1 Trash', '* OK [COPYUID 1 1 1] Moved\r\n* 1 EXPUNGE\r\n'],
      ['ID ("name" "x")', '* ID ("name" "Dovecot")\r\n'],
      [
        'LIST "" "*" RETURN (STATUS (MESSAGES) SPECIAL-USE)',
        '* LIST (\\Sent) "/" Sent\r\n* STATUS Sent (MESSAGES 1)\r\n',
      ],
      ['GETMETADATA "" /shared/comment', '* METADATA "" (/shared/comment {2}\r\nhi)\r\n'],
    ],
  },
  {
    name: 'MESSAGELIMIT',
    words: 'MESSAGELIMIT=1000 SAVELIMIT=1000 UIDBATCHES',
    told: 'none',
    refused: ['UIDBATCHES 2000'],
  },
  { name: 'anything else', words: 'X-NEW FANCY=1', told: 'none' },
]

describe('extensions', () => {
  for (const row of ROWS) {
    it(row.name, () => {
      assert.equal(advertised(row.words), row.told === 'all' ? row.words : '')
      for (const command of row.refused ?? []) refused(command)
      for (const [command, answer] of row.passes ?? []) passes(command, answer)
    })
  }

  it('LITERAL+, LITERAL-: our own promise; towards the server as it offers', () => {
    assert.equal(advertised('LITERAL+'), '')
    assert.equal(advertised('LITERAL-'), '')
    const minus = Stage.ready({}, 'IMAP4rev1 LITERAL-')
    minus.client('a SEARCH CC {2+}\r\nhi\r\n')
    assert.equal(minus.takeUpstream(), 'a SEARCH CC {2}\r\n')
  })

  it('APPENDLIMIT: what fits unsealed', () => {
    assert.equal(advertised('APPENDLIMIT=1408192'), 'APPENDLIMIT=1000000')
    assert.equal(advertised('APPENDLIMIT'), 'APPENDLIMIT')
  })

  it('REFERRAL is taken out of every status, tagged or not', () => {
    for (const [command, tag] of [
      ['b SELECT x', 'b'],
      ['b APPEND x {2+}\r\nab', 'VES1'],
      ['b FETCH 1 BODY[]', 'VES1'],
    ]) {
      const stage = Stage.ready()
      stage.client(`${command}\r\n`)
      stage.server(`* NO [REFERRAL imap://u@h/x] there\r\n${tag} NO [REFERRAL imap://u@h/x] Remote mailbox\r\n`)
      assert.equal(stage.takeClient(), '* NO there\r\nb NO Remote mailbox\r\n')
    }
  })

  it('MULTIAPPEND: all of the messages are sealed', () => {
    assert.equal(advertised('MULTIAPPEND'), 'MULTIAPPEND')
    const stage = Stage.ready()
    stage.client('a APPEND x {2+}\r\nab {2+}\r\ncd\r\n')
    const up = stage.takeUpstream()
    assert.ok(up.includes(seal('ab')) && up.includes(seal('cd')))
  })

  it('SASL-IR, AUTH=: our own, before login', () => {
    const stage = new Stage({ start: { tlsLevel: 'none' } })
    assert.match(stage.takeClient(), /SASL-IR ID AUTH=PLAIN AUTH=LOGIN XVES\]/)
    stage.client('a AUTHENTICATE PLAIN AGJvYkBsYWIudGVzdAB2ZXNrZXk=\r\n')
    assert.deepEqual(stage.asked.slice(0, 2), ['login', 'connect'])
    assert.equal(advertised('AUTH=SCRAM-SHA-256'), '')
  })

  it('XVES: ours, whatever the server says', () => {
    const stage = Stage.ready()
    stage.client('a XVES NOOP\r\nb XVES CALC\r\nc XVES ORDER 1\r\nd XVES OTHER\r\ne XVES NOOP 1\r\n')
    assert.match(
      stage.takeClient(),
      /^a OK XVES NOOP completed\r\n\* XVES CALC 1\r\nb OK .*\r\n\* XVES ORDER 1\r\nc OK .*\r\nd BAD .*\r\ne BAD .*\r\n$/,
    )
    assert.equal(stage.takeUpstream(), '')
  })

  it('SEARCH: what the server cannot judge goes another way', () => {
    const stage = Stage.ready()
    stage.client('a SEARCH SEEN\r\nb SEARCH TEXT x\r\n')
    assert.equal(stage.takeUpstream(), 'a SEARCH SEEN\r\n')
    stage.server('a OK\r\n')
    assert.match(stage.takeUpstream(), /^VES1 UID SEARCH OR HEADER X-VESMAIL-ID /)
  })

  it('each row of the table in docs/imap-extensions.md has a test', () => {
    const file = new URL('../../../docs/imap-extensions.md', import.meta.url)
    const own = readFileSync(new URL(import.meta.url), 'utf8')
    const rows = readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('| '))
      .slice(1)
    assert.ok(rows.length > 25)
    for (const row of rows) {
      const name = row.split(' | ')[0]!.slice(2).trim()
      assert.ok(own.includes(`'${name}'`) || own.includes(`it('${name}:`), name)
    }
  })

  it('ENABLE of what would change answers asks for nothing', () => {
    const stage = Stage.ready()
    stage.client('a ENABLE UTF8=ACCEPT IMAP4rev2 UIDONLY\r\nb ENABLE UTF8=ACCEPT QRESYNC\r\n')
    assert.equal(stage.takeUpstream(), 'a ENABLE X-VES-NOTHING\r\nb ENABLE QRESYNC\r\n')
  })

  it('untagged FLAGS and EXPUNGE while an answer waits: passed, and the answer is given', () => {
    const stage = Stage.ready()
    stage.client('a UID FETCH 8 BODY.PEEK[TEXT]\r\n')
    const mark = 'BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] {21}\r\nX-VESmail-ID: <m>\r\n\r\n'
    stage.server(`* FLAGS (\\Seen x)\r\n* 5 FETCH (UID 8 ${mark} RFC822.SIZE 90)\r\n* 1 EXPUNGE\r\nVES1 OK\r\n`)
    const sealed = seal('S: x\r\n\r\nhi')
    stage.server(
      `* 4 FETCH (UID 8 BODY[] {${sealed.length}}\r\n${sealed})\r\n* 1 EXPUNGE\r\n* FLAGS (\\Seen)\r\nVES2 OK\r\n`,
    )
    stage.server('* 3 FETCH (UID 8 BODY[TEXT]<0> {1}\r\nX)\r\nVES3 OK done\r\n')
    assert.equal(
      stage.takeClient(),
      '* FLAGS (\\Seen x)\r\n* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n* FLAGS (\\Seen)\r\n* 3 FETCH (UID 8 BODY[TEXT] {2}\r\nhi)\r\na OK done\r\n',
    )
  })
})
