/**
 * HTTP's way in: connections come from the guard's sockets like all others (SNI, limits, PROXY protocol are ours),
 * and go on to uWebSockets.js on a private UNIX socket, with the client's address in a PROXY v2 header.
 */
import { connect, isIPv6, type Socket } from 'node:net'
import { pipeline } from 'node:stream'
import type { Endpoint } from './proxy-protocol.ts'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

/**
 * Both ends' octets, either way, until both are done. Resolves when it is over; never rejects.
 */
export function relayToHttp(socket: Socket, unixPath: string, client: Endpoint, local: Endpoint): Promise<void> {
  return new Promise((resolve) => {
    const inner = connect({ path: unixPath, allowHalfOpen: true })
    inner.write(printProxyV2(client, local))
    let open = 2
    const done = (): void => {
      if (--open === 0) resolve()
    }
    pipeline(socket, inner, done)
    pipeline(inner, socket, done)
  })
}

/** Version 2, command PROXY, TCP over IPv4 or IPv6 (proxy-protocol.txt §2.2). Addresses normalised. */
export function printProxyV2(client: Endpoint, local: Endpoint): Buffer {
  const wide = isIPv6(client.address) || isIPv6(local.address)
  const size = wide ? 16 : 4
  const head = Buffer.alloc(16 + 2 * size + 4)
  SIGNATURE.copy(head)
  head[12] = 0x21
  head[13] = wide ? 0x21 : 0x11
  head.writeUInt16BE(2 * size + 4, 14)
  octetsOf(client.address, wide).copy(head, 16)
  octetsOf(local.address, wide).copy(head, 16 + size)
  head.writeUInt16BE(client.port, 16 + 2 * size)
  head.writeUInt16BE(local.port, 18 + 2 * size)
  return head
}

function octetsOf(address: string, wide: boolean): Buffer {
  if (!isIPv6(address)) {
    const four = Buffer.from(address.split('.').map(Number))
    return wide ? Buffer.concat([Buffer.from('00000000000000000000ffff', 'hex'), four]) : four
  }
  const [head = '', tail = ''] = address.split('::')
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'))
  const left = groups(head)
  const right = groups(tail)
  const out = Buffer.alloc(16)
  for (const [i, group] of left.entries()) out.writeUInt16BE(Number.parseInt(group, 16), 2 * i)
  for (const [i, group] of right.entries()) out.writeUInt16BE(Number.parseInt(group, 16), 16 - 2 * (right.length - i))
  return out
}
