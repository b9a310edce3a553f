/**
 * Which addresses a provider may have (server-side request forgery): a profile is written by its user, so it may name
 * our own networks. Public addresses are always allowed, private, loopback and other special ones (RFC 6890) only
 * where the configuration allows that network. Judged after the name was resolved, on the address that is connected to.
 */
import { BlockList, isIP } from 'node:net'
import { Networks, normalAddress } from './address.ts'

/** RFC 6890 and its registries: nothing of it is a mail provider out on the Internet. */
const SPECIAL = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
  // `::ffff:a.b.c.d` is checked as a.b.c.d by the list itself.
  ['::', 96],
  ['::ffff:0:0:0', 96],
  // Translation and tunnels lead to IPv4 addresses that are not looked at here (RFC 6052, 8215, 4380, 3056).
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2001::', 23],
  ['2002::', 16],
  ['100::', 64],
  ['2001:db8::', 32],
  ['3fff::', 20],
  ['5f00::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const

const special = new BlockList()
for (const [network, bits] of SPECIAL) special.addSubnet(network, bits, isIP(network) === 4 ? 'ipv4' : 'ipv6')

export class ProviderNetworks {
  readonly #allowed: Networks

  /** @param allowed special networks to allow, `127.0.0.0/8`. @throws {GatewayError} CONFIG_INVALID */
  constructor(allowed: readonly string[]) {
    this.#allowed = new Networks(allowed)
  }

  /** @param address as resolved or connected to; anything but an IP address is refused */
  allows(address: string): boolean {
    const normal = normalAddress(address)
    const family = isIP(normal)
    if (family === 0) return false
    return !special.check(normal, family === 4 ? 'ipv4' : 'ipv6') || this.#allowed.has(normal)
  }
}
