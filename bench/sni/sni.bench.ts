/**
 * Ten thousand host files, each with a certificate of its own, at one worker of the real daemon: how much longer a
 * handshake takes for a host that nobody asked for before, what the worker keeps while all are visited, how soon a changed
 * file is seen, and that names that are no host names get no certificate. `npm run bench -- sni`.
 */
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { type DemoGateway, startGateway } from '../../src/cli/demo/gateway.ts'
import type { Provider } from '../../src/cli/sandbox/provider.ts'
import { selfSigned } from '../../src/net/certificates.ts'
import { quantile, type Row } from '../rows.ts'

const HOSTS = 10_000
/** Making one takes a tenth of a second; each host has files of its own, and that is what is read. */
const PAIRS = 50
/** What a worker keeps of hosts at a time (`sni.cache`). */
const KEPT = 1000
/** Visited twice in a row: the second time is what the first one is measured against. */
const PAIRED_VISITS = 300
const HOSTILE = [
  '../../etc/passwd',
  'a/../h1.example',
  'h1.example\\..',
  '%2e%2e%2fh1.example',
  `${'x'.repeat(64)}.example`,
]
const GIVE_UP_MS = 5000

export async function rows(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-sni-'))
  const hosts = join(directory, 'hosts')
  makeHosts(hosts)
  const main = selfSigned(['localhost'], Date.now())
  writeFileSync(join(directory, 'provider.pem'), main.cert)
  const gateway = await startGateway({
    directory,
    provider: { certFile: join(directory, 'provider.pem') } as Provider,
    workers: 1,
    anyPorts: true,
    configuration: {
      '*': {
        limits: { sessionsPerAddress: 50_000 },
        sni: { prefix: `${hosts}/`, suffix: '.conf', require: true, cache: KEPT },
      },
    },
  })
  try {
    const { imaps } = gateway.ports
    const none = async (): Promise<number> => (await handshake(imaps, null)).ms
    // Code is compiled, and what has no host is known.
    for (let i = 0; i < 300; i++) await none()
    const [cold, warm]: [number[], number[]] = [[], []]
    for (let i = 0; i < PAIRED_VISITS; i++) {
      cold.push((await handshake(imaps, nameOf(i))).ms)
      warm.push((await handshake(imaps, nameOf(i))).ms)
    }
    const rss: number[] = []
    for (let i = PAIRED_VISITS; i < HOSTS; i++) {
      const { ms, subject } = await handshake(imaps, nameOf(i))
      if (subject !== `pair${i % PAIRS}.example`) throw new Error(`${nameOf(i)} got the certificate of ${subject}`)
      cold.push(ms)
      if ((i + 1) % (HOSTS / 5) === 0) rss.push(workerMib(gateway))
    }
    const changedMs = await untilChanged(hosts, imaps)
    const refused = await Promise.all(HOSTILE.concat('nobody.example').map((name) => isRefused(imaps, name)))
    const row = (name: string, value: number, unit: string, more: Partial<Row> = {}): Row => ({
      bench: 'sni',
      name,
      value,
      unit,
      ...more,
    })
    const times = (all: readonly number[]) => ({ p50: quantile(all, 0.5), p99: quantile(all, 0.99) })
    const [first = 0, last = 0] = [rss[0], rss.at(-1)]
    return [
      row('cold', quantile(cold, 0.5), 'ms', {
        ...times(cold),
        direct: quantile(warm, 0.5),
        ratio: quantile(cold, 0.5) / quantile(warm, 0.5),
        note: `${HOSTS} hosts, a whole handshake each; direct: the same host once more`,
      }),
      row('warm', quantile(warm, 0.5), 'ms', times(warm)),
      row('growth', last - first, 'MiB', {
        note: `worker: ${rss.map((mib) => mib.toFixed(0)).join(', ')} MiB after each 2,000 hosts; ${KEPT} kept`,
      }),
      row('changed', changedMs, 'ms', { limit: 1000, note: 'until a replaced file is in force' }),
      row('refused', refused.filter(Boolean).length, 'count', { limit: refused.length, note: 'names without a file' }),
    ]
  } finally {
    await gateway.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

function nameOf(i: number): string {
  return `h${i}.example`
}

/** Keys of the pairs are copied: each host reads its own files, as many contexts are made. */
function makeHosts(folder: string): void {
  mkdirSync(folder)
  for (let pair = 0; pair < PAIRS; pair++) {
    const { cert, pkey } = selfSigned([`pair${pair}.example`], Date.now())
    writeFileSync(join(folder, `pair${pair}.pem`), cert + pkey, { mode: 0o600 })
  }
  for (let i = 0; i < HOSTS; i++) {
    const pem = join(folder, `${nameOf(i)}.pem`)
    cpSync(join(folder, `pair${i % PAIRS}.pem`), pem)
    writeFileSync(join(folder, `${nameOf(i)}.conf`), configurationOf(pem))
  }
}

function configurationOf(pem: string): string {
  return JSON.stringify({ '*': { tls: { cert: pem, pkey: pem }, subject: 'a mail of this host' } })
}

async function handshake(port: number, servername: string | null): Promise<{ ms: number; subject: string }> {
  const begun = performance.now()
  const socket = connect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...(servername === null ? {} : { servername }),
  })
  socket.setTimeout(GIVE_UP_MS, () => socket.destroy(new Error(`${servername}: no answer`)))
  await once(socket, 'secureConnect')
  const ms = performance.now() - begun
  const subject = String(socket.getPeerCertificate().subject.CN)
  socket.on('error', () => {})
  socket.destroy()
  return { ms, subject }
}

/** Another file under the name of one that is in use. @returns milliseconds until clients get its certificate */
async function untilChanged(folder: string, port: number): Promise<number> {
  const host = nameOf(HOSTS - 1)
  const file = join(folder, `${host}.conf`)
  writeFileSync(`${file}.new`, configurationOf(join(folder, 'pair0.pem')))
  await handshake(port, host)
  renameSync(`${file}.new`, file)
  const begun = performance.now()
  while ((await handshake(port, host)).subject !== 'pair0.example') {
    if (performance.now() - begun > GIVE_UP_MS) return GIVE_UP_MS
  }
  return performance.now() - begun
}

async function isRefused(port: number, servername: string): Promise<boolean> {
  try {
    await handshake(port, servername)
    return false
  } catch {
    return true
  }
}

function workerMib(gateway: DemoGateway): number {
  const pid = /"workerPid":(\d+)/.exec(readFileSync(gateway.logFile, 'utf8'))?.[1]
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}
