/** A key repository that says what a test tells it to: for answers, delays and failures that the real one would not give. */

import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Asked {
  readonly method: string
  /** Below `/v1/`, without query, e.g. `vaultKeys/7`. */
  readonly path: string
  readonly query: URLSearchParams
  readonly body: Record<string, unknown> | null
  readonly bearer: string | null
}

export type Said =
  | { readonly status: number; readonly json: unknown }
  | { readonly status: number; readonly text: string }
  /** Never answered. */
  | 'silence'
  /** The connection is cut. */
  | 'reset'

export interface ScriptedRepository {
  readonly api: string
  /** All that was asked, in order. */
  readonly asked: Asked[]
  close(): Promise<void>
  /** Again, after it was closed. */
  reopen(): Promise<void>
}

export async function scriptedRepository(say: (asked: Asked, nth: number) => Said): Promise<ScriptedRepository> {
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    void readBody(request).then((body) => {
      const url = new URL(request.url!, 'http://x')
      const bearer = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1] ?? null
      const one = { method: request.method!, path: url.pathname.slice(4), query: url.searchParams, body, bearer }
      asked.push(one)
      const said = say(one, asked.length - 1)
      if (said === 'silence') return
      if (said === 'reset') return void request.socket.destroy()
      const text = 'json' in said ? JSON.stringify(said.json) : said.text
      response.writeHead(said.status, { 'content-type': 'application/json' }).end(text)
    })
  })
  const listen = (port: number): Promise<void> =>
    new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve()))
  await listen(0)
  const { port } = server.address() as AddressInfo
  return {
    api: `http://127.0.0.1:${port}/v1/`,
    reopen: () => listen(port),
    asked,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export const ok = (result: unknown, attn?: unknown): Said => ({
  status: 200,
  json: { result, ...(attn === undefined ? {} : { attn }) },
})

export const refused = (status: number): Said => {
  const type = status === 404 ? 'NotFound' : status === 401 || status === 403 ? 'Unauthorized' : 'Server'
  return { status, json: { errors: [{ number: 0, type, message: 'said so' }] } }
}

/** Accounts of the C library's vectors: alice (P-521), bob (P-256), carol (RSA), dave (P-384). */
export interface VectorKey {
  readonly id: number
  readonly user: string
  readonly algo: string
  readonly veskey: string
  readonly publicKey: string
  readonly privateKey: string
}

export const vectorKeys = (
  JSON.parse(readFileSync(new URL('../../vectors/vault-keys.json', import.meta.url), 'utf8')) as { keys: VectorKey[] }
).keys

async function readBody(request: IncomingMessage): Promise<Record<string, unknown> | null> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString('utf8')
  return text === '' ? null : (JSON.parse(text) as Record<string, unknown>)
}
