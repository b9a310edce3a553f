/** What is known of the beginning of a mailbox spares evidence, in this session and the next, and never lets ciphertext pass. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { PlainPrefix, PrefixScan } from '../../../src/engine/imap/plain-prefix.ts'
import { checkView, type Sent } from './client-view.ts'
import { type Message, ModelServer } from './model-server.ts'
import { Stage, seal } from './stage.ts'

describe('the plain beginning of a mailbox', () => {
  const scanned = (prefix: PlainPrefix, answers: readonly (readonly [number, number])[]): boolean => {
    const scan = new PrefixScan(prefix)
    for (const [number, uid] of answers) scan.plain(number, uid)
    return scan.end()
  }

  it('grows over messages that were all seen, from the first one or from what is known', () => {
    const prefix = new PlainPrefix()
    for (const [answers, upTo] of [
      [[], 0],
      [[[2, 9]], 0],
      [
        [
          [1, 4],
          [2, 9],
        ],
        9,
      ],
      [[[1, 4]], 9],
      [[[9, 11]], 9],
      [[[3, 10]], 10],
      [
        [
          [2, 9],
          [3, 10],
          [4, 20],
          [6, 30],
        ],
        20,
      ],
      [
        [
          [4, 20],
          [5, 19],
          [6, 40],
        ],
        20,
      ],
      [
        [
          [4, 20],
          [5, 25],
          [5, 26],
        ],
        25,
      ],
    ] as const) {
      const before = prefix.upTo
      assert.equal(scanned(prefix, answers), upTo !== before)
      assert.equal(prefix.upTo, upTo)
    }
  })

  it('grows no more once a message may be another one than its number says', () => {
    const prefix = new PlainPrefix()
    const scan = new PrefixScan(prefix)
    scan.plain(1, 4)
    scan.stop()
    scan.plain(2, 9)
    assert.ok(scan.end())
    assert.equal(prefix.upTo, 4)
  })

  it('tells how many messages are behind it at most', () => {
    const prefix = new PlainPrefix()
    assert.equal(prefix.beyond, Number.POSITIVE_INFINITY)
    prefix.restore(90)
    prefix.exists(40)
    prefix.setUidNext(101)
    assert.equal(prefix.beyond, 10)
    prefix.exists(43)
    assert.equal(prefix.beyond, 13)
    prefix.gone(3)
    prefix.exists(41)
    assert.equal(prefix.beyond, 14)
    assert.ok(prefix.extend(104, 41))
    assert.equal(prefix.beyond, 0)
  })

  it('ends before a sealed message, and is nothing where UIDs come again', () => {
    const prefix = new PlainPrefix()
    prefix.setUidNext(100)
    prefix.restore(90)
    prefix.endBefore(95)
    assert.equal(prefix.upTo, 90)
    prefix.endBefore(50)
    assert.equal(prefix.upTo, 49)
    assert.ok(!prefix.setUidNext(50))
    assert.ok(prefix.setUidNext(49))
    assert.equal(prefix.upTo, 0)
    assert.ok(prefix.restore(60))
    assert.equal(prefix.upTo, 0)
  })
})

describe('what was seen while the mailbox became another one', () => {
  it('counts for nothing', () => {
    for (const change of [
      (prefix: PlainPrefix): unknown => prefix.forget(),
      (prefix: PlainPrefix): unknown => prefix.setUidNext(5),
    ]) {
      const prefix = new PlainPrefix()
      prefix.setUidNext(100)
      prefix.restore(90)
      const scan = new PrefixScan(prefix)
      scan.plain(70, 90)
      change(prefix)
      scan.plain(71, 95)
      assert.ok(!scan.end())
      assert.equal(prefix.upTo, 0)
    }
  })

  it('from other sessions, too, where the server does not say which UIDs are given already', () => {
    const prefix = new PlainPrefix()
    prefix.restore(90)
    assert.equal(prefix.upTo, 0)
    prefix.endBefore(81)
    assert.ok(!prefix.setUidNext(100))
    assert.equal(prefix.upTo, 80)
  })
})

interface World {
  readonly server: ModelServer
  readonly plain: Map<number, Message>
  readonly sizes: Map<string, string>
  uidNext: number
}

function world(kinds: readonly boolean[]): World {
  const made: World = { server: new ModelServer([], () => ''), plain: new Map(), sizes: new Map(), uidNext: 1 }
  for (const sealed of kinds) arrive(made, sealed)
  return made
}

/** UIDs have gaps. */
function arrive(to: World, sealed: boolean): void {
  const uid = to.uidNext
  to.uidNext += 1 + (uid % 3)
  const text = `Subject: number ${uid}\r\nMessage-ID: <${uid}@lab.test>\r\n\r\ncontent of ${uid}\r\n`
  to.plain.set(uid, { uid, octets: Buffer.from(text), flags: '' })
  to.server.messages.push({ uid, octets: Buffer.from(sealed ? seal(text, `id${uid}`) : text), flags: '' })
}

