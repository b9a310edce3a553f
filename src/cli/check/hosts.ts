/**
 * The files of single hosts (`sni`): each as the daemon would read it when a client names the host. What is told is
 * bounded, whatever number there is; what is in memory, too.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { type ConfigFile, type DaemonEntry, parseConfigFile, printConfigError } from '../../base/config/config-file.ts'
import { daemonConfig, hostConfig, isSet } from '../../base/config/merge.ts'
import { layersOf, reasonOf, whereSet } from '../../base/config/places.ts'
import { asGatewayError } from '../../base/errors.ts'
import { hostFileName } from '../../workers/host-files.ts'
import { type Certificates, tellFindings } from './certificates.ts'
import type { Report, Series } from './report.ts'
import { textFindings } from './texts.ts'

/** Of a host file: what {@link textFindings} looks at. */
const TEXTS = ['banner', 'manifest', 'now.headers'] as const

interface Folder {
  readonly prefix: string
  readonly suffix: string
  /** Listeners whose hosts are there. */
  readonly entries: DaemonEntry[]
}

export function checkHosts(file: ConfigFile, certificates: Certificates, report: Report): void {
  for (const folder of foldersOf(file)) {
    const where = whereSet(folder.prefix === '' ? 'sni.suffix' : 'sni.prefix', layersOf(file, folder.entries[0]!))
    const series = report.series(where)
    const before = report.failures
    let names: string[]
    try {
      names = hostsIn(folder, (name) => {
        series.tell(
          'warn',
          `${folder.prefix}${name}${folder.suffix} is never read: hosts are named in lower case, as in DNS`,
        )
      })
    } catch (error) {
      report.tell(
        'FAIL',
        `${where}: ${dirname(`${folder.prefix}x`)}: ${reasonOf(error)}: make it, or correct sni.prefix`,
      )
      continue
    }
    for (const name of names) checkHost(name, folder, file, certificates, series)
    series.end()
    const good = report.failures === before
    report.tell(good ? 'ok' : 'warn', `${where}: ${names.length} host files${good ? '' : ', not all good'}`)
  }
}

function foldersOf(file: ConfigFile): Iterable<Folder> {
  const folders = new Map<string, Folder>()
  for (const entry of file.daemons) {
    const config = daemonConfig(file, entry)
    const [prefix, suffix] = [config['sni.prefix'], config['sni.suffix']]
    if ((prefix === null && suffix === null) || config['tls.level'] === 'none') continue
    const key = `${prefix ?? ''}\0${suffix ?? ''}`
    const folder = folders.get(key) ?? { prefix: prefix ?? '', suffix: suffix ?? '', entries: [] }
    folders.set(key, folder)
    folder.entries.push(entry)
  }
  return folders.values()
}

/** @param odd told of names that no client can ask for */
function hostsIn({ prefix, suffix }: Folder, odd: (name: string) => void): string[] {
  // A suffix may go on into a folder for each host.
  const tail = suffix.split('/')[0]!
  const start = prefix.endsWith('/') || prefix === '' ? '' : basename(prefix)
  const hosts: string[] = []
  for (const found of readdirSync(dirname(`${prefix}x`)).sort()) {
    if (!found.startsWith(start) || !found.endsWith(tail) || found.length <= start.length + tail.length) continue
    const name = found.slice(start.length, found.length - tail.length)
    if (!existsSync(`${prefix}${name}${suffix}`)) continue
    if (hostFileName(name) === name) hosts.push(name)
    else odd(name)
  }
  return hosts
}

function checkHost(name: string, folder: Folder, file: ConfigFile, certificates: Certificates, series: Series): void {
  const path = `${folder.prefix}${name}${folder.suffix}`
  let host: ConfigFile
  try {
    host = parseConfigFile(readFileSync(path, 'utf8'), path, 'host')
  } catch (error) {
    const { detail } = asGatewayError(error)
    series.tell('FAIL', 'line' in detail ? printConfigError(detail) : `${path}: ${reasonOf(error)}`)
    return
  }
  for (const warning of host.warnings) series.tell('warn', warning)
  const told = new Set<string>()
  for (const entry of folder.entries) {
    const config = hostConfig(file, entry, host)
    const blocks = [host.all, host.services[entry.service]]
    const layers = layersOf(file, entry, host)
    const judged = certificates.judge(config)
    if (judged !== null && !told.has(judged.pair)) {
      told.add(judged.pair)
      // That of the listener was told of there.
      if (isSet('tls.cert', ...blocks) || isSet('tls.pkey', ...blocks))
        tellFindings(judged.state, layers, path, quietly(series))
      if (judged.state.certificate?.checkHost(name) === undefined && judged.state.problem === null) {
        series.tell(
          'warn',
          `${path}: the certificate ${judged.state.subject} is not for ${name}: clients will refuse it`,
        )
      }
    }
    if (!TEXTS.some((option) => isSet(option, ...blocks))) continue
    for (const finding of textFindings(config, layers)) {
      // That of the listener was told of there, too.
      if (!finding.startsWith(`${path}:`) || told.has(finding)) continue
      told.add(finding)
      series.tell('FAIL', finding)
    }
  }
}

/** Of ten thousand good ones nobody wants to read. */
function quietly(series: Series): Series {
  return { ...series, tell: (level, what) => level !== 'ok' && series.tell(level, what) }
}
