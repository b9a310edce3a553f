/**
 * `vesmail imap`, `smtp`, `now`: one session on standard input and output, as inetd, xinetd and systemd sockets with
 * `Accept=yes` start it. The same worker application as in the daemon, with one connection.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { fstatSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { Command } from 'commander'
import { type Block, type ConfigFile, parseConfigFile, type Service } from '../base/config/config-file.ts'
import { daemonConfig, programConfig } from '../base/config/merge.ts'
import { listenerKey } from '../base/hand-over.ts'
import { compose, prepareCertificate } from '../workers/compose.ts'
import { hostFileName } from '../workers/host-files.ts'
import { logInto, logOf, type OpenLog } from '../workers/log.ts'
import { VERSION } from '../workers/version.ts'
import { WorkerApp } from '../workers/worker-app.ts'
import { configFailure, DEFAULT_CONFIG } from './daemon.ts'
import { UsageError } from './exit.ts'

interface StdioOptions {
  readonly conf: string
  readonly tls?: true
  readonly sni?: string
  readonly debug?: true
}

/** Nobody asks a session on a pipe where it listens; a listener must have some port. */
const NO_PORT = 1

export const imapCommand = (): Command => stdioCommand('imap', 'IMAP')
export const smtpCommand = (): Command => stdioCommand('smtp', 'SMTP')
export const nowCommand = (): Command => stdioCommand('now', 'HTTP')

function stdioCommand(service: Service, name: string): Command {
  return new Command(service)
    .description(`one ${name} session on stdin and stdout`)
    .option('-C, --conf <file>', 'configuration file', DEFAULT_CONFIG)
    .option('-t, --tls', 'TLS from the first octet')
    .option('-s, --sni <host>', 'the host that the client named, where somebody else ended its TLS')
    .option('-x, --debug', 'log debug lines')
    .action((options: StdioOptions) => runStdio(service, options))
}

async function runStdio(service: Service, options: StdioOptions): Promise<void> {
  const file = withOneDaemon(readFile(options.conf, 'program'), service, options)
  const config = programConfig(file)
  const opened = openLogOf(config, options.debug === true)
  prepareCertificate(file)
  const { log } = opened
  const composition = compose({ file, log, ticketKeys: randomBytes(48), workers: 1 })
  const app = await WorkerApp.start({
    file,
    composition,
    log,
    version: VERSION,
    metricsOfAll: async () => ({ parts: [await composition.metrics.json()], guard: null }),
  })
  process.on('SIGHUP', () => app.drain(false, true))
  process.on('SIGINT', () => app.drain(false, true))
  process.on('SIGTERM', () => app.drain(true, true))
  const socket = await standardSocket()
  socket.once('close', () => app.drain(true, true))
  app.accept(listenerKey(null, NO_PORT), socket)
  await app.drained
  await app.close()
  opened.flush()
  process.exit(0)
}

/** The configuration with this one listener in place of all others. */
function withOneDaemon(file: ConfigFile, service: Service, { tls, sni }: StdioOptions): ConfigFile {
  const at = { line: 0, column: 0 }
  const persist: Block = new Map([['tls.persist', { value: tls === true, at }]])
  const daemon = { service, host: null, port: NO_PORT, options: persist, at }
  const config = daemonConfig(file, daemon)
  if (sni === undefined) return { ...file, daemons: [daemon] }
  const name = hostFileName(sni)
  if (name === null) throw new UsageError(`--sni=${sni}: no host name`)
  const path = `${config['sni.prefix'] ?? ''}${name}${config['sni.suffix'] ?? ''}`
  const host = readFile(path, 'host')
  const options: Block = new Map([...persist, ...host.all, ...host.services[service]])
  return { ...file, daemons: [{ ...daemon, options }] }
}

function readFile(path: string, kind: 'program' | 'host'): ConfigFile {
  try {
    return parseConfigFile(readFileSync(path, 'utf8'), path, kind)
  } catch (error) {
    throw configFailure(path, error)
  }
}

/** inetd and systemd make descriptor 2 the connection itself: a log line there would be a word to the client. */
function openLogOf(config: ReturnType<typeof programConfig>, isDebug: boolean): OpenLog {
  const wanted = isDebug ? { ...config, debug: true } : config
  const fields = { pid: process.pid }
  if (config.log !== null || !isSameSocket(0, 2)) return logOf(wanted, fields)
  const logger = spawn('logger', ['-p', 'mail.notice', '-t', 'vesmail'], { stdio: ['pipe', 'ignore', 'ignore'] })
  // Without one the session goes on, unlogged.
  logger.on('error', () => {})
  logger.stdin.on('error', () => {})
  return { log: logInto(logger.stdin, wanted, fields), reopen: () => {}, flush: () => logger.stdin.end() }
}

function isSameSocket(a: number, b: number): boolean {
  const [one, other] = [fstatSync(a), fstatSync(b)]
  return one.isSocket() && other.isSocket() && one.ino === other.ino
}

/**
 * The connection that stdin is; or, where stdin and stdout are two pipes, one that they are joined to. (What a parent
 * calls a pipe may be a UNIX socket, too: then it is one way, and stdout is another.)
 */
async function standardSocket(): Promise<Socket> {
  if (!fstatSync(0).isSocket()) return joined(process.stdin)
  const socket = new Socket({ fd: 0, readable: true, writable: true, allowHalfOpen: true })
  return socket.remoteAddress !== undefined || isSameSocket(0, 1) ? socket : joined(socket)
}

async function joined(input: Readable): Promise<Socket> {
  const directory = mkdtempSync(join(tmpdir(), 'vesmail-stdio-'))
  const path = join(directory, 's')
  try {
    return await new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        server.close()
        resolve(socket)
      })
      server.on('error', reject)
      server.listen(path, () => {
        const outer = connect({ path, allowHalfOpen: true })
        outer.on('error', reject)
        input.pipe(outer).pipe(process.stdout)
      })
    })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
