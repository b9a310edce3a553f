/**
 * `vesmail check`: says of a configuration what would work, a line for each thing, before somebody reloads it. Changes
 * nothing, but for an object that it puts into the spool's bucket and deletes again. Exit 0 when all is well (warnings
 * included), 1 when something is not, 67 when the file cannot be read.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { Command } from 'commander'
import { type ConfigFile, type DaemonEntry, parseConfigFile } from '../base/config/config-file.ts'
import { daemonConfig, programConfig } from '../base/config/merge.ts'
import { parseAddress } from '../base/config/option.ts'
import type { Config } from '../base/config/options.ts'
import { asGatewayError } from '../base/errors.ts'
import { type Log, silentLog } from '../base/log.ts'
import { fastPath } from '../engine/seal/native.ts'
import { Networks } from '../net/address.ts'
import { judgeCertificate } from '../net/certificates.ts'
import { S3Spool } from '../net/now/spool-s3.ts'
import { upstreamTls } from '../net/tls.ts'
import { connectUpstream } from '../net/upstream.ts'
import { loadBanners } from '../workers/banners.ts'
import { repositoryUrl, stateDirectory } from '../workers/compose.ts'
import { spoolOf } from '../workers/spools.ts'
import { configFailure, DEFAULT_CONFIG } from './daemon.ts'
import { repositoryArguments } from './repository-companion.ts'

const CONNECT_MS = 5000

type Level = 'ok' | 'warn' | 'FAIL'
type Tell = (level: Level, what: string) => void

interface CheckOptions {
  readonly conf: string
  readonly provider: readonly string[]
}

export function checkCommand(): Command {
  return new Command('check')
    .description('check a configuration, certificates and reachability')
    .option('-C, --conf <file>', 'configuration file', DEFAULT_CONFIG)
    .option('--provider <host:port...>', 'also check that these mail servers can be reached', [])
    .action(async (options: CheckOptions) => {
      process.exitCode = (await runCheck(options, (line) => process.stdout.write(`${line}\n`))) ? 0 : 1
    })
}

/** @returns whether nothing failed. @throws {GatewayError} CONFIG_INVALID */
export async function runCheck(options: CheckOptions, print: (line: string) => void): Promise<boolean> {
  let failures = 0
  const tell: Tell = (level, what) => {
    if (level === 'FAIL') failures++
    print(`${level.padEnd(4)} ${what}`)
  }
  const file = readConfig(options.conf)
  tell('ok', `${options.conf}: syntax`)
  for (const warning of file.warnings) tell('warn', warning)
  const config = programConfig(file)
  readableByOthers(options.conf, tell)
  if (file.daemons.length === 0) tell('FAIL', 'daemons: none is configured')
  twice(file, tell)
  for (const entry of file.daemons) {
    checkDaemon(file, entry, config, tell)
    await checkPort(entry.host, entry.port, `${entry.service} ${entry.host ?? '*'}:${entry.port}`, tell)
  }
  const admin = config['admin.listen']
  if (admin !== null) await checkPort(admin.host, admin.port, `admin ${admin.host}:${admin.port}`, tell)
  checkState(config, tell)
  await checkBuckets(file, tell)
  attempt('repository', tell, () => repositoryArguments(config))
  await checkRepository(file, config, tell)
  for (const provider of options.provider) await checkProvider(provider, config, tell)
  const { kind, reason } = fastPath()
  tell(reason === null ? 'ok' : 'warn', `ciphers: ${kind}${reason === null ? '' : ` (slower): ${reason}`}`)
  return failures === 0
}

function readConfig(path: string): ConfigFile {
  try {
    return parseConfigFile(readFileSync(path, 'utf8'), path)
  } catch (error) {
    throw configFailure(path, error)
  }
}

function readableByOthers(path: string, tell: Tell): void {
  if ((statSync(path).mode & 0o004) !== 0) tell('warn', `${path} can be read by everybody`)
}

function twice(file: ConfigFile, tell: Tell): void {
  const seen = new Set<string>()
  for (const { host, port } of file.daemons) {
    const key = `${host ?? '*'}:${port}`
    if (seen.has(key)) tell('FAIL', `daemons: ${key} is there twice`)
    seen.add(key)
  }
}

