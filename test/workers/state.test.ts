import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { silentLog } from '../../src/base/log.ts'
import type { Account, Profile } from '../../src/engine/account.ts'
import { Protection } from '../../src/workers/protection.ts'
import { RedisState } from '../../src/workers/redis-state.ts'
import { SessionLimits } from '../../src/workers/session-limits.ts'
import { LocalState, type SharedState } from '../../src/workers/shared-state.ts'
import { SizeStore } from '../../src/workers/size-store.ts'
import { openState } from '../../src/workers/state.ts'
import { processName, StateFile } from '../../src/workers/state-file.ts'
import { freePorts } from '../guard/stage.ts'

/** A loaded machine is slow; what is asserted is the answer. */
const PATIENCE_MS = 10_000

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'vm-state-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Scores, however they are kept. */
async function scoresFall(state: SharedState, clock: { ms: number }): Promise<void> {
  assert.equal(await state.score('k'), 0)
  state.add('k', 10)
  state.add('k', 5)
  assert.equal(await state.score('k'), 15)
  clock.ms += 4000
  assert.equal(await state.score('k'), 11)
  state.add('k', 1)
  assert.equal(await state.score('k'), 12)
  clock.ms += 3_600_000
  assert.equal(await state.score('k'), 0)
  assert.equal(await state.score('other'), 0)
}

test('scores fall by one a second: in memory', async () => {
  const clock = { ms: 1_000_000 }
  await scoresFall(new LocalState(() => clock.ms), clock)
})

test('scores fall by one a second: in the file, which survives', async (t) => {
  const clock = { ms: 1_000_000 }
  const file = join(scratch(t), 'state.sqlite')
  const state = new StateFile(file, 'p1', silentLog, () => clock.ms)
  await scoresFall(state, clock)
  state.add('k', 100)
  await state.close()
  const again = new StateFile(file, 'p2', silentLog, () => clock.ms)
  assert.equal(await again.score('k'), 100)
  await again.close()
})

test('the sessions of all processes are counted; those of dead ones are forgotten', async (t) => {
  const clock = { ms: 1_000_000 }
  const file = join(scratch(t), 'state.sqlite')
  const one = new StateFile(file, 'p1', silentLog, () => clock.ms)
  const two = new StateFile(file, 'p2', silentLog, () => clock.ms)
  assert.equal(await one.hold('k', 1), 1)
  assert.equal(await two.hold('k', 1), 2)
  assert.equal(await one.hold('k', 3), 4)
  assert.equal(await two.hold('k', 0), 3)
  assert.equal(await two.hold('k', 1), 4)
  await one.close()
  assert.equal(await two.hold('k', 1), 1, 'a process that ends gives its places back')
  clock.ms += 61_000
  const three = new StateFile(file, 'p3', silentLog, () => clock.ms)
  assert.equal(await three.hold('k', 1), 1, 'one that gives no sign of life has none')
  await two.close()
  await three.close()
})

test('a worker that was killed gives its places to its successor at once', async (t) => {
  const file = join(scratch(t), 'state.sqlite')
  const killed = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  const [dead, alive] = [
    new StateFile(file, processName(killed.pid!), silentLog),
    new StateFile(file, processName(process.pid), silentLog),
  ]
  assert.equal(await dead.hold('k', 3), 3)
  assert.equal(await alive.hold('k', 1), 4)
  killed.kill('SIGKILL')
  await once(killed, 'exit')
  const successor = new StateFile(file, processName(process.pid), silentLog)
  assert.equal(await successor.hold('k', 1), 2)
  for (const state of [dead, alive, successor]) await state.close()
})

test('a file that somebody holds locked stops a worker once a second, not at each question', async (t) => {
  const file = join(scratch(t), 'state.sqlite')
  const lines: string[] = []
  const log = { ...silentLog, write: (_level: string, msg: string) => lines.push(msg) } as unknown as typeof silentLog
  const state = new StateFile(file, 'p1', log)
  const other = new DatabaseSync(file)
  other.exec('BEGIN EXCLUSIVE')
  // Each would wait 50 ms: the rest is not even tried, so that it is in memory when the lock is gone.
  for (let i = 0; i < 20; i++) state.add('k', 1)
  other.exec('ROLLBACK')
  assert.ok((await state.score('k')) > 19)
  assert.deepEqual(lines, ['state file'])
  other.close()
  await state.close()
})

