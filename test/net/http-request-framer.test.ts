import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RequestFramer, type RequestPiece } from '../../src/net/http-request-framer.ts'

const LIMITS = { maxHeadOctets: 32 * 1024, maxBodyOctets: 100, streams: (method: string) => method === 'PUT' }

/** What came of it: each request as text, streamed ones joined. */
function framed(chunks: readonly Buffer[]): string[] {
  const framer = new RequestFramer(LIMITS)
  const out: string[] = []
  let streamed = ''
  for (const chunk of chunks) {
    framer.push(Buffer.from(chunk))
    for (let piece = framer.next(); piece !== null; piece = framer.next()) {
      if (piece.on === 'refuse') return [...out, `${piece.status}`]
      if (piece.on === 'begin') streamed = piece.octets.toString('latin1')
      else if (piece.on === 'body') streamed += piece.octets.toString('latin1')
      else if (piece.on === 'end') out.push(streamed + piece.octets.toString('latin1'))
      else out.push(piece.octets.toString('latin1'))
    }
  }
  assert.ok(framer.heldOctets <= LIMITS.maxHeadOctets)
  return framer.isInside ? [...out, 'more'] : out
}

const of = (text: string): string[] => framed([Buffer.from(text, 'latin1')])
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

test('requests one behind the other, at every split', () => {
  const post = 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello'
  const chunked =
    'POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x="y"\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n'
  const put = 'PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nxyz'
  const all = Buffer.from(`\r\n${GET}${post}${chunked}${put}${GET}`)
  const expected = [
    GET,
    'POST /x HTTP/1.1\r\nHost: a\r\nX-A: b\r\ncontent-length: 5\r\n\r\nhello',
    'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nabcde',
    'PUT / HTTP/1.1\r\nHost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nxyz',
    GET,
  ]
  assert.deepEqual(framed([all]), expected)
  for (let at = 1; at < all.length; at++) assert.deepEqual(framed([all.subarray(0, at), all.subarray(at)]), expected)
  assert.deepEqual(framed([...all].map((octet) => Buffer.from([octet]))), expected)
})

test('a streamed chunked body keeps its octets, not its framing', () => {
  const put =
    'PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n00a;ext\r\n0123456789\r\n0\r\nA: b\r\n\r\n'
  assert.deepEqual(of(put), [
    'PUT / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n',
  ])
})

test('other forms of a target become a path', () => {
  assert.deepEqual(of('GET http://other.example:80/a?b HTTP/1.1\r\nHost: a\r\n\r\n'), [
    'GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n',
  ])
  assert.deepEqual(of('GET https://other HTTP/1.1\r\nHost: a\r\n\r\n'), [GET])
  assert.deepEqual(of('OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n'), ['OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n'])
})

test('hosts of every form', () => {
  for (const host of [
    '',
    'mail.example',
    'Mail.Example:8443',
    '192.0.2.1',
    '[2001:db8::1]:443',
    'xn--bcher-kva.example',
    'a_b',
    'a:',
  ]) {
    const get = `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`
    assert.deepEqual(of(get), [get])
  }
})

