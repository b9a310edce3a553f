/**
 * Answers without bodies keep the server's order, though sealed messages need more of the server and a key, and what waits
 * meanwhile is bounded. Clients rely on it: Thunderbird makes ranges of the UIDs as they come, and of a list without order
 * ranges that overlap.
 */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../../src/base/errors.ts'
import { ClientOutput } from '../../../src/engine/imap/client-output.ts'
import { checkView, type Sent } from './client-view.ts'
import { fetchAnswer, type Message, ModelServer } from './model-server.ts'
import { Stage, seal } from './stage.ts'

const ITEMS = [
  '(UID ENVELOPE)',
  '(UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (Subject Message-ID)])',
  '(FLAGS UID RFC822.HEADER)',
  '(UID BODY.PEEK[HEADER]<5.20> BODYSTRUCTURE)',
]
/** What may wait (`Relay`), as these stages have it. */
const HELD_OCTETS = 64 * 1024

interface Mailbox {
  readonly plain: ReadonlyMap<number, Message>
  readonly messages: Message[]
}

/** @param kinds of each message: sealed, and octets of its header */
function mailboxOf(kinds: readonly { readonly sealed: boolean; readonly octets: number }[], id = 'id'): Mailbox {
  const plain = new Map<number, Message>()
  const messages = kinds.map(({ sealed, octets }, i): Message => {
    const uid = 10 + i * 3
    const text = `Subject: number ${uid}\r\nX-Long: ${'x'.repeat(octets)}\r\n\r\ncontent of ${uid}\r\n`
    plain.set(uid, { uid, octets: Buffer.from(text), flags: '' })
    return { uid, octets: Buffer.from(sealed ? seal(text, `${id}${uid}`) : text), flags: '' }
  })
  return { plain, messages }
}

function selected(options = {}): Stage {
  const stage = Stage.ready({ settings: { maxbufOctets: HELD_OCTETS, sizes: 'exact' }, ...options })
  stage.client('s SELECT INBOX\r\n')
  stage.server('* OK [UIDVALIDITY 9] x\r\ns OK done\r\n')
  stage.takeUpstream()
  stage.takeClient()
  return stage
}

function whole(tag: string, uid: boolean, items: string): Sent {
  return { tag, items, asked: { uid, first: 1, open: true } }
}

const scenario = fc.record({
  kinds: fc.array(fc.record({ sealed: fc.boolean(), octets: fc.constantFrom(1, 1, 8000) }), {
    minLength: 1,
    maxLength: 20,
  }),
  commands: fc.array(fc.record({ uid: fc.boolean(), items: fc.nat(ITEMS.length - 1) }), { minLength: 1, maxLength: 3 }),
  news: fc.array(fc.nat(9), { maxLength: 60 }),
  chunk: fc.constantFrom(0, 0, 7, 4096),
  holdKeys: fc.array(fc.boolean(), { maxLength: 30 }),
  /** The server says more than may wait. */
  longNews: fc.boolean(),
  vanishes: fc.boolean(),
})

/** All messages are asked for, and come as they are, in the server's order. @returns what the server was asked */
function checkFetch(
  items: string,
  server: ModelServer,
  plain: Parameters<typeof checkView>[1]['plain'],
  now: Parameters<typeof checkView>[1]['now'],
): readonly string[] {
  const stage = selected()
  stage.client(`c UID FETCH 1:* ${items}\r\n`)
  const asked: string[] = []
  const out = stage.converse((line) => {
    asked.push(line)
    return server.answer(line)
  }, [])
  const sent = [whole('c', true, items)]
  checkView(out, { told: [], sent, plain, uids: [...plain.keys()], ordered: true, now })
  return asked
}

