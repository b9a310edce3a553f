/**
 * Submission through us and straight to the same server (commands.md, "smtp"): the real daemon with two workers and its
 * embedded repository (durable, ML-KEM-768 vaults), one recipient, no TLS on either side so that both ways do the same.
 * The rows `-p521` have P-521 vaults on both ends, where key operations are the limit. Messages per second; at 10 MB
 * megabytes per second. Load, server, daemon and repository share this machine's cores.
 *
 * Postfix is durable as it comes, and discards what it has queued: deliveries of one way would else be done in the time
 * of the other. Each phase has an end, and a row is told as soon as it is there; one that fails says why.
 */
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { startGateway } from '../../src/cli/demo/gateway.ts'
import { type Provider, startProvider } from '../../src/cli/sandbox/provider.ts'
import { median, quantile, type Row } from '../rows.ts'
import { COMMANDS, load, type Measured, messageOf, type Target } from './load.ts'
import { cpuOf } from './processes.ts'

const ROUNDS = 3
/** A round sends for so long, finishes what it began, and is given up after `limitMs`. */
const ROUND = { forMs: 1500, limitMs: 40_000 }
/** Rounds after which no more are begun: fifty messages of 10 MB are a gigabyte each time, in and out. */
const ROW_MS = 15_000
const SIZES = [
  ['4k', 4 * 1024],
  ['100k', 100 * 1024],
  ['10m', 10 * 1024 * 1024],
] as const
const CONNECTIONS = [1, 50] as const

/** @param only beginnings of the names of rows to measure; none: all */
export async function rows(only: readonly string[]): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-smtp-'))
  chmodSync(directory, 0o755)
  const provider = await startProvider({
    directory: join(directory, 'p'),
    domain: 'bench.test',
    users: ['alice', 'bob'].map((name) => ({ name, password: `${name}-pw` })),
    postfixSettings: ['virtual_transport = discard:', 'in_flow_delay = 0'],
  })
  const out: Row[] = []
  let sink: { port: number; stop: () => void } | null = null
  try {
    sink = await startSink()
    await measure(directory, provider, sink.port, only, (row) => {
      out.push(row)
      process.stderr.write(`${printed(row)}\n`)
    })
    return out
  } finally {
    sink?.stop()
    await provider.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

async function measure(
  directory: string,
  provider: Provider,
  sinkPort: number,
  only: readonly string[],
  told: (row: Row) => void,
): Promise<void> {
  const port = await freePort()
  const gateway = await startGateway({
    directory,
    provider,
    workers: 2,
    anyPorts: true,
    daemons: [{ server: 'smtp', host: '127.0.0.1', port, tls: { level: 'none' } }],
  })
  try {
    const pair = async (account: string, to: string, providerPort: number, algo?: 'ECDH'): Promise<Pair> => {
      const password = await gateway.createAccount(account, algo)
      const server = { host: '127.0.0.1', port: providerPort, tls: { level: 'none' }, mode: 'REJECT' }
      await gateway.setProfile(account, password, { smtp: { ...server, login: 'alice', password: 'alice-pw' } })
      const direct = { port: providerPort, user: 'alice', password: 'alice-pw', to }
      return { ours: { port, user: account, password, to }, direct, pid: gateway.pid }
    }
    const [bob, erin] = ['bob@bench.test', 'erin@bench.test']
    await gateway.createAccount(bob)
    await gateway.createAccount(erin, 'ECDH')
    const pairs = [
      ['', await pair('alice@bench.test', bob, sinkPort), SIZES],
      ['-postfix', await pair('carol@bench.test', bob, provider.ports.submission), SIZES],
      ['-p521', await pair('dave@bench.test', erin, sinkPort, 'ECDH'), SIZES.slice(0, 1)],
    ] as const
    for (const [suffix, ways, sizes] of pairs) {
      for (const [size, octets] of sizes) {
        for (const connections of CONNECTIONS) {
          const name = `${size}-${connections}${suffix}`
          if (only.length > 0 && !only.some((begin) => name.startsWith(begin))) continue
          for (const row of await rowsOf(name, ways, octets, connections)) told(row)
        }
      }
    }
  } finally {
    await gateway.stop()
  }
}

interface Pair {
  readonly ours: Target
  readonly direct: Target
  /** The gateway's guard. */
  readonly pid: number
}

async function rowsOf(name: string, pair: Pair, octets: number, connections: number): Promise<Row[]> {
  const isBig = octets > 1e6
  const unit = isBig ? 'MB/s' : 'messages/s'
  const message = messageOf(octets)
  const ours: Measured[] = []
  const direct: Measured[] = []
  let cpuSeconds = 0
  const begunMs = performance.now()
  try {
    // The first round warms up; at 10 MB it would cost gigabytes and change nothing.
    for (let round = isBig ? 0 : -1; round < ROUNDS; round++) {
      if (round > 0 && performance.now() - begunMs > ROW_MS) break
      const before = cpuOf(pair.pid)
      const through = await load(pair.ours, connections, message, ROUND)
      const used = cpuOf(pair.pid) - before
      const straight = await load(pair.direct, connections, message, ROUND)
      if (round < 0) continue
      cpuSeconds += used
      ours.push(through)
      direct.push(straight)
    }
  } catch (error) {
    return [{ bench: 'smtp', name, value: Number.NaN, unit, note: `failed: ${(error as Error).message}` }]
  }
  const rate = ({ messages, seconds }: Measured): number => (isBig ? (messages * octets) / 1e6 : messages) / seconds
  const value = median(ours.map(rate))
  const limit = median(direct.map(rate))
  const messages = ours.reduce((sum, one) => sum + one.messages, 0)
  const took = (q: number): number =>
    quantile(
      ours.flatMap(({ messageMs }) => messageMs),
      q,
    )
  const row: Row = {
    bench: 'smtp',
    name,
    value,
    unit,
    direct: limit,
    ratio: value / limit,
    p50: took(0.5),
    p99: took(0.99),
    note: `${((cpuSeconds / messages) * 1000).toFixed(2)} ms CPU a message`,
  }
  return name === '4k-1' ? [row, ...addedLatency(ours, direct)] : [row]
}

/** On one connection with nobody else: what a whole message takes longer, and each of its commands. */
function addedLatency(ours: readonly Measured[], direct: readonly Measured[]): Row[] {
  const added = (name: string, of: (one: Measured) => readonly number[], note: string): Row => {
    const more = (q: number): number => quantile(ours.flatMap(of), q) - quantile(direct.flatMap(of), q)
    return { bench: 'smtp', name, value: more(0.5), unit: 'ms', p50: more(0.5), p99: more(0.99), note }
  }
  return [
    added('added-latency', ({ messageMs }) => messageMs, 'a 4 KB message, MAIL to the final reply'),
    ...COMMANDS.map((command) => added(`added-latency-${command}`, ({ commandMs }) => commandMs[command], 'a command')),
  ]
}

function printed({ name, value, unit, direct, ratio, p50, p99, note }: Row): string {
  const than = direct === undefined ? '' : `, direct ${direct.toFixed(1)}, ratio ${ratio?.toFixed(2)}`
  const quantiles = p50 === undefined ? '' : `, p50 ${p50.toFixed(2)} ms, p99 ${p99?.toFixed(2)} ms`
  return `${name}: ${value.toFixed(2)} ${unit}${than}${quantiles} (${note})`
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

async function startSink(): Promise<{ port: number; stop: () => void }> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./sink.ts', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  for await (const line of createInterface({ input: child.stdout })) {
    return { port: Number(line), stop: () => child.stdin.end() }
  }
  throw new Error('the sink did not start')
}
