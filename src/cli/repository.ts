/** `vesmail repository serve|backup|restore|verify`: the key repository as a program of its own. */
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { systemClock } from '../base/clock.ts'
import { GatewayError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { type HttpResponse, type HttpServer, listen } from '../net/http.ts'
import type { ApiResponse } from '../ves/repository/api.ts'
import { SmtpMailer } from '../ves/repository/mailer.ts'
import { failureAnswer } from '../ves/repository/refuse.ts'
import { Repository } from '../ves/repository/repository.ts'
import { openPostgresStore } from '../ves/repository/store/postgres.ts'
import { type Hold, holdFile, openSqliteStore } from '../ves/repository/store/sqlite.ts'
import type { Store } from '../ves/repository/store/store.ts'
import type { AccountToOpen, Verified } from '../ves/repository/verify.ts'
import { EXIT, UsageError } from './exit.ts'
import { addressOf, printJson } from './options.ts'
import { readPassword } from './password.ts'
import { backupRepository, restoreRepository, verifyFile, verifyPlace } from './repository-backup.ts'
import { readRepositoryConfig } from './repository-config.ts'
import { openRepositoryFolder } from './repository-data.ts'

export interface ServeOptions {
  /** `127.0.0.1:8080`, `[::1]:8080`; port 0 picks a free one. */
  readonly listen: string
  readonly data: string
  /** PostgreSQL instead of the SQLite file in the data folder. */
  readonly database?: string
  readonly config?: string
  readonly domain?: readonly string[]
  readonly origin?: readonly string[]
}

export interface ServedRepository {
  /** `http://127.0.0.1:8080/v1/` */
  readonly url: string
  /** Answers what has been asked, then closes. */
  close(): Promise<void>
}

/** Larger than what the repository refuses itself, with an answer of its own. */
const SPARE_OCTETS = 64 * 1024
/** A predecessor that is ending gets so long. */
const LOCK_WAIT_MS = 5000
/** PostgreSQL may be shared. */
const NO_HOLD: Hold = { release: () => {} }

/** Starts a repository in this process. @throws GatewayError IO, CONFIG_INVALID */
export async function serveRepository(options: ServeOptions, log: Log): Promise<ServedRepository> {
  const { host, port } = parseListen(options.listen)
  const config = readRepositoryConfig(options.config ?? null)
  const settings = {
    ...config.settings,
    ...(options.domain === undefined ? {} : { domains: options.domain }),
    ...(options.origin === undefined ? {} : { origins: options.origin }),
  }
  const url = options.database ?? config.database
  const folder = openRepositoryFolder(options.data, { withoutDatabase: url !== undefined })
  const hold = url === undefined ? holdFile(join(options.data, 'lock'), LOCK_WAIT_MS) : NO_HOLD
  if (hold === null) throw new GatewayError('IO', { text: `another repository serves ${options.data}` })
  const store = await openStore(url, folder.database)
  const mailer = config.mail === null ? null : new SmtpMailer({ ...config.mail, log })
  const { adminToken, tokenKey } = folder
  const repository = new Repository({
    store,
    settings,
    adminToken,
    tokenKey,
    log,
    clock: systemClock,
    ...(mailer === null ? {} : { mailer }),
  })
  const end = async (): Promise<void> => {
    await mailer?.close()
    await repository.close()
    await store.close()
    hold.release()
  }
  let server: HttpServer
  try {
    server = await listen({
      host,
      port,
      maxBodyOctets: ({ headers }) =>
        repository.maxBodyOctets(headers.authorization, declaredOctets(headers['content-length'])) + SPARE_OCTETS,
      tooLarge: jsonAnswer(failureAnswer(new GatewayError('API_TOO_LARGE', { text: 'request body too large' }))),
      handle: async (request): Promise<HttpResponse> => {
        if (request.path === '/metrics' && request.method === 'GET') return metricsAnswer(repository, request.headers)
        return jsonAnswer(await repository.handle(request))
      },
    })
  } catch (error) {
    await end()
    throw new GatewayError('IO', { text: `cannot listen on ${options.listen}` }, error)
  }
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${server.port}/v1/`,
    close: async () => {
      await server.close()
      await end()
    },
  }
}

/** null: not said, or no number. The body may be no longer than that, or it is none of this request's. */
function declaredOctets(contentLength: string | undefined): number | null {
  return /^\d{1,15}$/.test(contentLength ?? '') ? Number(contentLength) : null
}

function jsonAnswer({ status, headers, body }: ApiResponse): HttpResponse {
  return { status, headers: headers ?? { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

/** For Prometheus, which sends the admin token as its bearer token. */
function metricsAnswer(repository: Repository, headers: Readonly<Record<string, string>>): HttpResponse {
  if (!repository.isAdmin(headers.authorization)) return { status: 401, body: 'the admin token is needed\n' }
  return { status: 200, headers: { 'content-type': 'text/plain; version=0.0.4' }, body: repository.metrics.toText() }
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
      if (level === 'debug') return
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

interface BackupOptions {
  readonly data: string
  readonly database?: string
  readonly json?: boolean
}

interface AccountOptions {
  readonly account?: string
  readonly passwordStdin?: boolean
  readonly domain?: string
}

async function backup(file: string, options: BackupOptions): Promise<void> {
  report(await backupRepository(options, file), options)
}

async function restore(file: string, options: BackupOptions & AccountOptions): Promise<void> {
  report(await restoreRepository(file, options, await accountOf(options)), options)
}

async function verify(file: string | undefined, options: BackupOptions & AccountOptions): Promise<void> {
  const account = await accountOf(options)
  if (file === undefined && options.data === undefined && options.database === undefined) {
    throw new UsageError('a backup FILE, --data or --database is needed')
  }
  report(file === undefined ? await verifyPlace(options, account) : await verifyFile(file, account), options)
}

/** Whose values must open; null: only what needs no key is looked at. */
async function accountOf(options: AccountOptions): Promise<AccountToOpen | null> {
  if (options.account === undefined) return null
  const password = await readPassword(process.stdin)
  return { domain: options.domain ?? 'vesmail', externalId: addressOf(options.account), veskey: password.expose() }
}

function report(verified: Verified, options: { readonly json?: boolean }): void {
  const { problems, opened } = verified
  if (problems.length > 0) process.exitCode = EXIT.ves
  if (options.json === true) {
    printJson(verified)
    return
  }
  for (const problem of problems) process.stdout.write(`problem       ${problem}\n`)
  process.stdout.write(
    `users         ${verified.users}\nkeys          ${verified.keys}\nitems         ${verified.items}\n` +
      `entries       ${verified.entries}\naudit log     ${verified.auditEntries} entries\n` +
      (opened === null ? '' : `opened        ${opened} entries with the account's key\n`) +
      `${problems.length === 0 ? 'whole' : `not whole: ${problems.length} problems`}\n`,
  )
}

