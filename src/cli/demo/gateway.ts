/**
 * The demo's gateway: the real `vesmail daemon` with a configuration in a temporary folder, embedded key repository
 * included, and the real command line for accounts. Nothing here knows how they work inside.
 */

import { spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { messageOf } from '../../base/errors.ts'
import { ownCertificate } from '../../net/certificates.ts'
import type { Provider } from '../sandbox/provider.ts'

const VESMAIL = fileURLToPath(new URL('../../../bin/vesmail', import.meta.url))
const START_MS = 30_000
const STOP_MS = 8000
/** Where people look for it; another free port where one is taken. */
const WISHED_PORTS = {
  imap: 1143,
  imaps: 1993,
  submission: 1587,
  submissions: 1465,
  repository: 1880,
  admin: 1881,
  now: 1443,
}

/** How many it takes. */
export const GATEWAY_PORTS = Object.keys(WISHED_PORTS).length

export type GatewayPorts = Readonly<Record<keyof typeof WISHED_PORTS, number>>

export interface DemoGateway {
  readonly ports: GatewayPorts
  readonly api: string
  /** Where the viewer is, its last slash included; what answers there only if it was asked for. */
  readonly viewer: string
  /** PEM of the certificate that clients have to trust. */
  readonly ca: string
  readonly configFile: string
  readonly logFile: string
  /** Guard's process id: SIGHUP restarts the workers. */
  readonly pid: number
  /** Resolves when the guard ended, also by itself. */
  readonly ended: Promise<void>
  /** @param algo of its keys; absent: what the gateway makes. @returns the app vault's VESkey: the account's password at the gateway */
  createAccount(email: string, algo?: 'ECDH' | 'RSA' | 'OQS'): Promise<string>
  setProfile(email: string, password: string, profile: unknown): Promise<void>
  stop(): Promise<void>
}

export interface GatewayOptions {
  readonly directory: string
  readonly provider: Provider
  readonly workers: number
  /** Blocks to add; `*` is merged with the demo's own. */
  readonly configuration?: Readonly<Record<string, unknown>>
  /** Listeners besides the four of mail. */
  readonly daemons?: readonly unknown[]
  /** The HTTP side with spool and viewer; the value is an SMTP server, as a URL, for the repository's one-time links. */
  readonly viewerMail?: string
  /** Any free ports instead of the usual ones. */
  readonly anyPorts?: boolean
  /** These instead, {@link GATEWAY_PORTS} of them: for tests. */
  readonly ports?: readonly number[]
}

/** @throws Error with the end of the log where it does not come up */
export async function startGateway(options: GatewayOptions): Promise<DemoGateway> {
  const { directory, provider, workers } = options
  const ports = options.ports === undefined ? await choosePorts(options.anyPorts === true) : named(options.ports)
  const api = `http://127.0.0.1:${ports.repository}/v1/`
  const files = ownCertificate(join(directory, 'tls'), 'localhost', Date.now())
  const configFile = join(directory, 'vesmail.conf')
  const logFile = join(directory, 'vesmail.log')
  const listen = (server: string, port: number, persist: boolean) => ({
    server,
    host: '127.0.0.1',
    port,
    tls: { persist },
  })
  const viewer = `https://localhost:${ports.now}/now/`
  const configuration = {
    '*': {
      tls: { cert: files.cert, pkey: files.pkey },
      caBundle: provider.certFile,
      limits: { providerNetworks: ['127.0.0.0/8'] },
      ves: { api },
      repository: { listen: `127.0.0.1:${ports.repository}`, data: join(directory, 'repository') },
      admin: { listen: `127.0.0.1:${ports.admin}` },
      state: join(directory, 'state'),
      ...(options.viewerMail === undefined ? {} : viewerOptions(directory, viewer, options.viewerMail)),
      ...(options.configuration?.['*'] as object | undefined),
    },
    daemons: [
      listen('imap', ports.imap, false),
      listen('imap', ports.imaps, true),
      listen('smtp', ports.submission, false),
      listen('smtp', ports.submissions, true),
      ...(options.viewerMail === undefined ? [] : [listen('now', ports.now, true)]),
      ...(options.daemons ?? []),
    ],
    ...withoutAll(options.configuration),
  }
  writeFileSync(configFile, `${JSON.stringify(configuration, null, 2)}\n`, { mode: 0o600 })

  const daemon = spawn(VESMAIL, ['daemon', '-C', configFile, `--guard=${workers}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const lines: string[] = []
  let alive = true
  const ended = new Promise<void>((resolve) => {
    const over = (): void => {
      alive = false
      resolve()
    }
    daemon.on('exit', over).on('error', over)
  })
  const ready = new Promise<void>((resolve) => {
    createInterface({ input: daemon.stderr }).on('line', (line) => {
      lines.push(line)
      writeFileSync(logFile, `${line}\n`, { flag: 'a', mode: 0o600 })
      if (line.includes('"msg":"ready"')) resolve()
    })
  })
  const stop = async (): Promise<void> => {
    if (!alive) return
    daemon.kill('SIGTERM')
    const timer = setTimeout(() => daemon.kill('SIGKILL'), STOP_MS)
    await ended
    clearTimeout(timer)
  }
  const tokenFile = join(directory, 'repository', 'admin-token')
  try {
    await Promise.race([ready, ended, late('the gateway is not ready')])
    if (!alive) throw new Error('the gateway ended')
    await untilExists(tokenFile)
  } catch (error) {
    await stop()
    throw new Error(`${messageOf(error)}; its log:\n${lines.slice(-20).join('\n')}`)
  }
  return {
    ports,
    api,
    viewer,
    ca: readFileSync(files.cert, 'utf8'),
    configFile,
    logFile,
    pid: daemon.pid!,
    ended,
    createAccount: async (email, algo) => {
      const how = algo === undefined ? [] : ['--algo', algo]
      const args = ['account', 'create', email, '--api', api, '--admin-token-file', tokenFile, '--json', ...how]
      return (JSON.parse(await vesmail(args, '')) as { password: string }).password
    },
    setProfile: async (email, password, profile) => {
      const from = join(directory, `profile-${email}.json`)
      writeFileSync(from, JSON.stringify(profile), { mode: 0o600 })
      await vesmail(['profile', 'set', email, '--api', api, '--password-stdin', '--from', from], `${password}\n`)
    },
    stop,
  }
}

function viewerOptions(directory: string, viewer: string, smtp: string): object {
  const settings = join(directory, 'repository.json')
  const onboardingUrl = `${viewer}#email={email}&token={token}`
  const mail = { smtp, from: 'vaults@localhost.localdomain', onboardingUrl }
  writeFileSync(settings, JSON.stringify({ mail, settings: { invite: false } }), { mode: 0o600 })
  return { now: { dir: join(directory, 'spool'), url: `${viewer}?msgid=` }, 'repository.config': settings }
}

/** Runs the command line; @returns its stdout. @throws Error with its stderr where it fails */
function vesmail(args: readonly string[], input: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(VESMAIL, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      err += text
    })
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(out)
      else reject(new Error(`vesmail ${args.slice(0, 2).join(' ')}: ${err.trim() || `exit ${code}`}`))
    })
    child.stdin.end(input)
  })
}

