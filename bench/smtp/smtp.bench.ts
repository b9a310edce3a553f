/**
 * Submission through us and straight to the same server (commands.md, "smtp"): the real daemon with two workers and its
 * embedded repository (durable, ML-KEM-768 vaults), one recipient, no TLS on either side so that both ways do the same.
 * The rows `-p521` have P-521 vaults on both ends, where key operations are the limit. Messages per second; at 10 MB
 * megabytes per second. Load, server, daemon and repository share this machine's cores.
 *
 * Postfix is durable as it comes, and discards what it has queued: deliveries of one way would else be done in the time
 * of the other. For the same reason the next phase waits until its queue is empty; the processor time of that is the
 * phase's that filled it. Each phase has an end, and a row is told as soon as it is there; one that fails says why.
 *
 * Rows `-pinned` are the same with Postfix on the last core alone, both ways, and all else on the others: the gateway does
 * not take the server's processor then, nor the server the gateway's.
 */
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { startGateway } from '../../src/cli/demo/gateway.ts'
import { type Provider, startProvider } from '../../src/cli/sandbox/provider.ts'
import { median, quantile, type Row } from '../rows.ts'
import { COMMANDS, load, type Measured, messageOf, type Target } from './load.ts'
import { type CpuByPart, cpuByPart, pin, spent, sumOf } from './processes.ts'

/** Before anything is pinned: then there seem to be fewer. */
const LAST_CORE = availableParallelism() - 1
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
  const providerDirectory = join(directory, 'p')
  const provider = await startProvider({
    directory: providerDirectory,
    domain: 'bench.test',
    users: ['alice', 'bob'].map((name) => ({ name, password: `${name}-pw` })),
    postfixSettings: ['virtual_transport = discard:', 'in_flow_delay = 0'],
  })
  const out: Row[] = []
  let sink: { port: number; stop: () => void } | null = null
  try {
    sink = await startSink()
    await measure(directory, provider, providerDirectory, sink.port, only, (row) => {
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
  providerDirectory: string,
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
    const settled = (): Promise<void> => untilDelivered(join(providerDirectory, 'postfix', 'queue'))
    const pair = async (account: string, to: string, providerPort: number, algo?: 'ECDH'): Promise<Pair> => {
      const password = await gateway.createAccount(account, algo)
      const server = { host: '127.0.0.1', port: providerPort, tls: { level: 'none' }, mode: 'REJECT' }
      await gateway.setProfile(account, password, { smtp: { ...server, login: 'alice', password: 'alice-pw' } })
      const direct = { port: providerPort, user: 'alice', password: 'alice-pw', to }
      return { ours: { port, user: account, password, to }, direct, settled }
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
          if (suffix !== '-postfix' || !pinned(true)) continue
          for (const row of await rowsOf(`${name}-pinned`, ways, octets, connections)) told(row)
          pinned(false)
        }
      }
    }
  } finally {
    await gateway.stop()
  }
}

/** @returns false where there is one core, or no taskset(1) */
function pinned(on: boolean): boolean {
  if (LAST_CORE === 0) return false
  const coresOf = (part: string): string =>
    on ? (part === 'server' ? `${LAST_CORE}` : `0-${LAST_CORE - 1}`) : `0-${LAST_CORE}`
  try {
    pin(process.pid, partOf, coresOf)
    return true
  } catch (error) {
    process.stderr.write(`not pinned: ${(error as Error).message}\n`)
    return false
  }
}

interface Pair {
  readonly ours: Target
  readonly direct: Target
  /** The server has done with what it took. */
  readonly settled: () => Promise<void>
}

async function rowsOf(name: string, pair: Pair, octets: number, connections: number): Promise<Row[]> {
  const isBig = octets > 1e6
  const unit = isBig ? 'MB/s' : 'messages/s'
  const message = messageOf(octets)
  const ours: Measured[] = []
  const direct: Measured[] = []
  const cpuOurs: CpuByPart[] = []
  const cpuDirect: CpuByPart[] = []
  const begunMs = performance.now()
  try {
    // The first round warms up; at 10 MB it would cost gigabytes and change nothing.
    for (let round = isBig ? 0 : -1; round < ROUNDS; round++) {
      if (round > 0 && performance.now() - begunMs > ROW_MS) break
      const before = cpuByPart(process.pid, partOf)
      const through = await load(pair.ours, connections, message, ROUND)
      await pair.settled()
      const between = cpuByPart(process.pid, partOf)
      const straight = await load(pair.direct, connections, message, ROUND)
      await pair.settled()
      const after = cpuByPart(process.pid, partOf)
      if (round < 0) continue
      cpuOurs.push(spent(before, between))
      cpuDirect.push(spent(between, after))
      ours.push(through)
      direct.push(straight)
    }
  } catch (error) {
    return [{ bench: 'smtp', name, value: Number.NaN, unit, note: `failed: ${(error as Error).message}` }]
  }
  const rate = ({ messages, seconds }: Measured): number => (isBig ? (messages * octets) / 1e6 : messages) / seconds
  const value = median(ours.map(rate))
  const limit = median(direct.map(rate))
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
    note: `ms CPU a message: ${perMessage(ours, cpuOurs)}; direct ${perMessage(direct, cpuDirect)}`,
  }
  return name === '4k-1' ? [row, ...addedLatency(ours, direct)] : [row]
}

/** Postfix takes mail faster than it delivers, discards included: what is left over would burden the next measurement. */
async function untilDelivered(queue: string): Promise<void> {
  const until = performance.now() + ROUND.limitMs
  while (['maildrop', 'incoming', 'active'].some((name) => readdirSync(join(queue, name)).length > 0)) {
    if (performance.now() > until) throw new Error('the server does not get done with its queue')
    await new Promise((later) => setTimeout(later, 20))
  }
}

/** Who a process below this one works for. */
function partOf(pid: number, args: string): string {
  if (pid === process.pid) return 'load'
  if (args.includes('worker-entry')) return 'worker'
  if (args.includes('repository serve')) return 'repository'
  if (args.includes('vesmail.ts daemon')) return 'guard'
  return 'server'
}

/** All of it, and who used it. */
function perMessage(runs: readonly Measured[], cpu: readonly CpuByPart[]): string {
  const messages = runs.reduce((sum, one) => sum + one.messages, 0)
  const ms = (seconds: number): string => ((seconds / messages) * 1000).toFixed(2)
  const parts = Object.entries(sumOf(cpu))
  const named = parts.filter(([, seconds]) => seconds > 0.01).map(([part, seconds]) => `${part} ${ms(seconds)}`)
  return `${ms(parts.reduce((sum, [, seconds]) => sum + seconds, 0))} (${named.join(', ')})`
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
