/** Responses of the server's that pass in pieces, and all that is ours beside them: nothing stands in the middle of anything. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { ClientOutput, type Place } from '../../../src/engine/imap/client-output.ts'
import { Stage, seal } from './stage.ts'

const PIECES = ['* METADATA "" (/shared/comment {10}\r\nabc', 'defghij)\r\n'] as const

function selected(): Stage {
  const stage = Stage.ready()
  stage.client('s SELECT INBOX\r\n')
  stage.server('* OK [UIDVALIDITY 9] x\r\ns OK done\r\n')
  stage.takeUpstream()
  stage.takeClient()
  return stage
}

describe('in the middle of a response of the server’s', () => {
  for (const [command, answer] of [
    ['b XVES NOOP\r\n', 'b OK XVES NOOP completed\r\n'],
    ['b COMPRESS DEFLATE\r\n', 'b BAD Syntax error: not through this proxy\r\n'],
    ['b APPEND x {5}\r\n', '+ OK\r\n'],
    ['b SEARCH CC {3}\r\n', '+ OK\r\n'],
  ] as const) {
    it(`the answer to ${command.trim()} waits`, () => {
      const stage = selected()
      stage.client('a FETCH 1 (FLAGS)\r\n')
      stage.server(PIECES[0])
      stage.client(command)
      assert.equal(stage.takeClient(), PIECES[0])
      stage.server(`${PIECES[1]}a OK\r\n`)
      assert.equal(stage.takeClient(), `${PIECES[1]}${answer}a OK\r\n`)
    })
  }

  it('so does one in a literal of a message that passes', () => {
    const stage = selected()
    stage.client('a UID FETCH 7 (FLAGS BODY.PEEK[])\r\n')
    stage.server('* 1 FETCH (UID 7 BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] {2}\r\n\r\n)\r\nVES1 OK\r\n')
    stage.client('b STARTTLS\r\n')
    const message = 'A: b\r\n\r\nhello\r\n'
    const answer = `* 1 FETCH (UID 7 FLAGS () BODY[] {${message.length}}\r\n${message})\r\n`
    for (const octet of answer) {
      stage.server(octet)
      stage.client('c STARTTLS\r\n')
    }
    assert.ok(stage.takeClient().includes(answer))
  })

  it('the client is read no further while an answer waits', () => {
    const stage = selected()
    stage.server(PIECES[0])
    assert.ok(stage.session.wants('client'))
    stage.client('b XVES NOOP\r\n'.repeat(1000))
    assert.ok(!stage.session.wants('client'))
    stage.server(PIECES[1])
    assert.equal(stage.takeClient(), PIECES.join('') + 'b OK XVES NOOP completed\r\n'.repeat(1000))
  })

  it('a sealed message whose key comes then waits', () => {
    const stage = selected()
    const mark = 'BODY[HEADER.FIELDS (X-VESMAIL-ID MESSAGE-ID)] {21}\r\nX-VESmail-ID: <m>\r\n\r\n'
    const sealed = seal('Subject: a\r\n\r\nhi\r\n')
    stage.held.add('open-key')
    stage.client('b UID FETCH 8 (BODY.PEEK[TEXT])\r\n')
    stage.server(
      `* 5 FETCH (UID 8 ${mark} RFC822.SIZE 90)\r\nVES1 OK\r\n* 5 FETCH (UID 8 BODY[] {${sealed.length}}\r\n${sealed})\r\nVES2 OK\r\n` +
        '* 5 FETCH (UID 8 BODY[TEXT]<0> {1}\r\nX)\r\nVES3 OK done\r\n* LIST () "/" {3}\r\na',
    )
    stage.release()
    assert.equal(stage.takeClient(), '* LIST () "/" {3}\r\na')
    stage.server('bc\r\n')
    assert.equal(stage.takeClient(), 'bc\r\n* 5 FETCH (UID 8 BODY[TEXT] {4}\r\nhi\r\n)\r\nb OK done\r\n')
  })

  it('the session ends without a goodbye; a drain waits', () => {
    const idle = selected()
    idle.client('a IDLE\r\n')
    idle.server(`+ idling\r\n${PIECES[0]}`)
    idle.event({ on: 'drain', forced: false })
    assert.equal(idle.ended, null)
    idle.server(PIECES[1])
    assert.equal(idle.ended, 'drained')
    const forced = selected()
    forced.server(PIECES[0]).event({ on: 'drain', forced: true })
    assert.equal(forced.takeClient(), PIECES[0])
  })
})

type Step =
  | { readonly do: 'pass'; readonly pieces: number }
  | { readonly do: 'send' | 'place' | 'fill' | 'stream' | 'streamed' | 'piece' }

describe('what goes to the client', () => {
  it('is whole, each response once, and the server’s in their order', () => {
    const step: fc.Arbitrary<Step> = fc.oneof(
      fc.record({ do: fc.constant('pass' as const), pieces: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ do: fc.constantFrom('send' as const, 'place' as const, 'fill' as const) }),
      fc.record({ do: fc.constantFrom('stream' as const, 'streamed' as const, 'piece' as const, 'piece' as const) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom(3000, 1e6), (steps, limit) => {
        let out = ''
        const places: { place: Place; name: string }[] = []
        let givenUp = false
        const output: ClientOutput = new ClientOutput(
          (bytes) => {
            out += bytes.toString()
          },
          limit,
          () => {
            givenUp = true
            output.send('<late><late>')
          },
        )
        let names = 0
        const expected: string[] = []
        const passed: string[] = []
        let left: { name: string; pieces: number } | null = null
        let stream: string | null = null
        const name = (kind: string): string => {
          names++
          expected.push(`${kind}${names}`)
          return `${kind}${names}`
        }
        const pass = (): void => {
          if (left === null) return
          left.pieces--
          output.pass(Buffer.from(`<${left.name}>`.repeat(left.pieces === 0 ? 2 : 1)), left.pieces > 0)
          if (left.pieces === 0) left = null
        }
        const run = (each: Step): void => {
          switch (each.do) {
            case 'pass':
              if (left === null) {
                left = { name: name('p'), pieces: each.pieces }
                passed.push(left.name)
              }
              pass()
              break
            case 'piece':
              pass()
              break
            case 'send': {
              const whole = name('s')
              output.send(`<${whole}><${whole}>`)
              break
            }
            case 'place':
              if (left === null && stream === null) places.push({ place: output.place(0), name: `f${++names}` })
              break
            case 'fill': {
              const first = places.shift()
              if (first === undefined) break
              if (!givenUp) expected.push(first.name)
              first.place.fill(Buffer.from(`<${first.name}><${first.name}>`))
              break
            }
            case 'stream':
              // A work streams when those before it are given.
              if (places.length > 0) break
              stream ??= name('t')
              output.stream(Buffer.from(`<${stream}>`))
              break
            case 'streamed':
              if (stream === null) break
              output.stream(Buffer.from(`<${stream}>`))
              output.streamed(true)
              stream = null
          }
        }
        for (const each of steps) run(each)
        while (left !== null) pass()
        while (places.length > 0) run({ do: 'fill' })
        run({ do: 'streamed' })
        const got: string[] = []
        for (const [part] of out.matchAll(/<[^>]*>/g)) if (got.at(-1) !== part) got.push(part)
        // Whole: none comes again once another one has begun.
        const rest = got.filter((part) => part !== '<late>')
        assert.equal(new Set(rest).size, rest.length, out)
        if (!givenUp) assert.deepEqual([...rest].sort(), expected.map((each) => `<${each}>`).sort())
        assert.deepEqual(
          rest.filter((part) => part.startsWith('<p')),
          passed.map((each) => `<${each}>`),
        )
        assert.ok(!output.waiting && !output.streaming && output.heldOctets === 0)
      }),
      { numRuns: 2000 },
    )
  })
})
