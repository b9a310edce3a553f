/** Ports that somebody else holds, as systemd does (sd_listen_fds(3)): nobody who comes while the guard restarts is refused. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { LineClient, type LogLine } from './stage.ts'

const PROGRAM = fileURLToPath(new URL('./guard-process.ts', import.meta.url))
/** Twice the same program with the same descriptor 3; `$$` is its process id, since it takes the shell's place. */
const RESTARTING = `one() { sh -c 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"' sh "$@"; }; one "$@"; one "$@"`

/** Two guards one after the other over one socket. */
class Activated {
  readonly port: number
  readonly #pids: Set<number>
  #waiting: { msg: string; resolve: (line: LogLine) => void }[] = []

  private constructor(port: number, holder: ChildProcess) {
    this.port = port
    this.#pids = new Set([holder.pid!])
    createInterface({ input: holder.stderr! }).on('line', (text) => {
      if (text.startsWith('{')) this.#line(JSON.parse(text) as LogLine)
    })
  }

  static async start(t: TestContext): Promise<Activated> {
    const directory = mkdtempSync(join(tmpdir(), 'vm-activated-'))
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const conf = join(directory, 'vesmail.conf')
    // Nothing in this test may wait for a window or a deadline.
    const limits = { drainWindowSeconds: 3600, drainSeconds: 3600 }
    const all = { state: directory, tls: { level: 'none' }, limits, pool: { threads: 1 } }
    const daemons = [{ server: 'smtp', host: '127.0.0.1', port }]
    writeFileSync(conf, JSON.stringify({ '*': all, daemons }))
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle
    const holder = spawn('sh', ['-c', RESTARTING, 'sh', process.execPath, PROGRAM, conf, '2'], {
      stdio: ['ignore', 'ignore', 'pipe', fd],
    })
    server.close()
    const activated = new Activated(port, holder)
    t.after(() => {
      for (const pid of activated.#pids) killIfThere(pid)
      rmSync(directory, { recursive: true, force: true })
    })
    return activated
  }

  /** The next such line. */
  logged(msg: string): Promise<LogLine> {
    return new Promise((resolve) => this.#waiting.push({ msg, resolve }))
  }

  #line(line: LogLine): void {
    for (const pid of [line.pid, line.workerPid]) if (typeof pid === 'number') this.#pids.add(pid)
    this.#waiting = this.#waiting.filter(({ msg, resolve }) => {
      if (line.msg === msg) resolve(line)
      return line.msg !== msg
    })
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function greetedBy(client: LineClient): Promise<string> {
  const line = await client.line()
  assert.match(line, /^220 \d+$/)
  return line
}

test('a restart of the guard: idle sessions go at once, who comes meanwhile waits and is served by the next', async (t) => {
  const activated = await Activated.start(t)
  const { pid } = await activated.logged('ready')
  const idle = Array.from({ length: 6 }, () => new LineClient(activated.port))
  const first = new Set(await Promise.all(idle.map(greetedBy)))
  // Their workers begin to drain, over an hour.
  const reloaded = activated.logged('reloaded')
  process.kill(Number(pid), 'SIGHUP')
  await reloaded
  const late = Array.from({ length: 6 }, () => new LineClient(activated.port))
  for (const greeting of await Promise.all(late.map(greetedBy))) first.add(greeting)
  const stopping = activated.logged('stopping')
  process.kill(Number(pid), 'SIGINT')
  await stopping
  const newcomers = Array.from({ length: 40 }, () => new LineClient(activated.port))
  for (const client of [...idle, ...late]) assert.equal(await client.line(), '421 bye')
  for (const client of newcomers) {
    assert.equal(first.has(await greetedBy(client)), false, 'served by the one that ends')
    assert.equal(await client.ask('here'), '250 here')
    client.close()
  }
})
