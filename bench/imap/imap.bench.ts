/**
 * The IMAP proxy beside the server itself, TLS on every connection (commands.md, "imap"): what is added to a command, how
 * fast attachments come, how many octets at the provider each octet to the client costs, and a large plain mailbox.
 * `BENCH_MESSAGES`: size of that mailbox, 100000.
 */
import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'

import { type Servers, startServers } from '../../scripts/oracle/own-servers.ts'
import { inTurns, quantile, type Row } from '../rows.ts'
import { CountingClient } from './counting-client.ts'

const SMALL_ROUNDS = 300
const LARGE = [
  ['1m', 1],
  ['10m', 10],
  ['100m', 100],
] as const
/** Of each size, in turns. */
const LARGE_ROUNDS = 5
const BATCH = 500

export async function rows(): Promise<Row[]> {
  const servers = await startServers('auto', false)
  try {
    return [...(await commands(servers)), ...(await attachments(servers)), ...(await largeMailbox(servers))]
  } finally {
    await servers.stop()
  }
}

async function commands(servers: Servers): Promise<Row[]> {
  const [direct, ours] = await both(servers)
  await fill(direct, ours, 'small', [message('small', 2000)])
  return [
    await added('noop-added-ms', direct, ours, 'NOOP'),
    await added('fetch-small-added-ms', direct, ours, 'UID FETCH 1 (UID BODY.PEEK[])'),
  ]
}

/** Milliseconds that the gateway adds, of commands given in turns. */
async function added(name: string, direct: CountingClient, ours: CountingClient, command: string): Promise<Row> {
  const times = { direct: [] as number[], ours: [] as number[] }
  for (let round = -20; round < SMALL_ROUNDS; round++) {
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

async function attachments(servers: Servers): Promise<Row[]> {
  const out: Row[] = []
  for (const [name, megabytes] of LARGE) {
    const [direct, ours] = await both(servers)
    const mail = message(name, megabytes * 1024 * 1024)
    await fill(direct, ours, `large${name}`, [mail])
    const traffic = await Promise.all(['first', 'second'].map(() => 0))
    for (const i of [0, 1]) {
      const fresh = await CountingClient.open(servers.gateway)
      await fresh.command(`EXAMINE large${name}`)
      const before = servers.relay.octetsDown
      await fresh.command('UID FETCH 1 (UID BODY.PEEK[])')
      traffic[i] = (servers.relay.octetsDown - before) / mail.length
      fresh.close()
    }
    const [directMs, oursMs] = await inTurns(
      LARGE_ROUNDS,
      () => direct.command('UID FETCH 1 (UID BODY.PEEK[])'),
      () => ours.command('UID FETCH 1 (UID BODY.PEEK[])'),
    )
    const rate = (ms: number): number => mail.length / 1e6 / (ms / 1000)
    const [value, beside] = [rate(oursMs!), rate(directMs!)]
    out.push({ bench: 'imap', name: `fetch-${name}`, value, unit: 'MB/s', direct: beside, ratio: value / beside })
    if (name === '10m') {
      out.push({ bench: 'imap', name: 'traffic-first', value: traffic[0]!, unit: 'octets up per octet down' })
      out.push({ bench: 'imap', name: 'traffic-second', value: traffic[1]!, unit: 'octets up per octet down' })
    }
    for (const connection of [direct, ours]) connection.close()
  }
  return out
}

async function largeMailbox(servers: Servers): Promise<Row[]> {
  const count = Number(process.env.BENCH_MESSAGES ?? 100_000)
  const [direct, ours] = await both(servers)
  for (const [connection, box] of [
    [direct, 'many'],
    [ours, 'many'],
  ] as const) {
    await connection.command(`CREATE ${box}`)
    // Plain messages on both sides: written past the gateway.
    const writer =
      connection === direct
        ? direct
        : await CountingClient.open({ ...servers.direct, user: 'sealed', password: 'sealed-at-the-provider' })
    const one = Buffer.from('From: a@b\r\nSubject: plain\r\nMessage-ID: <m@b>\r\n\r\nhello\r\n')
    for (let done = 0; done < count; done += BATCH) {
      const parts: (string | Buffer)[] = [`APPEND ${box}`]
      for (let i = 0; i < Math.min(BATCH, count - done); i++) parts.push(` {${one.length}+}\r\n`, one)
      await writer.command(...parts)
    }
    await connection.command(`SELECT ${box}`)
  }
  const out: Row[] = []
  for (const [name, items] of [
    ['flags-100k', 'UID FLAGS'],
    ['headers-100k', 'UID ENVELOPE'],
  ] as const) {
    const command = `FETCH 1:* (${items})`
    const [directMs, oursMs] = await inTurns(
      3,
      () => direct.command(command),
      () => ours.command(command),
    )
    const [value, beside] = [oursMs! / 1000, directMs! / 1000]
    out.push({
      bench: 'imap',
      name,
      value,
      unit: 's',
      direct: beside,
      ratio: value / beside,
      note: `${count} messages`,
    })
  }
  return out
}

async function both(servers: Servers): Promise<[CountingClient, CountingClient]> {
  return [await CountingClient.open(servers.direct), await CountingClient.open(servers.gateway)]
}

async function fill(
  direct: CountingClient,
  ours: CountingClient,
  box: string,
  mails: readonly Buffer[],
): Promise<void> {
  for (const connection of [direct, ours]) {
    await connection.command(`CREATE ${box}`)
    for (const mail of mails) await connection.command(`APPEND ${box} {${mail.length}+}\r\n`, mail)
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
