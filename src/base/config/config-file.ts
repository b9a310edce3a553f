/**
 * A configuration file, read and checked: blocks of options, each with its place, and the list of daemons.
 * It knows text, not files: whoever reads the file passes its content. Merging is `merge.ts`.
 */
import { GatewayError } from '../errors.ts'
import { listenerKey } from '../hand-over.ts'
import { type ConfigErrorDetail, configError, type Node, type Place, parseJsonTree, plainValue } from './json-tree.ts'
import { nearest } from './nearest.ts'
import { ALIASES, OPTION_NAMES, OPTIONS, type OptionName } from './options.ts'
import { parsePort } from './ports.ts'

export type Service = 'imap' | 'smtp' | 'now'
export const SERVICES: readonly Service[] = ['imap', 'smtp', 'now']

/** null: `null` in the file, which unsets what an earlier block set. */
export type Block = ReadonlyMap<OptionName, { readonly value: unknown; readonly at: Place } | null>

export interface DaemonEntry {
  readonly service: Service
  /** null: all addresses. */
  readonly host: string | null
  readonly port: number
  readonly options: Block
  readonly at: Place
}

export interface ConfigFile {
  readonly file: string
  readonly all: Block
  readonly services: Readonly<Record<Service, Block>>
  readonly daemons: readonly DaemonEntry[]
  /** `file:line:column: …`, for the log and for `vesmail check`. */
  readonly warnings: readonly string[]
}

/** program: the main file. host: a file per host name, which may set less. */
export type FileKind = 'program' | 'host'

const EMPTY: Block = new Map()
/** More listeners than this is a mistake. */
const MAX_DAEMONS = 1000

/** @throws {GatewayError} CONFIG_INVALID; its detail names file, line, column, key and what was expected */
export function parseConfigFile(text: string, file: string, kind: FileKind = 'program'): ConfigFile {
  return new FileReader(file, kind).read(text)
}

/** One line for people: `vesmail.conf:12:7: smtp.port: expected …`. */
export function printConfigError(detail: Readonly<Record<string, unknown>>): string {
  const { file, line, column, key, reason } = detail as unknown as ConfigErrorDetail
  const place = line > 0 ? `${file}:${line}:${column}` : file
  return `${place}: ${key === undefined ? '' : `${key}: `}${reason}`
}

/** For a program that listens. @throws {GatewayError} CONFIG_INVALID where the file has no `daemons` */
export function assertDaemons({ file, daemons }: ConfigFile): void {
  if (daemons.length > 0) return
  const reason = `${file}: daemons: none is configured; add e.g. {"server": "imap", "port": "imaps"}`
  throw new GatewayError('CONFIG_INVALID', { reason })
}

class FileReader {
  readonly #file: string
  readonly #kind: FileKind
  readonly #warnings: string[] = []

  constructor(file: string, kind: FileKind) {
    this.#file = file
    this.#kind = kind
  }

  read(text: string): ConfigFile {
    const root = parseJsonTree(text, this.#file, (path, at) => {
      this.#warn(at, path, 'is there twice; the first counts')
    })
    if (root.kind !== 'object') this.#fail(root.at, '', 'an object')
    const all = new Map<OptionName, { value: unknown; at: Place } | null>()
    const services: Record<Service, Block> = { imap: EMPTY, smtp: EMPTY, now: EMPTY }
    let daemons: DaemonEntry[] = []
    for (const { key, at, value } of root.members) {
      if (key === '*') {
        for (const [name, given] of this.#block(value, '*', 'all')) all.set(name, given)
      } else if (key === 'daemons' && this.#kind === 'program') daemons = this.#daemons(value)
      else if (isService(key)) services[key] = this.#block(value, key, 'service')
      else if (this.#kind === 'program') {
        // Blocks of ours may stand beside "*", which then has the last word.
        for (const [name, given] of this.#member(key, at, value, '', 'all')) if (!all.has(name)) all.set(name, given)
      } else this.#unknown(key, at, '', ['*', ...SERVICES])
    }
    const admin = all.get('admin.listen')
    const at = admin?.value as { readonly host: string; readonly port: number } | undefined
    const other =
      at === undefined
        ? -1
        : daemons.findIndex(({ host, port }) => listenerKey(host, port) === listenerKey(at.host, at.port))
    if (admin != null && other >= 0)
      this.#fail(admin.at, 'admin.listen', `an address of its own: daemons[${other}] has this one`)
    return { file: this.#file, all, services, daemons, warnings: this.#warnings }
  }

  #block(node: Node, path: string, level: Level, skip: readonly string[] = []): Block {
    if (node.kind === 'scalar' && node.value === null) return EMPTY
    if (node.kind !== 'object') return this.#fail(node.at, path, 'an object')
    const block = new Map<OptionName, { value: unknown; at: Place } | null>()
    // A full name beats its alias, wherever each stands.
    for (const { key, at, value } of node.members) {
      if (skip.includes(key)) continue
      for (const [name, given] of this.#member(key, at, value, path, level)) {
        if (!block.has(name) || OPTION_PATHS.has(key)) block.set(name, given)
      }
    }
    return block
  }

  /** The options that one key of a block sets. */
  #member(key: string, at: Place, node: Node, path: string, level: Level): Block {
    const block = new Map<OptionName, { value: unknown; at: Place } | null>()
    this.#collect(key, at, node, path, level, block)
    return block
  }

  #collect(
    name: string,
    at: Place,
    node: Node,
    path: string,
    level: Level,
    into: Map<OptionName, { value: unknown; at: Place } | null>,
  ): void {
    const shown = path === '' ? name : `${path}.${name}`
    const isObject = node.kind === 'object'
    const option = optionOf(name, isObject)
    if (option !== null) {
      if (this.#allowed(option, at, shown, level)) into.set(option, this.#value(option, node, shown))
      return
    }
    const below = OPTION_NAMES.filter((one) => one.startsWith(`${name}.`))
    if (below.length === 0)
      this.#unknown(name, at, path, [...(path === '' ? TOP_LEVEL : []), ...OPTION_NAMES, ...Object.keys(ALIASES)])
    else if (node.kind === 'scalar' && node.value === null) for (const one of below) into.set(one, null)
    else if (!isObject) this.#fail(node.at, shown, 'an object')
    else
      for (const member of node.members)
        this.#collect(`${name}.${member.key}`, member.at, member.value, path, level, into)
  }

  #allowed(option: OptionName, at: Place, shown: string, level: Level): boolean {
    const { scope } = OPTIONS[option]
    if (this.#kind === 'host' && (scope !== 'host' || option === 'now.manifest')) {
      this.#warn(at, shown, 'cannot be set for one host: ignored')
      return false
    }
    if (scope === 'process' && level !== 'all') {
      this.#warn(at, shown, 'is for the whole program: set it in "*"; ignored here')
      return false
    }
    if (option === 'tls.persist' && level !== 'daemon') {
      this.#warn(at, shown, 'counts only in an entry of daemons: ignored here')
      return false
    }
    return true
  }

