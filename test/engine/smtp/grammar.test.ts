import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../../src/base/errors.ts'
import { ownLines, parseCapabilities, plainOctets, sealedOctets } from '../../../src/engine/smtp/capabilities.ts'
import { parseCommand, parseHelloName, parsePathCommand, printParameters } from '../../../src/engine/smtp/command.ts'
import { LineFramer } from '../../../src/engine/smtp/line-framer.ts'
import {
  printReply,
  type Reply,
  ReplyFramer,
  replyOf,
  withEnhancedCode,
  withLine,
} from '../../../src/engine/smtp/reply.ts'

test('command lines: CRLF or LF, every split', () => {
  const input = Buffer.from('EHLO a\r\nNOOP\nQUIT\r\nrest')
  for (let n = 1; n <= input.length; n++) {
    const framer = new LineFramer()
    const lines: string[] = []
    for (let at = 0; at < input.length; at += n) {
      framer.push(input.subarray(at, at + n))
      for (let line = framer.next(); line !== null; line = framer.next()) lines.push(line.toString())
    }
    assert.deepEqual(lines, ['EHLO a', 'NOOP', 'QUIT'])
    assert.equal(framer.takeRest().toString(), 'rest')
    assert.equal(framer.length, 0)
  }
})

test('a command line is bounded, with and without its end', () => {
  for (const end of ['', '\r\n']) {
    const framer = new LineFramer(100)
    framer.push(Buffer.from('x'.repeat(101) + end))
    assert.throws(() => framer.next(), { code: 'LINE_TOO_LONG' })
  }
  const framer = new LineFramer(100)
  framer.push(Buffer.from(`${'x'.repeat(98)}\r\n`))
  assert.equal(framer.next()?.length, 98)
})

test('commands', () => {
  assert.deepEqual(parseCommand(Buffer.from('mail FROM:<a@b>  ')), { verb: 'MAIL', args: 'FROM:<a@b>' })
  assert.deepEqual(parseCommand(Buffer.from('QUIT')), { verb: 'QUIT', args: '' })
  assert.deepEqual(parseCommand(Buffer.from('')), { verb: '', args: '' })
  assert.deepEqual(parseCommand(Buffer.from('<html>')), { verb: '', args: '' })
  for (const bad of ['MAIL FROM:<a\0@b>', 'MAIL FROM:<a@b>\rRCPT TO:<c@d>', '\x16\x03\x01']) {
    assert.throws(() => parseCommand(Buffer.from(bad)), { code: 'SYNTAX' }, bad)
  }
  assert.throws(() => parseCommand(Buffer.from([0x51, 0xff])), { code: 'SYNTAX' })
})

test('names of EHLO', () => {
  assert.equal(parseHelloName('[127.0.0.1]'), '[127.0.0.1]')
  for (const bad of ['', 'a b', 'a(b)', '<x>', 'x'.repeat(256)]) {
    assert.throws(() => parseHelloName(bad), { code: 'SYNTAX' }, bad)
  }
})

const PATHS: [string, string, string | null][] = [
  ['TO:<bob@example.org>', '<bob@example.org>', 'bob@example.org'],
  ['to: <Bob@Example.org>', '<Bob@Example.org>', 'Bob@Example.org'],
  ['TO:bob@example.org', '<bob@example.org>', 'bob@example.org'],
  ['TO:<postmaster>', '<postmaster>', 'postmaster'],
  ['TO:<"john \\"x\\" doe"@example.org>', '<"john \\"x\\" doe"@example.org>', 'john "x" doe@example.org'],
  // Source routes: who reads them gets another recipient than who does not.
  ['TO:<@evil.example,@b.example:bob@example.org>', '<bob@example.org>', 'bob@example.org'],
  ['TO:<a..b.@example.org>', '<a..b.@example.org>', 'a..b.@example.org'],
  ['TO:<bob@[192.0.2.1]>', '<bob@[192.0.2.1]>', 'bob@[192.0.2.1]'],
  ['TO:<bob@[IPv6:2001:db8::1]>', '<bob@[IPv6:2001:db8::1]>', 'bob@[IPv6:2001:db8::1]'],
  ['TO:<žofie@příklad.example>', '<žofie@příklad.example>', 'žofie@příklad.example'],
  ['FROM:<>', '<>', null],
]
for (const [args, text, address] of PATHS) {
  test(`path ${args}`, () => {
    const keyword = args.startsWith('FROM') ? 'FROM' : 'TO'
    assert.deepEqual(parsePathCommand(args, keyword), { path: { text, address }, parameters: [] })
  })
}

