/**
 * The IMAP proxy beside the server itself, TLS on every connection (commands.md, "imap"): what is added to a command, how
 * fast attachments come whole and in ranges, how many octets at the provider each octet to the client costs, a large
 * plain mailbox, and idle sessions. Each phase has an end, and a row is told as soon as it is there.
 * `BENCH_MESSAGES`: size of the large mailbox, 100000.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { measureIdle } from '../idle/measure.ts'
import { median, quantile, type Row } from '../rows.ts'
import { cpuOf } from '../smtp/processes.ts'
import { CountingClient } from './counting-client.ts'
import { fillMaildir } from './plain-mailbox.ts'
import { type BenchServers, startServers } from './servers.ts'

const SMALL_ROUNDS = 300
const MB = 1024 * 1024
const LARGE = [
  ['1m', MB],
  ['10m', 10 * MB],
  ['100m', 100 * MB],
] as const
/** Of each size, in turns, after one to warm up; no more are begun after `ROW_MS`. */
const LARGE_ROUNDS = 7
const ROW_MS = 15_000
/** Of a large mailbox, in turns, after one to warm up. */
const SCANS = 3
const WHOLE = 'UID FETCH 1 (UID BODY.PEEK[])'
const HEADERS = 'FROM TO SUBJECT DATE MESSAGE-ID REFERENCES CONTENT-TYPE'

interface Phase {
  /** Names of its rows begin so. */
  readonly names: readonly string[]
  readonly limitMs: number
  /** @param wanted names of rows to measure */
  readonly run: (servers: BenchServers, told: (row: Row) => void, wanted: (name: string) => boolean) => Promise<void>
}

const PHASES: readonly Phase[] = [
  { names: ['noop-added-ms', 'fetch-small-added-ms'], limitMs: 30_000, run: commands },
  ...LARGE.map(
    ([size, octets]): Phase => ({
      names: [`fetch-${size}`, `ranges-${size}`, ...(size === '10m' ? ['traffic-first', 'traffic-second'] : [])],
      limitMs: 90_000,
      run: (servers, told, wanted) => attachment(servers, size, octets, told, wanted),
    }),
  ),
  {
    names: ['flags-100k', 'headers-100k', 'envelopes-100k', 'whole-headers-100k'],
    limitMs: 150_000,
    run: largeMailbox,
  },
  { names: ['idle-kib'], limitMs: 60_000, run: (_, told) => idle(told) },
]

/** @param only beginnings of the names of rows to measure; none: all */
export async function rows(only: readonly string[]): Promise<Row[]> {
  const wanted = (name: string): boolean => only.length === 0 || only.some((begin) => name.startsWith(begin))
  const out: Row[] = []
  const told = (row: Row): void => {
    if (!wanted(row.name)) return
    out.push(row)
    process.stderr.write(`${printed(row)}\n`)
  }
  const servers = await startServers()
  try {
    for (const { names, limitMs, run } of PHASES) {
      if (!names.some(wanted)) continue
      try {
        await within(limitMs, run(servers, told, wanted))
      } catch (error) {
        const missing = names.filter((name) => wanted(name) && !out.some((row) => row.name === name))
        const note = `failed: ${(error as Error).message}`
        for (const name of missing) told({ bench: 'imap', name, value: Number.NaN, unit: '', note })
      }
    }
    return out
  } finally {
    await servers.stop()
  }
}

async function commands(servers: BenchServers, told: (row: Row) => void): Promise<void> {
  const [direct, ours] = await both(servers)
  await fill(direct, ours, 'small', message('small', 2000))
  told(await added('noop-added-ms', direct, ours, 'NOOP'))
  told(await added('fetch-small-added-ms', direct, ours, WHOLE))
  for (const connection of [direct, ours]) connection.close()
}

/** Milliseconds that the gateway adds, of commands given in turns. */
async function added(name: string, direct: CountingClient, ours: CountingClient, command: string): Promise<Row> {
  const times = { direct: [] as number[], ours: [] as number[] }
  for (let round = -50; round < SMALL_ROUNDS; round++) {
    for (const [which, connection] of [
      ['direct', direct],
      ['ours', ours],
    ] as const) {
      const begin = performance.now()
      await connection.command(command)
      if (round >= 0) times[which].push(performance.now() - begin)
    }
  }
  const p50 = quantile(times.ours, 0.5) - quantile(times.direct, 0.5)
  const p99 = quantile(times.ours, 0.99) - quantile(times.direct, 0.99)
  return { bench: 'imap', name, value: p50, unit: 'ms', direct: quantile(times.direct, 0.5), p50, p99 }
}