test('a damaged state file is replaced; a missing folder means counting alone', async (t) => {
  const directory = scratch(t)
  writeFileSync(join(directory, 'state.sqlite'), 'not a database, but long enough to be taken for one'.repeat(50))
  const state = openState(directory, null, silentLog)
  state.add('k', 7)
  assert.ok((await state.score('k')) > 6)
  await state.close()
  writeFileSync(join(directory, 'file'), '')
  const alone = openState(join(directory, 'file', 'x'), null, silentLog)
  assert.ok(alone instanceof LocalState)
})

test('two workers share scores and limits through the file', async (t) => {
  const directory = scratch(t)
  const [a, b] = [openState(directory, null, silentLog), openState(directory, null, silentLog)]
  const protection = [new Protection(a), new Protection(b)]
  for (let i = 0; i < 361; i++) {
    protection[i % 2]!.count('refused', 1, { peer: '2001:db8:1:2::7', account: null })
  }
  assert.equal(await protection[0]!.isBlocked('peer', '2001:db8:1:2:9::1'), true, 'the same /64')
  assert.equal(await protection[1]!.isBlocked('peer', '2001:db8:1:3::7'), false)
  const limits = [new SessionLimits(a), new SessionLimits(b)]
  const first = await limits[0]!.account('Alice@example.org', 2)
  assert.ok(first !== null)
  assert.ok((await limits[1]!.account('alice@example.org', 2)) !== null)
  assert.equal(await limits[1]!.account('alice@example.org', 2), null)
  assert.equal(await limits[0]!.account('alice@example.org', 2), null)
  first()
  first()
  assert.ok((await limits[1]!.account('alice@example.org', 2)) !== null)
  assert.equal(await limits[1]!.account('alice@example.org', 2), null)
  await a.close()
  await b.close()
})

test('weights, and who is counted', async () => {
  const clock = { ms: 0 }
  const protection = new Protection(new LocalState(() => clock.ms))
  const names = { peer: '192.0.2.1', account: 'a@x' }
  const left = async () => [
    await protection.remaining('peer', names.peer),
    await protection.remaining('account', 'A@X'),
  ]
  protection.count('refused', 1, names)
  assert.deepEqual(await left(), [3590, 3590])
  protection.count('unreachable', 1, names)
  assert.deepEqual(await left(), [3588, 3588])
  protection.count('success', 1, names)
  assert.deepEqual(await left(), [3588, 3587])
  protection.count('wrong-veskey', 10, { ...names, account: null })
  assert.deepEqual(await left(), [3568, 3587])
  protection.count('refused', 0, names)
  assert.deepEqual(await left(), [3568, 3587])
  protection.count('wrong-veskey', 1784, names)
  assert.equal(await protection.isBlocked('peer', names.peer), false, 'nothing left is not less than nothing')
  protection.count('wrong-veskey', 1, names)
  assert.equal(await protection.isBlocked('peer', names.peer), true)
  clock.ms = 2000
  assert.equal(await protection.isBlocked('peer', names.peer), false)
})

/** What is kept comes back, the last one counts. */
async function keeps(state: SharedState): Promise<void> {
  assert.equal(await state.recall('k'), null)
  state.keep('k', Buffer.from([1, 0, 255]))
  state.keep('k', Buffer.from([2, 0, 255]))
  assert.deepEqual(await state.recall('k'), Buffer.from([2, 0, 255]))
  assert.equal(await state.recall('other'), null)
}

test('what is kept comes back, for all workers, after restarts, and never without bound', async (t) => {
  await keeps(new LocalState())
  const file = join(scratch(t), 'state.sqlite')
  const one = new StateFile(file, 'p1', silentLog, Date.now, 100)
  await keeps(one)
  const two = new StateFile(file, 'p2', silentLog, Date.now, 100)
  assert.deepEqual(await two.recall('k'), Buffer.from([2, 0, 255]))
  for (let i = 0; i < 90; i++) two.keep(`many ${i}`, Buffer.from('x'))
  // Asked for again, so not the oldest any more.
  assert.ok((await one.recall('k')) !== null)
  for (let i = 90; i < 180; i++) two.keep(`many ${i}`, Buffer.from('x'))
  await one.close()
  await two.close()
  const three = new StateFile(file, 'p3', silentLog, Date.now, 100)
  assert.ok((await three.recall('k')) !== null)
  assert.ok((await three.recall('many 179')) !== null)
  assert.equal(await three.recall('many 0'), null)
  await three.close()
})