describe('answers without bodies', () => {
  it('come in the server’s order, whatever it says between them and whenever keys come', () => {
    fc.assert(
      fc.property(scenario, (given) => {
        const { plain, messages } = mailboxOf(given.kinds)
        const uids = messages.map(({ uid }) => uid)
        const told: string[] = []
        const news = [...given.news]
        const server: ModelServer = new ModelServer([...messages], (mayExpunge) => {
          const n = news.shift() ?? 0
          const count = server.messages.length
          let line = ''
          if (n === 1) line = `* FLAGS (${given.longNews ? 'k'.repeat(50_000) : ''}${news.length})\r\n`
          else if (n === 2 || n === 3) {
            const message = server.messages[news.length % count]
            if (message === undefined) return ''
            message.flags = `\\Flag${news.length}`
            const number = server.messages.indexOf(message) + 1
            line = `* ${number} FETCH (UID ${message.uid} FLAGS (${message.flags}))\r\n`
          } else if (n === 4 && mayExpunge && count > 0) line = server.expunge((news.length % count) + 1)
          if (line !== '') told.push(line)
          return line
        })
        server.vanishes = given.vanishes
        const stage = selected({ chunk: given.chunk })
        const sent = given.commands.map(({ uid, items }, i) => whole(`c${i}`, uid, ITEMS[items]!))
        for (const { tag, asked, items } of sent)
          stage.client(`${tag} ${asked.uid ? 'UID ' : ''}FETCH 1:* ${items}\r\n`)
        const out = stage.converse((line) => server.answer(line), given.holdKeys)
        checkView(out, { told, sent, plain, uids, ordered: !given.longNews, now: server.messages })
      }),
      { numRuns: 300 },
    )
  })

  for (const uid of [false, true]) {
    it(`are held within a bound, and asked for again beyond it, ${uid ? 'by UID' : 'by number'}`, () => {
      const kinds = Array.from({ length: 400 }, (_, i) => ({ sealed: i % 7 === 2, octets: 1000 }))
      const { plain, messages } = mailboxOf(kinds)
      const server = new ModelServer([...messages], () => '')
      const stage = selected()
      const items = '(UID BODY.PEEK[HEADER])'
      stage.client(`c ${uid ? 'UID ' : ''}FETCH 1:* ${items}\r\n`)
      let most = 0
      let given = 0
      let asked = 0
      const out = stage.converse((line) => {
        const answer = server.answer(line)
        // Of more than one.
        if (/FETCH \S*[:,]/.test(line)) {
          asked++
          // All that came and is not given, of those it was last asked for: never more than may be held, and one read.
          given = 0
        }
        given += answer.length
        most = Math.max(most, given)
        return answer
      }, [])
      checkView(out, {
        told: [],
        sent: [whole('c', uid, items)],
        plain,
        uids: [...plain.keys()],
        ordered: true,
        now: [],
      })
      assert.ok(asked > 3 && asked < 20, `${asked} questions`)
      // The whole mailbox once, each message once more at most, and the sealed ones' headers.
      const total = messages.reduce((sum, { octets }) => sum + octets.length, 0)
      assert.ok(server.sentOctets < 3 * total, `${server.sentOctets} octets for ${total}`)
    })
  }

  it('are in order though less can be held of those that are asked for again', () => {
    const kinds = Array.from({ length: 300 }, (_, i) => ({ sealed: i % 7 === 2, octets: i < 40 ? 300 : 20 * i }))
    const { plain, messages } = mailboxOf(kinds)
    const server = new ModelServer([...messages], () => '')
    checkFetch('(UID BODY.PEEK[HEADER])', server, plain, [])
  })

  it('of plain messages behind a sealed one are asked for again in few questions', () => {
    const kinds = Array.from({ length: 1200 }, (_, i) => ({ sealed: i === 1, octets: 700 }))
    const { plain, messages } = mailboxOf(kinds)
    const server = new ModelServer([...messages], () => '')
    const asked = checkFetch('(UID BODY.PEEK[HEADER])', server, plain, [])
    assert.ok(asked.length < 15 && asked.every((line) => line.length < 8192), `${asked.length} questions`)
  })

  it('of sealed ones with long attributes wait within the bound, too', () => {
    const { plain, messages } = mailboxOf(Array.from({ length: 30 }, () => ({ sealed: true, octets: 9 })))
    for (const message of messages) message.flags = 'k'.repeat(20_000)
    const server = new ModelServer([...messages], () => '')
    const asked = checkFetch('(FLAGS UID ENVELOPE)', server, plain, server.messages)
    // Four fill what may wait.
    assert.ok(asked.filter((line) => line.includes('FLAGS UID ENVELOPE')).length > 4, asked.join('\n'))
  })

  const MARK = 'BODY[HEADER.FIELDS (X-VESMAIL-ID)]'
  const LOCKED = `* 2 FETCH (UID 8 ENVELOPE (x) ${MARK} {21}\r\nX-VESmail-ID: <m>\r\n\r\n)\r\n`
  const PLAIN = `ENVELOPE (NIL "s" NIL NIL NIL NIL NIL NIL NIL "<a@b>")`
  const waiting = (): Stage => {
    const stage = selected()
    stage.client('c UID FETCH 1:* (UID ENVELOPE)\r\n')
    stage.takeUpstream()
    const plain = `* 1 FETCH (UID 7 ${PLAIN} ${MARK} {2}\r\n\r\n)\r\n`
    stage.server(`${plain}${LOCKED}* 5 EXISTS\r\n${plain.replace('1 FETCH (UID 7', '3 FETCH (UID 9')}`)
    assert.equal(stage.takeClient(), `* 1 FETCH (UID 7 ${PLAIN})\r\n`)
    return stage
  }
  const HELD = `* 5 EXISTS\r\n* 3 FETCH (UID 9 ${PLAIN})\r\n`

  it('are given without the one that is waited for when the connection is lost', () => {
    const stage = waiting()
    stage.event({ on: 'closed', side: 'upstream', error: null })
    assert.match(stage.takeClient(), new RegExp(`^${HELD.replace(/[*()]/g, '\\$&')}\\* BYE `))
    assert.ok(stage.ended instanceof GatewayError)
  })

  it('are given before the server’s goodbye, or ours', () => {
    const theirs = waiting()
    theirs.server('* BYE gone\r\n').event({ on: 'closed', side: 'upstream', error: null })
    assert.equal(theirs.takeClient(), `${HELD}* BYE gone\r\n`)
    assert.equal(theirs.ended, 'quit')
    const drained = waiting()
    drained.event({ on: 'drain', forced: true })
    assert.match(drained.takeClient(), new RegExp(`^${HELD.replace(/[*()]/g, '\\$&')}\\* BYE [^\r]*\r\n$`))
    const broken = waiting()
    broken.server('VES77 OK what\r\n')
    assert.match(broken.takeClient(), new RegExp(`^${HELD.replace(/[*()]/g, '\\$&')}\\* BYE [^\r]*\r\n$`))
  })

  it('tell flags that the server puts into the answer to a question of ours, behind those that they follow', () => {
    const stage = selected()
    stage.client('c UID FETCH 1:* (FLAGS ENVELOPE)\r\n')
    stage.server(`${LOCKED.replace('ENVELOPE', 'FLAGS () ENVELOPE')}VES1 OK\r\n`)
    stage.takeUpstream()
    const header = 'X-VESmail-ID: <locked>\r\nSubject: x\r\n\r\n'
    stage.server(
      `* 2 FETCH (UID 8 FLAGS (\\Seen) RFC822.SIZE 99 BODYSTRUCTURE ("text" "plain" NIL NIL NIL "7bit" 9 1) BODY[HEADER] {${header.length}}\r\n${header})\r\nVES2 OK\r\n`,
    )
    assert.match(
      stage.takeClient(),
      /^\* 2 FETCH \(UID 8 FLAGS \(\)\)\r\n\* 2 FETCH \(UID 8 FLAGS \(\\Seen\)\)\r\nc OK/,
    )
  })

  it('tell flags of answers that are asked for again, too', () => {
    const stage = selected()
    stage.client('c UID FETCH 1:* (ENVELOPE)\r\n')
    stage.server('* 1 FETCH (UID 7 FLAGS (\\Seen) ENVELOPE (x))\r\nVES1 OK\r\n')
    assert.equal(stage.takeClient(), '* 1 FETCH (UID 7 FLAGS (\\Seen))\r\n')
  })

  it('are all given when the server says NO in the end', () => {
    for (const word of ['NO [EXPUNGEISSUED]', 'BAD']) {
      const stage = waiting()
      stage.server(`VES1 ${word} some\r\n`)
      assert.equal(stage.takeClient(), '')
      stage.server('VES2 OK\r\nVES3 OK\r\n')
      assert.equal(stage.takeClient(), `${HELD}c ${word} some\r\n`)
    }
  })

  it('are all given but the sealed ones when there are no keys to be had', () => {
    const { plain, messages } = mailboxOf([false, true, false, true, false].map((sealed) => ({ sealed, octets: 9 })))
    const server = new ModelServer([...messages], () => '')
    const stage = selected({
      answers: {
        'open-key': () => {
          throw new GatewayError('VES_CONNECTION')
        },
      },
    })
    stage.client('c UID FETCH 1:* (UID ENVELOPE)\r\n')
    const out = stage.converse((line) => server.answer(line), [])
    const [a, , b, , c] = [...plain.values()].map((message, i) =>
      fetchAnswer(i + 1, message, [{ kind: 'attribute', text: 'UID' }, { kind: 'envelope' }], true),
    )
    assert.ok(out.includes(a!) && out.includes(b!) && out.includes(c!), out)
    assert.ok(out.indexOf(a!) < out.indexOf(b!) && out.indexOf(b!) < out.indexOf(c!), out)
    assert.match(out, /\r\nc NO [^\r]*\r\n$/)
  })
})

