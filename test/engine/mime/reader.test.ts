import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { plainContentType } from '../../../src/engine/mime/content-type.ts'
import type { HeaderBlock } from '../../../src/engine/mime/header-block.ts'
import { MimeReader, type PartKind } from '../../../src/engine/mime/reader.ts'

/** By the Content-Type, as a reader that trusts it. */
function kindOf(block: HeaderBlock): PartKind {
  const field = block.fields.find(({ name }) => name === 'content-type')
  const type = field === undefined ? null : plainContentType(field)
  if (type?.type === 'message/rfc822') return { kind: 'message' }
  if (type?.boundary != null) return { kind: 'multipart', boundary: type.boundary }
  return { kind: 'leaf' }
}

/** Events as lines; pieces of one body or text joined. */
function read(message: string, octets = message.length, maxHeaderOctets = 1 << 20): string[] {
  const reader = new MimeReader(maxHeaderOctets)
  const out: string[] = []
  const drain = () => {
    for (let event = reader.next(); event !== null; event = reader.next()) {
      const last = out.length - 1
      switch (event.on) {
        case 'headers': {
          const { fields, blank } = event.block
          const names = fields.map((f) => `${f.name}${JSON.stringify(f.eol)}`).join(' ')
          out.push(`headers ${names} blank ${JSON.stringify(blank.toString('latin1'))}`)
          reader.enter(kindOf(event.block))
          break
        }
        case 'body':
        case 'text': {
          const text = event.bytes.toString('latin1')
          if (out[last]?.startsWith(`${event.on} `) === true) {
            out[last] = `${event.on} ${JSON.stringify(JSON.parse(out[last].slice(5)) + text)}`
          } else out.push(`${event.on} ${JSON.stringify(text)}`)
          break
        }
        case 'delimiter':
          out.push(
            `${event.close ? 'close' : 'delimiter'} ${JSON.stringify(event.eol + event.line.toString('latin1'))}`,
          )
          break
        case 'end':
          out.push(`end ${event.part}`)
          break
        default:
          out.push(event.on)
      }
    }
  }
  const bytes = Buffer.from(message, 'latin1')
  for (let at = 0; at < bytes.length; at += octets) {
    reader.push(Buffer.from(bytes.subarray(at, at + octets)))
    drain()
  }
  reader.end()
  drain()
  return out
}

function everySplit(message: string): string[] {
  const whole = read(message)
  for (let octets = 1; octets < message.length; octets++) {
    assert.deepEqual(read(message, octets), whole, `differs at ${octets} octets`)
  }
  return whole
}

const MIXED = 'Content-Type: multipart/mixed; boundary=b\r\n\r\n'

test('a plain message', () => {
  assert.deepEqual(everySplit('A: 1\r\nB: 2\r\n 3\r\n\t\r\nC : 4\n\r\nbody\r\n--b\r\n'), [
    'headers a"\\r\\n" b"\\r\\n" c"\\n" blank "\\r\\n"',
    'body "body\\r\\n--b\\r\\n"',
    'end leaf',
    'finished',
  ])
})

test('preamble, parts, epilogue; the line end before a delimiter is its own', () => {
  assert.deepEqual(
    everySplit(`${MIXED}pre\r\n--b\r\nX: 1\r\n\r\none\r\n\r\n--b \t\r\n\r\ntwo\n--b-- x\r\nepi\r\n--b\r\n`),
    [
      'headers content-type"\\r\\n" blank "\\r\\n"',
      'text "pre"',
      'delimiter "\\r\\n--b"',
      'text "\\r\\n"',
      'headers x"\\r\\n" blank "\\r\\n"',
      'body "one\\r\\n"',
      'end leaf',
      'delimiter "\\r\\n--b"',
      'text " \\t\\r\\n"',
      'headers  blank "\\r\\n"',
      'body "two"',
      'end leaf',
      'close "\\n--b--"',
      // Behind the end, the same delimiter is text.
      'text " x\\r\\nepi\\r\\n--b\\r\\n"',
      'end multipart',
      'finished',
    ],
  )
})

test('a line that begins with a delimiter is one, whatever follows', () => {
  assert.deepEqual(everySplit(`${MIXED}--bc\r\n\r\nx\r\n--b--c\r\n`).slice(1, 7), [
    'delimiter "--b"',
    'text "c\\r\\n"',
    'headers  blank "\\r\\n"',
    'body "x"',
    'end leaf',
    'close "\\r\\n--b--"',
  ])
})

test('what only looks like a delimiter is body', () => {
  const body = 'a\r\n--\r\n--a\r\n-b\r\n --b\r\nx--b\r--b\r\n--B\r\n-'
  assert.deepEqual(everySplit(`${MIXED}--b\r\n\r\n${body}\r\n--b--`).slice(4, 5), [`body ${JSON.stringify(body)}`])
})

test('an empty part has no line end to give to its delimiter', () => {
  assert.deepEqual(everySplit(`${MIXED}--b\r\nX: 1\r\n\r\n--b\r\nY: 1\r\n--b--`), [
    'headers content-type"\\r\\n" blank "\\r\\n"',
    'delimiter "--b"',
    'text "\\r\\n"',
    'headers x"\\r\\n" blank "\\r\\n"',
    'end leaf',
    'delimiter "--b"',
    'text "\\r\\n"',
    // The delimiter ended the headers.
    'headers y"\\r\\n" blank ""',
    'end leaf',
    'close "--b--"',
    'end multipart',
    'finished',
  ])
})

