import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { GuardCounts } from '../../src/base/hand-over.ts'
import { Metrics, printMetrics } from '../../src/workers/metrics.ts'

const POOL = {
  threads: 2,
  running: 1,
  waiting: 2,
  octets: 9,
  completed: 3,
  failed: 4,
  inPlace: 5,
  threadDeaths: 6,
  waitMs: 7000,
  runMs: 8000,
}
const GUARD: GuardCounts = {
  workersReady: 2,
  workersDraining: 1,
  restarts: 3,
  reloads: 4,
  drains: 5,
  waiting: 6,
  handedOver: 7,
  refused: 8,
  stopping: false,
}
const END = {
  why: 'quit',
  durationMs: 2000,
  fromClientOctets: 1,
  toClientOctets: 2,
  fromUpstreamOctets: 3,
  toUpstreamOctets: 4,
} as const

const NONE = { toClientOctets: 0, toUpstreamOctets: 0, spilledOctets: 0 }

async function ofTwoWorkers(): Promise<string> {
  const workers = [new Metrics(() => POOL), new Metrics(() => POOL)]
  for (const metrics of workers) {
    const ended = { traffic: END, buffered: NONE }
    metrics.sessionBegun('imap', ended)
    metrics.sessionBegun('imap', {
      traffic: { ...END, fromClientOctets: 10 },
      buffered: { toClientOctets: 5, toUpstreamOctets: 6, spilledOctets: 7 },
    })
    metrics.sessionEnded('imap', ended, END)
    metrics.sealing('smtp', 1000)
    metrics.opening('imap', 2000)
    metrics.login('imap', 'ok')
    metrics.provider('smtp', 'failed')
    metrics.sealed('smtp')
    metrics.opened('imap')
    metrics.refused('abuse')
    assert.equal(await metrics.timed('login', Promise.resolve(7)), 7)
    await assert.rejects(metrics.timed('login', Promise.reject(new Error('x'))), { message: 'x' })
  }
  const text = await printMetrics(await Promise.all(workers.map((metrics) => metrics.json())), GUARD)
  for (const metrics of workers) metrics.close()
  return text
}

test('the numbers of all workers are summed, the guard’s stand beside them', async () => {
  const text = await ofTwoWorkers()
  for (const line of [
    'vesmail_sessions{service="imap"} 2',
    'vesmail_sessions_total{service="imap"} 4',
    'vesmail_sessions_ended_total{service="imap",why="quit"} 2',
    'vesmail_logins_total{service="imap",result="ok"} 2',
    'vesmail_octets_total{service="imap",side="upstream",direction="out"} 16',
    'vesmail_octets_total{service="imap",side="client",direction="in"} 22',
    'vesmail_buffered_octets{what="to_client"} 10',
    'vesmail_buffered_octets{what="to_upstream"} 12',
    'vesmail_buffered_octets{what="to_pool"} 18',
    'vesmail_buffered_octets{what="spilled"} 14',
    'vesmail_message_octets_total{service="smtp",what="sealed"} 2000',
    'vesmail_message_octets_total{service="imap",what="opened"} 4000',
    'vesmail_provider_connections_total{service="smtp",result="failed"} 2',
    'vesmail_messages_total{service="smtp",what="sealed"} 2',
    'vesmail_messages_total{service="imap",what="opened"} 2',
    'vesmail_connections_refused_total{reason="abuse"} 2',
    'vesmail_key_repository_seconds_count{what="login",result="failed"} 2',
    'vesmail_pool_tasks{state="waiting"} 4',
    'vesmail_pool_tasks_total{what="completed"} 6',
    'vesmail_pool_seconds_total{what="wait"} 14',
    'vesmail_guard_workers_ready 2',
    'vesmail_guard_restarts_total 3',
    'vesmail_guard_connections_waiting 6',
  ]) {
    assert.ok(text.split('\n').includes(line), `${line} is not in\n${text}`)
  }
})

test('octets told twice are told the same; those of a session move while it is open, and stay when it ends', async () => {
  const metrics = new Metrics(() => POOL)
  const session = { traffic: { ...END, fromClientOctets: 100 }, buffered: NONE }
  const told = async (): Promise<string[]> =>
    (await printMetrics([await metrics.json()], null))
      .split('\n')
      .filter((line) => /^vesmail_octets.*client.*in"/.test(line))
  const line = (octets: number): string[] => [
    `vesmail_octets_total{service="smtp",side="client",direction="in"} ${octets}`,
  ]
  metrics.sessionBegun('smtp', session)
  assert.deepEqual([await told(), await told()], [line(100), line(100)])
  session.traffic.fromClientOctets = 150
  assert.deepEqual(await told(), line(150))
  metrics.sessionEnded('smtp', session, { ...END, fromClientOctets: 160 })
  assert.deepEqual(await told(), line(160))
  metrics.close()
})

test('the dashboard shows all that there is, and nothing else', async () => {
  const text = await ofTwoWorkers()
  const names = new Set([...text.matchAll(/^(vesmail_\w+)/gm)].map(([, name]) => name))
  const dashboard = readFileSync(new URL('../../etc/grafana/vesmail.json', import.meta.url), 'utf8')
  const shown = new Set([...dashboard.matchAll(/vesmail_\w+/g)].map(([name]) => name))
  assert.ok(shown.size > 15)
  for (const name of shown) assert.ok(names.has(name), `${name} is not a metric`)
  const kinds = [...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name!)
  const operations = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  for (const kind of kinds) {
    assert.ok(
      [...shown].some((name) => name.startsWith(kind)),
      `${kind} is not on the dashboard`,
    )
    assert.ok(operations.includes(`\`${kind}`), `${kind} is not in docs/operations.md`)
  }
  const labels = new Set([...text.matchAll(/[{,](\w+)="/g)].map(([, label]) => label))
  for (const [, by] of dashboard.matchAll(/sum by \(([^)]+)\)/g)) {
    for (const label of by!.split(', ')) assert.ok(labels.has(label), `${label} is not a label`)
  }
})
