/**
 * Ten SIGHUPs under load (commands.md, "restart"): 200 busy clients over TLS in front of a real provider. Refused,
 * hung, cut, lost and doubled must all be 0, and from the first signal on no client may wait longer than 500 ms for a
 * greeting or for the answer to a cheap command.
 */
import { chmodSync, mkdtempSync, readFileSync, rmSync, watch } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { startGateway } from '../../src/cli/demo/gateway.ts'
import { startProvider } from '../../src/cli/sandbox/provider.ts'
import { quantile, type Row } from '../rows.ts'
import { Load } from './load.ts'
import { delivered } from './mailbox.ts'

const RELOADS = 10
/** Their sessions must stay below `limits.sessionsPerAccount`, as anybody's. */
const SENDERS = Array.from({ length: 10 }, (_, i) => `user${i}`)
const PAUSE_LIMIT_MS = 500
/** Between reloads: the provider, on the same two cores, has to bear every client's new login (Dovecot forks twice). */
const PAUSE_BETWEEN_MS = 5000
/** No phase takes so long where all is well. */
const PHASE_MS = 90_000

export async function rows(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-restart-'))
  chmodSync(directory, 0o755)
  const provider = await startProvider({
    directory: join(directory, 'p'),
    domain: 'bench.test',
    users: [...SENDERS, 'bob'].map((name) => ({ name, password: `${name}-pw` })),
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
    await gateway.createAccount('bob@bench.test')
    const accounts = []
    for (const name of SENDERS) {
      const user = `${name}@bench.test`
      const pass = await gateway.createAccount(user)
      const server = (port: number) => ({ host: '127.0.0.1', port, login: name, password: `${name}-pw` })
      await gateway.setProfile(user, pass, {
        imap: server(provider.ports.imap),
        smtp: { ...server(provider.ports.submission), mode: 'REJECT' },
      })
      accounts.push({ user, pass })
    }
    const load = new Load({
      submissionsPort: gateway.ports.submissions,
      imapsPort: gateway.ports.imaps,
      ca: gateway.ca,
      accounts,
      to: 'bob@bench.test',
      senders: 40,
      readers: 60,
      idlers: 100,
      thinkMs: 2000,
    })
    const told = progress(load)
    // A wait that is the clients' own, or the machine's, shows here, too.
    const ownLoop = monitorEventLoopDelay({ resolution: 10 })
    ownLoop.enable()
    const signalled: number[] = []
    await bounded('every client has logged in', load.start())
    told('all in')
    const login = load.forgetWaits()
    for (let reload = 1; reload <= RELOADS; reload++) {
      signalled.push(performance.now())
      process.kill(gateway.pid, 'SIGHUP')
      await bounded('reloaded', reloaded(gateway.logFile, reload + 1))
      told(`reload ${reload} done`)
      await later(PAUSE_BETWEEN_MS)
      told(`reload ${reload} + ${PAUSE_BETWEEN_MS / 1000} s`)
    }
    const seen = await bounded('every client has ended', load.stop())
    told('ended')
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
    const { ms: longest, what, atMs } = seen.longest
    const sinceMs = atMs - Math.max(...signalled.filter((one) => one < atMs))
    const own = `before, while all logged in, ${login.ms.toFixed(0)} ms; the clients' own loop stood still for up to ${(ownLoop.max / 1e6).toFixed(0)} ms`
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
        note: `${what}, over ${(sinceMs / 1000).toFixed(1)} s after the signal; ${own}`,
      },
    ]
  } finally {
    await gateway.stop()
    await provider.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Each phase is told as it ends: who waits for a bench wants to know what it is at. */
function progress(load: Load): (phase: string) => void {
  const begun = performance.now()
  return (phase) => {
    const { connections, goodbyes, commands, accepted, refused, hung, cut } = load.seen
    const s = ((performance.now() - begun) / 1000).toFixed(1)
    process.stderr.write(
      `${s} s: ${phase}; ${load.loggedIn} logged in, ${connections} connections, ${goodbyes} goodbyes, ${commands} commands, ${accepted.size} mails; refused ${refused}, hung ${hung}, cut ${cut}\n`,
    )
  }
}

/** @throws Error that names the phase which did not end in time: a bench that says nothing is no bench */
async function bounded<T>(phase: string, run: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${PHASE_MS / 1000} s: ${phase}`)), PHASE_MS)
  })
  try {
    return await Promise.race([run, late])
  } finally {
    clearTimeout(timer)
  }
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** The demo's gateway writes its log to a file. @throws Error where a reload failed instead */
function reloaded(file: string, generation: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const log = readFileSync(file, 'utf8')
      const failure = /^.*"msg":"reload failed".*$/m.exec(log)
      if (failure === null && !new RegExp(`"generation":${generation},.*"msg":"reloaded"`).test(log)) return
      watcher.close()
      if (failure === null) resolve()
      else reject(new Error(`${failure[0]}\n${log.split('\n').filter(isTelling).slice(-20).join('\n')}`))
    }
    const watcher = watch(file, look)
    look()
  })
}

/** What is not JSON is Node's own word at a crash. */
function isTelling(line: string): boolean {
  return !line.startsWith('{') || /"level":"(warn|error)"|"msg":"worker/.test(line)
}
