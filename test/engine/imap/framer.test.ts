import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../../src/base/errors.ts'
import { Framer } from '../../../src/engine/imap/framer.ts'
import { endsInQuotes, literalAtEnd } from '../../../src/engine/imap/literal.ts'
import { literalOfResponse, parseFetchAnswer, parseHead } from '../../../src/engine/imap/response.ts'
import { chunksOf, everySplit } from './every-split.ts'

const server = (): Framer =>
  new Framer({
    maxLineOctets: 1000,
    literalOf: literalOfResponse,
    mayFragment: (start) => parseHead(start).type === 'search',
  })

/** What the framer gives out, pieces of one kind joined, so that chunking does not show. */
function read(framer: Framer, chunks: Buffer[]): string[] {
  const out: string[] = []
  let octets = ''
  for (const chunk of chunks) {
    framer.push(chunk)
    for (let piece = framer.next(); piece !== null; piece = framer.next()) {
      if (piece.is === 'octets') {
        octets += piece.bytes.toString('latin1')
        if (!piece.last) continue
        out.push(`octets ${octets}`)
        octets = ''
      } else
        out.push(
          `${piece.is} ${piece.bytes.toString('latin1')}${piece.is === 'line' && piece.literal ? piece.literal.octets : ''}`,
        )
    }
  }
  return out
}

describe('literalAtEnd', () => {
  const literal = (line: string) => literalAtEnd(Buffer.from(line))
  it('reads every form', () => {
    assert.deepEqual(literal('a LOGIN {5}\r\n'), { octets: 5, sync: true, binary: false })
    assert.deepEqual(literal('a LOGIN {5+}\r\n'), { octets: 5, sync: false, binary: false })
    assert.deepEqual(literal('a APPEND x ~{12}\r\n'), { octets: 12, sync: true, binary: true })
    assert.deepEqual(literal('a APPEND x {0012+}\n'), { octets: 12, sync: false, binary: false })
    assert.deepEqual(literal(`x {${'0'.repeat(400)}7}\r\n`), { octets: 7, sync: true, binary: false })
  })
  it('is none', () => {
    for (const line of [
      '',
      '\r\n',
      '}\r\n',
      'x {}\r\n',
      'x {+}\r\n',
      'x {5} \r\n',
      '5}\r\n',
      'x {a}\r\n',
      'x {5-}\r\n',
    ]) {
      assert.equal(literal(line), null, line)
    }
  })
  it('refuses a size that is no safe number', () => {
    assert.throws(() => literal(`x {${'9'.repeat(30)}}\r\n`), { code: 'SYNTAX' })
    assert.throws(() => literal(`x {${'9'.repeat(400)}+}\r\n`), { code: 'SYNTAX' })
  })
  it('tells an open quoted string', () => {
    assert.equal(endsInQuotes(Buffer.from('a LOGIN "x {5}')), true)
    assert.equal(endsInQuotes(Buffer.from('a LOGIN "x\\"" {5}')), false)
  })
})

describe('Framer', () => {
  const stream = Buffer.from(
    '* OK hello {5}\r\n* 1 FETCH (BODY[] {5}\r\nab\r\nc FLAGS (\\Seen))\r\n+ idling {3}\r\na1 NO no {7}\r\n* LIST () "/" {0}\r\n\r\n* STATUS {3}\r\nabc (MESSAGES 1)\r\n',
    'latin1',
  )
  it('gives the same pieces at every split; status text may end in {5}', () => {
    const pieces = everySplit(stream, (chunks) => read(server(), chunks))
    assert.deepEqual(pieces, [
      'line * OK hello {5}\r\n',
      'line * 1 FETCH (BODY[] {5}\r\n5',
      'octets ab\r\nc',
      'line  FLAGS (\\Seen))\r\n',
      'line + idling {3}\r\n',
      'line a1 NO no {7}\r\n',
      'line * LIST () "/" {0}\r\n0',
      'octets ',
      'line \r\n',
      'line * STATUS {3}\r\n3',
      'octets abc',
      'line  (MESSAGES 1)\r\n',
    ])
  })
  it('bounds a line before it is there, but passes long answers of the kinds that are long', () => {
    const framer = server()
    framer.push(Buffer.alloc(1001, 'a'))
    assert.throws(() => framer.next(), { code: 'LINE_TOO_LONG' })
    const search = Buffer.from(`* SEARCH ${'123456 '.repeat(1000)}\r\n`)
    const joined = everySplitOf(search, [1, 7, 100, 999, 5000], (chunks) =>
      read(server(), chunks)
        .map((piece) => piece.replace(/^(line|fragment) /, ''))
        .join(''),
    )
    assert.equal(joined, search.toString())
  })
  it('ends in a result or a GatewayError for any octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 9 }), (bytes, n) => {
        try {
          read(server(), chunksOf(Buffer.from(bytes), n))
        } catch (error) {
          assert.ok(error instanceof GatewayError)
        }
      }),
    )
  })
})

