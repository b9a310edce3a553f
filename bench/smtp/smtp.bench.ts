/**
 * Submission through us and straight to the same server (commands.md, "smtp"): the real daemon with two workers and its
 * embedded repository (durable, ML-KEM-768 vaults), one recipient, no TLS on either side so that both ways do the same.
 * Messages per second; at 10 MB megabytes per second. Load, server, daemon and repository share this machine's cores.
 */
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { startGateway } from '../../src/cli/demo/gateway.ts'
import { startProvider } from '../../src/cli/sandbox/provider.ts'
import { median, quantile, type Row } from '../rows.ts'
import { load, type Measured, messageOf, type Target } from './load.ts'

const ROUNDS = 3
const ROUND_MS = 2000
const SIZES = [
  ['4k', 4 * 1024],
  ['100k', 100 * 1024],
  ['10m', 10 * 1024 * 1024],
] as const
const CONNECTIONS = [1, 50] as const
/** A clock tick of /proc/PID/stat. */
const TICKS_PER_SECOND = 100

export async function rows(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-smtp-'))
  chmodSync(directory, 0o755)
  const provider = await startProvider({
    directory: join(directory, 'p'),
    domain: 'bench.test',
    users: ['alice', 'bob'].map((name) => ({ name, password: `${name}-pw` })),
  })
  const sink = await startSink()
  const port = 30_000 + (process.pid % 5000)
  const gateway = await startGateway({
    directory,
    provider,
    workers: 2,
    anyPorts: true,
    daemons: [{ server: 'smtp', host: '127.0.0.1', port, tls: { level: 'none' } }],
  })
  try {
    const through = async (account: string, providerPort: number): Promise<Target> => {
      const password = await gateway.createAccount(account)
      const smtp = {
        host: '127.0.0.1',
        port: providerPort,
        login: 'alice',
        password: 'alice-pw',
        tls: { level: 'none' },
      }
      await gateway.setProfile(account, password, { smtp: { ...smtp, mode: 'REJECT' } })
      return { port, user: account, password }
    }
    await gateway.createAccount('bob@bench.test')
    const straight = { user: 'alice', password: 'alice-pw' }
    const toSink = { ours: await through('alice@bench.test', sink.port), direct: { ...straight, port: sink.port } }
    const toPostfix = {
      ours: await through('carol@bench.test', provider.ports.submission),
      direct: { ...straight, port: provider.ports.submission },
    }
    return [...(await compared(toSink, '', gateway.pid)), ...(await compared(toPostfix, '-postfix', gateway.pid))]
  } finally {
    await gateway.stop()
    sink.stop()
    await provider.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

interface Pair {
  readonly ours: Target
  readonly direct: Target
}

async function compared(pair: Pair, suffix: string, pid: number): Promise<Row[]> {
  const out: Row[] = []
  for (const [size, octets] of SIZES) {
    const message = messageOf(octets)
    for (const connections of CONNECTIONS) {
      const seen = { ours: [] as Measured[], direct: [] as Measured[] }
      let cpuSeconds = 0
      let messages = 0
      // The first round warms up; at 10 MB it would cost gigabytes and change nothing.
      for (let round = size === '10m' ? 0 : -1; round < ROUNDS; round++) {
        const before = cpuOf(pid)
        const ours = await load(pair.ours, connections, message, ROUND_MS)
        const direct = await load(pair.direct, connections, message, ROUND_MS)
        if (round < 0) continue
        cpuSeconds += cpuOf(pid) - before
        messages += ours.messages
        seen.ours.push(ours)
        seen.direct.push(direct)
      }
      const big = size === '10m'
      const rate = ({ messages: count, seconds }: Measured): number => (big ? (count * octets) / 1e6 : count) / seconds
      const value = median(seen.ours.map(rate))
      const direct = median(seen.direct.map(rate))
      const of = (q: number): number =>
        quantile(
          seen.ours.flatMap(({ messageMs }) => messageMs),
          q,
        )
      process.stderr.write(
        `${size}-${connections}${suffix}: ${value.toFixed(1)}, direct ${direct.toFixed(1)}, ${((cpuSeconds / messages) * 1000).toFixed(2)} ms CPU a message\n`,
      )
      out.push({
        bench: 'smtp',
        name: `${size}-${connections}${suffix}`,
        value,
        unit: big ? 'MB/s' : 'messages/s',
        direct,
        ratio: value / direct,
        p50: of(0.5),
        p99: of(0.99),
        note: `${((cpuSeconds / messages) * 1000).toFixed(2)} ms CPU a message`,
      })
      if (size === '4k' && connections === 1 && suffix === '') out.push(addedLatency(seen.ours, seen.direct))
    }
  }
  return out
}

/** On one connection with nobody else: what a message takes longer, and a command (p50, p99). */
function addedLatency(ours: readonly Measured[], direct: readonly Measured[]): Row {
  const added = (q: number, of: (one: Measured) => readonly number[]): number =>
    quantile(ours.flatMap(of), q) - quantile(direct.flatMap(of), q)
  return {
    bench: 'smtp',
    name: 'added-latency',
    value: added(0.5, ({ messageMs }) => messageMs),
    unit: 'ms',
    p50: added(0.5, ({ commandMs }) => commandMs),
    p99: added(0.99, ({ commandMs }) => commandMs),
    note: 'a 4 KB message; p50 and p99: a command',
  }
}

/** CPU seconds of a process and all below it. */
function cpuOf(pid: number): number {
  let ticks = 0
  const children = new Map<number, number[]>()
  const own = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = statOf(name)
    if (stat === null) continue
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const parent = Number(fields[1])
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
    own.set(Number(name), Number(fields[11]) + Number(fields[12]))
  }
  const pending = [pid]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    ticks += own.get(next) ?? 0
    pending.push(...(children.get(next) ?? []))
  }
  return ticks / TICKS_PER_SECOND
}

function statOf(pid: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw error
  }
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