test('paths that two servers could read in two ways are refused', () => {
  for (const bad of [
    '',
    'TO',
    'TO:',
    'TO:<>',
    'TO:<bob@example.org',
    'TO:bob@example.org>',
    'TO:<bob@example.org>x',
    'TO:<bob@example.org><carol@example.org>',
    'TO:<bob@example.org,carol@example.org>',
    'TO:<bob (comment)@example.org>',
    'TO:<bob@exa mple.org>',
    'TO:<bob@a@b>',
    'TO:<"bob@example.org>',
    'TO:<bob@>',
    'TO:<@example.org>',
    'TO:Bob <bob@example.org>',
    'FROM:<a@b>',
    // In lower case the addresses of other people: bok@…, i̇…
    'TO:<bo\u212a@example.org>',
    'TO:<\u0130van@example.org>',
    `TO:<${'x'.repeat(520)}@example.org>`,
  ]) {
    assert.throws(() => parsePathCommand(bad, 'TO'), { code: 'SYNTAX' }, bad)
  }
})

test('parameters', () => {
  const { parameters } = parsePathCommand('FROM:<a@b> size=100 BODY=8BITMIME  SMTPUTF8', 'FROM')
  assert.deepEqual(parameters, [
    { name: 'SIZE', value: '100' },
    { name: 'BODY', value: '8BITMIME' },
    { name: 'SMTPUTF8', value: null },
  ])
  assert.equal(printParameters(parameters), ' SIZE=100 BODY=8BITMIME SMTPUTF8')
  const many = (count: number): string => `FROM:<a@b>${Array.from({ length: count }, (_, n) => ` X${n}`).join('')}`
  assert.equal(parsePathCommand(many(16), 'FROM').parameters.length, 16)
  for (const bad of ['FROM:<a@b> SIZE=1 SIZE=2', 'FROM:<a@b> =', 'FROM:<a@b> A=b=c', many(17)]) {
    assert.throws(() => parsePathCommand(bad, 'FROM'), { code: 'SYNTAX' }, bad)
  }
})

test('any line: a command or a GatewayError', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.constantFrom('MAIL FROM:', 'RCPT TO:', ''), (text, verb) => {
      try {
        const { args } = parseCommand(Buffer.from(verb + text))
        const { path } = parsePathCommand(args, verb === 'MAIL FROM:' ? 'FROM' : 'TO')
        // What goes on reads the same again, and is one line.
        assert.deepEqual(parsePathCommand(`FROM:${path.text}`, 'FROM').path, path)
        assert.doesNotMatch(path.text, /[\r\n\0]/)
      } catch (error) {
        assert(error instanceof GatewayError, String(error))
      }
    }),
  )
})

function replies(chunks: Buffer[]): Reply[] {
  const framer = new ReplyFramer()
  const all: Reply[] = []
  for (const chunk of chunks) {
    framer.push(chunk)
    for (let reply = framer.next(); reply !== null; reply = framer.next()) all.push(reply)
  }
  return all
}

test('replies: one line and several, every split, printed as they came', () => {
  const text = '220 ready\r\n250-a\r\n250-SIZE 10\r\n250 b {5}\r\n354\r\n250 \xe9\r\n'
  const input = Buffer.from(text, 'latin1')
  for (let n = 1; n <= input.length; n++) {
    const chunks: Buffer[] = []
    for (let at = 0; at < input.length; at += n) chunks.push(input.subarray(at, at + n))
    const all = replies(chunks)
    assert.deepEqual(
      all.map(({ code }) => code),
      [220, 250, 354, 250],
    )
    assert.equal(Buffer.concat(all.map(printReply)).toString('latin1'), text.replace('354\r', '354 \r'))
  }
})

