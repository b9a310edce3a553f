/** `vesmail account list|show|lock|unlock|delete|sessions`: what an administrator does to accounts (docs/repository-api.md). */
import { Command } from 'commander'
import { idAt, type JsonObject, objectsAt, optionalId, optionalText } from '../ves/client/answer.ts'
import type { ApiRequest } from '../ves/client/api-connection.ts'
import { UsageError } from './exit.ts'
import { type ApiOptions, addressOf, clientOf, printJson, withApi, withClient } from './options.ts'
import { readTokenFile } from './password.ts'
import { printTable, timeText } from './table.ts'

export interface AdminOptions extends ApiOptions {
  readonly adminTokenFile: string
  readonly json?: boolean
}

const PAGE = 500

export function withAdmin(command: Command): Command {
  return withApi(command)
    .requiredOption('--admin-token-file <file>', "the repository's admin-token")
    .option('--json', 'print JSON')
}

/** Requests as the administrator. */
export async function asAdmin<T>(
  options: AdminOptions,
  run: (ask: (request: ApiRequest) => Promise<JsonObject>) => Promise<T>,
): Promise<T> {
  const bearer = readTokenFile(options.adminTokenFile)
  return withClient(clientOf(options), (client) =>
    run(async (request) => (await client.api.request({ ...request, bearer })).result),
  )
}

export const accountPath = (email: string): string => `admin/accounts/${encodeURIComponent(addressOf(email))}`

export function adminSubcommands(): Command[] {
  return [
    withAdmin(new Command('list')).description('all accounts').action(list),
    withAdmin(new Command('show')).argument('<email>').description('an account and its keys').action(show),
    withAdmin(new Command('lock'))
      .argument('<email>')
      .description('no login any more, sessions end; mail for the account can still be encrypted')
      .action((email: string, options: AdminOptions) => setLocked(email, true, options)),
    withAdmin(new Command('unlock'))
      .argument('<email>')
      .description('undo lock')
      .action((email: string, options: AdminOptions) => setLocked(email, false, options)),
    withAdmin(new Command('delete'))
      .argument('<email>')
      .description('delete the account, its keys and what is sealed to them: its mail cannot be read again')
      .option('--yes', 'that is understood')
      .action(remove),
    withAdmin(new Command('sessions'))
      .argument('<email>')
      .description('list an account’s sessions, or end them')
      .option('--end <id>', 'end this one')
      .option('--end-all', 'end all of them')
      .action(sessions),
  ]
}

async function list(options: AdminOptions): Promise<void> {
  await asAdmin(options, async (ask) => {
    const accounts: JsonObject[] = []
    for (let after: number | null = 0; after !== null; ) {
      const page: JsonObject = await ask({ path: `admin/accounts?after=${after}&limit=${PAGE}` })
      accounts.push(...objectsAt(page, 'accounts'))
      after = optionalId(page, 'next')
    }
    if (options.json === true) return printJson(accounts)
    const rows = accounts.map((one) => [
      String(idAt(one)),
      optionalText(one, 'email') ?? '',
      stateOf(one),
      timeText(one.createdMs),
    ])
    printTable(['id', 'email', 'state', 'since'], rows)
  })
}

async function show(email: string, options: AdminOptions): Promise<void> {
  await asAdmin(options, async (ask) => {
    const account = await ask({ path: accountPath(email) })
    if (options.json === true) return printJson(account)
    const name = [optionalText(account, 'firstName'), optionalText(account, 'lastName')].filter(Boolean).join(' ')
    process.stdout.write(
      `${optionalText(account, 'email')}${name === '' ? '' : ` (${name})`}, id ${idAt(account)}, ${stateOf(account)}, ` +
        `since ${timeText(account.createdMs)}\nitems made: ${account.items}, sessions: ${account.sessions}\n\n`,
    )
    const rows = objectsAt(account, 'vaultKeys').map((key) => [
      String(idAt(key)),
      String(key.type),
      String(key.algo),
      objectsAt(key, 'externals')
        .map(({ domain, externalId }) => `ves://${domain}/${externalId}/`)
        .join(' '),
      String(key.entries ?? ''),
      timeText(key.createdMs),
    ])
    printTable(['key', 'type', 'algo', 'vault', 'entries', 'since'], rows)
  })
}

async function setLocked(email: string, locked: boolean, options: AdminOptions): Promise<void> {
  await asAdmin(options, async (ask) => {
    const account = await ask({ path: accountPath(email), body: { locked }, repeatable: true })
    done(options, account, `${addressOf(email)}: ${locked ? 'locked' : 'unlocked'}`)
  })
}

async function remove(email: string, options: AdminOptions & { readonly yes?: boolean }): Promise<void> {
  if (options.yes !== true) {
    throw new UsageError(
      `nobody will be able to read the mail of ${addressOf(email)} any more; if that is meant: --yes`,
    )
  }
  await asAdmin(options, async (ask) => {
    const account = await ask({ path: accountPath(email), body: { $op: 'delete' } })
    done(options, account, `${addressOf(email)}: deleted`)
  })
}

async function sessions(
  email: string,
  options: AdminOptions & { readonly end?: string; readonly endAll?: boolean },
): Promise<void> {
  const path = `${accountPath(email)}/sessions`
  await asAdmin(options, async (ask) => {
    if (options.endAll === true || options.end !== undefined) {
      const id = Number(options.end)
      if (options.endAll !== true && !Number.isSafeInteger(id)) throw new UsageError(`not a session id: ${options.end}`)
      const body = options.endAll === true ? { $op: 'delete' } : { $op: 'delete', id }
      return done(options, await ask({ path, body, repeatable: true }), 'ended')
    }
    const result = await ask({ path })
    const found = objectsAt(result, 'sessions')
    if (options.json === true) return printJson(found)
    const rows = found.map((one) => [
      String(idAt(one)),
      String((one.vaultKey as JsonObject | undefined)?.id ?? ''),
      timeText(one.createdMs),
      timeText(one.usedMs),
      timeText(one.expiresMs),
    ])
    printTable(['session', 'key', 'since', 'last used', 'until'], rows)
  })
}

function done(options: AdminOptions, result: JsonObject, text: string): void {
  if (options.json === true) printJson(result)
  else process.stdout.write(`${text}\n`)
}

function stateOf(account: JsonObject): string {
  if (account.locked === true) return 'locked'
  return account.account === false ? 'only written to' : 'active'
}