async function attachment(
  servers: BenchServers,
  size: string,
  octets: number,
  told: (row: Row) => void,
  wanted: (name: string) => boolean,
): Promise<void> {
  const [direct, ours] = await both(servers)
  const mail = message(size, octets)
  await fill(direct, ours, `large${size}`, mail)
  // Before any other reads it.
  const first = await traffic(servers, `large${size}`, () => [WHOLE])
  const second = await traffic(servers, `large${size}`, () => [WHOLE])
  if (wanted(`fetch-${size}`)) {
    const whole = await inTurns(servers, direct, ours, () => [WHOLE])
    told({ ...rates(`fetch-${size}`, mail.length, whole), note: noteOf(whole, mail.length, first, second) })
  }
  if (size === '10m') {
    const unit = 'octets up per octet down'
    told({ bench: 'imap', name: 'traffic-first', value: first, unit })
    told({ bench: 'imap', name: 'traffic-second', value: second, unit })
  }
  if (wanted(`ranges-${size}`)) {
    for (const [suffix, section, step] of [
      ['', 'BODY.PEEK[]', 64],
      ['-part', 'BODY.PEEK[2]', 64],
    ] as const) {
      const steps = (): string[] => ranges(section, mail.length, step * 1024)
      const range = await inTurns(servers, direct, ours, steps)
      const up = await traffic(servers, `large${size}`, steps)
      const note = noteOf(range, mail.length, up, null)
      told({ ...rates(`ranges-${size}${suffix}`, mail.length, range), note })
    }
  }
  for (const connection of [direct, ours]) connection.close()
}

/** A client that reads a large section piece by piece, and asks for the size beside each as some do. */
function ranges(section: string, octets: number, step: number): string[] {
  const out: string[] = []
  for (let at = 0; at < octets; at += step) out.push(`UID FETCH 1 (UID RFC822.SIZE ${section}<${at}.${step}>)`)
  return out
}

interface Turns {
  readonly directMs: number
  readonly oursMs: number
  /** CPU seconds of the gateway for one of ours. */
  readonly cpu: number
}

async function inTurns(
  servers: BenchServers,
  direct: CountingClient,
  ours: CountingClient,
  steps: () => readonly string[],
): Promise<Turns> {
  const times: [number[], number[]] = [[], []]
  const cpu: number[] = []
  const begun = performance.now()
  for (let round = -1; round < LARGE_ROUNDS; round++) {
    if (round > 0 && performance.now() - begun > ROW_MS) break
    for (const [i, connection] of [direct, ours].entries()) {
      const cpuBefore = cpuOf(servers.pid)
      const begin = performance.now()
      for (const step of steps()) await connection.command(step)
      if (round < 0) continue
      times[i]!.push(performance.now() - begin)
      if (connection === ours) cpu.push(cpuOf(servers.pid) - cpuBefore)
    }
  }
  return { directMs: median(times[0]), oursMs: median(times[1]), cpu: cpu.reduce((a, b) => a + b, 0) / cpu.length }
}

/** Octets from the provider for each to the client, in a session of its own. */
async function traffic(servers: BenchServers, box: string, steps: () => readonly string[]): Promise<number> {
  const fresh = await CountingClient.open(servers.counted)
  await fresh.command(`EXAMINE ${box}`)
  const before = servers.relay.octetsDown
  let down = 0
  for (const step of steps()) down += await fresh.command(step)
  fresh.close()
  return (servers.relay.octetsDown - before) / down
}

function rates(name: string, octets: number, { directMs, oursMs }: Turns): Row {
  const rate = (ms: number): number => octets / 1e6 / (ms / 1000)
  const [value, direct] = [rate(oursMs), rate(directMs)]
  return { bench: 'imap', name, value, unit: 'MB/s', direct, ratio: value / direct }
}

function noteOf({ cpu }: Turns, octets: number, first: number, second: number | null): string {
  const perMegabyte = ((cpu * 1000) / (octets / 1e6)).toFixed(1)
  const traffics = second === null ? first.toFixed(2) : `${first.toFixed(2)} first, ${second.toFixed(2)} second read`
  return `${perMegabyte} ms CPU a MB; upstream/downstream ${traffics}`
}