test('what is no reply ends the connection', () => {
  for (const bad of ['hello\r\n', '250-a\r\n251 b\r\n', '25\r\n', '199 x\r\n', '600 x\r\n', '250x\r\n', '\r\n']) {
    assert.throws(() => replies([Buffer.from(bad)]), { code: 'UPSTREAM_UNEXPECTED' }, bad)
  }
  const long = Buffer.from(`250-${'x'.repeat(1000)}\r\n`.repeat(300))
  assert.throws(() => replies([long]), { code: 'UPSTREAM_UNEXPECTED' })
  assert.throws(() => replies([Buffer.alloc(300 * 1024, 0x32)]), { code: 'UPSTREAM_UNEXPECTED' })
})

test('control characters in a reply do not reach the client: a bare CR could be a second reply', () => {
  const [reply] = replies([Buffer.from('550 no\r250 yes\0\x1b[2J\tx\r\n')])
  assert.equal(printReply(reply!).toString(), '550 no 250 yes  [2J\tx\r\n')
})

test('any octets: replies or a GatewayError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (octets) => {
      try {
        replies([Buffer.from(octets), Buffer.from('250 x\r\n')])
      } catch (error) {
        assert(error instanceof GatewayError, String(error))
      }
    }),
  )
})

test('lines of ours in a reply of the provider carry its enhanced code (RFC 2034 §4)', () => {
  assert.deepEqual(withLine({ code: 250, lines: ['2.1.0 Ok'] }, 'žx').lines, [
    '2.1.0 Ok',
    Buffer.from('2.1.0 žx').toString('latin1'),
  ])
  assert.deepEqual(withLine({ code: 250, lines: ['Ok'] }, 'x').lines, ['Ok', 'x'])
})

test('bare replies get an enhanced code, 354 does not', () => {
  assert.deepEqual(withEnhancedCode(replyOf(250, 'Ok', 'queued')).lines, ['2.0.0 Ok', '2.0.0 queued'])
  assert.deepEqual(withEnhancedCode(replyOf(550, '5.1.1 No')).lines, ['5.1.1 No'])
  assert.deepEqual(withEnhancedCode(replyOf(450, '')).lines, ['4.0.0 '])
  assert.deepEqual(withEnhancedCode(replyOf(354, 'go')).lines, ['go'])
})

test('capabilities of a provider', () => {
  const seen = parseCapabilities(
    replyOf(
      250,
      'host XVES',
      'PIPELINING',
      'size 52428800',
      'AUTH=LOGIN',
      'AUTH PLAIN LOGIN',
      'STARTTLS',
      'dsn',
      'FOO',
    ),
  )
  assert.deepEqual(seen, {
    pipelining: true,
    eightBitMime: false,
    enhancedStatusCodes: false,
    dsn: true,
    smtpUtf8: false,
    startTls: true,
    auth: ['LOGIN', 'PLAIN', 'LOGIN'],
    size: 52428800,
    xves: false,
  })
  assert.equal(parseCapabilities(replyOf(250, 'h', 'SIZE')).size, 0)
  assert.equal(parseCapabilities(replyOf(250, 'h', 'SIZE x')).size, 0)
  assert.equal(parseCapabilities(replyOf(250, 'h')).size, null)
})

test('our list after login is the intersection, its size the plain message that fits sealed', () => {
  const offer = { host: 'h', startTls: false, auth: [], sizeLimit: null }
  const provider = parseCapabilities(replyOf(250, 'p', 'PIPELINING', 'SIZE 1000000', 'CHUNKING', 'BURL imap'))
  assert.deepEqual(ownLines({ ...offer, provider }), ['h', 'PIPELINING', 'SIZE 708434', 'HELP', 'XVES'])
  assert.deepEqual(ownLines({ ...offer, sizeLimit: 5000, provider })[2], 'SIZE 5000')
  for (const limit of [10_000, 1_000_000, 52_428_800]) {
    assert(sealedOctets(plainOctets(limit)) <= limit)
    assert(sealedOctets(plainOctets(limit) + 1) > limit)
  }
})
