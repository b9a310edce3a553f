/**
 * Whatever a server says in between, whenever keys come, however the stream is cut: each message is answered once, in the
 * server's order, with its own content and its right number; everything unasked arrives, in order, and what the client
 * knows of flags in the end is how they are; nothing of the ciphertext arrives.
 */
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { checkView } from './client-view.ts'
import { type Message, ModelServer } from './model-server.ts'
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
        checkView(out, { told, sent, plain, uids, ordered: true, now: server.messages })
      }),
      { numRuns: 400 },
    )
  })
})
