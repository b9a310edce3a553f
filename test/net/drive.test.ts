/** The driver over real sockets: what sessions that say little do to it, and it to them. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import test, { after } from 'node:test'
import { connect as connectTls, createSecureContext, TLSSocket } from 'node:tls'
import { GatewayError } from '../../src/base/errors.ts'
import type { Log } from '../../src/base/log.ts'
import { Secret } from '../../src/base/secret.ts'
import { Asking } from '../../src/engine/asking.ts'
import type { Action, Event, Session, Side } from '../../src/engine/session.ts'
import { Drive, type DriveOptions, type Services } from '../../src/net/drive.ts'
import { ProviderNetworks } from '../../src/net/provider-networks.ts'
import { serverTls } from '../../src/net/tls.ts'
import { TestAuthority } from './authority.ts'

const authority = new TestAuthority('Drive CA')
const { cert, pkey } = authority.issue('localhost')
const tls = serverTls(cert, pkey)
const clientContext = createSecureContext({ ca: authority.ca })

/** A session made of one function. */
class Scripted implements Session {
  readonly asking = new Asking()
  readonly events: Event[] = []
  wanted: Record<Side, boolean> = { client: true, upstream: true }
  readonly #react: (event: Event, asking: Asking) => void
  readonly #begin: (asking: Asking) => void

  constructor(begin: (asking: Asking) => void, react: (event: Event, asking: Asking) => void = () => {}) {
    this.#begin = begin
    this.#react = react
  }

  start(): Action[] {
    this.#begin(this.asking)
    return this.asking.takeActions()
  }

  step(event: Event): Action[] {
    this.events.push(event)
    if (event.on === 'answer' || event.on === 'refused') this.asking.settle(event)
    this.#react(event, this.asking)
    return this.asking.takeActions()
  }

  wants(side: Side): boolean {
    return this.wanted[side]
  }
}