async function largeMailbox(
  servers: BenchServers,
  told: (row: Row) => void,
  wanted: (name: string) => boolean,
): Promise<void> {
  const count = Number(process.env.BENCH_MESSAGES ?? 100_000)
  // Plain messages on both sides: written past the gateway.
  const one = Buffer.from('From: a@b\r\nSubject: plain\r\nMessage-ID: <m@b>\r\n\r\nhello\r\n')
  for (const address of [servers.direct, servers.sealed]) {
    const writer = await CountingClient.open(address)
    await writer.command('CREATE many')
    fillMaildir(join(servers.maildir(address.user), '.many'), count, one)
    await writer.command('SELECT many')
    writer.close()
  }
  for (const [name, items] of [
    ['flags-100k', 'UID FLAGS'],
    ['headers-100k', `UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (${HEADERS})]`],
    ['envelopes-100k', 'UID ENVELOPE'],
    ['whole-headers-100k', 'UID BODY.PEEK[HEADER]'],
  ] as const) {
    if (!wanted(name)) continue
    // What a session knows of the messages it met is not what a first scan costs.
    const firsts: [number[], number[]] = [[], []]
    let cpu = 0
    let octets = 0
    for (let round = -1; round < SCANS; round++) {
      for (const [i, address] of [servers.direct, servers.gateway].entries()) {
        const fresh = await CountingClient.open(address)
        await fresh.command('EXAMINE many')
        const cpuBefore = cpuOf(servers.pid)
        const begin = performance.now()
        octets = await fresh.command(`FETCH 1:* (${items})`)
        if (round >= 0) firsts[i]!.push((performance.now() - begin) / 1000)
        if (round >= 0 && address === servers.gateway) cpu += cpuOf(servers.pid) - cpuBefore
        fresh.close()
      }
    }
    const [direct, value] = [median(firsts[0]), median(firsts[1])]
    const perMessage = ((cpu / SCANS / count) * 1e6).toFixed(1)
    const note = `${count} messages, ${(octets / 1e6).toFixed(1)} MB; ${perMessage} µs CPU a message`
    told({ bench: 'imap', name, value, unit: 's', direct, ratio: value / direct, note })
  }
}

async function idle(told: (row: Row) => void): Promise<void> {
  const [measured] = await measureIdle([1000])
  const { ours, pipe } = measured!
  const note = `1000 sessions; CPU ${ours.cpuUs.toFixed(1)} µs a second and session, the pipe ${pipe.cpuUs.toFixed(1)}`
  const ratio = ours.kib / pipe.kib
  told({ bench: 'imap', name: 'idle-kib', value: ours.kib, unit: 'KiB', limit: pipe.kib, ratio, note })
}

async function both({ direct, gateway }: BenchServers): Promise<[CountingClient, CountingClient]> {
  return [await CountingClient.open(direct), await CountingClient.open(gateway)]
}

async function fill(direct: CountingClient, ours: CountingClient, box: string, mail: Buffer): Promise<void> {
  for (const connection of [direct, ours]) {
    await connection.command(`CREATE ${box}`)
    await connection.command(`APPEND ${box} {${mail.length}+}\r\n`, mail)
    await connection.command(`SELECT ${box}`)
  }
}

/** A mail with one attachment of so many octets. */
function message(name: string, octets: number): Buffer {
  const head =
    `From: a@lab.test\r\nTo: b@lab.test\r\nSubject: ${name}\r\nDate: Mon, 23 Nov 2026 16:00:00 +0000\r\nMessage-ID: <${name}@bench.test>\r\n` +
    'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n' +
    '--b1\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n'
  const lines: string[] = [head]
  const bytes = randomBytes(octets)
  for (let at = 0; at < bytes.length; at += 57) lines.push(`${bytes.toString('base64', at, at + 57)}\r\n`)
  return Buffer.from(`${lines.join('')}--b1--\r\n`, 'latin1')
}

function within(limitMs: number, phase: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${limitMs / 1000} s`)), limitMs)
  })
  return Promise.race([phase, late]).finally(() => clearTimeout(timer))
}

function printed({ name, value, unit, direct, limit, ratio, p99, note }: Row): string {
  const than = direct === undefined ? '' : `, direct ${direct.toPrecision(4)}`
  const beside = limit === undefined ? '' : `, limit ${limit.toPrecision(4)}`
  const by = ratio === undefined ? '' : `, ratio ${ratio.toFixed(2)}`
  const worst = p99 === undefined ? '' : `, p99 ${p99.toFixed(2)}`
  return `${name}: ${value.toPrecision(3)} ${unit}${than}${beside}${by}${worst}${note === undefined ? '' : ` (${note})`}`
}
