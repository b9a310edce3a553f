/**
 * Several sealed messages are asked for at once, and each asks as many questions as it needs: their literals come in the
 * order of the questions, not of the messages. Each must go to its own.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { Stage, seal } from './stage.ts'

const MARK = 'BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] {21}\r\nX-VESmail-ID: <m>\r\n\r\n'
const literal = (text: string): string => `{${text.length}}\r\n${text}`

type Form = 'FETCH' | 'UID FETCH'
/** Where the server's answers tell the UID that every answer to a UID FETCH has. */
type UidAt = 'front' | 'end'

/** A server that answers in the order of the commands, line by line; the gateway's next questions come in between. */
class Server {
  readonly #stage: Stage
  readonly #form: Form
  readonly #uidAt: UidAt
  /** Message number n at n - 1; UID is 10 n. */
  readonly #messages: readonly string[]
  /** The last lines. */
  readonly lines: string[] = []

  constructor(stage: Stage, messages: readonly string[], form: Form = 'FETCH', uidAt: UidAt = 'front') {
    this.#stage = stage
    this.#messages = messages
    this.#form = form
    this.#uidAt = uidAt
    stage.client('s SELECT INBOX\r\n')
    stage.server('* OK [UIDVALIDITY 9] x\r\ns OK done\r\n')
    stage.takeUpstream()
    stage.takeClient()
  }

  /** @returns what the client gets */
  ask(items: string): string {
    const set = this.#messages.map((_, i) => this.#name(i + 1)).join(',')
    this.#stage.client(`b ${this.#form} ${set} ${items}\r\n`)
    for (;;) {
      this.lines.push(...this.#stage.takeUpstream().split('\r\n').slice(0, -1))
      const line = this.lines.shift()
      if (line === undefined) return this.#stage.takeClient()
      this.#stage.server(this.#answer(line))
    }
  }

  #name(number: number): number {
    return this.#form === 'UID FETCH' ? number * 10 : number
  }

  #answer(line: string): string {
    const [, tag, set = '', items = ''] = /^(\S+) (?:UID )?FETCH (\S+) \((.*)\)$/.exec(line)!
    let out = ''
    for (const [i, message] of this.#messages.entries()) {
      const number = i + 1
      if (!set.split(',').includes(`${this.#name(number)}`) && set !== `${this.#name(1)}:*`) continue
      const withUid = this.#form === 'UID FETCH' || /^UID | UID /.test(items)
      const values = [...this.#values(items, message), ...(withUid ? [`UID ${number * 10}`] : [])]
      if (this.#uidAt === 'front' && withUid) values.unshift(values.pop()!)
      out += `* ${number} FETCH (${values.join(' ')})\r\n`
    }
    return `${out}${tag} OK done\r\n`
  }

  #values(items: string, message: string): string[] {
    const large = message.length > 40_000
    const values: string[] = []
    if (items.includes('RFC822.SIZE')) values.push(`RFC822.SIZE ${seal(message).length}`)
    if (items.includes('BODYSTRUCTURE')) {
      const leaf = `("text" "plain" NIL NIL NIL "7bit" ${message.length} 1)`
      values.push(`BODYSTRUCTURE ${large ? `(${leaf}${leaf} "mixed" ("boundary" "b"))` : leaf}`)
    }
    if (items.includes('BODY.PEEK[HEADER.FIELDS')) values.push(MARK)
    if (items.includes('BODY.PEEK[HEADER]')) values.push(`BODY[HEADER] ${literal('X-VESmail-ID: <m>\r\n\r\n')}`)
    // It forgets the second part's header: then the outline does not do, and the message must be read.
    if (items.includes('BODY.PEEK[1.MIME]')) values.push(`BODY[1.MIME] ${literal('X: y\r\n\r\n')}`)
    if (/BODY\.PEEK\[\](?!<)/.test(items)) values.push(`BODY[] ${literal(seal(message))}`)
    if (/BODY\.PEEK\[\]</.test(items)) values.push(`BODY[]<0> ${literal('X')}`)
    return values
  }
}

const FORMS: readonly (readonly [Form, UidAt])[] = [
  ['FETCH', 'front'],
  ['FETCH', 'end'],
  ['UID FETCH', 'front'],
  ['UID FETCH', 'end'],
]

function message(number: number, octets: number): string {
  return `Subject: number ${number}\r\n\r\n${`${number}`.repeat(octets - 2)}\r\n`
}

describe('whose answer it is', () => {
  for (const [form, uidAt] of FORMS) {
    it(`${form}, UID at the ${uidAt}: a message read late does not take the body of one read before`, () => {
      const messages = [message(1, 50_000), message(2, 222), message(3, 45_000), message(4, 444), message(5, 555)]
      const server = new Server(Stage.ready({ settings: { maxbufOctets: 1024 * 1024 } }), messages, form, uidAt)
      const bodies = [...server.ask('(UID BODYSTRUCTURE)').matchAll(/^\* (\d+) FETCH .*"7bit" (\d+) 1 NIL/gm)]
      assert.deepEqual(
        bodies.map(([, number, octets]) => [Number(number), Number(octets)]),
        [
          [1, 50_000],
          [2, 222],
          [3, 45_000],
          [4, 444],
          [5, 555],
        ],
      )
      // And what was kept of them is their own.
      assert.equal(server.ask('(UID BODY.PEEK[])'), whole(messages, uidAt))
    })

    it(`${form}, UID at the ${uidAt}: a large message on its way does not take the body of the next`, () => {
      const messages = [message(1, 100), message(2, 5000), message(3, 300), message(4, 4000), message(5, 3000)]
      const stage = Stage.ready({ settings: { maxbufOctets: 2000 } })
      assert.equal(new Server(stage, messages, form, uidAt).ask('(UID BODY.PEEK[])'), whole(messages, uidAt))
    })
  }

  it('a server that answers out of order and tells UIDs last costs the session, never the content', () => {
    const stage = Stage.ready()
    new Server(stage, [message(1, 100), message(2, 200)], 'UID FETCH').ask('(UID FLAGS)')
    stage.client('b UID FETCH 10,20 (BODY.PEEK[])\r\n')
    stage.server(`* 1 FETCH (UID 10 ${MARK})\r\n* 2 FETCH (UID 20 ${MARK})\r\nVES1 OK done\r\n`)
    assert.match(stage.takeUpstream(), /UID FETCH 10 \(UID BODY\.PEEK\[\]\)[\s\S]*UID FETCH 20 \(UID BODY\.PEEK\[\]\)/)
    stage.server(`* 2 FETCH (BODY[] ${literal(seal(message(2, 200)))} UID 20)\r\n`)
    assert.match(stage.takeClient(), /^\* BYE XVES-20 [^\n]*\n$/)
    assert.ok(stage.ended instanceof GatewayError)
  })
})

function whole(messages: readonly string[], uidAt: UidAt): string {
  const answers = messages.map((text, i) => {
    const values = [`UID ${(i + 1) * 10}`, `BODY[] ${literal(text)}`]
    return `* ${i + 1} FETCH (${(uidAt === 'front' ? values : values.reverse()).join(' ')})\r\n`
  })
  return `${answers.join('')}b OK done\r\n`
}