  #value(option: OptionName, node: Node, shown: string): { value: unknown; at: Place } | null {
    const { schema, expected } = OPTIONS[option]
    const plain = plainValue(node)
    if (plain === null) return null
    const parsed = schema.safeParse(plain)
    if (!parsed.success) return this.#fail(node.at, shown, expected)
    return { value: freezeDeep(parsed.data), at: node.at }
  }

  #daemons(node: Node): DaemonEntry[] {
    if (node.kind === 'scalar' && node.value === null) return []
    if (node.kind !== 'array') return this.#fail(node.at, 'daemons', 'a list')
    if (node.items.length > MAX_DAEMONS) this.#fail(node.at, 'daemons', `at most ${MAX_DAEMONS} entries`)
    const daemons = node.items.map((item, i) => this.#daemon(item, `daemons[${i}]`))
    const first = new Map<string, number>()
    for (const [i, { host, port, at }] of daemons.entries()) {
      const address = listenerKey(host, port)
      const other = first.get(address)
      if (other !== undefined)
        this.#fail(at, `daemons[${i}].port`, `an address of its own: daemons[${other}] has this one`)
      first.set(address, i)
    }
    return daemons
  }

  #daemon(node: Node, path: string): DaemonEntry {
    if (node.kind !== 'object') return this.#fail(node.at, path, 'an object')
    const find = (key: string) => node.members.find((member) => member.key === key)?.value
    const server = find('server')
    const service = server?.kind === 'scalar' ? serviceOf(server.value) : null
    if (service === null) this.#fail((server ?? node).at, `${path}.server`, 'one of imap, smtp, now')
    const host = find('host')
    const hostName = host === undefined ? null : host.kind === 'scalar' ? host.value : undefined
    if (hostName !== null && (typeof hostName !== 'string' || !/^[\w.:%-]*$/.test(hostName))) {
      this.#fail((host ?? node).at, `${path}.host`, 'a host name or address')
    }
    const port = find('port')
    const given = port?.kind === 'scalar' ? port.value : null
    const number = typeof given === 'string' || typeof given === 'number' ? parsePort(given) : null
    if (number === null) this.#fail((port ?? node).at, `${path}.port`, 'a port: a number, digits or a service name')
    return {
      service,
      host: hostName === '' ? null : hostName,
      port: number,
      options: this.#block(node, path, 'daemon', ['server', 'host', 'port']),
      at: node.at,
    }
  }

  #unknown(name: string, at: Place, path: string, known: readonly string[]): void {
    const near = nearest(name, known)
    this.#warn(at, path === '' ? name : `${path}.${name}`, `is unknown${near === null ? '' : `; is "${near}" meant?`}`)
  }

  #warn(at: Place, key: string, what: string): void {
    // A host's file of nonsense shall not fill the log.
    if (this.#warnings.length < 100) this.#warnings.push(`${this.#file}:${at.line}:${at.column}: ${key} ${what}`)
  }

  #fail(at: Place, key: string, expected: string): never {
    throw configError({ file: this.#file, ...at, ...(key === '' ? {} : { key }), reason: `expected ${expected}` })
  }
}

const TOP_LEVEL: readonly string[] = ['*', ...SERVICES, 'daemons']

type Level = 'all' | 'service' | 'daemon'

const OPTION_PATHS: ReadonlySet<string> = new Set(OPTION_NAMES.map((name) => name.split('.')[0]!))

function optionOf(name: string, isObject: boolean): OptionName | null {
  if (Object.hasOwn(OPTIONS, name)) return name as OptionName
  // `"workers": 2` is the short form of `"workers": {"count": 2}`.
  return !isObject && Object.hasOwn(ALIASES, name) ? ALIASES[name]! : null
}

function isService(key: string): key is Service {
  return (SERVICES as readonly string[]).includes(key)
}

function serviceOf(server: unknown): Service | null {
  if (typeof server !== 'string') return null
  const name = server.toLowerCase().replace(/^ves-/, '')
  return isService(name) ? name : null
}

function freezeDeep<T>(value: T): T {
  if (typeof value === 'object' && value !== null) for (const inner of Object.values(value)) freezeDeep(inner)
  return Object.freeze(value)
}
