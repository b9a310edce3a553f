/**
 * Several mailboxes with the same UIDs and other messages, selected and examined in any order, all pipelined; messages
 * go by EXPUNGE or by VANISHED, anything is told in between: each answer is of the right message in the right mailbox.
 */
import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import { Cursor } from '../../../src/engine/imap/cursor.ts'
import { parseFetchItems } from '../../../src/engine/imap/fetch-items.ts'
import { fetchAnswer, type Message, ModelServer } from './model-server.ts'
import { Stage, seal } from './stage.ts'

const NAMES = ['INBOX', 'Archive', 'Sent']
const ITEMS = [
  '(UID BODY.PEEK[])',
  '(UID ENVELOPE)',
  '(UID BODY.PEEK[TEXT]<2.9>)',
  '(UID RFC822.SIZE BODY.PEEK[HEADER])',
]

const scenario = fc.record({
  /** By mailbox: which of its messages are sealed. */
  boxes: fc.array(fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }), { minLength: 3, maxLength: 3 }),
  steps: fc.array(
    fc.oneof(
      fc.record({ do: fc.constantFrom('SELECT' as const, 'EXAMINE' as const), box: fc.nat(3) }),
      fc.record({ do: fc.constantFrom('FETCH' as const, 'UID FETCH' as const), set: fc.nat(6), items: fc.nat(3) }),
      fc.record({ do: fc.constantFrom('NOOP' as const, 'SEARCH ALL' as const, 'CLOSE' as const) }),
    ),
    { minLength: 2, maxLength: 14 },
  ),
  news: fc.array(fc.nat(6), { maxLength: 60 }),
  vanishes: fc.boolean(),
  chunk: fc.constantFrom(0, 3, 50),
  holdKeys: fc.array(fc.boolean(), { maxLength: 20 }),
})

it('several mailboxes, pipelined: every answer is of the right message', () => {
  fc.assert(
    fc.property(scenario, (given) => {
      const plain = new Map<string, Message>()
      const news = [...given.news]
      const told: string[] = []
      const server: ModelServer = new ModelServer([], (mayExpunge) => {
        const n = news.shift() ?? 0
        const count = server.messages.length
        let line = ''
        if (n === 1) line = `* OK [ALERT] number ${news.length} {9}\r\n`
        else if (n === 2) line = `* FLAGS (k${news.length})\r\n`
        else if (n === 3 && mayExpunge && count > 0) line = server.expunge((news.length % count) + 1)
        if (line !== '') told.push(line)
        return line
      })
      server.vanishes = given.vanishes
      for (const [b, sealed] of given.boxes.entries()) {
        const messages = sealed.map((isSealed, i): Message => {
          const uid = 10 + i
          const octets = Buffer.from(`Subject: ${NAMES[b]} ${uid}\r\n\r\ncontent of ${uid} in ${NAMES[b]}\r\n`)
          plain.set(`${NAMES[b]} ${uid}`, { uid, octets, flags: '' })
          return {
            uid,
            octets: isSealed ? Buffer.from(seal(octets.toString('latin1'), `id${b}.${uid}`)) : octets,
            flags: '',
          }
        })
        server.mailboxes.set(NAMES[b]!, { messages, uidValidity: 100 + b })
      }
      const stage = Stage.ready({ chunk: given.chunk })
      const sent = given.steps.map((step, i) => {
        if ('box' in step)
          return { tag: `t${i}`, line: `${step.do} ${NAMES[step.box] ?? 'Nowhere'}`, select: NAMES[step.box] ?? null }
        if ('set' in step) {
          const number = step.do === 'FETCH' ? 1 + step.set : 10 + step.set
          const set = step.set % 2 === 0 ? `${number}:*` : `${number}`
          return { tag: `t${i}`, line: `${step.do} ${set} ${ITEMS[step.items]}`, items: ITEMS[step.items]! }
        }
        return { tag: `t${i}`, line: step.do }
      })
      stage.client(sent.map(({ tag, line }) => `${tag} ${line}\r\n`).join(''))
      const out = stage.converse((line) => server.answer(line), given.holdKeys)
      assert.equal(stage.ended, null)
      check(out, sent, plain, told)
    }),
    { numRuns: 300 },
  )
})

interface Sent {
  readonly tag: string
  readonly line: string
  readonly select?: string | null
  readonly items?: string
}

function check(out: string, sent: readonly Sent[], plain: ReadonlyMap<string, Message>, told: readonly string[]): void {
  assert.ok(!out.includes('X-VESmail-ID'), 'ciphertext reached the client')
  const pending = [...told]
  const commands = [...sent]
  let box: string | null = null
  let at = 0
  while (at < out.length) {
    const line = out.slice(at, out.indexOf('\r\n', at) + 2)
    const command = commands[0]
    assert.ok(command !== undefined, `unexpected: ${line}`)
    if (line.startsWith('* ') && / EXISTS\r\n$/.test(line)) box = command.select ?? null
    if (line === pending[0]) pending.shift()
    else if (line.startsWith(`${command.tag} `)) {
      commands.shift()
      if (command.select !== undefined && / NO /.test(line)) box = null
    } else if (/^\* \d+ FETCH /.test(line)) {
      const uid = Number(/UID (\d+)/.exec(line)?.[1])
      const message = plain.get(`${box} ${uid}`)
      assert.ok(message !== undefined, `${line} in ${box}`)
      const number = Number(line.split(' ')[1])
      const expected = fetchAnswer(number, message, parseFetchItems(new Cursor(Buffer.from(command.items!))), true)
      assert.equal(out.slice(at, at + expected.length), expected)
      at += expected.length
      continue
    }
    at += line.length
  }
  assert.deepEqual(pending, [], 'unasked responses that did not arrive')
  assert.deepEqual(commands, [], 'commands without an answer')
}
