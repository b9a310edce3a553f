import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseConfigFile } from '../../src/base/config/config-file.ts'
import { drainSeconds } from '../../src/guard/guard.ts'
import { COLLECTOR_FLAGS } from '../../src/workers/collector.ts'
import { freePorts, GuardStage, isAlive, LineClient } from './stage.ts'

const greeted = async (client: LineClient): Promise<number> => {
  const line = await client.line()
  assert.match(line, /^220 \d+$/)
  return Number(line.slice(4))
}

test('both workers serve; one that is killed is replaced, and its sibling’s sessions live on', async (t) => {
  const stage = await GuardStage.start(t)
  const clients = Array.from({ length: 4 }, () => new LineClient(stage.port))
  const pids = await Promise.all(clients.map(greeted))
  assert.deepEqual(new Set(pids), new Set(stage.workerPids()))
  const victim = pids[0]!
  process.kill(victim, 'SIGKILL')
  await stage.logged('worker died')
  await stage.logged('worker started', (line) => !pids.includes(Number(line.workerPid)))
  for (const [i, client] of clients.entries()) {
    if (pids[i] === victim) assert.notEqual(await client.line(), '250 x')
    else assert.equal(await client.ask('x'), '250 x')
  }
})

test('every worker, later ones too, has the garbage collector’s flags', async (t) => {
  const stage = await GuardStage.start(t, { workers: 1 })
  const flags = (): string[] => {
    const [, ...rest] = readFileSync(`/proc/${stage.workerPids().at(-1)}/cmdline`, 'utf8').split('\0')
    return rest.slice(0, COLLECTOR_FLAGS.length)
  }
  assert.deepEqual(flags(), COLLECTOR_FLAGS)
  process.kill(stage.workerPids()[0]!, 'SIGKILL')
  await stage.logged('worker died')
  await new LineClient(stage.port).line()
  assert.deepEqual(flags(), COLLECTOR_FLAGS)
})

test('of a worker that was killed nothing stays in the temporary folder', async (t) => {
  const stage = await GuardStage.start(t, { workers: 1 })
  const [folder] = stage.runDirectories()
  assert.ok(folder !== undefined)
  const [first] = readdirSync(folder)
  assert.deepEqual(readdirSync(join(folder, first!)).length, 1, 'the admin listener has its socket there')
  process.kill(stage.workerPids()[0]!, 'SIGKILL')
  await stage.logged('worker ended')
  const [second] = readdirSync(folder)
  assert.notEqual(second, first)
  stage.signal('SIGTERM')
  await stage.exited
  assert.deepEqual(stage.runDirectories(), [])
})

test('all workers killed at once: clients that come then are served when a worker is there again', async (t) => {
  const stage = await GuardStage.start(t)
  const before = stage.workerPids()
  for (const pid of before) process.kill(pid, 'SIGKILL')
  const clients = Array.from({ length: 20 }, () => new LineClient(stage.port))
  const pids = await Promise.all(clients.map(greeted))
  for (const pid of pids) assert.ok(!before.includes(pid))
  for (const client of clients) assert.equal(await client.ask('QUIT'), '221 bye')
})

test('three reloads under load: nobody is refused, left hanging, or cut without a word', async (t) => {
  const stage = await GuardStage.start(t)
  const outcomes = new Map<string, number>()
  let isOver = false
  const user = async (): Promise<void> => {
    while (!isOver) {
      const client = new LineClient(stage.port)
      const greeting = (await client.line()).slice(0, 3)
      // A worker that was told to go may take leave instead of an answer.
      const answer = greeting === '220' ? (await client.ask('QUIT')).slice(0, 3) : ''
      client.close()
      const outcome = `${greeting} ${answer === '421' ? '221' : answer}`
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    }
  }
  const users = Array.from({ length: 20 }, user)
  for (let generation = 2; generation <= 4; generation++) {
    stage.signal('SIGHUP')
    await stage.logged('reloaded', (line) => line.generation === generation)
  }
  isOver = true
  await Promise.all(users)
  assert.deepEqual([...outcomes.keys()], ['220 221'])
  assert.ok(outcomes.get('220 221')! > 100)
})

