/**
 * Names that users write into their profiles, to addresses. Not a judge of them (`provider-networks.ts`), and not for the
 * administrator's own names.
 *
 * `getaddrinfo` takes one of the two threads that Node has for slow names, for ten seconds where a name server is silent:
 * one tenant with such a domain would stop everybody's logins. So names are asked for by c-ares, which needs no threads,
 * those of search domains too. Only what asks nobody goes to `getaddrinfo`: names of the hosts file, names without a dot
 * (which are the administrator's), and numbers (`127.1`).
 */
import { lookup, Resolver } from 'node:dns/promises'
import { readFileSync, statSync } from 'node:fs'

export interface Address {
  readonly address: string
  readonly family: number
}

export interface Names {
  resolve4(host: string): Promise<string[]>
  resolve6(host: string): Promise<string[]>
  /** `getaddrinfo` */
  lookup(host: string): Promise<Address[]>
  /** Text of the hosts file. */
  hosts(): string
  /** Text of resolv.conf. */
  configuration(): string
}

/** Each try waits longer than the one before: 17 s in all, less than `limits.connectSeconds`. */
const TIMES = { timeout: 2500, tries: 3 } as const
/** c-ares reads resolv.conf once. */
const RESOLVER_MS = 60_000
const ABSENT: readonly string[] = ['ENOTFOUND', 'ENODATA']
/** No domain ends like that. */
const NUMBER = /\.(?:\d+|0x[0-9a-f]*)$/i
/** resolv.conf(5) */
const MAX_SEARCH = 6

/** @throws Error of node:dns */
export async function resolveName(host: string, names: Names = SYSTEM): Promise<readonly Address[]> {
  if (!host.includes('.') || NUMBER.test(host) || hasName(names.hosts(), host)) return names.lookup(host)
  try {
    return await ask(host, names)
  } catch (error) {
    if (!isAbsent(error) || host.endsWith('.')) throw error
    for (const domain of searchDomains(names.configuration())) {
      try {
        return await ask(`${host}.${domain}`, names)
      } catch (absent) {
        if (!isAbsent(absent)) throw absent
      }
    }
    throw error
  }
}

async function ask(host: string, names: Names): Promise<readonly Address[]> {
  const [four, six] = await Promise.allSettled([names.resolve4(host), names.resolve6(host)])
  const found = [
    ...(four.status === 'fulfilled' ? four.value : []).map((address) => ({ address, family: 4 })),
    ...(six.status === 'fulfilled' ? six.value : []).map((address) => ({ address, family: 6 })),
  ]
  if (found.length > 0) return found
  const failures: unknown[] = [four, six].flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
  // Who knows of no address of one kind may have had no answer about the other.
  throw failures.find((failure) => !isAbsent(failure)) ?? failures[0]
}

function isAbsent(error: unknown): boolean {
  return ABSENT.includes((error as NodeJS.ErrnoException | undefined)?.code ?? '')
}

function hasName(hosts: string, host: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, '')
  return linesOf(hosts).some((words) => words.slice(1).includes(name))
}

/** Of the last line that names any. */
function searchDomains(configuration: string): readonly string[] {
  const line = linesOf(configuration).findLast(([word]) => word === 'search' || word === 'domain')
  return (line ?? []).slice(1, 1 + MAX_SEARCH).filter((domain) => domain !== '.')
}

function linesOf(text: string): string[][] {
  return text
    .toLowerCase()
    .split('\n')
    .map((line) =>
      line
        .replace(/[#;].*/, '')
        .trim()
        .split(/\s+/),
    )
}

/** Read again when it was written. */
class SystemFile {
  readonly #path: string
  #text = ''
  #writtenMs = 0

  constructor(path: string) {
    this.#path = path
  }

  get text(): string {
    const writtenMs = statSync(this.#path, { throwIfNoEntry: false })?.mtimeMs ?? 0
    if (writtenMs !== this.#writtenMs) this.#text = writtenMs === 0 ? '' : readFileSync(this.#path, 'utf8')
    this.#writtenMs = writtenMs
    return this.#text
  }
}

class SystemNames implements Names {
  readonly #hosts = new SystemFile('/etc/hosts')
  readonly #configuration = new SystemFile('/etc/resolv.conf')
  #resolver = new Resolver(TIMES)
  #untilMs = 0

  resolve4(host: string): Promise<string[]> {
    return this.#current().resolve4(host)
  }

  resolve6(host: string): Promise<string[]> {
    return this.#current().resolve6(host)
  }

  lookup(host: string): Promise<Address[]> {
    return lookup(host, { all: true })
  }

  hosts(): string {
    return this.#hosts.text
  }

  configuration(): string {
    return this.#configuration.text
  }

  #current(): Resolver {
    if (performance.now() > this.#untilMs) {
      this.#untilMs = performance.now() + RESOLVER_MS
      this.#resolver = new Resolver(TIMES)
    }
    return this.#resolver
  }
}

const SYSTEM = new SystemNames()