test('sizes of messages are each account’s own', async () => {
  const store = new SizeStore(new LocalState())
  const account = (user: string, imap: object): Account => ({
    name: user,
    user,
    profile: { imap: { host: 'Mail.example', port: 143, login: 'l', ...imap } as Profile['imap'], smtp: null },
    settings: {} as Account['settings'],
  })
  const alice = account('alice@x', {})
  const message = { mailbox: 'INBOX', uidValidity: 3, uid: 4 }
  await store.answer({ op: 'keep', ...message, sizes: Buffer.from('s') }, alice)
  const recall = async (ask: object, who: Account) =>
    (await store.answer({ op: 'recall', ...message, ...ask }, who)).sizes?.toString() ?? null
  assert.equal(await recall({}, alice), 's')
  assert.equal(await recall({}, account('alice@x', { host: 'mail.EXAMPLE' })), 's')
  for (const other of [{ uid: 5 }, { uidValidity: 4 }, { mailbox: 'INBOX2' }, { mailbox: 'inbox' }]) {
    assert.equal(await recall(other, alice), null)
  }
  for (const imap of [{ host: 'mail2.example' }, { port: 993 }, { login: 'm' }]) {
    assert.equal(await recall({}, account('alice@x', imap)), null)
  }
  assert.equal(await recall({}, account('bob@x', {})), null)
})

