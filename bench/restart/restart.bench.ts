/**
 * Ten SIGHUPs under load (commands.md, "restart"): 200 busy clients over TLS in front of a real provider. Refused,
 * hung, cut, lost and doubled must all be 0, and no client may wait longer than 500 ms for a greeting or for the
 * answer to a cheap command.
 */
import { chmodSync, mkdtempSync, readFileSync, rmSync, watch } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startGateway } from '../../src/cli/demo/gateway.ts'
import { startProvider } from '../../src/cli/sandbox/provider.ts'
import { quantile, type Row } from '../rows.ts'
import { Load } from './load.ts'
import { delivered } from './mailbox.ts'

const RELOADS = 10
const PAUSE_LIMIT_MS = 500
/** Between reloads: the provider, on the same two cores, has to bear every client's new login (Dovecot forks twice). */
const PAUSE_BETWEEN_MS = 5000

export async function rows(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-restart-'))
  chmodSync(directory, 0o755)
  const provider = await startProvider({
    directory: join(directory, 'p'),
    domain: 'bench.test',
    users: ['alice', 'bob'].map((name) => ({ name, password: `${name}-pw` })),
  })
  const gateway = await startGateway({
    directory,
    provider,
    workers: 2,
    anyPorts: true,
    configuration: {
      imap: { limits: { drainWindowSeconds: 8, drainSeconds: 20 } },
      smtp: { limits: { drainWindowSeconds: 8, drainSeconds: 20 } },
    },
  })
  try {
    const alice = 'alice@bench.test'
    const pass = await gateway.createAccount(alice)
    await gateway.createAccount('bob@bench.test')
    const server = (port: number) => ({ host: '127.0.0.1', port, login: 'alice', password: 'alice-pw' })
    await gateway.setProfile(alice, pass, {
      imap: server(provider.ports.imap),
      smtp: { ...server(provider.ports.submission), mode: 'REJECT' },
    })
    const load = new Load({
      submissionsPort: gateway.ports.submissions,
      imapsPort: gateway.ports.imaps,
      ca: gateway.ca,
      login: { user: alice, pass },
      from: alice,
      to: 'bob@bench.test',
      senders: 40,
      readers: 60,
      idlers: 100,
      thinkMs: 2000,
    })
    await load.start()
    for (let reload = 1; reload <= RELOADS; reload++) {
      process.kill(gateway.pid, 'SIGHUP')
      await logged(gateway.logFile, new RegExp(`"generation":${reload + 1},.*"msg":"reloaded"`))
      await later(PAUSE_BETWEEN_MS)
    }
    const seen = await load.stop()
    const found = await delivered(provider.maildir('bob'), seen.accepted)
    const lost = [...seen.accepted].filter((id) => !found.has(id)).length
    const doubled = [...found.values()].filter((times) => times > 1).length
    const waits = [...seen.greetings, ...seen.answers]
    const note = `${seen.connections} connections, ${seen.goodbyes} goodbyes, ${seen.accepted.size} mails, ${seen.commands} commands`
    for (const complaint of seen.complaints) process.stderr.write(`${complaint}\n`)
    const zero = (name: string, value: number, why?: string): Row => ({
      bench: 'restart',
      name,
      value,
      unit: 'count',
      limit: 0,
      ...(why === undefined ? {} : { note: why }),
    })
    const longest = Math.max(...waits)
    return [
      zero('refused', seen.refused, note),
      zero('hung', seen.hung),
      zero('cut', seen.cut),
      zero('lost', lost),
      zero('doubled', doubled),
      {
        bench: 'restart',
        name: 'longest-pause-ms',
        value: longest,
        unit: 'ms',
        limit: PAUSE_LIMIT_MS,
        ratio: longest / PAUSE_LIMIT_MS,
        p50: quantile(waits, 0.5),
        p99: quantile(waits, 0.99),
      },
    ]
  } finally {
    await gateway.stop()
    await provider.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** The demo's gateway writes its log to a file. */
function logged(file: string, line: RegExp): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (!line.test(readFileSync(file, 'utf8'))) return
      watcher.close()
      resolve()
    }
    const watcher = watch(file, look)
    look()
  })
}
