/**
 * `vesmail check`: says of a configuration what would work, a line for each thing, before somebody reloads it: where it
 * stands in the file, what is wrong, what to do. Changes nothing, but for an object that it puts into the spool's bucket
 * and deletes again. Exit 0 when all is well (warnings included), 1 when something is not, 67 when the file cannot be read.
 */
import { existsSync, readFileSync } from 'node:fs'
import { Command } from 'commander'
import { type ConfigFile, parseConfigFile, SERVICES } from '../base/config/config-file.ts'
import { printManual } from '../base/config/manual.ts'
import { daemonConfig, programConfig } from '../base/config/merge.ts'
import { layersOf, reasonOf, whereSet } from '../base/config/places.ts'
import { fastPath } from '../engine/seal/native.ts'
import { warningsOf } from '../guard/guard.ts'
import { Networks } from '../net/address.ts'
import { certificatesIn } from '../net/certificate-file.ts'
import { OAuthKeys } from '../net/now/oauth-key.ts'
import { ProviderNetworks } from '../net/provider-networks.ts'
import { checkBuckets } from './check/buckets.ts'
import { Certificates, checkCertificates } from './check/certificates.ts'
import { checkHosts } from './check/hosts.ts'
import { checkPorts } from './check/ports.ts'
import { checkProvider } from './check/provider.ts'
import { checkRedis } from './check/redis.ts'
import { Report, whereFailed } from './check/report.ts'
import { checkRepository } from './check/repository.ts'
import { checkRights } from './check/rights.ts'
import { textFindings } from './check/texts.ts'
import { configFailure, DEFAULT_CONFIG } from './daemon.ts'
import { repositoryArguments } from './repository-companion.ts'

const CONNECT_MS = 5000

interface CheckOptions {
  readonly conf: string
  readonly provider: readonly string[]
  readonly nowMs?: number
  readonly timeoutMs?: number
  /** Of the service; null: whoever runs this. */
  readonly user?: string | null
}

export function checkCommand(): Command {
  return new Command('check')
    .description('check a configuration, certificates and reachability')
    .option('-C, --conf <file>', 'configuration file', DEFAULT_CONFIG)
    .option(
      '--provider <host:port...>',
      'also check that these mail servers can be reached; host:port/tls where TLS begins at once',
      [],
    )
    .option('--user <name>', 'whose rights to files count, where root runs this (vesmail, if there is such a user)')
    .option('--keys', 'print every configuration key instead')
    .action(async (options: CheckOptions & { readonly keys?: boolean }) => {
      if (options.keys === true) {
        process.stdout.write(printManual())
        return
      }
      process.exitCode = (await runCheck(options, (line) => process.stdout.write(`${line}\n`))) ? 0 : 1
    })
}

/** @returns whether nothing failed. @throws {GatewayError} CONFIG_INVALID */
export async function runCheck(options: CheckOptions, print: (line: string) => void): Promise<boolean> {
  const { nowMs = Date.now(), timeoutMs = CONNECT_MS } = options
  const report = new Report(print)
  const file = readConfig(options.conf)
  report.tell('ok', `${options.conf}: syntax`)
  for (const warning of warningsOf(file)) report.tell('warn', warning)
  const served = listenersOf(file, report)
  const certificates = new Certificates(nowMs)
  checkCertificates(served, certificates, report)
  checkHosts(served, certificates, report)
  checkDaemons(served, report)
  await checkPorts(file, report)
  checkRights(served, report, options.user)
  await checkBuckets(served, report)
  await checkRedis(file, report, timeoutMs)
  checkOAuthKeys(file, report)
  checkEmbedded(file, report)
  await checkRepository(file, report, timeoutMs)
  for (const provider of options.provider) await checkProvider(provider, file, report, timeoutMs)
  const { kind, reason } = fastPath()
  report.tell(reason === null ? 'ok' : 'warn', `ciphers: ${kind}${reason === null ? '' : ` (slower): ${reason}`}`)
  return report.failures === 0
}

function readConfig(path: string): ConfigFile {
  try {
    return parseConfigFile(readFileSync(path, 'utf8'), path)
  } catch (error) {
    throw configFailure(path, error)
  }
}

/** Without `daemons` sessions still come one by one, on descriptors of others (`vesmail imap`): those are looked at then. */
function listenersOf(file: ConfigFile, report: Report): ConfigFile {
  if (file.daemons.length > 0) return file
  report.tell(
    'warn',
    `${file.file}: daemons: none is configured: enough for one process per connection ("vesmail imap"), but "vesmail daemon" needs e.g. {"server": "imap", "port": "imaps"}`,
  )
  const at = { line: 0, column: 0 }
  return { ...file, daemons: SERVICES.map((service) => ({ service, host: null, port: 0, options: new Map(), at })) }
}

/** What several daemons have from the same line is told once. */
function checkDaemons(file: ConfigFile, report: Report): void {
  const told = new Set<string>()
  const fail = (what: string): void => {
    if (!told.has(what)) report.tell('FAIL', what)
    told.add(what)
  }
  for (const entry of file.daemons) {
    const config = daemonConfig(file, entry)
    const layers = layersOf(file, entry)
    const attempt = (
      option: 'proxy-protocol.from' | 'limits.providerNetworks' | 'caBundle',
      run: () => unknown,
    ): void => {
      try {
        run()
      } catch (error) {
        fail(`${whereSet(option, layers)}: ${reasonOf(error)}`)
      }
    }
    attempt('proxy-protocol.from', () => new Networks(config['proxy-protocol.from'] ?? []))
    attempt('limits.providerNetworks', () => new ProviderNetworks(config['limits.providerNetworks'] ?? []))
    const { caBundle } = config
    if (caBundle !== null) attempt('caBundle', () => certificatesIn(caBundle))
    for (const finding of textFindings(config, layers)) fail(finding)
  }
}

/** Those that are there: the daemon makes the first where it is absent, which is not for us to do. */
function checkOAuthKeys(file: ConfigFile, report: Report): void {
  const files = programConfig(file)['oauth-key'] ?? []
  const where = whereSet('oauth-key', layersOf(file, null))
  for (const absent of files.slice(1).filter((one) => !existsSync(one))) {
    report.tell('FAIL', `${where}: ${absent} does not exist: put it there, or take it out`)
  }
  const there = files.filter((one) => existsSync(one))
  if (there.length === 0) return
  const keys = report.attempt(where, () => new OAuthKeys(there))
  for (const open of keys?.warnings ?? []) report.tell('warn', `${where}: ${open} can be read by others: chmod 600`)
  if (keys !== null) report.tell('ok', `${where}: ${there.length} of ${files.length} keys are there, and open`)
}

function checkEmbedded(file: ConfigFile, report: Report): void {
  try {
    repositoryArguments(programConfig(file))
  } catch (error) {
    report.tell('FAIL', `${whereFailed(error, layersOf(file, null))}${reasonOf(error)}`)
  }
}