function session(of: World, code = '', chunk = 0): Stage {
  const stage = Stage.ready({ sizes: of.sizes, chunk, settings: { sizes: 'exact' } })
  stage.client('s SELECT INBOX\r\n')
  const { length } = of.server.messages
  stage.server(`* ${length} EXISTS\r\n* OK [UIDVALIDITY 9] x\r\n${code}* OK [UIDNEXT ${of.uidNext}] x\r\ns OK done\r\n`)
  stage.takeUpstream()
  stage.takeClient()
  return stage
}

/** Asks, checks what the client gets. @returns what the server was asked */
function asked(of: World, stage: Stage, command: string): string[] {
  const [, uid, first = '', more, items = ''] = /^(UID )?FETCH (\d+)(:\S+)? (.*)$/.exec(command)!
  const sent: Sent = {
    tag: 'c',
    items,
    asked: { uid: uid !== undefined, first: Number(first), open: more !== undefined },
  }
  const lines: string[] = []
  const uids = of.server.messages.map((message) => message.uid)
  stage.client(`c ${command}\r\n`)
  const out = stage.converse((line) => {
    lines.push(line.replace(/^\S+ /, ''))
    return of.server.answer(line)
  }, [])
  checkView(out, { told: [], sent: [sent], plain: of.plain, uids, ordered: true, now: of.server.messages })
  return lines
}

