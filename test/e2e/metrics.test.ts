/** The figures on /metrics while real mail goes through the real daemon, and across the ends of its workers. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { connect, type TLSSocket } from 'node:tls'
import { readMail, sendMail } from '../../src/cli/demo/mail.ts'
import { freePort, labGateway } from '../lab/gateway.ts'
import { labProvider } from '../lab/provider.ts'
import { until } from '../lab/until.ts'

const BODY_OCTETS = 300_000
const provider = await labProvider()
const nowPort = await freePort()
const gateway = await labGateway(provider, {
  configuration: { '*': { limits: { drainWindowSeconds: 0.1, drainSeconds: 2, providerNetworks: ['127.0.0.0/8'] } } },
  daemons: [{ server: 'now', host: '127.0.0.1', port: nowPort, tls: { level: 'none' } }],
})

const scrape = async (): Promise<string> => (await fetch(`http://127.0.0.1:${gateway.ports.admin}/metrics`)).text()

interface Figures {
  of(line: string): number
  /** Counters and histograms, which must never fall. */
  readonly lasting: ReadonlyMap<string, number>
}

async function figures(): Promise<Figures> {
  const text = await scrape()
  const all = new Map<string, number>()
  const lasting = new Map<string, number>()
  let type = ''
  for (const line of text.split('\n')) {
    type = /^# TYPE \S+ (\w+)/.exec(line)?.[1] ?? type
    const [, name, value] = /^([a-z_]+(?:\{[^}]*\})?) (\S+)$/.exec(line) ?? []
    if (name === undefined) continue
    all.set(name, Number(value))
    if (type !== 'gauge') lasting.set(name, Number(value))
  }
  return { of: (line) => all.get(`vesmail_${line}`) ?? 0, lasting }
}

function neverLess(now: Figures, before: Figures): void {
  for (const [name, value] of before.lasting) {
    assert.ok((now.lasting.get(name) ?? 0) >= value, `${name} fell from ${value} to ${now.lasting.get(name)}`)
  }
}

const endpoint = (name: 'imaps' | 'submissions') => ({
  host: '127.0.0.1',
  port: gateway.ports[name],
  secure: true,
  ca: gateway.ca,
})
const login = (name: string) => ({ user: `${name}@lab.test`, pass: gateway.passwords[name]! })

const logged = (what: RegExp): string[] => readFileSync(gateway.logFile, 'utf8').match(new RegExp(what, 'g')) ?? []

test('a mail that is sent moves what it should', async () => {
  const text = 'a line of the body, as long as lines are in mails\r\n'.repeat(BODY_OCTETS / 51)
  const mail = Buffer.from(`From: alice@lab.test\r\nTo: bob@lab.test\r\nSubject: x\r\n\r\n${text}`)
  const to = { from: 'alice@lab.test', to: 'bob@lab.test' }
  await assert.rejects(sendMail(endpoint('submissions'), { ...login('alice'), pass: 'not-the-password' }, to, mail))
  await sendMail(endpoint('submissions'), login('alice'), to, mail)
  const now = await until(async () => {
    const seen = await figures()
    return seen.of('sessions{service="smtp"}') === 0 ? seen : null
  })
  assert.equal(now.of('sessions_total{service="smtp"}'), 2)
  assert.equal(now.of('sessions_ended_total{service="smtp",why="quit"}'), 2)
  assert.equal(now.of('session_seconds_count{service="smtp"}'), 2)
  assert.equal(now.of('logins_total{service="smtp",result="BAD_CREDENTIALS"}'), 1)
  assert.equal(now.of('logins_total{service="smtp",result="ok"}'), 1)
  assert.equal(now.of('provider_connections_total{service="smtp",result="connected"}'), 1)
  assert.equal(now.of('messages_total{service="smtp",what="sealed"}'), 1)
  const sealed = now.of('message_octets_total{service="smtp",what="sealed"}')
  assert.ok(sealed >= mail.length && sealed < mail.length + 2000, `${sealed} octets sealed of ${mail.length}`)
  const client = now.of('octets_total{service="smtp",side="client",direction="in"}')
  assert.ok(client > mail.length && client < mail.length + 4000, `${client} octets from clients`)
  assert.ok(now.of('octets_total{service="smtp",side="upstream",direction="out"}') > 1.3 * mail.length)
  assert.ok(now.of('octets_total{service="smtp",side="client",direction="out"}') > 100)
  assert.ok(now.of('octets_total{service="smtp",side="upstream",direction="in"}') > 100)
  assert.equal(now.of('key_repository_seconds_count{what="login",result="ok"}'), 1)
  assert.equal(now.of('key_repository_seconds_count{what="login",result="failed"}'), 1)
  assert.equal(now.of('key_repository_seconds_count{what="seal-key",result="ok"}'), 1)
  assert.ok(now.of('key_repository_seconds_sum{what="seal-key",result="ok"}') > 0)
  assert.ok(now.of('pool_tasks_total{what="completed"}') >= 1)
  assert.ok(now.of('pool_seconds_total{what="run"}') > 0)
  assert.ok(now.of('memory_octets{kind="buffers"}') > 0)
  assert.ok(now.of('event_loop_lag_seconds{q="100"}') > 0)
  assert.equal(now.of('guard_workers_ready'), 2)
  assert.ok(now.of('guard_connections_total') >= 2)
})

