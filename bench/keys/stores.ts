/** `vesmail repository serve` on SQLite and on PostgreSQL, both with full syncs, in temporary folders. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Secret } from '../../src/base/secret.ts'
import { startPostgres } from '../../test/lab/postgres.ts'

const VESMAIL = fileURLToPath(new URL('../../bin/vesmail', import.meta.url))

export type StoreName = 'sqlite' | 'postgresql'

export interface Served {
  readonly store: StoreName
  readonly api: string
  readonly adminToken: Secret<string>
  close(): Promise<void>
}

export async function serveStores(): Promise<Served[]> {
  const postgres = await startPostgres({ durable: true })
  const onPostgres = await serve('postgresql', ['--database', await postgres.database()])
  const close = async (): Promise<void> => {
    await onPostgres.close()
    await postgres.stop()
  }
  return [await serve('sqlite', []), { ...onPostgres, close }]
}

async function serve(store: StoreName, more: readonly string[]): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), 'vesmail-bench-'))
  const args = ['repository', 'serve', '--listen', '127.0.0.1:0', '--data', folder, ...more]
  const child = spawn(VESMAIL, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()))
  const ready = new Promise<string>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => resolve(line.replace(/^ready /, '')))
  })
  const api = await Promise.race([ready, ended])
  if (api === undefined) throw new Error(`the repository on ${store} did not start`)
  return {
    store,
    api,
    adminToken: new Secret(readFileSync(join(folder, 'admin-token'), 'utf8').trim()),
    close: async () => {
      child.kill('SIGTERM')
      await ended
      rmSync(folder, { recursive: true })
    },
  }
}
