/** The door of a real worker: PROXY protocol, session limits, abuse protection. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { printProxyV2 } from '../../src/net/relay.ts'
import { stateKey } from '../../src/workers/shared-state.ts'
import { GuardStage, LineClient } from '../guard/stage.ts'

test('PROXY header: required from the configured networks, and the client it names is the client', async (t) => {
  const stage = await GuardStage.start(t, { workers: 1, all: { 'proxy-protocol': ['127.0.0.0/8'] } })
  const v1 = new LineClient(stage.port)
  v1.socket.write('PROXY TCP4 192.0.2.55 198.51.100.1 40000 25\r\nfirst\r\n')
  assert.match(await v1.line(), /^220 /)
  assert.equal(await v1.line(), '250 first', 'what came along with the header is not lost')
  await stage.logged(
    'session',
    ({ peer, peerPort, local }) => peer === '192.0.2.55' && peerPort === 40000 && local === '198.51.100.1',
  )
  const v2 = new LineClient(stage.port)
  v2.socket.write(printProxyV2({ address: '2001:db8::9', port: 7 }, { address: '2001:db8::1', port: 25 }))
  assert.match(await v2.line(), /^220 /)
  await stage.logged('session', ({ peer }) => peer === '2001:db8:0:0:0:0:0:9')
  const check = new LineClient(stage.port)
  check.socket.write('PROXY UNKNOWN\r\n')
  assert.match(await check.line(), /^220 /)
  await stage.logged('session', ({ peer }) => peer === '127.0.0.1')
  const without = new LineClient(stage.port)
  without.socket.write('EHLO x\r\n')
  assert.equal(await without.line(), 'closed')
  await stage.logged('connection', ({ code }) => code === 'SYNTAX')
})

test('from nobody else is a header read', async (t) => {
  const stage = await GuardStage.start(t, { workers: 1, all: { 'proxy-protocol': ['10.0.0.0/8'] } })
  const client = new LineClient(stage.port)
  const header = 'PROXY TCP4 192.0.2.55 198.51.100.1 40000 25'
  client.socket.write(`${header}\r\n`)
  assert.match(await client.line(), /^220 /)
  assert.equal(await client.line(), `250 ${header}`)
})

test('sessions per address, over all workers; another address is not touched', async (t) => {
  const stage = await GuardStage.start(t, {
    all: { 'proxy-protocol': ['127.0.0.0/8'], limits: { sessionsPerAddress: 3 } },
  })
  const from = (address: string): LineClient => {
    const client = new LineClient(stage.port)
    client.socket.write(`PROXY TCP4 ${address} 198.51.100.1 40000 25\r\n`)
    return client
  }
  const three = [from('192.0.2.1'), from('192.0.2.1'), from('192.0.2.1')]
  for (const client of three) assert.match(await client.line(), /^220 /)
  assert.equal(await from('192.0.2.1').line(), '421 4.7.0 Too many connections, try later')
  assert.match(await from('192.0.2.2').line(), /^220 /)
  assert.equal(await three[0]!.ask('QUIT'), '221 bye')
  three[0]!.socket.end()
  assert.equal(await three[0]!.line(), 'closed')
  // The place is given back when the connection is closed on the other side, too.
  for (let i = 0; ; i++) {
    const line = await from('192.0.2.1').line()
    if (line.startsWith('220 ')) break
    assert.ok(i < 50, line)
  }
})

test('whom a restart sends away may come back at once, at the limit too', async (t) => {
  const stage = await GuardStage.start(t, {
    workers: 1,
    all: { limits: { sessionsPerAddress: 1, drainWindowSeconds: 0 } },
  })
  // One that reads the goodbye but is slow to close.
  const client = connect({ port: stage.port, host: '127.0.0.1', allowHalfOpen: true })
  t.after(() => client.destroy())
  const [greeting] = (await once(client, 'data')) as [Buffer]
  assert.match(greeting.toString(), /^220 /)
  stage.signal('SIGHUP')
  const [goodbye] = (await once(client, 'data')) as [Buffer]
  assert.match(goodbye.toString(), /^421 /)
  assert.match(await new LineClient(stage.port).line(), /^220 /)
})

test('sessions per worker', async (t) => {
  const stage = await GuardStage.start(t, { workers: 1, all: { limits: { sessions: 1 } } })
  assert.match(await new LineClient(stage.port).line(), /^220 /)
  assert.equal(await new LineClient(stage.port).line(), '421 4.7.0 Too many connections, try later')
})

test('an address whose score is used up is told so by every worker', async (t) => {
  const stage = await GuardStage.start(t, { all: { 'abuse-sense': 1 } })
  assert.match(await new LineClient(stage.port).line(), /^220 /)
  const db = new DatabaseSync(join(dirname(stage.configFile), 'state.sqlite'))
  db.prepare('INSERT OR REPLACE INTO scores VALUES (?, ?, ?)').run(stateKey('peer', '127.0.0.1'), 5000, Date.now())
  db.close()
  const lines = await Promise.all([1, 2, 3, 4].map(() => new LineClient(stage.port).line()))
  for (const line of lines) assert.equal(line, '421 4.7.0 XVES-21 Abuse detected, try later')
})
