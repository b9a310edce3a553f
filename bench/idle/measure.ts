/**
 * Idle IMAP sessions with TLS on both sides: resident memory of the worker, less what it has with a few, and its CPU time
 * while nothing happens; beside it a bare node:tls pipe, in the same run.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createSecureContext, type TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { startGateway } from '../../src/cli/demo/gateway.ts'
import type { Provider } from '../../src/cli/sandbox/provider.ts'
import { selfSigned } from '../../src/net/certificates.ts'
import { COLLECTOR_FLAGS } from '../../src/workers/collector.ts'
import { cpuOf } from '../smtp/processes.ts'

/** Sessions before the first measurement: code is compiled, caches are made. */
const WARM = 100
/** Connections that are being opened at a time. */
const AT_ONCE = 20
/** What collectors and allocators get to settle, and how long nothing happens. */
const SETTLE_MS = 3000
/** The pipe's collector is a worker's: else what differs is the size of its young generation. */
const WORKER_FLAGS = [...COLLECTOR_FLAGS, '--external-memory-accounted-in-global-limit']
/** Of a process, besides its sessions'. */
const OTHER_DESCRIPTORS = 500

export interface Idle {
  /** Per session. */
  readonly kib: number
  /** CPU microseconds that a session takes each second. */
  readonly cpuUs: number
}

/** @returns ours and the pipe's, at each of the numbers of sessions */
export async function measureIdle(sizes: readonly number[]): Promise<{ ours: Idle; pipe: Idle }[]> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-idle-'))
  const children: ChildProcess[] = []
  try {
    const { cert, pkey } = selfSigned(['localhost', '127.0.0.1'], Date.now())
    const files = [join(directory, 'cert.pem'), join(directory, 'key.pem')] as const
    writeFileSync(files[0], cert)
    writeFileSync(files[1], pkey, { mode: 0o600 })
    const provider = await program('imap-provider.ts', children, ...files)
    const processes = processesFor(Math.max(...sizes))
    const bare = await Promise.all(
      Array.from({ length: processes }, () => program('bare-pipe.ts', children, ...files, String(provider.port))),
    )
    const ca = createSecureContext({ ca: cert })
    let turn = 0
    const pipe = await measure('pipe', sizes, pidsOf(bare), () =>
      session(bare[turn++ % processes]!.port, ca, { user: 'x', pass: 'x' }),
    )
    const gateway = await startGateway({
      directory,
      provider: { certFile: files[0] } as Provider,
      workers: processes,
      anyPorts: true,
      configuration: {
        '*': {
          limits: {
            providerNetworks: ['127.0.0.0/8'],
            sessions: 50_000,
            sessionsPerAccount: 50_000,
            sessionsPerAddress: 50_000,
          },
        },
      },
    })
    try {
      const pass = await gateway.createAccount('alice@idle.test')
      const server = { host: '127.0.0.1', port: provider.port, login: 'a', password: 'b', tls: { persist: true } }
      await gateway.setProfile('alice@idle.test', pass, { imap: server })
      const trusted = createSecureContext({ ca: gateway.ca })
      const ours = await measure('ours', sizes, workerPids(gateway.logFile), () =>
        session(gateway.ports.imaps, trusted, { user: 'alice@idle.test', pass }),
      )
      return sizes.map((_, i) => ({ ours: ours[i]!, pipe: pipe[i]! }))
    } finally {
      await gateway.stop()
    }
  } finally {
    for (const child of children) child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
}

async function measure(
  name: string,
  sizes: readonly number[],
  pids: readonly number[],
  open: () => Promise<TLSSocket>,
): Promise<Idle[]> {
  const sockets: TLSSocket[] = []
  const fill = async (size: number): Promise<void> => {
    const opener = async (): Promise<void> => {
      while (sockets.length + pending < size) {
        pending++
        const socket = await open()
        pending--
        sockets.push(socket)
      }
    }
    let pending = 0
    await Promise.all(Array.from({ length: AT_ONCE }, opener))
    await later(SETTLE_MS)
  }
  await fill(WARM)
  const before = residentKib(pids)
  const results: Idle[] = []
  for (const size of sizes) {
    await fill(size)
    const kib = (residentKib(pids) - before) / (sockets.length - WARM)
    const cpuBefore = cpuOfAll(pids)
    await later(SETTLE_MS)
    const cpuUs = ((cpuOfAll(pids) - cpuBefore) * 1e6) / (SETTLE_MS / 1000) / sockets.length
    results.push({ kib, cpuUs })
    process.stderr.write(`${name}, ${sockets.length} sessions: ${kib.toFixed(1)} KiB each\n`)
  }
  for (const socket of sockets) socket.destroy()
  await later(SETTLE_MS)
  return results
}

/** A client that has logged in, selected a mailbox, and idles. */
async function session(
  port: number,
  secureContext: ReturnType<typeof createSecureContext>,
  login: { readonly user: string; readonly pass: string },
): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', secureContext })
  socket.setEncoding('latin1')
  let seen = ''
  let wake = (): void => {}
  let fail = (): void => {}
  socket.on('error', () => {}).on('close', () => fail())
  socket.on('data', (text: string) => {
    seen += text
    wake()
  })
  const until = async (wanted: RegExp): Promise<void> => {
    while (!wanted.test(seen)) {
      if (/^a (NO|BAD)/m.test(seen)) throw new Error(seen)
      await new Promise<void>((resolve, reject) => {
        wake = resolve
        fail = () => reject(new Error(`closed: ${seen.slice(-200)}`))
      })
    }
    seen = ''
  }
  await once(socket, 'secureConnect')
  await until(/^\* OK/)
  socket.write(`a LOGIN "${login.user}" "${login.pass}"\r\n`)
  await until(/^a OK/m)
  socket.write('b SELECT INBOX\r\n')
  await until(/^b OK/m)
  socket.write('c IDLE\r\n')
  await until(/^\+/m)
  socket
    .removeAllListeners('data')
    .removeAllListeners('close')
    .on('error', () => {})
    .resume()
  return socket
}

async function program(
  file: string,
  children: ChildProcess[],
  ...args: string[]
): Promise<{ readonly port: number; readonly pid: number }> {
  const path = fileURLToPath(new URL(`./${file}`, import.meta.url))
  const child = spawn(process.execPath, [...WORKER_FLAGS, path, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const [line] = (await once(child.stdout!, 'data')) as [Buffer]
  return { port: Number(line), pid: child.pid! }
}

/** A session has a descriptor on each side: where a process may not have that many, several share the sessions. */
function processesFor(sessions: number): number {
  const limit = Number(/^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1])
  return Number.isNaN(limit) ? 1 : Math.ceil((2 * sessions) / (limit - OTHER_DESCRIPTORS))
}

function pidsOf(programs: readonly { readonly pid: number }[]): number[] {
  return programs.map(({ pid }) => pid)
}

function cpuOfAll(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuOf(pid), 0)
}

function residentKib(pids: readonly number[]): number {
  const one = (pid: number): number =>
    Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  return pids.reduce((sum, pid) => sum + one(pid), 0)
}

function workerPids(logFile: string): number[] {
  return [...new Set([...readFileSync(logFile, 'utf8').matchAll(/"workerPid":(\d+)/g)].map(([, pid]) => Number(pid)))]
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