const list = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]

const database = (): Option =>
  new Option('--database <url>', 'postgresql://… instead of SQLite').env('VESMAIL_REPOSITORY_DATABASE')

function withAccount(command: Command): Command {
  return command
    .option('--account <email>', 'all that is sealed to this account must open')
    .option('--password-stdin', 'its password comes on standard input (as it always does here)')
    .option('--domain <name>', 'domain of the account (default: vesmail)')
}

export function repositoryCommand(): Command {
  const command = new Command('repository').description(
    'the key repository: serve it, back it up, restore and verify it',
  )
  command
    .command('serve')
    .description('serve the API; prints "ready URL" when up, SIGTERM stops it')
    .requiredOption('--listen <host:port>', 'where to listen, plain HTTP: put TLS in front of anything but loopback')
    .requiredOption('--data <dir>', 'folder of the database, the admin token and the token key')
    .addOption(database())
    .option('--config <file>', 'JSON: database, settings, mail (docs/repository.md)')
    .option('--domain <name>', 'domain of vaults and items, repeatable (default: vesmail)', list)
    .option('--origin <origin>', 'origin of browsers that may ask, repeatable (default: all)', list)
    .action(serve)
  command
    .command('backup <file>')
    .description('write a verified backup, while the repository runs')
    .requiredOption('--data <dir>', "the repository's folder")
    .addOption(database())
    .option('--json', 'print one JSON object')
    .action(backup)
  withAccount(
    command
      .command('restore <file>')
      .description('restore a backup, once verified, where no repository is yet; no session of before stays good')
      .requiredOption('--data <dir>', 'folder for the database, the admin token and the token key')
      .addOption(database())
      .option('--json', 'print one JSON object'),
  ).action(restore)
  withAccount(
    command
      .command('verify [file]')
      .description(
        'check a backup, or a repository that may be running: structure, audit log, and what an account can open',
      )
      .option('--data <dir>', "the repository's folder")
      .addOption(database())
      .option('--json', 'print one JSON object'),
  ).action(verify)
  return command
}
