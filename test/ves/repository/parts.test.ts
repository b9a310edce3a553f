import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../../src/base/errors.ts'
import { itemBody, readBody } from '../../../src/ves/repository/body.ts'
import { parseFields } from '../../../src/ves/repository/fields.ts'
import { Metrics } from '../../../src/ves/repository/metrics.ts'
import { peerName, peerOf } from '../../../src/ves/repository/peer.ts'
import { RateLimit } from '../../../src/ves/repository/rate.ts'
import { addressOf, isSection } from '../../../src/ves/repository/rules/names.ts'
import { SESSION_MS, Tokens, VERIFY_MS } from '../../../src/ves/repository/tokens.ts'

const NOW = 1_800_000_000_000

test('tokens say what they were made for, until they are too old, and nothing else passes', () => {
  const tokens = new Tokens(Buffer.alloc(32, 1))
  for (const id of [1, 2 ** 32, 2 ** 48, Number.MAX_SAFE_INTEGER]) {
    assert.deepEqual(tokens.read(tokens.session(id, NOW), NOW), { kind: 'session', keyId: id, issuedMs: NOW })
    assert.deepEqual(tokens.read(tokens.verify(id, id, NOW), NOW), {
      kind: 'verify',
      itemId: id,
      userId: id,
      issuedMs: NOW,
    })
  }
  const token = tokens.session(5, NOW)
  assert.ok(token.length <= 79)
  assert.notEqual(tokens.session(5, NOW), token)
  assert.notEqual(tokens.read(token, NOW + SESSION_MS - 1), null)
  assert.equal(tokens.read(token, NOW + SESSION_MS), null)
  assert.equal(tokens.read(tokens.verify(5, 6, NOW), NOW + VERIFY_MS), null)
  assert.equal(new Tokens(Buffer.alloc(32, 2)).read(token, NOW), null)
  const octets = Buffer.from(token, 'base64url')
  for (let bit = 0; bit < octets.length * 8; bit++) {
    const forged = Buffer.from(octets)
    forged[bit >> 3]! ^= 1 << (bit & 7)
    assert.equal(tokens.read(forged.toString('base64url'), NOW), null, `bit ${bit}`)
  }
  fc.assert(fc.property(fc.string(), (text) => tokens.read(text, NOW) === null))
})

test('fields: nested lists, empty ones, ranges', () => {
  const parsed = parseFields('a,b(c,d(e)),f(g)[12+50],h()')!
  assert.deepEqual([...parsed.keys()], ['a', 'b', 'f', 'h'])
  assert.deepEqual([...parsed.get('b')!.fields!.get('d')!.fields!.keys()], ['e'])
  assert.deepEqual(parsed.get('f')!.range, { after: 12, limit: 50 })
  assert.equal(parsed.get('a')!.fields, null)
  assert.equal(parsed.get('h')!.fields!.size, 0)
  assert.equal(parseFields(''), null)
  assert.equal(parseFields(null), null)
})

test('fuzz: fields are a tree or a GatewayError', () => {
  const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('a', 'b', ',', '(', ')', '[', '+', '1', ']') }))
  fc.assert(
    fc.property(text, (given) => {
      try {
        parseFields(given)
      } catch (error) {
        assert.ok(error instanceof GatewayError)
      }
    }),
  )
})

test('a rate limit gives its burst, then so many a second, each name for itself', () => {
  const limit = new RateLimit(2, 3, 2)
  const take = (name: string, ms: number): boolean => limit.take(name, NOW + ms)
  assert.deepEqual([take('a', 0), take('a', 0), take('a', 0), take('a', 0)], [true, true, true, false])
  assert.equal(take('b', 0), true)
  assert.deepEqual([take('a', 500), take('a', 500)], [true, false])
  assert.equal(take('a', -1000), false, 'a clock that goes back gives nothing')
  // Only so many names: the one not heard of for longest is forgotten.
  take('c', 600)
  take('d', 600)
  assert.equal(take('a', 600), true)
})

test('names: whose address begins them, and what is a section', () => {
  assert.equal(addressOf('Jane@x.org!section'), 'jane@x.org')
  assert.equal(addressOf('jane@x.org#p1'), 'jane@x.org')
  assert.equal(addressOf('anything'), null)
  assert.equal(addressOf('!abc@x'), null)
  assert.deepEqual(['jane@x.org!s', 'jane@x.org!', 'jane@x.org', '!abc'].map(isSection), [true, false, false, false])
})

test('metrics: counts by route and status, a histogram that adds up', () => {
  const metrics = new Metrics()
  metrics.count('GET me', 200, 1)
  metrics.count('GET me', 200, 7)
  metrics.count('none', 404, 9000)
  assert.deepEqual(metrics.toJson().requests, { 'GET me 200': 2, 'none 404': 1 })
  const text = metrics.toText()
  assert.match(text, /requests_total\{method="GET",route="me",status="200"\} 2\n/)
  assert.match(
    text,
    /bucket\{le="1"\} 1\n[\s\S]*bucket\{le="10"\} 2\n[\s\S]*bucket\{le="\+Inf"\} 3\n[\s\S]*sum 9008\n[\s\S]*count 3\n/,
  )
})

test('peers: IPv4 by address, IPv6 by /64, mapped addresses as what they are, proxies only where they are trusted', () => {
  for (const [address, name] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['0000:0000:0000:0000:0000:ffff:c000:0201', '192.0.2.1'],
    ['::1', '::1'],
    ['0000:0000:0000:0000:0000:0000:0000:0001', '::1'],
    ['2001:db8:0:1:a:b:c:d', '2001:db8:0:1::/64'],
    ['2001:0db8::1', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['', ''],
    ['a::b::c', 'a::b::c'],
    ['1:2:3', '1:2:3'],
    ['::zz', '::zz'],
  ] as const) {
    assert.equal(peerName(address), name, address)
  }
  const trusted = ['127.0.0.1', '::1']
  assert.equal(peerOf('127.0.0.1', '203.0.113.9, 198.51.100.7', trusted), '198.51.100.7')
  assert.equal(peerOf('127.0.0.1', undefined, trusted), '127.0.0.1')
  assert.equal(peerOf('192.0.2.1', '127.0.0.1', trusted), '192.0.2.1')
})

test('encData is base64: whole groups, and no more than two signs of filling', () => {
  const read = (encData: string) =>
    readBody(Buffer.from(JSON.stringify({ vaultEntries: [{ vaultKey: { id: 1 }, encData }] })), itemBody)
  for (const good of ['AAAA', 'AA==', 'AAA=', '+/09azAZ', `${'A'.repeat(4096)}AA==`]) {
    assert.equal(read(good).vaultEntries![0]!.encData, good)
  }
  const bad = [
    '',
    'A',
    'AA',
    'AAA',
    'AAAAA',
    'A===',
    '====',
    'AAA==',
    'AA==AAAA',
    'AAAA\n',
    'AAA-',
    'AA A',
    'AAA\u00e9',
  ]
  for (const encData of bad) assert.throws(() => read(encData), { code: 'API_INVALID' }, JSON.stringify(encData))
})
