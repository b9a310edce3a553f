/** Answers that are longer than anybody should ask for, and sets that name a message twice. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { Stage, seal } from './stage.ts'

const MIB = 1024 * 1024
const SEALED_MARK = 'BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] {21}\r\nX-VESmail-ID: <m>\r\n\r\n'
const PLAIN_MARK = 'BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] {2}\r\n\r\n'
const MARK = 'BODY.PEEK[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)]'
const MESSAGE = 'Subject: secret\r\n\r\nhello\r\n'
const literal = (text: string): string => `{${text.length}}\r\n${text}`

describe('a set', () => {
  it('names each message once, however often it is written', () => {
    const stage = Stage.ready()
    stage.client('b UID FETCH 7:8 BODY.PEEK[TEXT]\r\n')
    stage.server(`* 1 FETCH (UID 7 ${SEALED_MARK})\r\n* 2 FETCH (UID 8 ${PLAIN_MARK})\r\nVES1 OK\r\n`)
    stage.takeUpstream()
    stage.server(`* 1 FETCH (UID 7 BODY[] ${literal(seal(MESSAGE))})\r\nVES2 OK\r\n`)
    stage.server('* 1 FETCH (UID 7 BODY[TEXT]<0> {1}\r\nX)\r\nVES3 OK done\r\n')
    stage.takeUpstream()
    stage.server('* 2 FETCH (UID 8 BODY[TEXT] {1}\r\nX)\r\nVES4 OK done\r\n')
    stage.takeClient()
    stage.client('c UID FETCH 7,7,8:7 BODY.PEEK[TEXT]\r\n')
    assert.equal(stage.takeUpstream(), 'VES5 UID FETCH 7 (BODY.PEEK[TEXT]<0.1>)\r\n')
    stage.server('* 1 FETCH (UID 7 BODY[TEXT]<0> {1}\r\nX)\r\nVES5 OK done\r\n')
    assert.equal(stage.takeUpstream(), 'VES6 UID FETCH 8 (BODY.PEEK[TEXT])\r\n')
    stage.server('* 2 FETCH (UID 8 BODY[TEXT] {1}\r\nX)\r\nVES6 OK done\r\n')
    assert.equal(
      stage.takeClient(),
      '* 1 FETCH (UID 7 BODY[TEXT] {7}\r\nhello\r\n)\r\n* 2 FETCH (UID 8 BODY[TEXT] {1}\r\nX)\r\nc OK done\r\n',
    )
  })
})

describe('an answer too large to be held', () => {
  const header = `Subject: long\r\nX-Long: ${'x'.repeat(5 * MIB)}\r\n\r\n`

  it('of a plain message is asked for again, and passes', () => {
    const stage = Stage.ready()
    stage.client('b FETCH 1:2 (FLAGS BODY.PEEK[HEADER])\r\nz NOOP\r\n')
    assert.equal(stage.takeUpstream(), 'VES1 FETCH 1:2 (UID FLAGS BODY.PEEK[HEADER])\r\n')
    stage.server('* 1 FETCH (UID 7 FLAGS () BODY[HEADER] {4}\r\nA:\r\n)\r\n')
    stage.server(`* 2 FETCH (UID 8 FLAGS () BODY[HEADER] ${literal(header)})\r\nVES1 OK\r\n`)
    assert.equal(stage.takeUpstream(), `VES2 FETCH 2 (UID ${MARK})\r\n`)
    stage.server(`* 2 FETCH (UID 8 ${PLAIN_MARK})\r\nVES2 OK\r\n`)
    assert.equal(stage.takeUpstream(), 'VES3 FETCH 2 (FLAGS BODY.PEEK[HEADER])\r\n')
    assert.equal(stage.takeClient(), '* 1 FETCH (FLAGS () BODY[HEADER] {4}\r\nA:\r\n)\r\n')
    const answer = `* 2 FETCH (FLAGS () BODY[HEADER] ${literal(header)})\r\n`
    stage.server(`${answer}VES3 OK done\r\n`)
    assert.equal(stage.takeClient(), `${answer}b OK done\r\n`)
    assert.equal(stage.takeUpstream(), 'z NOOP\r\n')
  })

  it('of a sealed message has it read whole', () => {
    const stage = Stage.ready()
    stage.client('b FETCH 1 (ENVELOPE)\r\n')
    stage.server(`* 1 FETCH (UID 7 ENVELOPE (x) ${SEALED_MARK.replace(' MESSAGE-ID', '')})\r\nVES1 OK\r\n`)
    stage.takeUpstream()
    stage.server(
      `* 1 FETCH (UID 7 RFC822.SIZE 6000000 BODYSTRUCTURE ("text" "plain" NIL NIL NIL "7bit" 9 1) BODY[HEADER] ${literal(header)})\r\nVES2 OK\r\n`,
    )
    assert.match(stage.takeUpstream(), /^VES3 FETCH 1 \(UID BODY\.PEEK\[\]\)/)
    stage.server(`* 1 FETCH (UID 7 BODY[] ${literal(seal(MESSAGE))})\r\nVES3 OK done\r\n`)
    assert.match(stage.takeClient(), /^\* 1 FETCH \(ENVELOPE \(NIL "secret" .*\)\r\nb OK done\r\n$/)
  })

  it('that nobody asked for ends the session', () => {
    const stage = Stage.ready()
    stage.client('b FETCH 1 (BODY.PEEK[])\r\n')
    stage.server(`* 1 FETCH (UID 7 ${SEALED_MARK} RFC822.SIZE 10)\r\nVES1 OK\r\n`)
    stage.server(`* 9 FETCH (BODY[] ${literal(header)})\r\n`)
    assert.ok(stage.ended instanceof GatewayError)
  })
})

describe('a line too long to be held', () => {
  const numbers = '12 '.repeat(MIB).trim()

  it('passes where it is the client’s', () => {
    const lines = [
      `* SEARCH ${numbers}\r\n`,
      `* ESEARCH (TAG "b") ALL ${numbers.replaceAll(' ', ',')}\r\n`,
      `* VANISHED (EARLIER) ${numbers.replaceAll(' ', ',')}\r\n`,
      `* 1 FETCH (FLAGS () INTERNALDATE "${'x'.repeat(2 * MIB)}")\r\n`,
      `* XLIST ${numbers}\r\n`,
    ]
    for (const line of lines) {
      const stage = Stage.ready({ chunk: 65_536 })
      stage.client('b FETCH 1 (FLAGS INTERNALDATE)\r\n')
      stage.server(`${line}b OK done\r\n`)
      assert.ok(stage.takeClient() === `${line}b OK done\r\n`, line.slice(0, 30))
    }
  })

  it('ends the session where we have to understand it', () => {
    for (const line of [`* 1 FETCH (UID 7 ENVELOPE ("${'x'.repeat(2 * MIB)}"`, `* VANISHED 1${',2'.repeat(MIB)}`]) {
      const stage = Stage.ready({ chunk: 65_536 })
      stage.client('b FETCH 1 (ENVELOPE)\r\n')
      stage.server(line)
      assert.match(stage.takeClient(), /^\* BYE XVES-20 /)
    }
  })
})
