import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PROVIDER, Stage, seal } from './stage.ts'

const MARK = 'BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] {21}\r\nX-VESmail-ID: <m>\r\n\r\n'
const literal = (text: string): string => `{${text.length}}\r\n${text}`

function selected(options = {}): Stage {
  const stage = Stage.ready(options)
  stage.client('s SELECT INBOX\r\n')
  stage.server('* 4 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\ns OK [READ-WRITE] done\r\n')
  stage.takeUpstream()
  stage.takeClient()
  return stage
}

describe('sizes', () => {
  const header = 'X-VESmail-ID: <m>\r\nContent-Type: text/plain\r\n\r\n'
  const outline = `* 1 FETCH (UID 7 RFC822.SIZE 2000000 BODYSTRUCTURE ("text" "plain" NIL NIL NIL "7bit" 1999953 500) BODY[HEADER] ${literal(header)})\r\n`

  it('are read within the budget, estimated beyond it, and stay as told', () => {
    const stage = selected({ settings: { sizes: 'auto', sizeBudgetOctets: 3_000_000 } })
    stage.client('b UID FETCH 7 (BODYSTRUCTURE)\r\n')
    stage.server(`* 1 FETCH (UID 7 BODYSTRUCTURE (x) ${MARK})\r\nVES1 OK\r\n`)
    stage.takeUpstream()
    stage.server(`${outline}VES2 OK\r\n`)
    // The stand-in's outline knows no sizes: within the budget the message is read.
    assert.match(stage.takeUpstream(), /BODY\.PEEK\[\]/)
    const strict = selected({ settings: { sizes: 'auto', sizeBudgetOctets: 10_000 } })
    strict.client('b UID FETCH 7 (BODYSTRUCTURE)\r\n')
    strict.server(`* 1 FETCH (UID 7 BODYSTRUCTURE (x) ${MARK})\r\nVES1 OK\r\n`)
    strict.takeUpstream()
    strict.server(`${outline}VES2 OK\r\n`)
    assert.equal(strict.takeUpstream(), '')
    const told = strict.takeClient()
    assert.match(told, /BODYSTRUCTURE \("text" "plain" \("charset" "us-ascii"\) NIL NIL "7bit" 1999953 41666 /)
    strict.client('d UID FETCH 7 (BODYSTRUCTURE)\r\n')
    strict.takeUpstream()
    strict.server('* 1 FETCH (UID 7 BODYSTRUCTURE (y))\r\nVES3 OK\r\n')
    assert.equal(strict.takeClient(), told.replace('b OK', 'd OK'))
  })

  it('are exact on request', () => {
    const stage = selected({ settings: { sizes: 'estimate' } })
    stage.client('x XVES CALC\r\ny XVES CALC 1\r\nb UID FETCH 7 (BODYSTRUCTURE)\r\n')
    assert.equal(
      stage.takeClient(),
      '* XVES CALC 0\r\nx OK XVES CALC completed\r\n* XVES CALC 1\r\ny OK XVES CALC completed\r\n',
    )
    stage.server(`* 1 FETCH (UID 7 BODYSTRUCTURE (x) ${MARK})\r\nVES1 OK\r\n`)
    stage.takeUpstream()
    stage.server(`${outline}VES2 OK\r\n`)
    assert.match(stage.takeUpstream(), /BODY\.PEEK\[\]/)
  })

  it('turn exact for a client that asks beyond the end again and again', () => {
    const stage = selected({ settings: { sizes: 'estimate' } })
    stage.client('b UID FETCH 7 BODY.PEEK[]<0.5>\r\n')
    stage.server(
      `* 1 FETCH (UID 7 ${MARK} RFC822.SIZE 100)\r\nVES1 OK\r\n* 1 FETCH (UID 7 BODY[] ${literal(seal('Subject: x\r\n\r\nshort\r\n'))})\r\nVES2 OK\r\n* 1 FETCH (UID 7 BODY[]<0> {1}\r\nX)\r\nVES3 OK\r\n`,
    )
    for (let i = 0; i < 16; i++) {
      stage.client(`c${i} UID FETCH 7 BODY.PEEK[]<500.5>\r\n`)
      stage.server(`* 1 FETCH (UID 7 BODY[]<0> {1}\r\nX)\r\nVES${i + 4} OK\r\n`)
    }
    stage.takeClient()
    stage.client('x XVES CALC\r\n')
    assert.match(stage.takeClient(), /^\* XVES CALC 1/)
  })
})

describe('a message without its key', () => {
  it('is a short text where the profile asks for one', () => {
    const stage = selected({ imap: { ...PROVIDER, unavailable: 'placeholder' } })
    stage.client('b UID FETCH 7 (FLAGS BODY[TEXT])\r\n')
    stage.server(
      `* 1 FETCH (UID 7 ${MARK} RFC822.SIZE 100)\r\nVES1 OK\r\n* 1 FETCH (UID 7 BODY[] ${literal(seal('x', 'locked'))})\r\nVES2 OK\r\n`,
    )
    assert.match(stage.takeUpstream(), /VES3 UID FETCH 7 \(FLAGS BODY\[TEXT\]<0\.1>\)\r\n$/)
    stage.server('* 1 FETCH (UID 7 FLAGS () BODY[TEXT]<0> {1}\r\nX)\r\nVES3 OK done\r\n')
    assert.match(stage.takeClient(), /^\* 1 FETCH \(UID 7 FLAGS \(\) BODY\[TEXT\] \{131\}\r\nThis message is encrypted/)
  })
})
