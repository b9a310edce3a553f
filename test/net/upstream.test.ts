/** The way to the provider over real sockets: TLS levels against certificates right and wrong, and the address guard. */
import assert from 'node:assert/strict'
import dns from 'node:dns'
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net'
import test, { after, before, mock } from 'node:test'
import { createSecureContext, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import type { TlsLevel } from '../../src/engine/account.ts'
import { ProviderNetworks } from '../../src/net/provider-networks.ts'
import { channelBinding, type UpstreamTls } from '../../src/net/tls.ts'
import { connectUpstream, type UpstreamOptions } from '../../src/net/upstream.ts'
import { TestAuthority, type TestCertificate } from './authority.ts'

const authority = new TestAuthority('Test CA')
const stranger = new TestAuthority('Unknown CA')
const loopback = new ProviderNetworks(['127.0.0.0/8', '::1/128'])
const servers: Server[] = []

after(() => {
  for (const server of servers) server.close()
})

async function listening(server: Server): Promise<number> {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

function options(more: Partial<UpstreamOptions> = {}): UpstreamOptions {
  const tls: UpstreamTls = { context: createSecureContext({ ca: authority.ca, minVersion: 'TLSv1.2' }) }
  return { tls, timeoutMs: 5000, networks: loopback, ...more }
}

async function tlsPort({ cert, pkey }: TestCertificate, more: object = {}): Promise<number> {
  const server = createTlsServer({ cert, key: pkey, ...more }, (socket) =>
    socket.on('error', () => {}).end('220 hi\r\n'),
  )
  server.on('tlsClientError', () => {})
  return listening(server)
}

const never = new AbortController().signal

async function outcome(host: string, port: number, level: TlsLevel): Promise<string> {
  try {
    const { socket, tls } = await connectUpstream({ host, port, level, persist: true }, options(), never)
    socket.on('error', () => {}).destroy()
    return tls ? 'tls' : 'plain'
  } catch (error) {
    return (error as { code: string }).code
  }
}

const PORTS = { right: 0, wrongHost: 0, expired: 0, notYet: 0, unknownCa: 0, old: 0 }

before(async () => {
  PORTS.right = await tlsPort(authority.issue('localhost'))
  PORTS.wrongHost = await tlsPort(authority.issue('other.example'))
  PORTS.expired = await tlsPort(authority.issue('localhost', [-30, -1]))
  PORTS.notYet = await tlsPort(authority.issue('localhost', [1, 30]))
  PORTS.unknownCa = await tlsPort(stranger.issue('localhost'))
  PORTS.old = await tlsPort(authority.issue('localhost'), { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' })
})

/** daemon.md §3: none, optional and unsecure take any certificate; medium and high a right one. */
const LEVELS: [keyof typeof PORTS, string, string][] = [
  ['right', 'tls', 'tls'],
  ['wrongHost', 'tls', 'UPSTREAM_TLS'],
  ['expired', 'tls', 'UPSTREAM_TLS'],
  ['notYet', 'tls', 'UPSTREAM_TLS'],
  ['unknownCa', 'tls', 'UPSTREAM_TLS'],
  ['old', 'UPSTREAM_TLS', 'UPSTREAM_TLS'],
]
for (const [name, any, verified] of LEVELS) {
  test(`a provider's certificate: ${name}`, async () => {
    for (const level of ['none', 'optional', 'unsecure'] as const) {
      assert.equal(await outcome('localhost', PORTS[name], level), any, level)
    }
    for (const level of ['medium', 'high'] as const) {
      assert.equal(await outcome('localhost', PORTS[name], level), verified, level)
    }
  })
}

test('an address for a host: only a certificate for that address', async () => {
  const port = await tlsPort(authority.issue('127.0.0.1'))
  assert.equal(await outcome('127.0.0.1', port, 'high'), 'tls')
  assert.equal(await outcome('127.0.0.1', PORTS.right, 'high'), 'UPSTREAM_TLS')
})

test('both ends of TLS 1.3 have the same channel binding, TLS 1.2 has none', async () => {
  const { cert, pkey } = authority.issue('localhost')
  for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
    const theirs = Promise.withResolvers<Buffer | null>()
    const server = createTlsServer({ cert, key: pkey, maxVersion }, (socket: TLSSocket) => {
      theirs.resolve(channelBinding(socket)?.data ?? null)
      socket.on('error', () => {}).end()
    })
    const port = await listening(server)
    const ask = { host: 'localhost', port, level: 'high', persist: true } as const
    const { socket } = await connectUpstream(ask, options(), never)
    const ours = channelBinding(socket as TLSSocket)?.data ?? null
    assert.deepEqual(ours, await theirs.promise)
    assert.equal(ours === null, maxVersion === 'TLSv1.2')
    assert(ours === null || ours.length === 32)
    socket.on('error', () => {}).destroy()
  }
})

test('no TLS where the profile does not begin with it', async () => {
  const port = await listening(createTcpServer((socket) => socket.on('error', () => {}).end('220 hi\r\n')))
  const ask = { host: '127.0.0.1', port, level: 'high', persist: false } as const
  const { socket, tls, address } = await connectUpstream(ask, options(), never)
  assert.deepEqual([tls, address], [false, '127.0.0.1'])
  socket.on('error', () => {}).destroy()
})

test('failures have codes of their own', async () => {
  const refused = async (host: string, port: number, signal = never): Promise<string> => {
    const ask = { host, port, level: 'high', persist: true } as const
    return connectUpstream(ask, options(), signal).then(
      () => 'connected',
      (error: { code: string }) => error.code,
    )
  }
  assert.equal(await refused('no-such-host.invalid', 25), 'UPSTREAM_DNS')
  const server = createTcpServer()
  const port = await listening(server)
  await new Promise((resolve) => server.close(resolve))
  assert.equal(await refused('127.0.0.1', port), 'UPSTREAM_CONNECTION')
  // Plaintext where TLS was expected.
  const plain = await listening(createTcpServer((socket) => socket.on('error', () => {}).end('220 no TLS here\r\n')))
  assert.equal(await refused('127.0.0.1', plain), 'UPSTREAM_TLS')
  assert.equal(await refused('127.0.0.1', plain, AbortSignal.abort()), 'UPSTREAM_CONNECTION')
})

test('an address that the configuration does not allow is never connected to', async () => {
  let connections = 0
  const port = await listening(
    createTcpServer((socket) => {
      connections++
      socket.on('error', () => {}).destroy()
    }),
  )
  // The resolver reads numbers as the shell's tools do: all of these are this machine, were they connected to.
  const here = [
    '127.0.0.1',
    '127.1',
    '0x7f000001',
    '2130706433',
    '0177.0.0.1',
    '0',
    '0.0.0.0',
    'localhost',
    '127.9.9.9',
  ]
  const here6 = ['::ffff:127.0.0.1', '::ffff:7f00:1', '0:0:0:0:0:ffff:7f00:1', '::1', '::', '::127.0.0.1']
  const near = ['169.254.169.254', '10.0.0.1', 'fe80::1', 'fe80::1%lo', '64:ff9b::7f00:1', '::ffff:0:7f00:1']
  for (const host of [...here, ...here6, ...near]) {
    await assert.rejects(
      connectUpstream(
        { host, port, level: 'none', persist: false },
        options({ networks: new ProviderNetworks([]) }),
        never,
      ),
      { code: 'UPSTREAM_CONNECTION' },
      host,
    )
  }
  assert.equal(connections, 0)
})

test('a name is resolved once: what it leads to afterwards is nobody’s matter (DNS rebinding)', async () => {
  const port = await listening(createTcpServer((socket) => socket.on('error', () => {}).end()))
  const again = mock.method(dns, 'lookup', () => assert.fail('resolved again'))
  const networks = new ProviderNetworks(['127.0.0.0/8', '::1'])
  try {
    const ask = { host: 'localhost', port, level: 'none', persist: false } as const
    const { socket } = await connectUpstream(ask, options({ networks }), never)
    socket.on('error', () => {}).destroy()
  } finally {
    again.mock.restore()
  }
})

test('networks of providers: public always, special ones as configured', () => {
  const none = new ProviderNetworks([])
  for (const address of ['8.8.8.8', '193.0.6.139', '2a00:1450:4001::1', '::ffff:8.8.8.8', '::ffff:808:808']) {
    // An IPv4 address is judged as such, however it is spelt.
    assert.equal(none.allows(address), true, address)
  }
  for (const address of [
    ...['0.0.0.0', '10.1.2.3', '100.64.0.1', '127.0.0.1', '169.254.169.254', '172.16.0.1', '172.31.255.255'],
    ...['192.0.2.1', '192.168.1.1', '198.18.0.1', '224.0.0.1', '255.255.255.255'],
    ...['::', '::1', '::127.0.0.1', '::ffff:127.0.0.1', '::ffff:7f00:1', 'fc00::1', 'fd12::1', 'fe80::1', 'ff02::1'],
    ...[
      '::ffff:0:7f00:1',
      '3fff::1',
      '5f00::1',
      '64:ff9b::7f00:1',
      '2002:7f00:1::',
      '2001:db8::1',
      '2001::1',
      '',
      'localhost',
      '127.1',
    ],
  ]) {
    assert.equal(none.allows(address), false, address)
  }
  const some = new ProviderNetworks(['10.0.0.0/8', 'fd00::/8'])
  assert.deepEqual(
    ['10.1.2.3', '::ffff:10.1.2.3', 'fd12::1', '192.168.1.1', '127.0.0.1', 'fc00::1'].map((address) =>
      some.allows(address),
    ),
    [true, true, true, false, false, false],
  )
  assert.throws(() => new ProviderNetworks(['10.0.0.0/99']), { code: 'CONFIG_INVALID' })
})
