/**
 * Fuzz targets of the HTTP side's parsers: requests (chunked bodies with them), WebSocket frames, JSON asks, the head of
 * an upload, the address of the viewer. Each has to give the same in one piece and in pieces, to hold no more than its
 * limits, and to throw nothing but a GatewayError.
 */
import assert from 'node:assert/strict'
import { GatewayError } from '../../src/base/errors.ts'
import { RequestFramer } from '../../src/net/http-request-framer.ts'
import { parseAsk } from '../../src/net/now/ask.ts'
import { HeaderScan } from '../../src/net/now/header-scan.ts'
import { MAX_SLICE_OCTETS, WebSocketSlicer } from '../../src/net/websocket-slicer.ts'
import { askedMessage, onboardingLink } from '../../src/viewer/page/address.ts'
import { type Dice, mutate } from '../../test/engine/seal/generate.ts'
import type { FuzzTarget } from './target.ts'

const LIMITS = { maxHeadOctets: 2048, maxBodyOctets: 200, streams: (method: string) => method === 'PUT' }
/** Heads and held bodies together; a body's piece is given on at once. */
const MAX_HELD = LIMITS.maxHeadOctets + LIMITS.maxBodyOctets + 8 * 1024

const METHODS = ['GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'CONNECT', 'PRI', 'get', 'G\0T']
const TARGETS = ['/', '/ves.json', '/now/?msgid=a%40b', '*', 'http://h:1/x?y#z', '//', '/ws/imap', '/%', 'a', '/ä']
const FIELDS = [
  'Content-Length: 5',
  'Content-Length: 0',
  'Content-Length: 00005',
  'Content-Length: 5, 5',
  'Content-Length: 199',
  'Content-Length: 201',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding : chunked',
  ' folded',
  'Upgrade: websocket',
  'Connection: close',
  'Connection: Upgrade',
  'Expect: 100-continue',
  'Host: b',
  'X: y',
  'X:',
  ': x',
]
const CHUNKS = [
  '3\r\nabc\r\n',
  '0\r\n\r\n',
  '0\r\nT: x\r\n\r\n',
  '5;e="\r\n"\r\nhello\r\n',
  'a\r\n0123456789\r\n',
  '-1\r\n',
  'fffffffffffff\r\n',
]

/** Whole, and in pieces of any size. */
function cut(octets: Buffer, dice: Dice): Buffer[] {
  const pieces: Buffer[] = []
  const most = 1 + dice.below(dice.oneIn(3) ? 3 : 300)
  for (let at = 0; at < octets.length; ) {
    const size = 1 + dice.below(most)
    pieces.push(Buffer.from(octets.subarray(at, at + size)))
    at += size
  }
  return pieces
}

const some = (dice: Dice, from: readonly string[], most: number): string[] =>
  Array.from({ length: dice.below(most + 1) }, () => dice.pick(from))

function worse(octets: Buffer, dice: Dice): Buffer {
  return dice.oneIn(2) && octets.length > 0 ? mutate(octets, dice) : octets
}

function requests(dice: Dice): Buffer {
  const all = Array.from({ length: 1 + dice.below(4) }, () => {
    const line = `${dice.pick(METHODS)} ${dice.pick(TARGETS)} HTTP/${dice.oneIn(20) ? '1.0' : '1.1'}`
    const end = dice.oneIn(20) ? '\n' : '\r\n'
    const fields = ['Host: a', ...some(dice, FIELDS, 3)].map((field) => field + end)
    if (dice.oneIn(30)) fields.push(`Y: ${'y'.repeat(dice.below(4096))}${end}`)
    const body = dice.oneIn(2) ? some(dice, CHUNKS, 4).join('') : 'x'.repeat(dice.below(250))
    return `${line}${end}${fields.join('')}${end}${body}`
  })
  return worse(Buffer.from(all.join(''), 'latin1'), dice)
}

/** Streamed bodies are compared as octets without the framing of their pieces, which follows how they came. */
function framed(pieces: readonly Buffer[]): string[] {
  const framer = new RequestFramer(LIMITS)
  const out: string[] = []
  let streamed = ''
  for (const piece of pieces) {
    framer.push(piece)
    for (let next = framer.next(); next !== null; next = framer.next()) {
      if (next.on === 'refuse') return [...out, `refused ${next.status}`]
      if (next.on === 'upgrade') return [...out, `upgrade ${next.octets.toString('latin1')}`]
      const text = next.octets.toString('latin1')
      if (next.on === 'begin') streamed = text
      else if (next.on === 'body') streamed += text
      else if (next.on === 'end') out.push(...unchunked(streamed + text))
      else out.push(text)
    }
    assert.ok(framer.heldOctets <= MAX_HELD + piece.length, `holds ${framer.heldOctets}`)
  }
  return out
}

/** Head and body of a streamed request as the server behind reads it. */
function unchunked(request: string): [string, string] {
  const end = request.indexOf('\r\n\r\n') + 4
  const [head, body] = [request.slice(0, end), request.slice(end)]
  if (!/^transfer-encoding: chunked\r$/m.test(head)) return [head, body]
  let data = ''
  for (let at = 0; ; ) {
    const line = /^([0-9a-f]+)\r\n/.exec(body.slice(at, at + 16))
    assert.ok(line !== null, 'a chunk begins')
    const size = Number.parseInt(line[1]!, 16)
    at += line[0].length + size
    data += body.slice(at - size, at)
    assert.equal(body.slice(at, at + 2), '\r\n', 'a chunk ends')
    at += 2
    if (size === 0) {
      assert.equal(at, body.length, 'nothing behind the last chunk')
      return [head, data]
    }
  }
}

function frames(dice: Dice): Buffer {
  const all = Array.from({ length: 1 + dice.below(5) }, () => {
    const payload = Buffer.alloc(
      dice.oneIn(200) ? 40_000 : dice.pick([0, 1, 5, 125, 126, 127, 200, dice.below(600)]),
      dice.below(256),
    )
    const form = dice.pick([7, 7, 16, 64])
    const head = Buffer.alloc(form === 7 ? 2 : form === 16 ? 4 : 10)
    head[0] = dice.pick([0x82, 0x81, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8a, dice.below(256)])
    head[1] = (dice.oneIn(20) ? 0 : 0x80) | (form === 7 ? Math.min(payload.length, 125) : form === 16 ? 126 : 127)
    if (form === 16) head.writeUInt16BE(payload.length, 2)
    if (form === 64) head.writeBigUInt64BE(dice.oneIn(10) ? 2n ** 63n : BigInt(payload.length), 2)
    const sent = form === 7 ? payload.subarray(0, 125) : payload
    return Buffer.concat([head, Buffer.from([1, 2, 3, dice.below(256)]), sent])
  })
  return worse(Buffer.concat(all), dice)
}

/** What a server reads of it: payload of messages, unmasked, and the control frames. */
function sliced(pieces: readonly Buffer[]): { data: string; control: string } {
  const slicer = new WebSocketSlicer()
  const octets = Buffer.concat(pieces.flatMap((piece) => slicer.push(piece)))
  const data: Buffer[] = []
  const control: Buffer[] = []
  for (let at = 0; at + 2 <= octets.length; ) {
    const short = octets[at + 1]! & 127
    const head = short === 126 ? 4 : 2
    const size = short === 126 ? octets.readUInt16BE(at + 2) : short
    assert.ok(short !== 127 && size <= MAX_SLICE_OCTETS, 'a slice is short')
    const opcode = octets[at]! & 15
    const mask = octets.subarray(at + head, at + head + 4)
    const payload = octets.subarray(at + head + 4, at + head + 4 + size)
    if (opcode === 2) data.push(Buffer.from(payload.map((octet, i) => octet ^ mask[i % 4]!)))
    else control.push(octets.subarray(at, at + head + 4 + size))
    at += head + 4 + size
  }
  const whole = Buffer.concat(data)
  return { data: whole.toString('base64'), control: Buffer.concat(control).toString('base64') }
}

const ASKS: readonly object[] = [
  { messageId: '<a@b.m.ves.world>', token: 't' },
  { messageId: 'a@b', externalId: 'c@d', VESkey: 'k' },
  { probe: { imap: { host: 'h', port: 143, login: 'l', password: 'p', tls: { level: 'none' } } }, token: 't' },
  { probe: { smtp: { host: 'h', port: 'smtps', tls: { persist: true } } } },
  { probe: {} },
  { __proto__: null, messageId: [], token: {} },
]

const UPLOAD = [
  'X-VESmail-ID: <m@x>',
  'X-VESmail-ID:\r\n <m@x>',
  'X-VESmail-Verify: token',
  'X-VESmail-Verify: a b',
  'Message-ID: <m@x.m.ves.world>',
  'Content-Type: multipart/mixed; boundary="b"',
  'Subject: x',
  ' folded',
  'no colon',
]

function scanned(pieces: readonly Buffer[]): string {
  const scan = new HeaderScan()
  try {
    for (const piece of pieces) if (scan.push(piece)) return JSON.stringify([scan.messageId, scan.verify])
    return 'more'
  } catch (error) {
    if (error instanceof GatewayError) return error.code
    throw error
  }
}

const QUERY = [
  'msgid=',
  'email=',
  'token=',
  '&',
  '=',
  '%3C',
  '%3E',
  '<',
  '>',
  '.m.ves.world',
  '%',
  '%C3',
  '+',
  'a@b',
  '?',
  '#',
]

/** As a browser gives it: each character printable ASCII, the rest percent-encoded; and as no browser would. */
function address(dice: Dice): string {
  const text = some(dice, QUERY, 12).join('') + (dice.oneIn(20) ? 'x'.repeat(dice.below(3000)) : '')
  return worse(Buffer.from(text, 'latin1'), dice).toString('latin1')
}

export const HTTP_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'http-requests',
    run: (dice) => {
      const octets = requests(dice)
      assert.deepEqual(framed(cut(octets, dice)), framed([octets]))
    },
  },
  {
    name: 'websocket',
    run: (dice) => {
      const octets = frames(dice)
      assert.deepEqual(sliced(cut(octets, dice)), sliced([Buffer.from(octets)]))
    },
  },
  {
    name: 'now-ask',
    run: (dice) => {
      const ask = parseAsk(worse(Buffer.from(JSON.stringify(dice.pick(ASKS))), dice))
      assert.ok(ask === null || ['probe', 'sealed', 'opened'].includes(ask.kind))
    },
  },
  {
    name: 'upload-head',
    run: (dice) => {
      const end = dice.oneIn(10) ? '\n' : '\r\n'
      const lines = some(dice, UPLOAD, 6).map((line) => line + end)
      if (dice.oneIn(500)) lines.push(`X: ${'x'.repeat(dice.below(300_000))}${end}`)
      const octets = worse(Buffer.from(`${lines.join('')}${end}body`), dice)
      assert.equal(scanned(cut(octets, dice)), scanned([octets]))
    },
  },
  {
    name: 'viewer-address',
    run: (dice) => {
      const text = address(dice)
      const id = askedMessage(`?${text}`)
      assert.ok(id === null || (id !== '' && id.length <= 998), `id ${id}`)
      // What it took it takes again: the link that the page would write leads to the same message.
      if (id !== null && !/^<.*>$|^\s|\s$|\.m\.ves\.world$/.test(id)) {
        assert.equal(askedMessage(`?msgid=${encodeURIComponent(id.toWellFormed())}`), id.toWellFormed())
      }
      const { email, token } = onboardingLink(`#${text}`)
      assert.ok(email.length <= 320 && token.length <= 79)
    },
  },
]
