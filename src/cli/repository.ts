/** `vesmail repository serve|backup|restore|verify`: the key repository as a program of its own. */
import { Command, Option } from 'commander'
import { systemClock } from '../base/clock.ts'
import { GatewayError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type HttpServer, listen } from '../net/http.ts'
import { Repository } from '../ves/repository/repository.ts'
import { DEFAULT_SETTINGS, type Settings } from '../ves/repository/settings.ts'
import { openPostgresStore } from '../ves/repository/store/postgres.ts'
import { openSqliteStore } from '../ves/repository/store/sqlite.ts'
import type { Store } from '../ves/repository/store/store.ts'
import { openRepositoryFolder } from './repository-data.ts'

export interface ServeOptions {
  /** `127.0.0.1:8080`, `[::1]:8080`; port 0 picks a free one. */
  readonly listen: string
  readonly data: string
  /** PostgreSQL instead of the SQLite file in the data folder. */
  readonly database?: string
  readonly domain?: readonly string[]
  readonly origin?: readonly string[]
}

export interface ServedRepository {
  /** `http://127.0.0.1:8080/v1/` */
  readonly url: string
  /** Answers what has been asked, then closes. */
  close(): Promise<void>
}

/** Starts a repository in this process. @throws GatewayError IO, CONFIG_INVALID */
export async function serveRepository(options: ServeOptions, log: Log): Promise<ServedRepository> {
  const { host, port } = parseListen(options.listen)
  const folder = openRepositoryFolder(options.data)
  const settings: Settings = {
    ...DEFAULT_SETTINGS,
    ...(options.domain === undefined ? {} : { domains: options.domain }),
    ...(options.origin === undefined ? {} : { origins: options.origin }),
  }
  const store = await openStore(options.database, folder.database)
  let server: HttpServer
  try {
    const { adminToken, tokenKey } = folder
    const repository = new Repository({ store, settings, adminToken, tokenKey, log, clock: systemClock })
    server = await listen({
      host,
      port,
      maxBodyOctets: settings.maxBodyOctets,
      handle: async (request) => {
        const answer = await repository.handle(request)
        return {
          status: answer.status,
          ...(answer.headers === undefined ? {} : { headers: answer.headers }),
          body: JSON.stringify(answer.body),
        }
      },
    })
  } catch (error) {
    await store.close()
    throw new GatewayError('IO', { text: `cannot listen on ${options.listen}` }, error)
  }
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${server.port}/v1/`,
    close: async () => {
      await server.close()
      await store.close()
    },
  }
}

function openStore(url: string | undefined, file: string): Promise<Store> {
  return url === undefined ? openSqliteStore(file) : openPostgresStore({ url })
}

function parseListen(text: string): { host: string; port: number } {
  const parsed = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  const port = Number(parsed?.[3])
  if (parsed === null || port > 65_535)
    throw new GatewayError('CONFIG_INVALID', { text: '--listen HOST:PORT expected' })
  return { host: parsed[1] ?? parsed[2]!, port }
}

/** Lines of JSON on stderr: stdout is for `ready`. */
function stderrLog(): Log {
  const log = (more: object): Log => ({
    write: (level, event, fields) => {
      if (level !== 'debug')
        process.stderr.write(`${JSON.stringify({ level, time: Date.now(), msg: event, ...more, ...fields })}\n`)
    },
    child: (fields) => log({ ...more, ...fields }),
  })
  return log({})
}

async function serve(options: ServeOptions): Promise<void> {
  const served = await serveRepository(options, stderrLog())
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
  process.stdout.write(`ready ${served.url}\n`)
  await stopped
  await served.close()
}

const list = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]

export function repositoryCommand(): Command {
  const command = new Command('repository').description(
    'the key repository: serve it, back it up, restore and verify it',
  )
  command
    .command('serve')
    .description('serve the API; prints "ready URL" when up, SIGTERM stops it')
    .requiredOption('--listen <host:port>', 'where to listen, plain HTTP: put TLS in front of anything but loopback')
    .requiredOption('--data <dir>', 'folder of the database, the admin token and the token key')
    .addOption(new Option('--database <url>', 'postgresql://… instead of SQLite').env('VESMAIL_REPOSITORY_DATABASE'))
    .option('--domain <name>', 'domain of vaults and items, repeatable (default: vesmail)', list)
    .option('--origin <origin>', 'origin of browsers that may ask, repeatable (default: all)', list)
    .action(serve)
  return command
}
