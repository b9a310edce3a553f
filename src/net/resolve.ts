/**
 * Names that users write into their profiles, to addresses. Not a judge of them (`provider-networks.ts`), and not for the
 * administrator's own names.
 *
 * `getaddrinfo` takes one of the two threads that Node has for slow names, for ten seconds where a name server is silent:
 * one tenant with such a domain would stop everybody's logins. So names are asked for by c-ares, which needs no threads.
 * Only what that cannot know goes to `getaddrinfo`: names of the hosts file, names without a dot and those that no name
 * server knows, which may be of a search domain.
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
}

/** Each try waits longer than the one before: 17 s in all, less than `limits.connectSeconds`. */
const TIMES = { timeout: 2500, tries: 3 } as const
/** c-ares reads resolv.conf once. */
const RESOLVER_MS = 60_000
const HOSTS_FILE = '/etc/hosts'
/** What a name server says at once. A resolver whose server is silent says ESERVFAIL in the end. */
const ABSENT: readonly string[] = ['ENOTFOUND', 'ENODATA']

/** @throws Error of node:dns */
export async function resolveName(host: string, names: Names = SYSTEM): Promise<readonly Address[]> {
  if (!host.includes('.') || hasName(names.hosts(), host)) return names.lookup(host)
  const [four, six] = await Promise.allSettled([names.resolve4(host), names.resolve6(host)])
  const found = [
    ...(four.status === 'fulfilled' ? four.value : []).map((address) => ({ address, family: 4 })),
    ...(six.status === 'fulfilled' ? six.value : []).map((address) => ({ address, family: 6 })),
  ]
  if (found.length > 0) return found
  // A silent server is not asked again: that is what must not hold a thread.
  const silent = [four, six].find((one) => one.status === 'rejected' && !ABSENT.includes(one.reason?.code))
  if (silent?.status === 'rejected') throw silent.reason
  return names.lookup(host)
}

function hasName(hosts: string, host: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, '')
  return hosts
    .toLowerCase()
    .split('\n')
    .some((line) => line.replace(/#.*/, '').trim().split(/\s+/).slice(1).includes(name))
}

class SystemNames implements Names {
  #resolver = new Resolver(TIMES)
  #untilMs = 0
  #hosts = ''
  #hostsMs = -1

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
    const mtimeMs = statSync(HOSTS_FILE, { throwIfNoEntry: false })?.mtimeMs ?? 0
    if (mtimeMs !== this.#hostsMs) {
      this.#hostsMs = mtimeMs
      this.#hosts = mtimeMs === 0 ? '' : readFileSync(HOSTS_FILE, 'utf8')
    }
    return this.#hosts
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
