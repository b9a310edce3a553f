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
  /** Holds {@link FULL_ACCOUNTS} accounts besides those of the bench. */
  readonly full: boolean
  /** File or URL of the database. */
  readonly database: string
  readonly api: string
  readonly adminToken: Secret<string>
  close(): Promise<void>
}

/** One of each kind, empty and (to be) full. */
export async function serveStores(): Promise<Served[]> {
  const postgres = await startPostgres({ durable: true })
  const all: Served[] = []
  for (const full of [false, true]) {
    all.push(await serve('sqlite', full, null))
    all.push(await serve('postgresql', full, await postgres.database()))
  }
  const last = all.at(-1)!
  // PostgreSQL ends after the last repository on it.
  const close = async (): Promise<void> => {
    await last.close()
    await postgres.stop()
  }
  return [...all.slice(0, -1), { ...last, close }]
}

async function serve(store: StoreName, full: boolean, url: string | null): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), 'vesmail-bench-'))
  const args = [
    'repository',
    'serve',
    '--listen',
    '127.0.0.1:0',
    '--data',
    folder,
    ...(url === null ? [] : ['--database', url]),
  ]
  const child = spawn(VESMAIL, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()))
  const ready = new Promise<string>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => resolve(line.replace(/^ready /, '')))
  })
  const api = await Promise.race([ready, ended])
  if (api === undefined) throw new Error(`the repository on ${store} did not start`)
  return {
    store,
    full,
    database: url ?? join(folder, 'repository.db'),
    api,
    adminToken: new Secret(readFileSync(join(folder, 'admin-token'), 'utf8').trim()),
    close: async () => {
      child.kill('SIGTERM')
      await ended
      rmSync(folder, { recursive: true })
    },
  }
}
