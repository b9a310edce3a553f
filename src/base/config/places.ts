/**
 * Where in the configuration an option stands that counts somewhere, and errors that say so: for what only turns out
 * when a value is used (a file that is not there, a key of another certificate), long after the text was parsed.
 */
import { asGatewayError, GatewayError } from '../errors.ts'
import { type Block, type ConfigFile, type DaemonEntry, printConfigError } from './config-file.ts'
import type { OptionName } from './options.ts'

export interface Layer {
  readonly file: string
  readonly path: string
  readonly block: Block
}

/** The blocks that count for one listener, and for one host of it, the later over the earlier (merge.ts). */
export function layersOf(
  file: ConfigFile,
  entry: DaemonEntry | null,
  host: ConfigFile | null = null,
): readonly Layer[] {
  const layers: Layer[] = [{ file: file.file, path: '', block: file.all }]
  if (entry !== null) {
    const { service } = entry
    layers.push({ file: file.file, path: `${service}.`, block: file.services[service] })
    layers.push({ file: file.file, path: `daemons[${file.daemons.indexOf(entry)}].`, block: entry.options })
    if (host !== null) {
      layers.push({ file: host.file, path: '*.', block: host.all })
      layers.push({ file: host.file, path: `${service}.`, block: host.services[service] })
    }
  }
  return layers
}

/** `vesmail.conf:7:13: smtp.tls.cert`: the line that set this option; without a line where none did. */
export function whereSet(name: OptionName, layers: readonly Layer[]): string {
  for (const { file, path, block } of [...layers].reverse()) {
    const given = block.get(name)
    if (given !== undefined && given !== null) return `${file}:${given.at.line}:${given.at.column}: ${path}${name}`
  }
  return `${layers[0]?.file}: ${name} (not set)`
}

/**
 * Of a certificate or its key: the line that names the file.
 * @param file of which the line should be: a host's certificate that does not fit the listener's key is the host's affair
 */
export function whereCertificate(of: 'cert' | 'pkey', layers: readonly Layer[], file: string): string {
  // One file may hold both: then either key names it.
  const names = of === 'cert' ? (['tls.cert', 'tls.pkey'] as const) : (['tls.pkey', 'tls.cert'] as const)
  const places = names.map((name) => whereSet(name, layers))
  return places.find((place) => place.startsWith(`${file}:`) && !place.endsWith('(not set)')) ?? places[0]!
}

/** `vesmail.conf:20:3: daemons[1]`; of one that stands in no file, its service. */
export function whereDaemon(file: ConfigFile, entry: DaemonEntry): string {
  if (entry.at.line === 0) return `${file.file}: ${entry.service}`
  return `${file.file}:${entry.at.line}:${entry.at.column}: daemons[${file.daemons.indexOf(entry)}]`
}

/** Does what an option's value is for. @throws {GatewayError} CONFIG_INVALID for whatever goes wrong, with the option's place */
export function atOption<T>(name: OptionName, layers: readonly Layer[], run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw new GatewayError('CONFIG_INVALID', { reason: `${whereSet(name, layers)}: ${reasonOf(error)}` }, error)
  }
}

/** One line for people. */
export function reasonOf(error: unknown): string {
  const { code, detail, message } = asGatewayError(error)
  if (code === 'INTERNAL') return error instanceof Error ? error.message : message
  const { reason, key, text } = detail
  return String(reason ?? (key === undefined ? (text ?? message) : `${key}: ${text}`))
}

/** The same, with the place in the text where that is what cannot be read. */
export function placedReasonOf(error: unknown): string {
  const { detail } = asGatewayError(error)
  return 'line' in detail ? printConfigError(detail) : reasonOf(error)
}
