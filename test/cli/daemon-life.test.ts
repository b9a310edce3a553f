/** The daemon as its surroundings see it, with a guard and without: where its log goes after rotation, how it ends. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as later } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../guard/stage.ts'

const VESMAIL = fileURLToPath(new URL('../../bin/vesmail', import.meta.url))
/** Of a process that is told: an error that nobody expected. */
const TORN = `data:text/javascript,${encodeURIComponent('process.on("SIGUSR2", () => { throw new Error("torn") })')}`

interface Daemon {
  readonly child: ReturnType<typeof spawn>
  readonly port: number
  readonly exited: Promise<readonly unknown[]>
  at(name: string): string
  /** For the next SIGHUP. */
  configure(log: string): void
}

async function started(t: TestContext, workers: number): Promise<Daemon> {
  const directory = mkdtempSync(join(tmpdir(), 'vm-life-'))
  const at = (name: string): string => join(directory, name)
  mkdirSync(at('logs'))
  const [port] = await freePorts(1)
  const configure = (log: string): void => {
    const limits = { drainSeconds: 1, drainWindowSeconds: 0 }
    const all = { state: directory, log: at(log), tls: { level: 'none' }, pool: { threads: 1 }, limits }
    writeFileSync(
      at('vesmail.conf'),
      JSON.stringify({
        '*': { ...all, ves: { api: 'http://127.0.0.1:1/v1/' } },
        daemons: [{ server: 'imap', host: '127.0.0.1', port }],
      }),
      { mode: 0o600 },
    )
  }
  configure('logs/a')
  const child = spawn(VESMAIL, ['daemon', '-C', at('vesmail.conf'), `--guard=${workers}`], {
    stdio: 'ignore',
    env: { ...process.env, NODE_OPTIONS: `--import=${TORN}` },
  })
  const exited = once(child, 'exit')
  t.after(async () => {
    child.kill('SIGTERM')
    await exited
    rmSync(directory, { recursive: true, force: true })
  })
  await logged(at('logs/a'), 'ready')
  return { child, port: port!, exited, at, configure }
}

const linesOf = (file: string, msg: string): string[] =>
  existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line.includes(`"msg":"${msg}"`))
    : []

async function logged(file: string, msg: string): Promise<string> {
  for (let tries = 0; tries < 1500; tries++) {
    const lines = linesOf(file, msg)
    if (lines.length > 0) return lines.at(-1)!
    await later(20)
  }
  assert.fail(`"${msg}" never came into ${file}`)
}

async function greeting(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  const [first] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return first.toString('latin1')
}

for (const workers of [0, 1]) {
  const how = workers === 0 ? 'in one process' : 'under a guard'
  test(`${how}: a log that cannot be opened at a reload stops no mail; the next reload takes another`, async (t) => {
    const { child, port, at, configure } = await started(t, workers)
    renameSync(at('logs'), at('away'))
    child.kill('SIGHUP')
    assert.match(await logged(at('away/a'), 'log'), /kept as it was.*ENOENT/)
    await logged(at('away/a'), workers === 0 ? 'reloaded' : 'reload failed')
    assert.match(await greeting(port), /^\* OK /)
    renameSync(at('away'), at('logs'))
    configure('logs/b')
    child.kill('SIGHUP')
    await logged(at('logs/b'), 'reloaded')
    renameSync(at('logs/b'), at('logs/b.1'))
    child.kill('SIGHUP')
    await logged(at('logs/b'), 'reloaded')
    assert.equal(linesOf(at('logs/b.1'), 'reloaded').length, 1)
    assert.match(await greeting(port), /^\* OK /)
  })

  test(`${how}: a configuration that everybody can read is told of at the start of the next one`, async (t) => {
    const { child, at } = await started(t, workers)
    chmodSync(at('vesmail.conf'), 0o644)
    child.kill('SIGHUP')
    assert.match(await logged(at('logs/a'), 'configuration'), /vesmail\.conf can be read by everybody: chmod 640/)
    await logged(at('logs/a'), 'reloaded')
  })

  test(`${how}: ended by a bug of its own it exits with 80, so that it is started again`, async (t) => {
    const { child, at, exited } = await started(t, workers)
    child.kill('SIGUSR2')
    assert.deepEqual(await exited, [80, null])
    assert.match(readFileSync(at('logs/a'), 'utf8'), /"at":"Error: torn.*"msg":"guard broken"/)
  })
}
