/** `now.websock`: a tunnel to a proxy that listens elsewhere, by host:port, with TLS if that is said. Paused until it is resumed. */
import type { Duplex } from 'node:stream'
import { z } from 'zod'
import { parsePort } from '../../base/config/ports.ts'
import { connectUpstream, type UpstreamOptions } from '../upstream.ts'

const Target = z.union([
  z.string().transform((text) => {
    const match = /^(?:\[([^\]]+)\]|([^:]+)):([\w-]+)$/.exec(text)
    return { host: match?.[1] ?? match?.[2] ?? '', port: match?.[3] ?? '', tls: false as boolean }
  }),
  z.object({
    host: z.string().default('127.0.0.1'),
    port: z.union([z.int(), z.string()]).transform(String),
    tls: z.boolean().default(false),
  }),
])

/**
 * What the proxies of all tunnels send, one read at a time: it is in a frame before the next. With new memory for each the
 * collector went over the whole heap again and again, and took as much of the processor as all the rest.
 */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024)

/** @returns null: the configuration names no address. Rejects with GatewayError where there is no connection */
export async function connectTunnel(target: unknown, upstream: UpstreamOptions): Promise<Duplex | null> {
  const parsed = Target.safeParse(target)
  if (!parsed.success) return null
  const { host, tls } = parsed.data
  const port = parsePort(parsed.data.port)
  if (host === '' || port === null) return null
  const level = tls ? 'high' : 'none'
  const options = { ...upstream, readBuffer: READ_BUFFER }
  const { socket } = await connectUpstream({ host, port, level, persist: tls }, options, new AbortController().signal)
  return socket
}
