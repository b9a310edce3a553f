import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../src/base/errors.ts'
import { addressUnit, Networks, normalAddress } from '../../src/net/address.ts'
import { parseProxyHeader, readProxyHeader } from '../../src/net/proxy-protocol.ts'
import { printProxyV2 } from '../../src/net/relay.ts'

const V4 = 'PROXY TCP4 192.0.2.1 198.51.100.7 56324 25\r\n'
const V4_ENDS = { client: { address: '192.0.2.1', port: 56324 }, local: { address: '198.51.100.7', port: 25 } }

const header = (text: string) => parseProxyHeader(Buffer.from(text, 'latin1'))

test('version 1: examples of the specification', () => {
  assert.deepEqual(header(`${V4}EHLO`), { octets: V4.length, ends: V4_ENDS })
  const v6 = `PROXY TCP6 ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535\r\n`
  assert.equal(header(v6)?.ends?.client.port, 65535)
  assert.deepEqual(header('PROXY UNKNOWN\r\n'), { octets: 15, ends: null })
  assert.deepEqual(
    header(`PROXY UNKNOWN ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535\r\n`)?.ends,
    null,
  )
  assert.equal(header('PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n')?.ends?.client.address, '192.0.2.1')
})

test('version 2: TCP over IPv4 and IPv6, LOCAL, other families, extensions', () => {
  const v4 = printProxyV2(V4_ENDS.client, V4_ENDS.local)
  assert.deepEqual(parseProxyHeader(Buffer.concat([v4, Buffer.from('x')])), { octets: 28, ends: V4_ENDS })
  const v6 = printProxyV2({ address: '2001:db8::1', port: 1 }, { address: '::1', port: 2 })
  assert.deepEqual(parseProxyHeader(v6)?.ends, {
    client: { address: '2001:db8:0:0:0:0:0:1', port: 1 },
    local: { address: '0:0:0:0:0:0:0:1', port: 2 },
  })
  const local = Buffer.from(v4)
  local[12] = 0x20
  assert.deepEqual(parseProxyHeader(local), { octets: 28, ends: null })
  const unix = Buffer.from(v4)
  unix[13] = 0x31
  assert.deepEqual(parseProxyHeader(unix), { octets: 28, ends: null })
  const extended = Buffer.concat([v4, Buffer.from([3, 0, 1, 7])])
  extended.writeUInt16BE(16, 14)
  assert.deepEqual(parseProxyHeader(extended), { octets: 32, ends: V4_ENDS })
})

test('what is no header is refused, what is a beginning waits', () => {
  for (const text of [
    'EHLO x\r\n',
    'P ',
    'PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.7 56324 25 x\r\n',
    'PROXY TCP4 192.0.2.256 198.51.100.7 56324 25\r\n',
    'PROXY TCP4 ::1 ::1 1 2\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.7 99999 25\r\n',
    'PROXY TCP4 192.0.2.1 198.51.100.7 01 25\r\n',
    `PROXY TCP4 ${'1'.repeat(200)}`,
    'PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n',
  ]) {
    assert.throws(() => header(text), { code: 'SYNTAX' }, text)
  }
  const v2 = printProxyV2(V4_ENDS.client, V4_ENDS.local)
  for (const [at, octet] of [
    [12, 0x11],
    [12, 0x22],
    [14, 0xff],
    [15, 4],
  ] as const) {
    const bad = Buffer.concat([v2, Buffer.alloc(64)])
    bad[at] = octet
    assert.throws(() => parseProxyHeader(bad), { code: 'SYNTAX' }, `${at}`)
  }
  for (const whole of [Buffer.from(V4), v2]) {
    for (let n = 0; n < whole.length; n++) assert.equal(parseProxyHeader(whole.subarray(0, n)), null)
    assert.notEqual(parseProxyHeader(whole), null)
  }
})

test('any octets give a header, a wait, or SYNTAX', () => {
  const v2 = printProxyV2(V4_ENDS.client, V4_ENDS.local)
  const changed = fc.tuple(fc.constantFrom(v2, Buffer.from(V4)), fc.nat(30), fc.nat(255)).map(([from, at, octet]) => {
    const copy = Buffer.from(from)
    if (at < copy.length) copy[at] = octet
    return copy
  })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array().map(Buffer.from), changed), (bytes) => {
      try {
        const parsed = parseProxyHeader(Buffer.from(bytes))
        assert.ok(parsed === null || parsed.octets <= bytes.length)
      } catch (error) {
        assert.ok(error instanceof GatewayError && error.code === 'SYNTAX', String(error))
      }
    }),
    { numRuns: 1000 },
  )
})

async function pair(t: TestContext): Promise<{ client: Socket; server: Socket }> {
  const listener = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const client = connect((listener.address() as { port: number }).port, '127.0.0.1')
  const [server] = (await once(listener, 'connection')) as [Socket]
  t.after(() => {
    client.destroy()
    server.destroy()
    listener.close()
  })
  return { client, server }
}

test('from a socket: in pieces, and what follows stays to be read', async (t) => {
  const { client, server } = await pair(t)
  const ends = readProxyHeader(server)
  client.setNoDelay(true)
  client.write(V4.slice(0, 10))
  await once(server, 'readable')
  client.write(`${V4.slice(10)}EHLO x\r\n`)
  assert.deepEqual(await ends, V4_ENDS)
  assert.equal(String(server.read() ?? (await once(server, 'data'))[0]), 'EHLO x\r\n')
})

test('from a socket: silence, nonsense and an end are failures', async (t) => {
  const silent = await pair(t)
  await assert.rejects(readProxyHeader(silent.server, 1), { code: 'TIMEOUT' })
  assert.ok(silent.server.destroyed)
  const nonsense = await pair(t)
  nonsense.client.write('GET / HTTP/1.1\r\n')
  await assert.rejects(readProxyHeader(nonsense.server), { code: 'SYNTAX' })
  const ended = await pair(t)
  ended.client.end('PROX')
  await assert.rejects(readProxyHeader(ended.server), { code: 'IO' })
})

test('addresses have one spelling, and a unit', () => {
  assert.equal(normalAddress('::ffff:192.0.2.1'), '192.0.2.1')
  assert.equal(normalAddress('FE80::1%eth0'), 'fe80::1')
  assert.equal(addressUnit('192.0.2.1'), '192.0.2.1')
  assert.equal(addressUnit('2001:db8::1'), '2001:db8:0:0::/64')
  assert.equal(addressUnit('2001:db8:0:0:1:2:3:4'), '2001:db8:0:0::/64')
  assert.equal(addressUnit('::1'), '0:0:0:0::/64')
  assert.equal(addressUnit('2001:db8:1:2::'), '2001:db8:1:2::/64')
  assert.equal(addressUnit('64:ff9b::192.0.2.1'), '64:ff9b:0:0::/64')
})

test('networks', () => {
  const networks = new Networks(['10.0.0.0/8', '2001:db8::/32', '192.0.2.1'])
  assert.ok(networks.has('10.255.0.1'))
  assert.ok(networks.has('2001:db8:1::1'))
  assert.ok(networks.has('192.0.2.1'))
  assert.ok(!networks.has('192.0.2.2'))
  assert.ok(!networks.has('nonsense'))
  assert.ok(!new Networks([]).has('127.0.0.1'))
  for (const bad of ['10.0.0.0/33', '10/8', 'x', '::/129', '10.0.0.0/', '10.0.0.0/-1']) {
    assert.throws(() => new Networks([bad]), { code: 'CONFIG_INVALID' }, bad)
  }
})
