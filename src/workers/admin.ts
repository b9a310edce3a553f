/**
 * The admin listener: /healthz (the process answers), /readyz (new clients are welcome), /metrics. On an address of
 * its own, never next to mail.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../base/errors.ts'
import type { GuardCounts, MetricsJson } from '../base/hand-over.ts'
import type { Log } from '../base/log.ts'
import { type HttpResponse, type HttpServer, listen } from '../net/http.ts'
import type { Endpoint } from '../net/proxy-protocol.ts'
import { relayToHttp } from '../net/relay.ts'
import { printMetrics } from './metrics.ts'

export interface AllMetrics {
  readonly parts: readonly MetricsJson[]
  /** null without a guard. */
  readonly guard: GuardCounts | null
}

export interface AdminParts {
  readonly isReady: () => boolean
  /** null: they cannot be had now. Some workers' alone would look as if all counters began anew. */
  readonly metrics: () => Promise<AllMetrics | null>
  readonly log: Log
}

export class Admin {
  readonly #server: HttpServer
  readonly #directory: string
  readonly #unixPath: string

  private constructor(server: HttpServer, directory: string, unixPath: string) {
    this.#server = server
    this.#directory = directory
    this.#unixPath = unixPath
  }

  static async start(parts: AdminParts): Promise<Admin> {
    // mkdtemp makes it for us alone.
    const directory = mkdtempSync(join(tmpdir(), 'vesmail-admin-'))
    const unixPath = join(directory, 'http')
    const server = await listen({
      unixPath,
      maxBodyOctets: 0,
      // A scraper that kept its connection would hold a worker that was told to go, and ask it for ever.
      handle: async ({ method, path }) => ({ ...(await answer(method, path, parts)), close: true }),
      failed: (error) => parts.log.write('error', 'admin', { reason: messageOf(error) }),
    })
    return new Admin(server, directory, unixPath)
  }

  accept(socket: Socket, client: Endpoint, local: Endpoint): Promise<void> {
    return relayToHttp(socket, this.#unixPath, client, local)
  }

  async close(): Promise<void> {
    await this.#server.close()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

async function answer(method: string, path: string, parts: AdminParts): Promise<HttpResponse> {
  if (method !== 'GET' && method !== 'HEAD') {
    return plain(405, 'only GET', { allow: 'GET, HEAD' })
  }
  switch (path) {
    case '/healthz':
      return plain(200, 'ok')
    case '/readyz':
      return parts.isReady() ? plain(200, 'ready') : plain(503, 'draining')
    case '/metrics': {
      const all = await parts.metrics()
      if (all === null) return plain(503, 'the guard does not answer')
      return {
        status: 200,
        headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
        body: await printMetrics(all.parts, all.guard),
      }
    }
    default:
      return plain(404, 'there are /healthz, /readyz and /metrics')
  }
}

function plain(status: number, text: string, headers: Readonly<Record<string, string>> = {}): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers }, body: `${text}\n` }
}
