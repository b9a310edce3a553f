/** What the C gateway does wrong, as imap.md and imap-extensions.md name it: a test for each, by what its client would see. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { Stage, seal } from './stage.ts'

const MARK = 'BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] {21}\r\nX-VESmail-ID: <m>\r\n\r\n'
const MESSAGE = 'Subject: secret\r\n\r\nhello world\r\n'
const literal = (text: string): string => `{${text.length}}\r\n${text}`

/** One sealed message, `items` of which were asked and which is there to be answered. */
function asked(items: string): Stage {
  const stage = Stage.ready()
  stage.client(`s SELECT INBOX\r\nb UID FETCH 8 (${items})\r\n`)
  stage.server('* OK [UIDVALIDITY 9] x\r\ns OK done\r\n')
  stage.server(`* 5 FETCH (UID 8 ${MARK} RFC822.SIZE 90)\r\nVES1 OK\r\n`)
  stage.takeClient()
  return stage
}

const CONTENT = `* 5 FETCH (UID 8 BODY[] ${literal(seal(MESSAGE))})\r\nVES2 OK\r\n`

describe('a defect of the C gateway is none of ours', () => {
  it('STARTTLS injection: what was sent in plain behind STARTTLS is never a command', () => {
    const stage = new Stage()
    stage.takeClient()
    stage.client('1 STARTTLS\r\n2 LOGIN bob@lab.test veskey\r\n')
    assert.ok(stage.ended instanceof GatewayError)
    assert.deepEqual(stage.asked, [])
  })

  it('octets of a literal8 are not run as commands', () => {
    const stage = Stage.ready()
    stage.client(
      'a APPEND INBOX ~{24+}\r\nx DELETE INBOX\r\ny NOOP \r\n\r\nb APPEND INBOX UTF8 (~{15+}\r\nx DELETE INBOX)\r\nc NOOP\r\n',
    )
    const up = stage.takeUpstream()
    assert.doesNotMatch(up, /DELETE/)
    stage.server('VES1 OK\r\n')
    assert.equal(stage.takeUpstream(), 'c NOOP\r\n')
  })

  it('REPLACE does not carry a message to the server in plain', () => {
    for (const command of ['REPLACE 4 INBOX', 'UID REPLACE 4 {5+}\r\nINBOX']) {
      const stage = Stage.ready()
      stage.client(`a ${command} {6+}\r\nsecret\r\nb NOOP\r\n`)
      assert.equal(stage.takeUpstream(), 'b NOOP\r\n')
      assert.match(stage.takeClient(), /^a BAD /)
    }
  })

  it('a mailbox name in a literal is not taken for the message', () => {
    const stage = Stage.ready()
    stage.client('a APPEND {6+}\r\nDrafts {6+}\r\nsecret\r\n')
    const up = stage.takeUpstream()
    assert.match(up, /^VES1 APPEND \{6\+\}\r\nDrafts \{\d+\+\}\r\nX-VESmail-ID: /)
    assert.doesNotMatch(up, /secret/)
  })

  it('CATENATE neither hangs nor goes up in plain', () => {
    for (const parts of ['(TEXT {6+}\r\nsecret)', '(URL "/INBOX;UID=1" TEXT {6+}\r\nsecret)', '(URL "/INBOX;UID=1")']) {
      const stage = Stage.ready()
      stage.client(`a APPEND INBOX CATENATE ${parts}\r\nb NOOP\r\n`)
      assert.equal(stage.takeUpstream(), 'b NOOP\r\n', parts)
      assert.match(stage.takeClient(), /^a BAD /)
    }
  })

  it('VANISHED without EXPUNGE does not open a message with another one’s key', () => {
    const stage = asked('BODY.PEEK[TEXT]')
    stage.server(`${CONTENT}* 5 FETCH (UID 8 BODY[TEXT]<0> {1}\r\nX)\r\nVES3 OK\r\n`)
    stage.takeClient()
    stage.takeUpstream()
    // UID 9 is now message 5, and nothing is known of it.
    stage.client('c NOOP\r\n')
    stage.server('* VANISHED 8\r\nc OK\r\n')
    stage.takeUpstream()
    stage.client('d FETCH 5 BODY.PEEK[TEXT]\r\n')
    assert.match(stage.takeUpstream(), /^VES4 FETCH 5 \(UID BODY\.PEEK\[HEADER\.FIELDS/)
    stage.server('* 5 FETCH (UID 9 BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] {2}\r\n\r\n)\r\nVES4 OK\r\n')
    assert.equal(stage.takeUpstream(), 'd FETCH 5 BODY.PEEK[TEXT]\r\n')
  })

  it('FLAGS and EXPUNGE in between do not drop an answer', () => {
    const stage = asked('BODY.PEEK[TEXT]')
    const news = '* FLAGS (\\Seen new)\r\n* 2 EXPUNGE\r\n* 7 EXISTS\r\n'
    stage.server(`${news}${CONTENT}* 4 FETCH (UID 8 BODY[TEXT]<0> {1}\r\nX)\r\nVES3 OK done\r\n`)
    assert.equal(
      stage.takeClient(),
      `${news}* 4 FETCH (UID 8 BODY[TEXT] ${literal('hello world\r\n')})\r\nb OK done\r\n`,
    )
  })

  it('a range is not padded, and an empty one beyond the end keeps its origin', () => {
    for (const [range, answer] of [
      ['<6.500>', '<6> {7}\r\nworld\r\n'],
      ['<13.5>', '<13> {0}\r\n'],
      ['<5000.393216>', '<5000> {0}\r\n'],
    ]) {
      const stage = asked(`BODY.PEEK[TEXT]${range}`)
      stage.server(`${CONTENT}* 5 FETCH (UID 8 BODY[TEXT]<0> {1}\r\nX)\r\nVES3 OK done\r\n`)
      assert.equal(stage.takeClient(), `* 5 FETCH (UID 8 BODY[TEXT]${answer})\r\nb OK done\r\n`)
    }
  })

  it('free text that ends in {5} announces nothing, wherever it stands', () => {
    const stage = asked('BODY.PEEK[TEXT]')
    const texts = '* OK [ALERT] mind the {5}\r\n* NO quota {17}\r\n* BAD what {5}\r\n'
    stage.server(`${texts}${CONTENT.replace('VES2 OK', 'VES2 OK done {5}')}`)
    stage.server('* 5 FETCH (UID 8 BODY[TEXT]<0> {1}\r\nX)\r\nVES3 OK done {5}\r\n')
    assert.equal(
      stage.takeClient(),
      `${texts}* 5 FETCH (UID 8 BODY[TEXT] ${literal('hello world\r\n')})\r\nb OK done {5}\r\n`,
    )
    stage.client('i IDLE\r\n')
    stage.server('+ idling {5}\r\n* 6 EXISTS\r\n')
    stage.client('DONE\r\n')
    stage.server('i OK idle {5}\r\n* BYE bye {5}\r\n')
    assert.equal(stage.takeClient(), '+ idling {5}\r\n* 6 EXISTS\r\ni OK idle {5}\r\n* BYE bye {5}\r\n')
  })
})