test('idle sessions are told when their worker is replaced, and reach a new one at once', async (t) => {
  const stage = await GuardStage.start(t)
  const client = new LineClient(stage.port)
  const pid = await greeted(client)
  stage.signal('SIGHUP')
  assert.equal(await client.line(), '421 bye')
  assert.equal(await client.line(), 'closed')
  assert.notEqual(await greeted(new LineClient(stage.port)), pid)
})

test('a reload with a bad configuration changes nothing and says why', async (t) => {
  const stage = await GuardStage.start(t)
  stage.configure({ '*': { maxbuf: 'big' } })
  stage.signal('SIGHUP')
  const line = await stage.logged('reload failed')
  assert.match(String(line.reason), /vesmail\.conf:1:\d+: \*\.maxbuf: expected a whole number/)
  const again = stage.lines.length
  stage.configure({
    daemons: [{ server: 'smtp', host: '127.0.0.1', port: stage.port, tls: { level: 'high', cert: '/none' } }],
  })
  stage.signal('SIGHUP')
  const second = await stage.logged('reload failed', () => true, again)
  assert.equal(second.kept, 1)
  assert.match(
    String(second.reason),
    /vesmail\.conf:\d+:\d+: daemons\[0\]\.tls\.cert: \/none cannot be read \(ENOENT\): correct the path/,
    'the worker said why, with the place',
  )
  const third = stage.lines.length
  stage.configure({ daemons: [] })
  stage.signal('SIGHUP')
  assert.match(String((await stage.logged('reload failed', () => true, third)).reason), /daemons: none is configured/)
  const fourth = stage.lines.length
  const one = { server: 'smtp', host: '127.0.0.1' }
  stage.configure({
    daemons: [
      { ...one, port: stage.port },
      { ...one, host: '192.0.2.1', port: stage.port },
    ],
  })
  stage.signal('SIGHUP')
  assert.match(
    String((await stage.logged('reload failed', () => true, fourth)).reason),
    /vesmail\.conf:\d+:\d+: daemons\[1\]: 192\.0\.2\.1, port \d+: cannot listen: EADDRNOTAVAIL: .* correct host/,
  )
  assert.ok(stage.workerPids().includes(await greeted(new LineClient(stage.port))))
  assert.ok(stage.workerPids().slice(0, 2).every(isAlive))
})

test('a reload opens new listeners and closes old ones', async (t) => {
  const stage = await GuardStage.start(t)
  const [other] = await freePorts(1)
  stage.configure({
    '*': { tls: { level: 'none' }, pool: { threads: 1 } },
    daemons: [{ server: 'smtp', host: '127.0.0.1', port: other }],
  })
  stage.signal('SIGHUP')
  await stage.logged('reloaded')
  await greeted(new LineClient(other!))
  assert.equal(await new LineClient(stage.port).line(), 'ECONNREFUSED')
})

test('SIGTERM: goodbye and end within five seconds, exit code 0', async (t) => {
  const stage = await GuardStage.start(t)
  const client = new LineClient(stage.port)
  await greeted(client)
  const begunMs = performance.now()
  stage.signal('SIGTERM')
  assert.equal(await client.line(), '421 bye')
  assert.equal(await stage.exited, 0)
  assert.ok(performance.now() - begunMs < 5000)
  assert.ok(!stage.workerPids().some(isAlive))
})

test('SIGINT: the same, but sessions may finish; new clients are refused', async (t) => {
  const stage = await GuardStage.start(t)
  const client = new LineClient(stage.port)
  await greeted(client)
  stage.signal('SIGINT')
  assert.equal(await client.line(), '421 bye')
  assert.equal(await new LineClient(stage.port).line(), 'ECONNREFUSED')
  assert.equal(await stage.exited, 0)
})