async function listening(onSocket: (socket: Socket) => void): Promise<number> {
  const open = new Set<Socket>()
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
    open.add(socket)
    onSocket(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  after(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

const unasked = async (): Promise<never> => {
  throw new Error('nobody asks that')
}

interface Driven {
  readonly drive: Drive
  readonly client: Socket
  readonly logs: { event: string; fields: object }[]
}

async function driven(session: Session, more: Partial<DriveOptions> = {}): Promise<Driven> {
  const made = Promise.withResolvers<Drive>()
  const logs: Driven['logs'] = []
  const log: Log = { write: (_, event, fields = {}) => logs.push({ event, fields }), child: () => log }
  const services: Services = {
    login: unasked,
    recipient: unasked,
    'seal-key': unasked,
    'open-key': unasked,
    batch: unasked,
  }
  const port = await listening((socket) => {
    const upstream = {
      tls: { context: clientContext },
      timeoutMs: 5000,
      networks: new ProviderNetworks(['127.0.0.0/8']),
    }
    made.resolve(new Drive({ session, client: socket, services, log, clientTls: tls, upstream, ...more }).start())
  })
  const client = connect({ port, host: '127.0.0.1', noDelay: true })
  client.on('error', () => {})
  after(() => client.destroy())
  return { drive: await made.promise, client, logs }
}

/** All that comes until the other end closes its half. */
async function rest(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
  })
  await once(socket, 'end')
  return text
}

const text = (event: Event): string => (event.on === 'bytes' ? event.bytes.toString('latin1') : '')

test('echo; the end is told with its figures', async () => {
  const session = new Scripted(
    (asking) => asking.send('client', 'hello\r\n'),
    (event, asking) => {
      asking.send('client', text(event).toUpperCase())
      if (text(event).includes('quit')) asking.push({ do: 'close', why: 'quit' })
    },
  )
  const { drive, client } = await driven(session)
  client.write('abc quit\r\n')
  assert.equal(await rest(client), 'hello\r\nABC QUIT\r\n')
  client.end()
  const end = await drive.ended
  assert.deepEqual([end.why, end.fromClientOctets, end.toClientOctets], ['quit', 10, 17])
})

test('last words arrive although the client is still sending', async () => {
  const session = new Scripted(
    () => {},
    (_, asking) => {
      asking.send('client', '421 bye\r\n')
      asking.push({ do: 'close', why: 'drained' })
    },
  )
  const { drive, client } = await driven(session)
  const heard = rest(client)
  for (let n = 0; n < 50; n++) client.write(Buffer.alloc(64 * 1024))
  assert.equal(await heard, '421 bye\r\n')
  client.destroy()
  await drive.ended
})

test('a bug in a session ends it, is logged by its place, and no other word is said', async () => {
  const session = new Scripted(
    () => {},
    () => {
      throw new TypeError('quotes secret input')
    },
  )
  const { drive, client, logs } = await driven(session)
  client.write('x')
  assert.equal(await rest(client), '')
  assert.equal(((await drive.ended).why as GatewayError).code, 'INTERNAL')
  assert.match(JSON.stringify(logs), /test\/net\/drive\.test\.ts/)
  assert.doesNotMatch(JSON.stringify(logs), /quotes secret input/)
  client.destroy()
})

test('a side that is not wanted is not read', async () => {
  const session = new Scripted(
    () => {},
    (event, asking) => {
      if (event.on === 'closed') asking.push({ do: 'close', why: 'quit' })
    },
  )
  session.wanted.client = false
  const { drive, client } = await driven(session)
  let all = 0
  // As much as the kernel takes.
  while (client.write(Buffer.alloc(256 * 1024)) || all === 0) {
    all += 256 * 1024
    if (all > 64 * 1024 * 1024) assert.fail('it was read')
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(session.events.length, 0)
  session.wanted.client = true
  drive.drain(false)
  await once(client, 'drain')
  assert(session.events.some(({ on }) => on === 'bytes'))
  client.destroy()
  await drive.ended
})

test('deadline, wait, drain and the end of the client are events', async () => {
  const session = new Scripted(
    (asking) => {
      asking.push({ do: 'deadline', ms: 1 })
      const waited = (): void => asking.send('client', 'waited\r\n')
      asking.ask('wait', { ms: 1 }, waited, waited)
    },
    (event, asking) => {
      if (event.on === 'drain') asking.push({ do: 'close', why: 'drained' })
    },
  )
  const { drive, client } = await driven(session)
  await once(client, 'data')
  client.end()
  while (!session.events.some(({ on }) => on === 'closed')) await new Promise((resolve) => setImmediate(resolve))
  drive.drain(true)
  const kinds = session.events.map(({ on }) => on).sort()
  assert.deepEqual([...new Set(kinds)], ['answer', 'closed', 'deadline', 'drain'])
  client.destroy()
})

test('STARTTLS of the client', async () => {
  const session = new Scripted(
    () => {},
    (event, asking) => {
      if (text(event) === 'STARTTLS') {
        asking.send('client', '220 go\r\n')
        asking.ask(
          'start-tls',
          { side: 'client', level: 'high' },
          () => asking.send('client', 'secure\r\n'),
          () => {},
        )
      } else if (event.on === 'bytes') {
        asking.send('client', text(event))
        asking.push({ do: 'close', why: 'quit' })
      }
    },
  )
  const { client } = await driven(session)
  client.write('STARTTLS')
  assert.equal(String(await once(client, 'data')), '220 go\r\n')
  const secured = connectTls({ socket: client, host: 'localhost', secureContext: clientContext })
  await once(secured, 'secureConnect')
  secured.write('over TLS')
  assert.match(await rest(secured), /^secure\r\nover TLS$/)
  secured.destroy()
})

test('plaintext smuggled in between STARTTLS and its handshake breaks the handshake, and is never read', async () => {
  const asked = Promise.withResolvers<void>()
  const session = new Scripted(
    () => {},
    (event, asking) => {
      if (text(event) === 'STARTTLS') {
        asked.resolve()
        asking.ask(
          'start-tls',
          { side: 'client', level: 'high' },
          () => assert.fail('no TLS here'),
          (error) => asking.push({ do: 'close', why: error }),
        )
      }
    },
  )
  const { drive, client } = await driven(session)
  client.write('STARTTLS')
  await asked.promise
  client.write('RSET\r\nMAIL FROM:<evil@example.org>\r\n')
  const end = await drive.ended
  assert.equal((end.why as GatewayError).code, 'IO')
  assert(session.events.every((event) => !text(event).includes('evil')))
})

/** A provider that says this first, then what the function says to each line. */
function provider(greeting: string, react: (line: string, socket: Socket) => void): Promise<number> {
  return listening((socket) => {
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => react(bytes.toString('latin1'), socket))
    socket.write(greeting)
    socket.resume()
  })
}

const HOST = { host: 'localhost', level: 'high' as const }

test('a provider: connect, octets both ways, hang up, a second connection', async () => {
  let connections = 0
  const port = await provider('220 hi\r\n', (line, socket) => {
    if (line === 'PING\r\n') socket.write('PONG\r\n')
  })
  const session = new Scripted(
    (asking) =>
      asking.ask(
        'connect',
        { ...HOST, port, persist: false },
        () => connections++,
        () => {},
      ),
    (event, asking) => {
      if (text(event) === '220 hi\r\n') asking.send('upstream', 'PING\r\n')
      if (text(event) !== 'PONG\r\n') return
      asking.push({ do: 'hang-up', abort: connections === 1 })
      if (connections === 2) asking.push({ do: 'close', why: 'quit' })
      else
        asking.ask(
          'connect',
          { ...HOST, port, persist: false },
          () => connections++,
          () => {},
        )
    },
  )
  const { drive, client } = await driven(session)
  client.resume()
  const end = await drive.ended
  assert.deepEqual([end.why, end.fromUpstreamOctets, end.toUpstreamOctets], ['quit', 28, 12])
  assert(
    session.events.every(({ on }) => on !== 'closed'),
    'one that was hung up on tells nothing',
  )
  client.destroy()
})

test('STARTTLS of the provider: its certificate is checked, and the binding comes with the answer', async () => {
  for (const [host, works] of [
    ['localhost', true],
    ['127.0.0.1', false],
  ] as const) {
    const port = await provider('220 hi\r\n', (line, socket) => {
      if (line !== 'STARTTLS\r\n') return
      socket.removeAllListeners('data')
      socket.write('220 go\r\n')
      new TLSSocket(socket, { isServer: true, secureContext: tls.context }).on('error', () => {}).write('over TLS\r\n')
    })
    const outcome = Promise.withResolvers<unknown>()
    const session = new Scripted(
      (asking) => asking.ask('connect', { host, level: 'high', port, persist: false }, () => {}, outcome.reject),
      (event, asking) => {
        if (text(event) === '220 hi\r\n') asking.send('upstream', 'STARTTLS\r\n')
        if (text(event) === '220 go\r\n') {
          asking.ask('start-tls', { side: 'upstream', level: 'high' }, outcome.resolve, outcome.resolve)
        }
        if (text(event) === 'over TLS\r\n') asking.push({ do: 'close', why: 'quit' })
        if (event.on === 'refused') asking.push({ do: 'close', why: event.error })
      },
    )
    const { drive, client } = await driven(session)
    client.resume()
    const answer = await outcome.promise
    if (works) assert.equal((answer as { binding: { data: Buffer } }).binding.data.length, 32)
    else assert.equal((answer as GatewayError).code, 'UPSTREAM_TLS')
    await drive.ended
    client.destroy()
  }
})

test('a provider that goes is told once, and what is sent to it then is dropped', async () => {
  const port = await provider('220 hi\r\n', (_, socket) => socket.destroy())
  const session = new Scripted(
    (asking) =>
      asking.ask(
        'connect',
        { ...HOST, port, persist: false },
        () => {},
        () => {},
      ),
    (event, asking) => {
      if (event.on === 'bytes') asking.send('upstream', 'x')
      if (event.on === 'closed') {
        asking.send('upstream', 'nobody hears this')
        asking.push({ do: 'close', why: 'quit' })
      }
    },
  )
  const { drive, client } = await driven(session)
  client.resume()
  await drive.ended
  assert.equal(session.events.filter(({ on }) => on === 'closed').length, 1)
  client.destroy()
})

test('a service that fails is a refusal; one that is a bug is INTERNAL, and its text stays here', async () => {
  for (const [thrown, code] of [
    [new GatewayError('BAD_CREDENTIALS'), 'BAD_CREDENTIALS'],
    [new Error('quotes a password'), 'INTERNAL'],
  ] as const) {
    const session = new Scripted(
      (asking) => {
        const password = new Secret(Buffer.from('x'))
        asking.ask(
          'login',
          { account: 'a', password },
          () => {},
          () => {},
        )
      },
      (event, asking) => {
        if (event.on === 'refused') asking.push({ do: 'close', why: event.error })
      },
    )
    const login = async (): Promise<never> => {
      throw thrown
    }
    const services: Services = { login, recipient: unasked, 'seal-key': unasked, 'open-key': unasked, batch: unasked }
    const { drive, client, logs } = await driven(session, { services })
    client.resume()
    assert.equal(((await drive.ended).why as GatewayError).code, code)
    assert.doesNotMatch(JSON.stringify(logs), /quotes a password/)
    client.destroy()
  }
})

test('what SCRAM derives is PBKDF2-HMAC-SHA-256 (RFC 7677 §3, by its proof in the SASL tests)', async () => {
  let key: Buffer | null = null
  const session = new Scripted((asking) => {
    const ask = { password: new Secret(Buffer.from('pencil')), salt: Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64') }
    asking.ask(
      'derive-key',
      { ...ask, iterations: 4096 },
      (answer) => {
        key = answer
        asking.push({ do: 'close', why: 'quit' })
      },
      () => {},
    )
  })
  const { drive, client } = await driven(session)
  client.resume()
  await drive.ended
  assert.equal(key!.toString('hex'), 'c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d')
  client.destroy()
})

for (const isFull of [true, false]) {
  test(`a session that waits for a batch ${isFull ? 'stops reading while the pool is full' : 'reads on'}`, async () => {
    const answered = Promise.withResolvers<void>()
    const batch: Services['batch'] = async () => {
      await answered.promise
      return { output: Buffer.alloc(0), state: {} as never, lines: 0, spent: Buffer.alloc(0) }
    }
    const settled = Promise.withResolvers<void>()
    const session = new Scripted(
      () => {},
      (event, asking) => {
        if (text(event) === 'one') {
          asking.send('client', 'asked')
          asking.ask(
            'batch',
            {} as never,
            () => settled.resolve(),
            () => {},
          )
        }
        if (text(event) === 'two') asking.send('client', 'heard')
      },
    )
    const services: Services = { login: unasked, recipient: unasked, 'seal-key': unasked, 'open-key': unasked, batch }
    const { client } = await driven(session, { services, isPoolFull: () => isFull })
    client.write('one')
    assert.equal(String((await once(client, 'data'))[0]), 'asked')
    client.write('two')
    // By the time somebody else was answered, this one was heard, or is not to be.
    const other = await driven(
      new Scripted(
        () => {},
        (event, asking) => asking.send('client', text(event)),
      ),
    )
    for (let i = 0; i < 5; i++) {
      other.client.write('x')
      await once(other.client, 'data')
    }
    const order = (): string[] => session.events.map((event) => (event.on === 'bytes' ? text(event) : event.on))
    assert.deepEqual(order(), isFull ? ['one'] : ['one', 'two'])
    answered.resolve()
    await settled.promise
    if (isFull) assert.equal(String((await once(client, 'data'))[0]), 'heard')
    assert.deepEqual(order().sort(), ['answer', 'one', 'two'])
  })
}
