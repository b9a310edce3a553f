/**
 * Memory of an idle IMAP session with TLS on both sides (commands.md, "idle"): the worker's resident set with 1,000,
 * 5,000 and 10,000 clients in IDLE, less what it has with a few; beside it a bare node:tls pipe, in the same run.
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
import type { Row } from '../rows.ts'

const SIZES = [1000, 5000, 10_000]
/** Sessions before the first measurement: code is compiled, caches are made. */
const WARM = 100
/** Connections that are being opened at a time. */
const AT_ONCE = 20
const ALLOWED = 1.25
/** What collectors and allocators get to settle. */
const SETTLE_MS = 3000

export async function rows(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-idle-'))
  const children: ChildProcess[] = []
  try {
    const { cert, pkey } = selfSigned(['localhost', '127.0.0.1'], Date.now())
    const files = [join(directory, 'cert.pem'), join(directory, 'key.pem')] as const
    writeFileSync(files[0], cert)
    writeFileSync(files[1], pkey, { mode: 0o600 })
    const provider = await program('imap-provider.ts', children, ...files)
    const bare = await program('bare-pipe.ts', children, ...files, String(provider.port))
    const ca = createSecureContext({ ca: cert })
    const pipe = await measure(bare.pid, () => session(bare.port, ca, { user: 'x', pass: 'x' }))
    const gateway = await startGateway({
      directory,
      provider: { certFile: files[0] } as Provider,
      workers: 1,
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
      const worker = workerPid(gateway.logFile)
      const ours = await measure(worker, () => session(gateway.ports.imaps, trusted, { user: 'alice@idle.test', pass }))
      return SIZES.map((size, i): Row => {
        const ratio = ours[i]! / pipe[i]!
        return {
          bench: 'idle',
          name: String(size),
          value: ours[i]!,
          unit: 'KiB',
          limit: pipe[i]!,
          ratio,
          note: ratio <= ALLOWED ? 'within 1.25' : 'more than 1.25',
        }
      })
    } finally {
      await gateway.stop()
    }
  } finally {
    for (const child of children) child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
}

/** @returns KiB per session at each of {@link SIZES} */
async function measure(pid: number, open: () => Promise<TLSSocket>): Promise<number[]> {
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
  const before = residentKib(pid)
  const results: number[] = []
  for (const size of SIZES) {
    await fill(size)
    results.push((residentKib(pid) - before) / (sockets.length - WARM))
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
  const child = spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const [line] = (await once(child.stdout!, 'data')) as [Buffer]
  return { port: Number(line), pid: child.pid! }
}

function residentKib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

function workerPid(logFile: string): number {
  return Number(/"workerPid":(\d+)/.exec(readFileSync(logFile, 'utf8'))?.[1])
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