async function untilExists(file: string): Promise<void> {
  const until = performance.now() + START_MS
  while (!existsSync(file)) {
    if (performance.now() > until) throw new Error(`${file} does not appear`)
    await new Promise((later) => setTimeout(later, 50))
  }
}

function late(what: string): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`${what} after ${START_MS / 1000} s`)), START_MS).unref()
  })
}

function named(ports: readonly number[]): GatewayPorts {
  return Object.fromEntries(Object.keys(WISHED_PORTS).map((name, n) => [name, ports[n]!])) as GatewayPorts
}

async function choosePorts(any: boolean): Promise<GatewayPorts> {
  const chosen: [string, number][] = []
  const holders: (() => Promise<void>)[] = []
  for (const [name, wished] of Object.entries(WISHED_PORTS)) {
    const held = (any ? null : await hold(wished)) ?? (await hold(0))
    if (held === null) throw new Error('no free port')
    chosen.push([name, held.port])
    holders.push(held.close)
  }
  for (const close of holders) await close()
  return Object.fromEntries(chosen) as GatewayPorts
}

function hold(port: number): Promise<{ port: number; close: () => Promise<void> } | null> {
  return new Promise((resolve) => {
    const server = createServer()
    server.on('error', () => resolve(null))
    server.listen(port, '127.0.0.1', () =>
      resolve({
        port: (server.address() as { port: number }).port,
        close: () => new Promise((closed) => server.close(() => closed())),
      }),
    )
  })
}

function withoutAll(configuration: GatewayOptions['configuration']): Record<string, unknown> {
  const { '*': _, ...blocks } = configuration ?? {}
  return blocks
}