describe('a mailbox that was seen to be plain', () => {
  const SCAN = 'FETCH 1:* (UID ENVELOPE)'
  const seen = (): World => {
    const all = world(Array.from({ length: 20 }, () => false))
    assert.match(asked(all, session(all), SCAN)[0]!, /X-VESMAIL-ID/)
    return all
  }

  it('is scanned without evidence, in the same session and the next', () => {
    const all = world(Array.from({ length: 20 }, () => false))
    const first = session(all)
    assert.match(asked(all, first, 'FETCH 1:* (FLAGS ENVELOPE)')[0]!, /X-VESMAIL-ID/)
    for (const stage of [first, session(all)]) {
      assert.deepEqual(asked(all, stage, SCAN), ['FETCH 1:* (UID ENVELOPE)'])
      assert.deepEqual(asked(all, stage, 'FETCH 5:* (ENVELOPE)'), ['FETCH 5:* (UID ENVELOPE)'])
      assert.deepEqual(asked(all, stage, 'UID FETCH 1:* (ENVELOPE)'), ['UID FETCH 1:* (ENVELOPE)'])
      assert.deepEqual(asked(all, stage, 'UID FETCH 7 (BODY.PEEK[])'), ['UID FETCH 7 (BODY.PEEK[])'])
    }
  })

  it('has what came since asked for again, in order, and is known up to there then', () => {
    const all = seen()
    for (const sealed of [false, false, true, false]) arrive(all, sealed)
    const stage = session(all)
    const lines = asked(all, stage, SCAN)
    assert.equal(lines[0], 'FETCH 1:* (UID ENVELOPE)')
    assert.match(lines[1]!, /^FETCH 21:24 \(UID ENVELOPE BODY\.PEEK\[HEADER\.FIELDS \(X-VESMAIL-ID\)\]\)$/)
    const uid = all.server.messages[21]!.uid
    assert.deepEqual(asked(all, session(all), `UID FETCH ${uid} (BODY.PEEK[])`), [`UID FETCH ${uid} (BODY.PEEK[])`])
    assert.equal(asked(all, session(all), `UID FETCH ${all.server.messages[22]!.uid} (ENVELOPE)`).length > 1, true)
  })

  it('is scanned with evidence where much has come since, or the server does not say', () => {
    const all = seen()
    all.uidNext += 501
    assert.match(asked(all, session(all), SCAN)[0]!, /X-VESMAIL-ID/)
  })

  it('is unknown under another UIDVALIDITY, or where UIDs do not stay, or come again', () => {
    const all = seen()
    for (const code of ['* OK [UIDVALIDITY 10] x\r\n', '* NO [UIDNOTSTICKY] x\r\n']) {
      assert.match(asked(all, session(all, code), SCAN)[0]!, /X-VESMAIL-ID/, code)
    }
    const { uidNext } = all
    all.uidNext = 5
    session(all)
    all.uidNext = uidNext
    // Put back once, and UIDs have been given again since.
    assert.match(asked(all, session(all), SCAN)[0]!, /X-VESMAIL-ID/)
  })

  it('is not known behind a sealed message, which ends it where it was taken for plain', () => {
    const mixed = world([false, false, true, false])
    const [, second] = mixed.server.messages
    asked(mixed, session(mixed), SCAN)
    assert.equal(mixed.sizes.get('INBOX 9 0'), `\0\0\0${String.fromCharCode(second!.uid)}`)
    mixed.sizes.set('INBOX 9 0', `\0\0\0${String.fromCharCode(mixed.uidNext - 1)}`)
    const { uid } = mixed.server.messages[2]!
    const stage = session(mixed)
    stage.client('c FETCH 3 (BODY.PEEK[])\r\n')
    stage.converse((line) => mixed.server.answer(line), [])
    assert.equal(mixed.sizes.get('INBOX 9 0'), `\0\0\0${String.fromCharCode(uid - 1)}`)
  })

  it('is not taken for the one selected before it, whose answers are still to come', () => {
    for (const second of ['SELECT Other', 'EXAMINE Other']) {
      const stage = Stage.ready({ sizes: new Map([['Other 9 0', '\0\0\0\x09']]) })
      stage.client(`s SELECT INBOX\r\nt ${second}\r\nf UID FETCH 3 (BODY.PEEK[])\r\n`)
      stage.takeUpstream()
      stage.server('* 4 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\n* OK [UIDNEXT 20] x\r\n')
      stage.server('s OK done\r\n')
      assert.equal(stage.takeUpstream(), '')
      stage.server('* OK [CLOSED] x\r\n* 4 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n* OK [UIDNEXT 20] x\r\nt OK done\r\n')
      assert.match(stage.takeUpstream(), /^VES\d+ UID FETCH 3 \(UID BODY\.PEEK\[HEADER\.FIELDS /)
    }
  })

  const COMMANDS = [
    'FETCH 1:* (UID ENVELOPE)',
    'FETCH 1:* (ENVELOPE)',
    'UID FETCH 1:* (BODY.PEEK[HEADER])',
    'FETCH 4:* (FLAGS RFC822.HEADER RFC822.SIZE)',
    'UID FETCH 9:4294967295 (RFC822.SIZE)',
    'UID FETCH 4 (BODY.PEEK[])',
    'FETCH 2 (BODY.PEEK[])',
  ]
  const step = fc.oneof(
    fc.record({ do: fc.constant('arrive' as const), sealed: fc.boolean() }),
    fc.record({ do: fc.constant('expunge' as const), at: fc.nat(20) }),
    fc.record({ do: fc.constant('select' as const), chunk: fc.constantFrom(0, 0, 13, 100) }),
    fc.record({ do: fc.constant('fetch' as const), command: fc.nat(COMMANDS.length - 1) }),
    fc.record({ do: fc.constant('fetch' as const), command: fc.nat(COMMANDS.length - 1) }),
  )

  it('is the same to the client as one that nobody knows, whatever comes and goes between', () => {
    fc.assert(
      fc.property(
        fc.nat(12),
        fc.array(fc.boolean(), { maxLength: 4 }),
        fc.array(step, { maxLength: 20 }),
        (n, tail, steps) => {
          const all = world([...Array.from({ length: n }, () => false), ...tail])
          let stage = session(all)
          for (const each of steps) {
            const { messages } = all.server
            switch (each.do) {
              case 'arrive':
                arrive(all, each.sealed)
                stage.server(`* ${messages.length} EXISTS\r\n`)
                break
              case 'expunge':
                if (each.at < messages.length) stage.server(all.server.expunge(each.at + 1))
                break
              case 'select':
                stage = session(all, '', each.chunk)
                break
              case 'fetch':
                asked(all, stage, COMMANDS[each.command]!)
            }
            stage.takeClient()
          }
        },
      ),
      { numRuns: 400 },
    )
  })
})