test('what servers read in different ways is refused (RFC 9112 §11.2)', () => {
  const post = (fields: string) => of(`POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n0\r\n\r\n${GET}`)
  for (const fields of [
    'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
    'Content-Length: 5\r\nContent-Length: 6\r\n',
    'Content-Length: 5\r\nContent-Length: 5\r\n',
    'Content-Length: 5, 5\r\n',
    'Content-Length: +5\r\n',
    'Content-Length: -1\r\n',
    'Content-Length: 0x5\r\n',
    'Content-Length: 5 5\r\n',
    'Content-Length:\r\n',
    'Content-Length: 99999999999999999999\r\n',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n',
    'Transfer-Encoding : chunked\r\n',
    ' Transfer-Encoding: chunked\r\n',
    'X: y\r\n Transfer-Encoding: chunked\r\n',
    'X: y\r\n\tz\r\n',
    'X: y\nTransfer-Encoding: chunked\r\n',
    'X: y\rTransfer-Encoding: chunked\r\n',
    'Transfer-Encoding:\x0bchunked\r\n',
    'Transfer-Encoding: chunked\0\r\n',
    ': x\r\n',
    'no colon\r\n',
    'Host: b\r\n',
  ]) {
    assert.deepEqual(post(fields), ['400'], JSON.stringify(fields))
  }
  assert.deepEqual(post('Transfer-Encoding: gzip, chunked\r\n'), ['501'])
  assert.deepEqual(post('Transfer-Encoding: xchunked\r\n'), ['501'])
  for (const text of [
    'GET / HTTP/1.1\nHost: a\n\n',
    'GET / HTTP/1.1\r\nHost: a\n\r\n',
    'GET  / HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET / HTTP/1.1 \r\nHost: a\r\n\r\n',
    'GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET * HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET a HTTP/1.1\r\nHost: a\r\n\r\n',
    'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET / HTTP/1.1\r\n\r\n',
    ...['a, b', 'a b', 'a@b', 'a/b', 'https://a', 'a:b', 'a:1:2', '[::1', 'a\\b', '\xe4'].map(
      (host) => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    ),
    'GET /\r\n\r\n',
    '\r\n\r\n\r\n\r\n\r\n\r\n',
    'x\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\r\n',
  ]) {
    assert.deepEqual(of(text), ['400'], JSON.stringify(text))
  }
  assert.deepEqual(of('GET / HTTP/1.0\r\nHost: a\r\n\r\n'), ['505'])
  assert.deepEqual(of('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), ['505'])
})

test('bad chunks are refused', () => {
  for (const body of [
    'x\r\n',
    '5\r\nhelloX\r\n',
    '5\nhello\n',
    '-1\r\n',
    '5 5\r\n',
    '0x5\r\nhello\r\n',
    '1\r\na\r\n0\r\nbad trailer\r\n\r\n',
    `0\r\n${'A: b\r\n'.repeat(2000)}\r\n`,
    `5;${'x'.repeat(300)}\r\n`,
    'ffffffffffffffff\r\n',
  ]) {
    for (const method of ['POST', 'PUT']) {
      const seen = of(`${method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${body}`)
      assert.deepEqual(seen, ['400'], JSON.stringify(body).slice(0, 60))
    }
  }
})

test('limits: head, fields, bodies that are held; of streamed ones none', () => {
  assert.deepEqual(of(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(32_700)}\r\n\r\n`).length, 1)
  assert.deepEqual(of(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(33_000)}\r\n\r\n`), ['413'])
  assert.deepEqual(of(`GET /${'x'.repeat(33_000)}`), ['413'])
  assert.deepEqual(of(`GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(100)}\r\n`), ['413'])
  assert.deepEqual(of('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n'), ['413'])
  const chunks = 'a\r\n0123456789\r\n'.repeat(11)
  assert.deepEqual(of(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`), ['413'])
  assert.equal(of(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n${'x'.repeat(1000)}`).length, 1)
})

test('an upgrade takes what follows with it; Connection: close is told', () => {
  const framer = new RequestFramer(LIMITS)
  framer.push(Buffer.from('GET /ws/x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n123'))
  assert.equal(framer.next()?.on, 'upgrade')
  assert.equal(framer.rest().length, 3)
  assert.equal(framer.next(), null)
  const closing = new RequestFramer(LIMITS)
  closing.push(Buffer.from('GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Close\r\n\r\n'))
  assert.equal((closing.next() as Extract<RequestPiece, { on: 'request' }>).closes, true)
})

test('fuzz: whatever comes, requests come out whole and only so, the same at every split', () => {
  const word = fc.constantFrom(
    ...[
      'GET',
      'POST',
      'PUT',
      ' / ',
      'HTTP/1.1',
      '\r\n',
      '\n',
      '\r',
      '\r\n\r\n',
      'Host: a\r\n',
      ' ',
      ':',
      '0',
      '5',
      'a',
    ],
    ...[
      'Content-Length: ',
      'Transfer-Encoding: chunked\r\n',
      '3\r\nabc\r\n',
      '0\r\n\r\n',
      GET,
      '\0',
      '\xff',
      'Expect: x\r\n',
    ],
  )
  const text = fc.oneof(
    fc.array(word, { maxLength: 30 }).map((words) => words.join('')),
    fc.array(word, { maxLength: 12 }).map((words) => `POST / HTTP/1.1\r\nHost: a\r\n${words.join('')}`),
  )
  fc.assert(
    fc.property(text, fc.array(fc.nat(200), { maxLength: 6 }), (sent, cuts) => {
      const all = Buffer.from(sent, 'latin1')
      const whole = framed([all])
      const places = [...cuts.filter((cut) => cut < all.length), all.length].sort((a, b) => a - b)
      const chunks = places.map((place, i) => all.subarray(places[i - 1] ?? 0, place))
      assert.deepEqual(framed(chunks), whole)
      for (const one of whole.filter((line) => !/^(?:\d{3}|more)$/.test(line))) {
        // What goes on is framed anew, in one way that reads in one way.
        assert.deepEqual(framed([Buffer.from(one, 'latin1')]), [one])
      }
    }),
    { numRuns: 5000 },
  )
})
