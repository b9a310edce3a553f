/**
 * A PostgreSQL of the tests' own: a fresh cluster in a temporary folder, reached through a socket in it, so that no port
 * can be taken. Needs the package postgresql-15; as root it runs as user `postgres`, which PostgreSQL insists on.
 */
import { execFileSync, spawn } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'

export interface LabPostgres {
  /** A new empty database. @returns its URL */
  database(): Promise<string>
  /** Immediate shutdown: no checkpoint, no goodbye to its clients; comes up again by recovery. */
  crash(): Promise<void>
  stop(): Promise<void>
}

/** @param durable false: no syncs, for tests that are not about them */
export async function startPostgres(options: { durable: boolean }): Promise<LabPostgres> {
  const programs = programFolder()
  const folder = mkdtempSync(join(tmpdir(), 'vesmail-pg-'))
  const user = process.getuid?.() === 0 ? { uid: idOf('-u'), gid: idOf('-g') } : {}
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid)
  const data = join(folder, 'data')
  const ran = { ...user, cwd: folder, stdio: 'ignore' as const }
  execFileSync(
    join(programs, 'initdb'),
    ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'],
    ran,
  )
  const settings = [
    'listen_addresses=',
    `unix_socket_directories=${folder}`,
    `fsync=${options.durable ? 'on' : 'off'}`,
    'shared_buffers=64MB',
    'max_connections=60',
    'logging_collector=off',
  ]
  const url = (name: string): string => `postgresql://postgres@localhost/${name}?host=${encodeURIComponent(folder)}`
  let server = spawnServer()

  function spawnServer() {
    return spawn(join(programs, 'postgres'), ['-D', data, ...settings.flatMap((one) => ['-c', one])], ran)
  }

  async function query(sql: string): Promise<void> {
    const client = new pg.Client({ connectionString: url('postgres') })
    client.on('error', () => {})
    await client.connect()
    try {
      await client.query(sql)
    } finally {
      await client.end()
    }
  }

  async function ready(): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        return await query('select 1')
      } catch (error) {
        if (tries === 300 || server.exitCode !== null) throw error
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  await ready()
  let databases = 0
  return {
    database: async () => {
      const name = `test${++databases}`
      await query(`create database ${name}`)
      return url(name)
    },
    crash: async () => {
      const gone = new Promise((resolve) => server.once('exit', resolve))
      server.kill('SIGQUIT')
      await gone
      server = spawnServer()
      await ready()
    },
    stop: async () => {
      const gone = new Promise((resolve) => server.once('exit', resolve))
      if (server.exitCode === null && server.signalCode === null) {
        // SIGINT is PostgreSQL's fast shutdown.
        server.kill('SIGINT')
        await gone
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function programFolder(): string {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : []
  for (const version of versions) {
    const bin = join(root, version, 'bin')
    if (existsSync(join(bin, 'initdb'))) return bin
  }
  throw new Error('PostgreSQL is not installed: apt-get install postgresql-15')
}

function idOf(option: '-u' | '-g'): number {
  return Number(execFileSync('id', [option, 'postgres'], { encoding: 'utf8' }))
}
