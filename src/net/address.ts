/**
 * Addresses of clients: one spelling each, the unit that abuse is counted by, and lists of networks.
 */
import { BlockList, isIP } from 'node:net'
import { GatewayError } from '../base/errors.ts'

/** `::ffff:192.0.2.1` is 192.0.2.1 reached through an IPv6 socket (daemon.md §1). */
export function normalAddress(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  return (mapped?.[1] ?? address).replace(/%.*$/, '').toLowerCase()
}

/** What one customer has: an IPv4 address, or the /64 of an IPv6 one (daemon.md §5). */
export function addressUnit(address: string): string {
  if (isIP(address) !== 6) return address
  const [head = '', tail] = address.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  // A dotted quad at the end counts for two groups; it is never among the first four.
  const missing = tail === undefined ? 0 : 8 - left.length - right.length - (right.at(-1)?.includes('.') ? 1 : 0)
  const groups = [...left, ...Array<string>(Math.max(0, missing)).fill('0'), ...right]
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}

/** @param address normalised */
export function isLoopback(address: string): boolean {
  return isIP(address) === 4 ? address.startsWith('127.') : address === '::1' || address === '0:0:0:0:0:0:0:1'
}

export class Networks {
  readonly #list = new BlockList()
  readonly #empty: boolean

  /** @param networks `10.0.0.0/8`, `2001:db8::/32`, or single addresses. @throws {GatewayError} CONFIG_INVALID */
  constructor(networks: readonly string[]) {
    this.#empty = networks.length === 0
    for (const network of networks) {
      const [address = '', prefix] = network.split('/')
      const family = isIP(address)
      const bits = prefix === undefined ? (family === 4 ? 32 : 128) : Number(prefix)
      if (family === 0 || !/^\d{1,3}$/.test(prefix ?? '0') || bits > (family === 4 ? 32 : 128)) {
        throw new GatewayError('CONFIG_INVALID', { reason: `${network} is no network; expected e.g. 10.0.0.0/8` })
      }
      this.#list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6')
    }
  }

  /** @param address normalised */
  has(address: string): boolean {
    const family = this.#empty ? 0 : isIP(address)
    return family !== 0 && this.#list.check(address, family === 4 ? 'ipv4' : 'ipv6')
  }
}
