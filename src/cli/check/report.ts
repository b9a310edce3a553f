/** What `vesmail check` has to say: a line for each thing, and where in the configuration to look. */
import type { Block, ConfigFile, DaemonEntry } from '../../base/config/config-file.ts'
import { OPTIONS, type OptionName } from '../../base/config/options.ts'
import { asGatewayError } from '../../base/errors.ts'

export type Level = 'ok' | 'warn' | 'FAIL'

/** Ten thousand host files with the same mistake are one thing to be told. */
const MAX_ALIKE = 10

export class Report {
  readonly #print: (line: string) => void
  #failures = 0

  constructor(print: (line: string) => void) {
    this.#print = print
  }

  get failures(): number {
    return this.#failures
  }

  tell(level: Level, what: string): void {
    if (level === 'FAIL') this.#failures++
    this.#print(`${level.padEnd(4)} ${what}`)
  }

  /** @returns what `run` gives, or null where it failed, which was told then */
  attempt<T>(what: string, run: () => T): T | null {
    try {
      return run()
    } catch (error) {
      this.tell('FAIL', `${what}: ${reasonOf(error)}`)
      return null
    }
  }

  /** For many of a kind: the first few are told, the others counted. Call `end` after the last. */
  series(kind: string): Series {
    const more = { ok: 0, warn: 0, FAIL: 0 }
    const told = { ok: 0, warn: 0, FAIL: 0 }
    return {
      tell: (level, what) => {
        if (told[level]++ < MAX_ALIKE) this.tell(level, what)
        else more[level]++
      },
      end: () => {
        for (const level of ['FAIL', 'warn'] as const) {
          if (more[level] > 0) this.tell(level, `${kind}: ${more[level]} more like these`)
        }
      },
    }
  }
}

export interface Series {
  tell(level: Level, what: string): void
  end(): void
}

interface Layer {
  readonly file: string
  readonly path: string
  readonly block: Block
}

/** The blocks that count for one listener, and for one host of it, the later over the earlier (base/config/merge.ts). */
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

/** Where an error names an option: the line of that. */
export function whereFailed(error: unknown, layers: readonly Layer[]): string {
  const { key } = asGatewayError(error).detail
  return typeof key === 'string' && Object.hasOwn(OPTIONS, key) ? `${whereSet(key as OptionName, layers)}: ` : ''
}

export function reasonOf(error: unknown): string {
  const { code, detail, message } = asGatewayError(error)
  if (code === 'INTERNAL') return error instanceof Error ? error.message : message
  return String(detail.reason ?? (detail.key === undefined ? message : `${detail.key}: ${detail.text}`))
}

export function listenerName({ service, host, port }: DaemonEntry): string {
  return `${service} ${host ?? '*'}:${port}`
}
