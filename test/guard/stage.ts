/** A real guard with line workers for a test: started, spoken to, killed, and gone at the end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { LogWatch } from '../lab/log-secrets.ts'

const PROGRAM = fileURLToPath(new URL('./guard-process.ts', import.meta.url))

export interface LogLine {
  readonly msg: string
  readonly level: string
  readonly [field: string]: unknown
}

export class GuardStage {
  readonly child: ChildProcess
  readonly port: number
  readonly adminPort: number
  readonly configFile: string
  readonly lines: LogLine[] = []
  /** Reads all lines at the end. */
  readonly watch = new LogWatch()
  readonly exited: Promise<number | null>
  readonly #base: Record<string, unknown>
  #waiting: { match: (line: LogLine) => boolean; resolve: (line: LogLine) => void; from: number }[] = []

  private constructor(directory: string, port: number, adminPort: number, workers: number, all: object) {
    this.port = port
    this.adminPort = adminPort
    this.configFile = join(directory, 'vesmail.conf')
    this.#base = {
      '*': {
        state: directory,
        tls: { level: 'none' },
        admin: { listen: `127.0.0.1:${adminPort}` },
        limits: { drainWindowSeconds: 0.2, drainSeconds: 2 },
        pool: { threads: 1 },
        ...all,
      },
      daemons: [{ server: 'smtp', host: '127.0.0.1', port }],
    }
    this.configure({})
    this.child = spawn(process.execPath, [PROGRAM, this.configFile, String(workers)], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.exited = new Promise((resolve) => this.child.on('exit', resolve))
    createInterface({ input: this.child.stderr! }).on('line', (text) => this.#line(text))
  }

  static async start(t: TestContext, { workers = 2, all = {} } = {}): Promise<GuardStage> {
    const directory = mkdtempSync(join(tmpdir(), 'vm-guard-'))
    const [port, adminPort] = await freePorts(2)
    const stage = new GuardStage(directory, port!, adminPort!, workers, all)
    t.after(async () => {
      stage.child.kill('SIGKILL')
      await stage.exited
      for (const pid of stage.workerPids()) killIfThere(pid)
      for (const run of [directory, ...stage.runDirectories()]) rmSync(run, { recursive: true, force: true })
      for (const text of said) stage.watch.content(text)
      stage.watch.assertClean(
        stage.lines.map((line) => (line.level === 'raw' ? line.msg : JSON.stringify(line))).join('\n'),
      )
    })
    await stage.logged('ready')
    return stage
  }

  /** Overwrites the configuration; it counts from the next SIGHUP. */
  configure(changes: object): void {
    writeFileSync(this.configFile, JSON.stringify({ ...this.#base, ...changes }))
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name)
  }

  /** The next such line, or one since `from`. One that does not come within a minute is an error that shows what came. */
  logged(msg: string, match: (line: LogLine) => boolean = () => true, from = 0): Promise<LogLine> {
    const wanted = (line: LogLine): boolean => line.msg === msg && match(line)
    const there = this.lines.slice(from).find(wanted)
    if (there !== undefined) return Promise.resolve(there)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ match: wanted, resolve, from })
      setTimeout(() => reject(new Error(`no "${msg}" within a minute:\n${this.tail()}`)), 60_000).unref()
      void this.exited.then(() => reject(new Error(`ended before "${msg}":\n${this.tail()}`)))
    })
  }

  tail(): string {
    return this.lines
      .slice(-15)
      .map((line) => JSON.stringify(line))
      .join('\n')
  }

  /** Of this guard, in the temporary folder. */
  runDirectories(): string[] {
    const mine = `vesmail-guard-${this.child.pid}-`
    return readdirSync(tmpdir())
      .filter((name) => name.startsWith(mine))
      .map((name) => join(tmpdir(), name))
  }

  workerPids(): number[] {
    return this.lines.filter((line) => line.msg === 'worker started').map((line) => Number(line.workerPid))
  }

  #line(text: string): void {
    if (!text.startsWith('{')) {
      this.lines.push({ msg: text, level: 'raw' })
      return
    }
    const line = JSON.parse(text) as LogLine
    this.lines.push(line)
    this.#waiting = this.#waiting.filter(({ match, resolve }) => {
      if (!match(line)) return true
      resolve(line)
      return false
    })
  }
}

/** By all clients of this file. */
const said = new Set<string>()

/** One client of the line protocol. */
export class LineClient {
  readonly socket: Socket
  readonly #lines: string[] = []
  #waiting: ((line: string) => void)[] = []
  #over: string | null = null

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1')
    const lines = createInterface({ input: this.socket })
    lines.on('line', (line) => this.#give(line)).on('error', () => {})
    // The reason is told in place of a line.
    this.socket.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? 'error'))
    this.socket.on('close', () => this.#end('closed'))
  }

  /** The next line, or `closed`, `ECONNREFUSED` and the like. */
  line(): Promise<string> {
    const line = this.#lines.shift()
    if (line !== undefined) return Promise.resolve(line)
    if (this.#over !== null) return Promise.resolve(this.#over)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  async ask(text: string): Promise<string> {
    said.add(text)
    this.socket.write(`${text}\r\n`)
    return this.line()
  }

  close(): void {
    this.socket.destroy()
  }

  #give(line: string): void {
    const waiting = this.#waiting.shift()
    if (waiting === undefined) this.#lines.push(line)
    else waiting(line)
  }

  #end(why: string): void {
    this.#over ??= why
    // Lines that readline still holds come first.
    setImmediate(() => {
      for (const waiting of this.#waiting.splice(0)) waiting(this.#over!)
    })
  }
}

/**
 * Below the ports that the kernel gives to who names none: with tests at work at once, one of those that was free a moment
 * ago is somebody else's by the time it is used. Each process begins in another place.
 */
const FIRST_PORT = 10_000
const PORTS = 22_000
let nextPort = (process.pid * 20) % PORTS

export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = FIRST_PORT + nextPort
    nextPort = (nextPort + 1) % PORTS
    if (await isFree(port)) ports.push(port)
  }
  return ports
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

function killIfThere(pid: number): void {
  if (isAlive(pid)) process.kill(pid, 'SIGKILL')
}
