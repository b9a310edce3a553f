/** The gateway in one process: a reload that fails leaves nothing behind; the next good one is taken. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../guard/stage.ts'

const VESMAIL = fileURLToPath(new URL('../../bin/vesmail', import.meta.url))

/**
 * Of the state file: one connection is open while a composition is. SQLite keeps the descriptor of a closed one for the
 * next, where others of the process have the file open: one more is no leak, one more for each reload is.
 */
function openStateFiles(pid: number): number {
  const folder = `/proc/${pid}/fd`
  return readdirSync(folder).filter((fd) => {
    try {
      return readlinkSync(join(folder, fd)).endsWith('state.sqlite')
    } catch (error) {
      // Closed since.
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOENT')
      return false
    }
  }).length
}

test('a reload that fails leaves nothing open, and says which line is at fault', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vm-single-'))
  const conf = join(directory, 'vesmail.conf')
  const [port, second] = await freePorts(2)
  const put = (tls: object, ports: readonly number[]): void => {
    const daemons = ports.map((one) => ({ server: 'imap', host: '127.0.0.1', port: one }))
    const all = { state: directory, tls, pool: { threads: 1 }, ves: { api: 'http://127.0.0.1:1/v1/' } }
    writeFileSync(conf, JSON.stringify({ '*': all, daemons }, null, 1))
  }
  put({ level: 'none' }, [port!])
  const child = spawn(VESMAIL, ['daemon', '-C', conf], { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = once(child, 'exit')
  t.after(async () => {
    child.kill('SIGKILL')
    await exited
    rmSync(directory, { recursive: true, force: true })
  })
  const lines = createInterface({ input: child.stderr })[Symbol.asyncIterator]()
  const said = async (msg: string): Promise<{ readonly reason?: string }> => {
    for (;;) {
      const { value, done } = await lines.next()
      assert.ok(done !== true, `ended before "${msg}"`)
      const line = JSON.parse(value as string) as { readonly msg: string; readonly reason?: string }
      if (line.msg === msg) return line
    }
  }
  await said('ready')
  assert.equal(openStateFiles(child.pid!), 1)
  for (let i = 0; i < 3; i++) {
    put({ cert: '/none' }, [port!, second!])
    child.kill('SIGHUP')
    const { reason } = await said('reload failed')
    assert.match(String(reason), /vesmail\.conf:5:12: tls\.cert: \/none cannot be read \(ENOENT\): correct the path/)
  }
  assert.ok(openStateFiles(child.pid!) <= 2)
  const [refused] = (await once(connect(second!, '127.0.0.1'), 'error')) as [NodeJS.ErrnoException]
  assert.equal(refused.code, 'ECONNREFUSED', 'a listener of the file that was not taken')
  const client = connect(port!, '127.0.0.1')
  const [greeting] = (await once(client, 'data')) as [Buffer]
  assert.match(greeting.toString(), /^\* OK /)
  put({ level: 'none' }, [port!, second!])
  child.kill('SIGHUP')
  await said('reloaded')
  const other = connect(second!, '127.0.0.1')
  await once(other, 'data')
  for (const socket of [client, other]) socket.destroy()
})