test('a worker whose event loop hangs is killed and replaced', async (t) => {
  const stage = await GuardStage.start(t, { all: { workers: { hangSeconds: 3, ackSeconds: 60 } } })
  const client = new LineClient(stage.port)
  const pid = await greeted(client)
  client.socket.write('HANG\r\n')
  const { worker } = await stage.logged('worker started', (line) => line.workerPid === pid)
  const line = await stage.logged('worker killed', (one) => one.worker === worker)
  assert.equal(line.why, 'hang')
  assert.ok(!(await Promise.all([1, 2, 3, 4].map(() => greeted(new LineClient(stage.port))))).includes(pid))
})

test('a guard that stood still does not take its workers for hung', async (t) => {
  const stage = await GuardStage.start(t, { all: { workers: { hangSeconds: 3, ackSeconds: 3 } } })
  const client = new LineClient(stage.port)
  const pid = await greeted(client)
  stage.signal('SIGSTOP')
  // Longer than a worker may be silent; what comes meanwhile waits for the guard.
  await new Promise((later) => setTimeout(later, 4000))
  const other = new LineClient(stage.port)
  stage.signal('SIGCONT')
  await greeted(other)
  await new Promise((later) => setTimeout(later, 1000))
  assert.equal(await client.ask('x'), '250 x')
  assert.deepEqual(
    stage.lines.filter((line) => line.msg === 'worker killed'),
    [],
  )
  assert.ok(stage.workerPids().includes(pid))
})

test('a worker that does not take connections is killed, and they go to another', async (t) => {
  const stage = await GuardStage.start(t, { all: { workers: { hangSeconds: 60, ackSeconds: 1 } } })
  const [hung, other] = stage.workerPids()
  process.kill(hung!, 'SIGSTOP')
  const clients = Array.from({ length: 4 }, () => new LineClient(stage.port))
  const pids = await Promise.all(clients.map(greeted))
  assert.ok(!pids.includes(hung!))
  assert.ok(pids.includes(other!))
  assert.equal((await stage.logged('worker killed')).why, 'ack')
})

test('a bug outside any session ends the worker, with a goodbye to its sessions', async (t) => {
  const stage = await GuardStage.start(t, { workers: 1 })
  const client = new LineClient(stage.port)
  const pid = await greeted(client)
  client.socket.write('CRASH\r\n')
  assert.equal(await client.line(), '250 CRASH')
  assert.equal(await client.line(), '421 bye')
  await stage.logged('worker broken')
  assert.notEqual(await greeted(new LineClient(stage.port)), pid)
})

test('SIGHUP to a worker: a successor comes first, then it drains', async (t) => {
  const stage = await GuardStage.start(t, { workers: 1 })
  const client = new LineClient(stage.port)
  const pid = await greeted(client)
  process.kill(pid, 'SIGHUP')
  assert.equal(await client.line(), '421 bye')
  assert.notEqual(await greeted(new LineClient(stage.port)), pid)
})

test('workers finish and go when the guard is gone', async (t) => {
  const stage = await GuardStage.start(t)
  const client = new LineClient(stage.port)
  await greeted(client)
  const pids = stage.workerPids()
  stage.signal('SIGKILL')
  assert.equal(await client.line(), '421 bye')
  await once(client.socket, 'close')
  // They are nobody's children that we could wait for.
  for (let i = 0; i < 100 && pids.some(isAlive); i++) await new Promise((later) => setTimeout(later, 50))
  assert.ok(!pids.some(isAlive))
})

test('the admin listener tells of all workers', async (t) => {
  const stage = await GuardStage.start(t)
  const clients = Array.from({ length: 4 }, () => new LineClient(stage.port))
  await Promise.all(clients.map(greeted))
  const get = async (path: string): Promise<Response> => fetch(`http://127.0.0.1:${stage.adminPort}${path}`)
  assert.equal((await get('/healthz')).status, 200)
  assert.equal((await get('/readyz')).status, 200)
  const text = await (await get('/metrics')).text()
  assert.match(text, /^vesmail_sessions\{service="smtp"\} 4$/m)
  assert.match(text, /^vesmail_guard_workers_ready 2$/m)
  assert.match(text, /^vesmail_guard_connections_total \d+$/m)
  assert.equal((await get('/other')).status, 404)
})