test('a delimiter with nothing behind it begins no part', () => {
  assert.deepEqual(
    everySplit(`${MIXED}--b\r\n--b\r\n--b--`).filter((e) => !e.startsWith('text')),
    [
      'headers content-type"\\r\\n" blank "\\r\\n"',
      'delimiter "--b"',
      'no-part',
      'delimiter "--b"',
      'no-part',
      'close "--b--"',
      'end multipart',
      'finished',
    ],
  )
  assert.deepEqual(everySplit(`${MIXED}--b`).slice(1), ['delimiter "--b"', 'no-part', 'end multipart', 'finished'])
})

test('multiparts in each other, the inner one never ended', () => {
  const inner = 'Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\n\r\nx'
  assert.deepEqual(everySplit(`${MIXED}--b\r\n${inner}\r\n--b\r\n\r\ny\r\n--b--`), [
    'headers content-type"\\r\\n" blank "\\r\\n"',
    'delimiter "--b"',
    'text "\\r\\n"',
    'headers content-type"\\r\\n" blank "\\r\\n"',
    'delimiter "--in"',
    'text "\\r\\n"',
    'headers  blank "\\r\\n"',
    'body "x"',
    'end leaf',
    'end multipart',
    'delimiter "\\r\\n--b"',
    'text "\\r\\n"',
    'headers  blank "\\r\\n"',
    'body "y"',
    'end leaf',
    'close "\\r\\n--b--"',
    'end multipart',
    'finished',
  ])
})

test('the line end behind a closing delimiter belongs to the delimiter around it', () => {
  const inner = 'Content-Type: multipart/mixed; boundary=in\r\n\r\n--in--'
  const events = everySplit(`${MIXED}--b\r\n${inner}\r\n--b--`)
  assert.deepEqual(events.slice(4), [
    'close "--in--"',
    'end multipart',
    'close "\\r\\n--b--"',
    'end multipart',
    'finished',
  ])
})

test('a nested message', () => {
  assert.deepEqual(everySplit(`${MIXED}--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny\r\n--b--`), [
    'headers content-type"\\r\\n" blank "\\r\\n"',
    'delimiter "--b"',
    'text "\\r\\n"',
    'headers content-type"\\r\\n" blank "\\r\\n"',
    'headers subject"\\r\\n" blank "\\r\\n"',
    'body "y"',
    'end leaf',
    'end message',
    'close "\\r\\n--b--"',
    'end multipart',
    'finished',
  ])
})

test('malformed headers', () => {
  const first = (message: string) => everySplit(message).slice(0, 2)
  assert.deepEqual(first('A: 1\r\nno colon\r\nB: 2\r\n'), [
    'headers a"\\r\\n" blank ""',
    'body "no colon\\r\\nB: 2\\r\\n"',
  ])
  assert.deepEqual(first('A: 1'), ['headers a"" blank ""', 'end leaf'])
  assert.deepEqual(first(''), ['headers  blank ""', 'end leaf'])
  // White space only, where a header would start, ends them; behind a header it is its continuation.
  assert.deepEqual(first(' \t\r\nA: 1\r\n'), ['headers  blank " \\t\\r\\n"', 'body "A: 1\\r\\n"'])
  assert.deepEqual(first('A: 1\r\n \t\r\nB: 1\r\n\r\r\nx'), [
    'headers a"\\r\\n" b"\\r\\n" blank "\\r\\r\\n"',
    'body "x"',
  ])
  assert.deepEqual(first(' A: 1\r\nB: 2\r\n'), ['headers  blank ""', 'body " A: 1\\r\\nB: 2\\r\\n"'])
  // No field names: an mbox line, a colon alone, octets that no name has.
  assert.deepEqual(
    first('From a@b 10:00\r\n: x\r\n\xe9: y\r\n\r\n')[0],
    'headers "\\r\\n" "\\r\\n" "\\r\\n" blank "\\r\\n"',
  )
})

test('a header block beyond the limit is refused, at the same octet however it comes', () => {
  const isRefused = (error: unknown) => error instanceof GatewayError && error.code === 'MIME_HEADER_TOO_LARGE'
  for (const message of [`A: ${'x'.repeat(100)}\r\n\r\n`, 'A: 1\r\n'.repeat(20), `A: 1\r\n ${'x'.repeat(101)}`]) {
    for (const octets of [1, 7, 1000]) assert.throws(() => read(message, octets, 100), isRefused)
  }
  assert.equal(read(`A: ${'x'.repeat(93)}\r\n\r\n${'y'.repeat(1000)}`, 1, 100).at(-1), 'finished')
})

test('a line without a colon is body, however long it is and however it comes', () => {
  for (const before of ['', 'A: b\n', 'A: b\n'.repeat(15)]) {
    for (const length of [50, 99, 100, 101, 102, 500]) {
      for (const after of ['', '\n', '\r\n', ': late\r\n\r\nend']) {
        const message = `${before}${'z'.repeat(length)}${after}`
        const outcome = (octets: number): unknown => {
          try {
            return read(message, octets, 100).filter((event) => event !== 'body')
          } catch (error) {
            return (error as GatewayError).code
          }
        }
        const whole = outcome(message.length)
        if (!after.startsWith(':'))
          assert.notEqual(whole, 'MIME_HEADER_TOO_LARGE', JSON.stringify({ before, length, after }))
        for (const octets of [1, 7, 64])
          assert.deepEqual(outcome(octets), whole, JSON.stringify({ before, length, after, octets }))
      }
    }
  }
})

test('a delimiter in a header block need not wait for its line to end', () => {
  const reader = new MimeReader(1000)
  reader.push(Buffer.from(`${MIXED}--b\r\nX: 1\r\n--b ${'x'.repeat(2000)}`))
  const seen: string[] = []
  for (let event = reader.next(); event !== null; event = reader.next()) {
    seen.push(event.on)
    if (event.on === 'headers') reader.enter(kindOf(event.block))
  }
  assert.equal(seen.filter((on) => on === 'delimiter').length, 2)
})
