/** The way to the provider: name, connection, TLS where it begins with it; each failure with its own code. */
import { connect, isIP, type LookupFunction, type Socket } from 'node:net'
import { GatewayError } from '../base/errors.ts'
import type { AskOf } from '../engine/session.ts'
import type { ProviderNetworks } from './provider-networks.ts'
import { type Address, resolveName } from './resolve.ts'
import { startTls, type UpstreamTls } from './tls.ts'

export interface UpstreamOptions {
  readonly tls: UpstreamTls
  /** For the name, and again for the connection. */
  readonly timeoutMs: number
  /** Where providers may be; null: anywhere (a person at the command line asks). */
  readonly networks: ProviderNetworks | null
  /** Plain connections read into this, and give it out by `data` events: whoever hears one has the octets until it returns. */
  readonly readBuffer?: Buffer
}

export interface UpstreamConnection {
  readonly socket: Socket
  readonly tls: boolean
  /** Where the name led. */
  readonly address: string
}

/** Rejects with UPSTREAM_DNS, _CONNECTION or _TLS, soon after `signal` is aborted too; nothing stays open then. */
export async function connectUpstream(
  ask: AskOf<'connect'>,
  options: UpstreamOptions,
  signal: AbortSignal,
): Promise<UpstreamConnection> {
  const { networks } = options
  const resolved = await resolve(ask.host, options.timeoutMs)
  const addresses = networks === null ? resolved : resolved.filter(({ address }) => networks.allows(address))
  if (addresses.length === 0) {
    const reason = resolved.length === 0 ? 'no address' : 'address not allowed (limits.providerNetworks)'
    throw new GatewayError('UPSTREAM_CONNECTION', { host: ask.host, port: ask.port, reason })
  }
  const plain = await open(ask, addresses, options, signal)
  const address = plain.remoteAddress ?? ''
  plain.allowHalfOpen = true
  if (!ask.persist) return { socket: plain, tls: false, address }
  return { socket: await startTls(plain, ask.host, ask.level, options.tls), tls: true, address }
}

async function resolve(host: string, timeoutMs: number): Promise<readonly Address[]> {
  const family = isIP(host)
  if (family !== 0) return [{ address: host, family }]
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('timeout')), timeoutMs)
  })
  try {
    return await Promise.race([resolveName(host), late])
  } catch (error) {
    throw new GatewayError('UPSTREAM_DNS', { host, reason: reasonOf(error) }, error)
  } finally {
    clearTimeout(timer)
  }
}

function open(
  ask: AskOf<'connect'>,
  addresses: readonly Address[],
  { timeoutMs, readBuffer }: UpstreamOptions,
  signal: AbortSignal,
): Promise<Socket> {
  const { host, port, persist } = ask
  // Node tries IPv6 and IPv4 in turns from what we resolved; it must not resolve again.
  const resolved: LookupFunction = (_, options, callback) => {
    if (options.all === true) callback(null, [...addresses])
    else callback(null, addresses[0]!.address, addresses[0]!.family)
  }
  return new Promise((resolveSocket, reject) => {
    const fail = (error: unknown): void => {
      settle()
      socket.on('error', () => {})
      socket.destroy()
      reject(new GatewayError('UPSTREAM_CONNECTION', { host, port, reason: reasonOf(error) }, error))
    }
    const aborted = (): void => fail(new Error('aborted'))
    const timer = setTimeout(() => fail(new Error('timeout')), timeoutMs)
    const settle = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', aborted)
      socket.off('error', fail)
    }
    // A literal address would not be looked up at all, so that it was judged already matters.
    const at = { host, port, lookup: resolved, autoSelectFamily: true, allowHalfOpen: true }
    const callback = (octets: number, buffer: Uint8Array): boolean => {
      socket.emit('data', buffer.subarray(0, octets))
      return !socket.isPaused()
    }
    const isRead = readBuffer !== undefined && !persist
    const socket: Socket = connect(isRead ? { ...at, onread: { buffer: readBuffer, callback } } : at)
    // Else it would be read before anybody listens.
    if (isRead) socket.pause()
    socket.on('error', fail)
    socket.once('connect', () => {
      settle()
      resolveSocket(socket)
    })
    if (signal.aborted) aborted()
    else signal.addEventListener('abort', aborted, { once: true })
  })
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  if (!(error instanceof Error)) return String(error)
  return (error as NodeJS.ErrnoException).code ?? error.message
}
