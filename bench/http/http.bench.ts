/**
 * The HTTP side through the real daemon, guard and TLS in the way, one worker (commands.md, "http"): requests a second
 * beside a bare uWebSockets.js without either, and octets through a WebSocket tunnel beside the same octets over TLS.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { silentLog } from '../../src/base/log.ts'
import { Secret } from '../../src/base/secret.ts'
import { startGateway } from '../../src/cli/demo/gateway.ts'
import type { Provider } from '../../src/cli/sandbox/provider.ts'
import { openFromVaultKey, unlockPrivateKey } from '../../src/engine/seal/vault-key.ts'
import { selfSigned } from '../../src/net/certificates.ts'
import { creatorFolder, messageFile } from '../../src/net/now/spool.ts'
import { VesClient } from '../../src/ves/client/ves-client.ts'
import { median, type Row } from '../rows.ts'
import { octetsThrough, requestsPerSecond, type Target } from './load.ts'
import { type ProcessorTime, processorTime } from './processor.ts'

const CONNECTIONS = 32
const REQUESTS = 12_000
const ROUNDS = 5
const TUNNEL_OCTETS = 256 * 1024 * 1024
/** A short sealed mail. */
const MESSAGE_OCTETS = 8 * 1024
const WANTED = 0.4
const WANTED_TUNNEL = 0.5
const EMAIL = 'alice@http.test'
const ID = 'bench@http.test'

export async function rows(only: readonly string[]): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-http-'))
  const file = (name: string, content: string | Buffer): string => {
    writeFileSync(join(directory, name), content, { mode: 0o600 })
    return join(directory, name)
  }
  let child: ChildProcess | null = null
  try {
    const { cert, pkey } = selfSigned(['localhost'], Date.now())
    const manifest = JSON.stringify({ name: 'bench', apps: Array.from({ length: 10 }, (_, i) => ({ id: i })) })
    const message = Buffer.alloc(MESSAGE_OCTETS, 'sealed octets\r\n')
    const files = [file('manifest', manifest), file('message', message), file('cert', cert), file('key', pkey)]
    child = spawn(process.execPath, [fileURLToPath(new URL('./bare-server.ts', import.meta.url)), ...files], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(child.stdout!, 'data')) as [Buffer]
    const bare = JSON.parse(line.toString()) as { http: number; plain: number; tls: number }
    const port = await freePort()
    const gateway = await startGateway({
      directory,
      provider: { certFile: files[2]! } as Provider,
      workers: 1,
      anyPorts: true,
      configuration: {
        '*': {
          now: { dir: join(directory, 'spool'), manifest: files[0], websock: { source: `127.0.0.1:${bare.plain}` } },
        },
      },
      daemons: [{ server: 'now', host: '127.0.0.1', port, tls: { persist: true } }],
    })
    try {
      const ours = { port, ca: gateway.ca }
      const bareServer = { port: bare.http, ca: null }
      const found: Row[] = []
      const compare = async (name: string, request: Buffer): Promise<void> => {
        if (only.length > 0 && !only.some((wanted) => name.startsWith(wanted))) return
        const measured = { ours: new Measured(ours, gateway.pid), bare: new Measured(bareServer, child!.pid!) }
        for (let round = -1; round < ROUNDS; round++) {
          await measured.ours.round(request, round >= 0)
          await measured.bare.round(request, round >= 0)
        }
        const { rate: limit } = measured.bare
        const made = row(name, 'requests/s', measured.ours.rate, { limit }, WANTED)
        found.push({
          ...made,
          note: `${made.note}; µs of a processor: ${measured.ours.cost}, bare ${measured.bare.cost}`,
        })
      }
      await compare('manifest', Buffer.from('GET /ves.json HTTP/1.1\r\nHost: localhost\r\n\r\n'))
      if (only.length === 0 || only.some((wanted) => 'spool-get'.startsWith(wanted))) {
        const body = JSON.stringify({ messageId: ID, token: await spooled(gateway, join(directory, 'spool'), message) })
        await compare(
          'spool-get',
          Buffer.from(`POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`),
        )
      }
      if (only.length === 0 || only.some((wanted) => 'ws-throughput'.startsWith(wanted))) {
        const values: number[] = []
        const directs: number[] = []
        for (let round = -1; round < ROUNDS; round++) {
          const value = await octetsThrough(ours, TUNNEL_OCTETS, UPGRADE)
          const direct = await octetsThrough({ port: bare.tls, ca: cert }, TUNNEL_OCTETS, null)
          if (round < 0) continue
          values.push(value)
          directs.push(direct)
        }
        found.push(row('ws-throughput', 'MB/s', median(values), { direct: median(directs) }, WANTED_TUNNEL))
      }
      return found
    } finally {
      await gateway.stop()
    }
  } finally {
    child?.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Rounds against one server. */
class Measured {
  readonly #target: Target
  readonly #pid: number
  readonly #rates: number[] = []
  readonly #costs: ProcessorTime[] = []

  constructor(target: Target, pid: number) {
    this.#target = target
    this.#pid = pid
  }

  async round(request: Buffer, counts: boolean): Promise<void> {
    const begin = processorTime(this.#pid)
    const rate = await requestsPerSecond(this.#target, request, { connections: CONNECTIONS, requests: REQUESTS })
    if (!counts) return
    const end = processorTime(this.#pid)
    this.#rates.push(rate)
    this.#costs.push({ own: end.own - begin.own, program: end.program - begin.program })
  }

  get rate(): number {
    return median(this.#rates)
  }

  /** Of the server and of who asks it, for one request: what the two leave of two cores limits the rate. */
  get cost(): string {
    const each = (of: 'own' | 'program'): string => (median(this.#costs.map((cost) => cost[of])) / REQUESTS).toFixed(0)
    return `${each('program')} + load ${each('own')}`
  }
}

const UPGRADE = [
  'GET /ws/source HTTP/1.1',
  'Host: localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n')

/** A message in the spool, of an account that may read it. @returns its session token */
async function spooled(
  gateway: Awaited<ReturnType<typeof startGateway>>,
  spool: string,
  message: Buffer,
): Promise<string> {
  const password = await gateway.createAccount(EMAIL)
  const ves = new VesClient({ api: gateway.api, domain: 'vesmail', log: silentLog })
  const session = await ves.unlock(`ves://vesmail/${EMAIL}/`, new Secret(Buffer.from(password)))
  await session.createMessageKey(ID, [], { xchg: false, viewerUrl: null })
  const path = join(spool, creatorFolder(EMAIL), messageFile(ID))
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, message)
  await ves.close()
  // As a page gets one: the vault's key is public, opening the sealed token is the proof.
  const answer = await fetch(`${gateway.api}vaultKeys?fields=id,privateKey,encSessionToken`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ externals: [{ domain: 'vesmail', externalId: EMAIL }], $op: 'fetch' }),
  })
  const { result } = (await answer.json()) as { result: { privateKey: string; encSessionToken: string } }
  const key = unlockPrivateKey(result.privateKey, Buffer.from(password))
  return openFromVaultKey(key, Buffer.from(result.encSessionToken, 'base64')).toString()
}

function row(
  name: string,
  unit: string,
  value: number,
  beside: { readonly limit: number } | { readonly direct: number },
  wanted: number,
): Row {
  const ratio = value / Object.values(beside)[0]!
  return {
    bench: 'http',
    name,
    value,
    unit,
    ...beside,
    ratio,
    note: ratio >= wanted ? `at least ${wanted}` : `below ${wanted}`,
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
