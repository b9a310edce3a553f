/**
 * Whatever a server says in between, whenever keys come, however the stream is cut: each message is answered once, with
 * its own content and its right number; everything unasked arrives, in order; nothing of the ciphertext does.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Cursor } from '../../../src/engine/imap/cursor.ts'
import { parseFetchItems } from '../../../src/engine/imap/fetch-items.ts'
import { fetchAnswer, type Message, ModelServer } from './model-server.ts'
import { SETTINGS, Stage, seal } from './stage.ts'

const ITEMS = [
  '(UID BODY.PEEK[])',
  '(UID FLAGS BODY[TEXT])',
  '(UID ENVELOPE)',
  '(FLAGS UID BODY.PEEK[HEADER])',
  '(UID RFC822.SIZE BODY.PEEK[]<3.10>)',
  '(UID FLAGS)',
]

const scenario = fc.record({
  sealed: fc.array(fc.boolean(), { minLength: 1, maxLength: 7 }),
  commands: fc.array(fc.record({ uid: fc.boolean(), set: fc.nat(), items: fc.nat(ITEMS.length - 1) }), {
    minLength: 1,
    maxLength: 5,
  }),
  /** For each response of the server: what slips in before it. */
  news: fc.array(fc.nat(9), { maxLength: 60 }),
  chunk: fc.constantFrom(0, 1, 5, 64),
  holdKeys: fc.array(fc.boolean(), { maxLength: 20 }),
})

describe('interleavings', () => {
  it('answer each message once, truly, and lose nothing', () => {
    fc.assert(
      fc.property(scenario, (given) => {
        const plain = new Map<number, Message>()
        const messages = given.sealed.map((isSealed, i): Message => {
          const uid = 10 + i * 3
          const octets = Buffer.from(`Subject: number ${uid}\r\n\r\ncontent of ${uid}\r\n`)
          plain.set(uid, { uid, octets, flags: '' })
          return {
            uid,
            octets: isSealed ? Buffer.from(seal(octets.toString('latin1'), `id${uid}`)) : octets,
            flags: '',
          }
        })
        const told: string[] = []
        const news = [...given.news]
        const server: ModelServer = new ModelServer([...messages], (mayExpunge) => {
          const n = news.shift() ?? 0
          const count = server.messages.length
          let line = ''
          if (n === 1) line = `* FLAGS (\\Seen k${news.length})\r\n`
          else if (n === 2) line = `* OK [ALERT] number ${news.length} {5}\r\n`
          else if (n === 3 && count > 0) {
            const message = server.messages[news.length % count]!
            message.flags = `\\Flag${news.length}`
            const number = server.messages.indexOf(message) + 1
            line = `* ${number} FETCH (UID ${message.uid} FLAGS (${message.flags}))\r\n`
          } else if (n === 4 && mayExpunge && count > 0) line = server.expunge((news.length % count) + 1)
          if (line !== '') told.push(line)
          return line
        })
        const stage = Stage.ready({ chunk: given.chunk, settings: { ...SETTINGS, sizes: 'exact' } })
        stage.client('s SELECT INBOX\r\n')
        stage.server('* OK [UIDVALIDITY 9] x\r\ns OK done\r\n')
        stage.takeUpstream()
        stage.takeClient()
        const uids = messages.map(({ uid }) => uid)
        const sent = given.commands.map(({ uid, set, items }, i) => {
          const low = 1 + (set % uids.length)
          const text = set % 3 === 0 ? `${uid ? uids[low - 1] : low}` : `${uid ? uids[low - 1] : low}:*`
          const asked = { uid, first: uid ? uids[low - 1]! : low, open: set % 3 !== 0 }
          return {
            asked,
            tag: `c${i}`,
            line: `c${i} ${uid ? 'UID ' : ''}FETCH ${text} ${ITEMS[items]}\r\n`,
            items: ITEMS[items]!,
          }
        })
        stage.client(sent.map(({ line }) => line).join(''))
        const out = stage.converse((line) => server.answer(line), given.holdKeys)
        check(out, told, sent, plain, uids)
      }),
      { numRuns: 400 },
    )
  })
})

interface Sent {
  readonly tag: string
  readonly items: string
  /** A UID or sequence number, and all behind it where `open`. */
  readonly asked: { readonly uid: boolean; readonly first: number; readonly open: boolean }
}

function check(
  out: string,
  told: readonly string[],
  sent: readonly Sent[],
  plain: ReadonlyMap<number, Message>,
  uids: number[],
): void {
  assert.ok(!out.includes('X-VESmail-ID'), 'ciphertext reached the client')
  const numbers = [...uids]
  const pending = [...told]
  const commands = [...sent]
  let answered = new Set<number>()
  let at = 0
  while (at < out.length) {
    const line = out.slice(at, out.indexOf('\r\n', at) + 2)
    if (line === pending[0]) {
      pending.shift()
      const expunged = /^\* (\d+) EXPUNGE/.exec(line)
      if (expunged !== null) numbers.splice(Number(expunged[1]) - 1, 1)
      at += line.length
      continue
    }
    const command = commands[0]
    assert.ok(command !== undefined, `unexpected: ${line}`)
    if (line.startsWith(`${command.tag} `)) {
      assert.equal(line, `${command.tag} OK ${line.includes('UID') ? 'UID FETCH' : 'FETCH'} done\r\n`)
      const { uid: byUid, first, open } = command.asked
      numbers.forEach((uid, i) => {
        const number = byUid ? uid : i + 1
        const wanted = open ? number >= first : number === first
        assert.equal(answered.has(uid), wanted, `UID ${uid} of ${command.tag}`)
      })
      commands.shift()
      answered = new Set()
      at += line.length
      continue
    }
    const number = Number(/^\* (\d+) FETCH /.exec(line)?.[1])
    const uid = numbers[number - 1]
    assert.ok(uid !== undefined, `no message ${number}: ${line}`)
    assert.ok(!answered.has(uid), `answered twice: ${line}`)
    answered.add(uid)
    const items = parseFetchItems(new Cursor(Buffer.from(command.items)))
    const uidFetch = line.startsWith(`* ${number} FETCH (UID`)
    const flags = / FLAGS \(([^)]*)\)|\(FLAGS \(([^)]*)\)/.exec(line)
    const expected = fetchAnswer(number, { ...plain.get(uid)!, flags: flags?.[1] ?? flags?.[2] ?? '' }, items, uidFetch)
    assert.equal(out.slice(at, at + expected.length), expected)
    at += expected.length
  }
  assert.deepEqual(pending, [], 'unasked responses that did not arrive')
  assert.deepEqual(commands, [], 'commands without an answer')
}