async function redisServer(
  t: TestContext,
): Promise<{ port: number; stop: () => Promise<void>; start: () => Promise<void> }> {
  const [port] = await freePorts(1)
  let child: ChildProcess | null = null
  const start = async (): Promise<void> => {
    child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], {
      stdio: 'ignore',
    })
    while (!(await answers(port!))) await new Promise((later) => setTimeout(later, 20))
  }
  const stop = async (): Promise<void> => {
    const running = child
    child = null
    if (running === null) return
    const exited = new Promise((resolve) => running.once('exit', resolve))
    running.kill('SIGKILL')
    await exited
  }
  t.after(stop)
  await start()
  return { port: port!, start, stop }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/** Until the client has noticed that the server is (no longer) there. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (await holds()) return
    await new Promise((later) => setTimeout(later, 20))
  }
  assert.fail('never came true')
}

test('machines share scores and sessions through Redis, and go on without it', async (t) => {
  const server = await redisServer(t)
  const clock = { ms: 1_000_000 }
  const url = `redis://127.0.0.1:${server.port}`
  const machine = (name: string) =>
    new RedisState(url, name, () => new LocalState(() => clock.ms), silentLog, {
      nowMs: () => clock.ms,
      answerMs: PATIENCE_MS,
    })
  const [one, two] = [machine('m1'), machine('m2')]
  t.after(() => Promise.all([one.close(), two.close()]))
  await until(async () => {
    await one.hold('up1', 1)
    return (await two.hold('up1', 1)) === 2
  })
  one.add('k', 10)
  await until(async () => (await two.score('k')) === 10)
  clock.ms += 3000
  assert.equal(await two.score('k'), 7)
  assert.equal(await one.hold('s', 2), 2)
  assert.equal(await two.hold('s', 1), 3)
  assert.equal(await two.hold('s', 0), 2)
  one.keep('size', Buffer.from([0, 200]))
  await until(async () => (await two.recall('size'))?.equals(Buffer.from([0, 200])) === true)
  await server.stop()
  assert.deepEqual(await two.recall('size'), Buffer.from([0, 200]), 'kept here too')
  assert.equal(await two.recall('unknown'), null)
  two.add('k', 1)
  assert.equal(await two.score('k'), 1, 'what this machine knows by itself')
  assert.equal(await one.score('k'), 7)
  assert.equal(await one.hold('s', 5), 5)
  await server.start()
  await until(async () => {
    await two.hold('s', 1)
    return (await one.hold('s', 5)) === 6
  })
})

test('places of a machine that is gone come back after a minute, those of one that lives do not', async (t) => {
  const server = await redisServer(t)
  const clock = { ms: 1_000_000 }
  const machine = (name: string) =>
    new RedisState(`redis://127.0.0.1:${server.port}`, name, () => new LocalState(), silentLog, {
      nowMs: () => clock.ms,
      answerMs: PATIENCE_MS,
    })
  const [gone, alive, asking] = [machine('gone'), machine('alive'), machine('asking')]
  t.after(() => Promise.all([gone.close(), alive.close(), asking.close()]))
  await until(async () => {
    await gone.hold('s', 3)
    await alive.hold('s', 2)
    return (await asking.hold('s', 1)) === 6
  })
  clock.ms += 59_000
  // Its sign of life; nothing comes from the other one any more.
  assert.equal(await alive.hold('s', 2), 6)
  assert.equal(await asking.hold('s', 1), 6)
  clock.ms += 1000
  assert.equal(await asking.hold('s', 1), 3)
  await alive.close()
  assert.equal(await asking.hold('s', 1), 1, 'who ends gives its places back at once')
})

test('the clock that places and scores go by is the server’s, not a machine’s', async (t) => {
  const server = await redisServer(t)
  const url = `redis://127.0.0.1:${server.port}`
  const usual = new RedisState(url, 'usual', () => new LocalState(), silentLog)
  // As an older version with a clock of its own would write.
  const behind = new RedisState(url, 'behind', () => new LocalState(), silentLog, {
    nowMs: () => Date.now() - 3_600_000,
  })
  t.after(() => Promise.all([usual.close(), behind.close()]))
  await until(async () => {
    await behind.hold('s', 1)
    return (await usual.hold('s', 1)) === 1
  })
  usual.add('k', 3600)
  await until(async () => (await usual.score('k')) > 3500)
})

test('a killed worker’s places in Redis come back when its successor starts, not a minute later', async (t) => {
  const server = await redisServer(t)
  const url = `redis://127.0.0.1:${server.port}`
  const [here, there] = [scratch(t), scratch(t)]
  const script = `
    import { openState } from ${JSON.stringify(new URL('../../src/workers/state.ts', import.meta.url).href)}
    import { silentLog } from ${JSON.stringify(new URL('../../src/base/log.ts', import.meta.url).href)}
    const state = openState(process.argv[1], process.argv[2], silentLog)
    setInterval(() => state.hold('s', 3), 20)`
  const killed = spawn(process.execPath, ['--input-type=module-typescript', '-e', script, here, url], {
    stdio: 'ignore',
  })
  t.after(() => killed.kill('SIGKILL'))
  const elsewhere = openState(there, url, silentLog)
  await until(async () => (await elsewhere.hold('s', 1)) === 4)
  killed.kill('SIGKILL')
  await once(killed, 'exit')
  // Another machine cannot know.
  await until(async () => (await elsewhere.hold('s', 1)) === 4)
  const successor = openState(here, url, silentLog)
  t.after(() => Promise.all([elsewhere.close(), successor.close()]))
  await until(async () => (await elsewhere.hold('s', 1)) === 1)
})

test('workers that start together make the file together', async (t) => {
  const folder = scratch(t)
  // The other one is at it when we come.
  const other = new DatabaseSync(join(folder, 'state.sqlite'))
  other.exec('BEGIN EXCLUSIVE; CREATE TABLE other (x)')
  const script = `
    import { StateFile } from ${JSON.stringify(new URL('../../src/workers/state-file.ts', import.meta.url).href)}
    import { silentLog } from ${JSON.stringify(new URL('../../src/base/log.ts', import.meta.url).href)}
    process.stdout.write('begun')
    const file = new StateFile(process.argv[1], 'p', silentLog)
    await file.close()`
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script, join(folder, 'state.sqlite')])
  const ended = once(child, 'exit')
  await once(child.stdout, 'data')
  setTimeout(() => {
    other.exec('ROLLBACK')
    other.close()
  }, 300)
  const [code] = await ended
  assert.equal(code, 0)
})