test('octets move while a session is open, and what its client does not take is told', async () => {
  const before = await until(async () => {
    await readMail(endpoint('imaps'), login('bob'))
    const seen = await figures()
    return seen.of('messages_total{service="imap",what="opened"}') > 0 ? seen : null
  })
  assert.ok(before.of('message_octets_total{service="imap",what="opened"}') > 1.3 * BODY_OCTETS)
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    const one = connect({ ...endpoint('imaps'), host: 'localhost' }, () => resolve(one))
    one.on('error', reject)
  })
  const { user, pass } = login('bob')
  socket.write(`a LOGIN ${user} ${pass}\r\nb SELECT INBOX\r\n`)
  // Nobody reads a word of it: what the kernel does not take stays with the gateway.
  for (let i = 0; i < 40; i++) socket.write(`f${i} FETCH 1 BODY.PEEK[]\r\n`)
  const now = await until(async () => {
    const seen = await figures()
    return seen.of('buffered_octets{what="to_client"}') > 0 ? seen : null
  })
  const out = 'octets_total{service="imap",side="client",direction="out"}'
  assert.equal(now.of('sessions{service="imap"}'), 1)
  assert.ok(now.of(out) > before.of(out) + BODY_OCTETS)
  neverLess(now, before)
  socket.destroy()
  await until(async () => ((await figures()).of('buffered_octets{what="to_client"}') === 0 ? true : null))
})

test('HTTP connections are counted, too', async () => {
  const answer = await fetch(`http://127.0.0.1:${nowPort}/ves.json`, { headers: { connection: 'close' } })
  await answer.arrayBuffer()
  const now = await until(async () => {
    const seen = await figures()
    return seen.of('sessions_ended_total{service="now",why="quit"}') === 1 ? seen : null
  })
  assert.equal(now.of('sessions_total{service="now"}'), 1)
  assert.equal(now.of('sessions{service="now"}'), 0)
  assert.ok(now.of('octets_total{service="now",side="client",direction="in"}') > 40)
  assert.ok(now.of('octets_total{service="now",side="client",direction="out"}') > 40)
})

test('no counter falls when workers drain, nor when they are killed', async () => {
  const before = await figures()
  process.kill(gateway.pid, 'SIGHUP')
  await until(() => (logged(/"msg":"worker ended"/).length === 2 ? true : null))
  const drained = await figures()
  neverLess(drained, before)
  assert.equal(drained.of('guard_drains_total'), 2)
  assert.equal(drained.of('guard_reloads_total'), 1)
  const pids = logged(/"workerPid":\d+/).map((text) => Number(text.split(':')[1]))
  for (const pid of pids.slice(2)) process.kill(pid, 'SIGKILL')
  await until(() => (logged(/"msg":"worker died"/).length === 2 ? true : null))
  const killed = await until(async () => {
    const seen = await figures()
    return seen.of('guard_workers_ready') === 2 ? seen : null
  })
  neverLess(killed, drained)
  assert.equal(killed.of('guard_restarts_total'), 2)
  assert.equal(killed.of('messages_total{service="smtp",what="sealed"}'), 1)
})
