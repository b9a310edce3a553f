/** A server program as a child: its log in a file, its end with ours whatever happens, readiness by its port. */
import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'

const START_MS = 15_000
const STOP_MS = 5000
const RETRY_MS = 50

export interface Server {
  readonly name: string
  readonly running: boolean
  /** The end of what it logged, for an error message. */
  lastWords(): string
  stop(): Promise<void>
}

/**
 * A watchdog sends it SIGTERM when this process ends, even by SIGKILL: it waits on a pipe that closes then. (The
 * kernel's parent-death signal does not do: it is forgotten when a server changes its user.)
 */
export function startServer(program: string, args: readonly string[], logFile: string): Server {
  const log = openSync(logFile, 'a')
  const child = spawn(program, args, { stdio: ['ignore', log, log] })
  closeSync(log)
  const watchdog = spawn('sh', ['-c', 'cat >/dev/null; kill -TERM "$0"', String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // Its own group: an interrupt from the terminal must not end it before the server.
    detached: true,
  })
  watchdog.unref()
  let running = true
  const exited = new Promise<void>((resolve) => {
    const over = (): void => {
      running = false
      watchdog.kill()
      resolve()
    }
    child.on('exit', over).on('error', over)
  })
  return {
    name: program,
    get running() {
      return running
    },
    lastWords: () => readFileSync(logFile, 'utf8').slice(-2000),
    stop: async () => {
      if (!running) return
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      await exited
      clearTimeout(timer)
    },
  }
}

/** Resolves when the port accepts. @throws Error with the server's last words when it does not in time, or ended */
export async function answers(server: Server, port: number): Promise<void> {
  const until = performance.now() + START_MS
  while (server.running && performance.now() < until) {
    if (await accepts(port)) return
    await new Promise((later) => setTimeout(later, RETRY_MS))
  }
  throw new Error(`${server.name} does not answer on port ${port}:\n${server.lastWords()}`)
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
