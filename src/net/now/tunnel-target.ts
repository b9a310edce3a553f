/** `now.websock`: a tunnel to a proxy that listens elsewhere, by host:port, with TLS if that is said. */
import { type Duplex, duplexPair, pipeline } from 'node:stream'
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

/** @returns the tunnel's end, at once; it errs when there is no connection. null: the configuration names no address */
export function connectTunnel(target: unknown, upstream: UpstreamOptions): Duplex | null {
  const parsed = Target.safeParse(target)
  if (!parsed.success) return null
  const { host, tls } = parsed.data
  const port = parsePort(parsed.data.port)
  if (host === '' || port === null) return null
  const [inner, outer] = duplexPair()
  const abort = new AbortController()
  inner.on('close', () => abort.abort())
  const level = tls ? 'high' : 'none'
  connectUpstream({ host, port, level, persist: tls }, upstream, abort.signal).then(
    ({ socket }) => {
      // Each end of the pair closes the other; what failed needs no word of its own.
      pipeline(socket, inner, () => {})
      pipeline(inner, socket, () => {})
    },
    (error: unknown) => outer.destroy(error instanceof Error ? error : new Error(String(error))),
  )
  return outer
}
