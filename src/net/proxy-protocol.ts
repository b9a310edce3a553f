/**
 * The PROXY protocol, versions 1 and 2, as a receiver (haproxy's proxy-protocol.txt): the client's address in front
 * of everything else that a load balancer sends. The parser takes octets; `readProxyHeader` takes them from a socket.
 *
 * The rule (daemon.md §1): required from the configured networks, never read from anybody else. A header cannot be
 * guessed from what comes: mail clients wait for our greeting.
 */
import { isIP, type Socket } from 'node:net'
import { GatewayError } from '../base/errors.ts'
import { normalAddress } from './address.ts'

export interface Endpoint {
  readonly address: string
  readonly port: number
}

export interface ProxyHeader {
  /** Octets of the header. */
  readonly octets: number
  /** null: v1 UNKNOWN, v2 LOCAL or a family without ports: the connection's own ends stay (health checks). */
  readonly ends: { readonly client: Endpoint; readonly local: Endpoint } | null
}

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
/** Longest line of version 1, CRLF included: two full IPv6 addresses and ports. */
const V1_MAX_OCTETS = 107
const V2_HEAD_OCTETS = 16
/** Addresses and extensions of version 2; real ones stay below 600. */
const V2_MAX_OCTETS = 4096
const HEADER_MS = 3000

/** @returns null when more octets are needed. @throws {GatewayError} SYNTAX for what is no header */
export function parseProxyHeader(bytes: Buffer): ProxyHeader | null {
  const probe = Math.min(bytes.length, SIGNATURE.length)
  if (bytes.subarray(0, probe).equals(SIGNATURE.subarray(0, probe))) return parseV2(bytes)
  const word = Buffer.from('PROXY ')
  const given = Math.min(bytes.length, word.length)
  if (bytes.subarray(0, given).equals(word.subarray(0, given))) return parseV1(bytes)
  throw bad('no PROXY header')
}

/** `PROXY TCP4 192.0.2.1 198.51.100.1 56324 25 CRLF` */
function parseV1(bytes: Buffer): ProxyHeader | null {
  const end = bytes.indexOf('\r\n')
  if (end < 0) {
    if (bytes.length >= V1_MAX_OCTETS) throw bad('line too long')
    return null
  }
  const octets = end + 2
  if (octets > V1_MAX_OCTETS) throw bad('line too long')
  const [, family, client = '', local = '', clientPort = '', localPort = '', ...more] = bytes
    .toString('latin1', 0, end)
    .split(' ')
  if (family === 'UNKNOWN') return { octets, ends: null }
  const version = family === 'TCP4' ? 4 : family === 'TCP6' ? 6 : -1
  if (isIP(client) !== version || isIP(local) !== version || more.length > 0) throw bad('addresses')
  return { octets, ends: { client: endpoint(client, port(clientPort)), local: endpoint(local, port(localPort)) } }
}

function port(digits: string): number {
  const value = /^(?:0|[1-9]\d{0,4})$/.test(digits) ? Number(digits) : Number.NaN
  if (!(value <= 65_535)) throw bad('port')
  return value
}

/** Signature, version and command, family, length, addresses, then extensions which are skipped. */
function parseV2(bytes: Buffer): ProxyHeader | null {
  if (bytes.length < V2_HEAD_OCTETS) return null
  const versionCommand = bytes[12]!
  if (versionCommand >> 4 !== 2) throw bad('version')
  const length = bytes.readUInt16BE(14)
  if (length > V2_MAX_OCTETS) throw bad('too long')
  const octets = V2_HEAD_OCTETS + length
  if (bytes.length < octets) return null
  const command = versionCommand & 15
  if (command === 0) return { octets, ends: null }
  if (command !== 1) throw bad('command')
  const family = bytes[13]! >> 4
  const size = family === 1 ? 4 : family === 2 ? 16 : 0
  if (size === 0) return { octets, ends: null }
  if (length < 2 * size + 4) throw bad('addresses')
  const at = V2_HEAD_OCTETS
  const read = size === 4 ? ipv4 : ipv6
  return {
    octets,
    ends: {
      client: endpoint(read(bytes, at), bytes.readUInt16BE(at + 2 * size)),
      local: endpoint(read(bytes, at + size), bytes.readUInt16BE(at + 2 * size + 2)),
    },
  }
}

function ipv4(bytes: Buffer, at: number): string {
  return [...bytes.subarray(at, at + 4)].join('.')
}

function ipv6(bytes: Buffer, at: number): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(at + 2 * i).toString(16))
  const mapped = groups.slice(0, 5).every((group) => group === '0') && groups[5] === 'ffff'
  return mapped ? ipv4(bytes, at + 12) : groups.join(':')
}

function endpoint(address: string, portNumber: number): Endpoint {
  return { address: normalAddress(address), port: portNumber }
}

function bad(reason: string): GatewayError {
  return new GatewayError('SYNTAX', { reason: `PROXY protocol: ${reason}` })
}

/**
 * Takes the header off the front of a connection; what follows it stays to be read.
 * Rejects with SYNTAX, or TIMEOUT after three seconds; the socket is destroyed then.
 */
export function readProxyHeader(socket: Socket, timeoutMs = HEADER_MS): Promise<ProxyHeader['ends']> {
  return new Promise((resolve, reject) => {
    let seen: Buffer = Buffer.alloc(0)
    const settle = (): void => {
      clearTimeout(timer)
      socket.off('readable', more).off('error', gone).off('end', gone).off('close', gone)
    }
    const fail = (error: unknown): void => {
      settle()
      socket.on('error', () => {}).destroy()
      reject(error)
    }
    const gone = (): void => fail(new GatewayError('IO', { side: 'client', reason: 'closed before PROXY header' }))
    const timer = setTimeout(() => fail(new GatewayError('TIMEOUT', { reason: 'no PROXY header' })), timeoutMs)
    const more = (): void => {
      try {
        for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
          seen = Buffer.concat([seen, chunk])
          const header = parseProxyHeader(seen)
          if (header === null) continue
          settle()
          const rest = seen.subarray(header.octets)
          if (rest.length > 0) socket.unshift(rest)
          resolve(header.ends)
          return
        }
      } catch (error) {
        fail(error)
      }
    }
    socket.on('readable', more).on('error', gone).on('end', gone).on('close', gone)
    more()
  })
}