describe('what goes to the client', () => {
  const made = (limit = 10_000) => {
    let given = ''
    let givenUp = 0
    const output = new ClientOutput(
      (bytes) => {
        given += bytes.toString('latin1')
      },
      limit,
      () => givenUp++,
    )
    const taken = (): string => {
      const text = given
      given = ''
      return text
    }
    return { output, taken, givenUp: () => givenUp }
  }

  it('waits behind a place until that is filled, in whatever order they are', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 30 }), fc.infiniteStream(fc.nat()), (places, picks) => {
        const { output, taken } = made(100_000)
        const open: (() => void)[] = []
        const expected = places.map((isPlace, i) => {
          if (!isPlace) output.send(`${i} `)
          else {
            const place = output.place(0)
            open.push(() => place.fill(i % 5 === 0 ? null : Buffer.from(`${i} `)))
          }
          return isPlace && i % 5 === 0 ? '' : `${i} `
        })
        while (open.length > 0) open.splice(picks.next().value % open.length, 1)[0]!()
        assert.equal(taken(), expected.join(''))
        assert.equal(output.heldOctets, 0)
        output.send('x')
        assert.equal(taken(), 'x')
      }),
    )
  })

  it('counts what is kept to fill a place', () => {
    const { output, taken } = made(10_000)
    output.place(4000)
    const second = output.place(4000)
    assert.ok(output.heldOctets > 8000 && output.heldOctets < 12_000)
    second.fill(null)
    output.send('x'.repeat(2000))
    assert.equal(taken().length, 2000)
    assert.equal(output.heldOctets, 0)
  })

  it('goes on without the answers it waits for when it is too much', () => {
    const { output, taken, givenUp } = made(3000)
    const place = output.place(0)
    output.send('a'.repeat(1000))
    assert.equal(taken(), '')
    output.send('b'.repeat(1000))
    assert.equal(taken(), `${'a'.repeat(1000)}${'b'.repeat(1000)}`)
    assert.equal(givenUp(), 1)
    place.fill(Buffer.from('late'))
    assert.equal(taken(), '')
    assert.equal(output.heldOctets, 0)
  })
})