test('what was counted stays counted: by workers that drained, that were killed, and that do not answer', async (t) => {
  const stage = await GuardStage.start(t)
  const begun = async (): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${stage.adminPort}/metrics`)).text()
    const [, total] = /^vesmail_sessions_total\{service="smtp"\} (\d+)$/m.exec(text)!
    const octets = /^vesmail_octets_total\{service="smtp",side="client",direction="in"\} (\d+)$/m.exec(text)!
    assert.equal(Number(octets[1]), 3 * Number(total), 'x and a line end each, in open sessions and in past ones')
    return Number(total)
  }
  const visit = async (): Promise<void> => {
    const client = new LineClient(stage.port)
    await greeted(client)
    assert.equal(await client.ask('x'), '250 x')
  }
  await Promise.all([1, 2, 3, 4].map(visit))
  assert.equal(await begun(), 4)
  stage.signal('SIGHUP')
  const old = stage.workerPids()
  await stage.logged('reloaded')
  for (const worker of [1, 2]) await stage.logged('worker ended', (line) => line.worker === worker)
  assert.equal(await begun(), 4)
  await Promise.all([1, 2, 3, 4].map(visit))
  assert.equal(await begun(), 8)
  const [killed, stopped] = stage.workerPids().filter((pid) => !old.includes(pid))
  process.kill(killed!, 'SIGKILL')
  await stage.logged('worker died')
  await visit()
  assert.equal(await begun(), 9)
  process.kill(stopped!, 'SIGSTOP')
  assert.equal(await begun(), 9)
})

test('a scraper that would keep its connection to the admin listener holds no worker', async (t) => {
  const stage = await GuardStage.start(t, { workers: 1 })
  const scraper = connect(stage.adminPort, '127.0.0.1')
  let answer = ''
  scraper.setEncoding('latin1').on('data', (text: string) => {
    answer += text
  })
  scraper.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n')
  await once(scraper, 'end')
  assert.match(answer, /^HTTP\/1\.1 200 /)
  assert.match(answer, /^connection: close\r$/im)
  stage.signal('SIGHUP')
  assert.equal((await stage.logged('worker ended')).signal, null)
  scraper.destroy()
})

test('the deadline of a drain is also that of whom nobody has greeted yet', async (t) => {
  const stage = await GuardStage.start(t, {
    workers: 1,
    all: { 'proxy-protocol': ['127.0.0.1'], limits: { drainSeconds: 0.1 } },
  })
  // A load balancer that says nothing: by itself it would be given up after three seconds.
  const client = new LineClient(stage.port)
  await once(client.socket, 'connect')
  // Connections reach the one worker in their order: when this one was greeted, that one is there.
  const next = new LineClient(stage.port)
  next.socket.write('PROXY UNKNOWN\r\n')
  await greeted(next)
  stage.signal('SIGINT')
  assert.equal(await client.line(), 'closed')
  const line = await stage.logged('connection')
  assert.deepEqual([line.code, line.reason, line.peer], ['IO', 'closed before PROXY header', '127.0.0.1'])
  assert.equal(await stage.exited, 0)
})

test('how long a worker may drain: the longest of its listeners, whatever block says it', () => {
  const seconds = (all: object, more: object = {}): number =>
    drainSeconds(
      parseConfigFile(JSON.stringify({ '*': { limits: all }, daemons: [{ server: 'imap', port: 1 }], ...more }), 'c'),
    )
  assert.equal(seconds({ drainSeconds: 4 }), 4)
  assert.equal(seconds({ drainSeconds: 4 }, { imap: { limits: { drainSeconds: 9 } } }), 9)
  const daemons = [
    { server: 'imap', port: 1 },
    { server: 'smtp', port: 2, limits: { drainSeconds: 20 } },
  ]
  assert.equal(seconds({ drainSeconds: 4 }, { daemons, imap: { limits: { drainSeconds: 2 } } }), 20)
  assert.equal(seconds({}), 300)
})