function checkDaemon(file: ConfigFile, entry: DaemonEntry, program: Config, tell: Tell): void {
  const config = daemonConfig(file, entry)
  const name = `${entry.service} ${entry.host ?? '*'}:${entry.port}`
  if (config['tls.level'] === 'none') tell('warn', `${name}: no TLS; passwords travel in plaintext`)
  else if (config['tls.cert'] === null && config['tls.pkey'] === null) {
    tell('warn', `${name}: no certificate is configured; a self-signed one is made in ${stateDirectory(program)}`)
  } else {
    const cert = config['tls.cert'] ?? config['tls.pkey']!
    const pkey = config['tls.pkey'] ?? cert
    const { problem, warnings, subject, expiresMs } = judgeCertificate({ cert, pkey }, Date.now())
    for (const warning of warnings) tell('warn', `${name}: ${warning}`)
    if (problem !== null) tell('FAIL', `${name}: certificate: ${problem}`)
    else tell('ok', `${name}: certificate ${subject}, until ${new Date(expiresMs).toISOString().slice(0, 10)}`)
  }
  attempt(`${name}: proxy-protocol`, tell, () => new Networks(config['proxy-protocol.from'] ?? []))
  if (config.caBundle !== null) attempt(`${name}: caBundle`, tell, () => upstreamTls(config.caBundle))
  loadBanners(config, {
    ...silentLog,
    write: (_, __, fields) => tell('FAIL', `${name}: ${fields?.file}: ${fields?.reason}`),
  })
}

function attempt(what: string, tell: Tell, run: () => unknown): void {
  try {
    run()
  } catch (error) {
    tell('FAIL', `${what}: ${reasonOf(error)}`)
  }
}

/** Free, or (when the daemon runs already) in use by somebody: that is a warning. */
function checkPort(host: string | null, port: number, name: string, tell: Tell): Promise<void> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') tell('warn', `${name}: the port is in use (by the running gateway?)`)
      else tell('FAIL', `${name}: cannot listen: ${error.code ?? error.message}`)
      resolve()
    })
    server.listen(host === null ? { port } : { host, port }, () => {
      tell('ok', `${name}: the port is free`)
      server.close(() => resolve())
    })
  })
}

function checkState(config: Config, tell: Tell): void {
  const directory = stateDirectory(config)
  if (!existsSync(directory)) tell('warn', `state: ${directory} does not exist; it is made at the start`)
  else if (!statSync(directory).isDirectory()) tell('FAIL', `state: ${directory} is no directory`)
  else tell('ok', `state: ${directory}`)
}

/** The object stores that copies of mail are spooled in: each once, however many daemons use it. */
async function checkBuckets(file: ConfigFile, tell: Tell): Promise<void> {
  const checked = new Set<string>()
  for (const entry of file.daemons) {
    const config = daemonConfig(file, entry)
    const bucket = config['now.s3.bucket']
    const place = JSON.stringify(Object.entries(config).filter(([key]) => key.startsWith('now.s3.')))
    if (bucket === null || checked.has(place)) continue
    checked.add(place)
    await checkBucket(bucket, config, tell)
  }
}

async function checkBucket(bucket: string, config: Config, tell: Tell): Promise<void> {
  const name = `spool bucket ${bucket}`
  try {
    const warn: Log = { ...silentLog, write: (_, __, fields) => tell('warn', `${fields?.key}: ${fields?.reason}`) }
    const spool = spoolOf(config, warn)
    if (!(spool instanceof S3Spool)) return
    try {
      await spool.probe()
      tell('ok', `${name}: put, get, list and delete work`)
    } finally {
      await spool.close()
    }
  } catch (error) {
    tell('FAIL', `${name}: ${reasonOf(error)}`)
  }
}

async function checkRepository(file: ConfigFile, config: Config, tell: Tell): Promise<void> {
  const api = repositoryUrl(file)
  try {
    // Anybody may ask for what does not exist; any whole JSON answer shows that a repository is there.
    const answer = await fetch(new URL('users/0', api), { signal: AbortSignal.timeout(CONNECT_MS), redirect: 'error' })
    const text = await answer.text()
    JSON.parse(text)
    tell('ok', `key repository ${api}: answers (${answer.status})`)
  } catch (error) {
    const embedded = config['repository.listen'] !== null
    const reason = reasonOf(error instanceof Error && error.cause instanceof Error ? error.cause : error)
    // The embedded one runs only while the gateway does.
    tell(
      embedded ? 'warn' : 'FAIL',
      `key repository ${api}: ${embedded ? 'not running (starts with the gateway)' : reason}`,
    )
  }
}

async function checkProvider(name: string, config: Config, tell: Tell): Promise<void> {
  const target = parseAddress(name)
  if (target === null) {
    tell('FAIL', `provider ${name}: expected host:port`)
    return
  }
  try {
    const { socket, address } = await connectUpstream(
      { ...target, level: 'high', persist: false },
      { tls: upstreamTls(config.caBundle), timeoutMs: CONNECT_MS, networks: null },
      AbortSignal.timeout(2 * CONNECT_MS),
    )
    socket.destroy()
    tell('ok', `provider ${name}: reachable at ${address}`)
  } catch (error) {
    tell('FAIL', `provider ${name}: ${reasonOf(error)}`)
  }
}

function reasonOf(error: unknown): string {
  const { code, detail, message } = asGatewayError(error)
  if (code === 'INTERNAL') return error instanceof Error ? error.message : message
  return String(detail.reason ?? (detail.key === undefined ? message : `${detail.key}: ${detail.text}`))
}