describe('parseFetchAnswer', () => {
  const labels = (text: string): string[] => {
    const bytes = Buffer.from(text, 'latin1')
    return parseFetchAnswer(bytes).items.map((item) => {
      const label = bytes.toString('latin1', ...item.label)
      return `${item.name} ${label} = ${bytes.toString('latin1', ...item.value)}`
    })
  }
  it('finds labels and values', () => {
    assert.deepEqual(
      labels(
        '* 12 FETCH (UID 7 FLAGS (\\Seen $x) BODY[HEADER.FIELDS ("SUB ]" FROM)]<0> {4}\r\na)\r\n ENVELOPE (NIL "a)\\"b" ((NIL NIL "x" "y"))NIL))\r\n',
      ),
      [
        'UID UID = 7',
        'FLAGS FLAGS = (\\Seen $x)',
        'BODY[ BODY[HEADER.FIELDS ("SUB ]" FROM)]<0> = {4}\r\na)\r\n',
        'ENVELOPE ENVELOPE = (NIL "a)\\"b" ((NIL NIL "x" "y"))NIL)',
      ],
    )
  })
  it('ends in a result or a GatewayError for anything', () => {
    const text = fc.string({
      unit: fc.constantFrom('(', ')', ' ', '"', '{', '}', '3', '\r\n', 'BODY', '[', ']', '<', '>', 'UID', '\\'),
    })
    fc.assert(
      fc.property(text, (rest) => {
        try {
          parseFetchAnswer(Buffer.from(`* 1 FETCH (${rest}`, 'latin1'))
        } catch (error) {
          assert.ok(error instanceof GatewayError, String(error))
        }
      }),
    )
  })
})

function everySplitOf<T>(input: Buffer, sizes: number[], run: (chunks: Buffer[]) => T): T {
  const whole = run([input])
  for (const n of sizes) assert.deepEqual(run(chunksOf(input, n)), whole, `differs at ${n} octets`)
  return whole
}

describe('a response taken whole', () => {
  const always = (): boolean => true
  const make = (): Framer => new Framer({ maxLineOctets: 100, literalOf: (line) => literalAtEnd(line) })
  const first = '* 1 FETCH (UID 1 A {4}\r\n}\r\n B {0}\r\n C ~{3}\r\nx\ny)\r\n'
  const second = '* 2 FETCH (UID 2)\n'

  it('is its lines and literals, views of what came', () => {
    const framer = make()
    const bytes = Buffer.from(first + second)
    framer.push(bytes)
    const whole = framer.nextWhole(always, 1000)
    assert.equal(whole?.toString(), first)
    assert.equal(whole?.buffer, bytes.buffer)
    assert.equal(framer.nextWhole(always, 1000)?.toString(), second)
    assert.equal(framer.nextWhole(always, 1000), null)
  })

  it('or piece by piece, wherever the octets are cut', () => {
    for (let cut = 0; cut <= first.length; cut++) {
      const framer = make()
      let out = ''
      for (const part of [first.slice(0, cut), first.slice(cut) + second]) {
        framer.push(Buffer.from(part))
        for (;;) {
          const bytes = framer.nextWhole(always, 1000) ?? framer.next()?.bytes
          if (bytes === undefined) break
          out += bytes.toString()
        }
      }
      assert.equal(out, first + second, `cut at ${cut}`)
      assert.equal(framer.partial, false)
    }
  })

  it('not where it is too long, begins otherwise, or has begun', () => {
    const framer = make()
    framer.push(Buffer.from(first))
    assert.equal(framer.nextWhole(always, first.length - 1), null)
    assert.equal(
      framer.nextWhole(() => false, 1000),
      null,
    )
    framer.next()
    assert.equal(framer.nextWhole(always, 1000), null)
  })

  it('a size that is no number ends it', () => {
    const framer = make()
    framer.push(Buffer.from('* 1 FETCH (A {99999999999999999999}\r\nx)\r\n'))
    assert.throws(() => framer.nextWhole(always, 1000), { code: 'SYNTAX' })
  })
})
