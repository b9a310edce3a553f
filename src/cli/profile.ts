/** `vesmail profile`: an account's mail profiles, which say how to reach its provider (daemon.md §3). */
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { GatewayError } from '../base/errors.ts'
import { Secret } from '../base/secret.ts'
import { parseAccountName } from '../engine/account-name.ts'
import { idAt, type JsonObject, objectsAt, optionalId, optionalObject, textAt } from '../ves/client/answer.ts'
import type { VaultSession } from '../ves/client/vault-session.ts'
import { parseVesUri } from '../ves/uri.ts'
import { parseProfile } from '../workers/profile.ts'
import { UsageError } from './exit.ts'
import { type ApiOptions, clientOf, printJson, withApi, withClient } from './options.ts'
import { readPassword } from './password.ts'

interface ProfileOptions extends ApiOptions {
  readonly passwordStdin?: boolean
}

const PAGE = 200
const ACCOUNT_DOC = 'as at login: jane@x.org, jane@x.org!work, jane@x.org#work'

export function profileCommand(): Command {
  const command = new Command('profile').description("an account's mail profiles")
  const add = (name: string, description: string): Command => {
    const one = withApi(new Command(name))
      .argument('<account>', ACCOUNT_DOC)
      .description(description)
      .option('--password-stdin', "the account's password comes on standard input")
    command.addCommand(one)
    return one
  }
  add('set', 'write the profile from a JSON file')
    .requiredOption('--from <file>', 'JSON: {"imap": {…}, "smtp": {…}}')
    .action(setProfile)
  add('show', 'print the profile').option('--secrets', "with the provider's passwords").action(showProfile)
  add('list', 'names of all profiles of the account').option('--json', 'print JSON').action(listProfiles)
  add('delete', 'delete the profile').action(deleteProfile)
  return command
}

async function setProfile(account: string, options: ProfileOptions & { readonly from: string }): Promise<void> {
  const value = new Secret(readProfile(options.from))
  await withProfile(account, options, async (session, uri) => {
    // A new version is shared with nobody by itself: who could read the old one (an administrator's account) still can.
    const shareWith = (await session.itemExists(uri)) ? await session.holders(uri) : []
    await session.putItem(uri, { type: 'file', meta: { a: 'NULL' }, value, shareWith })
  })
}

async function showProfile(account: string, options: ProfileOptions & { readonly secrets?: boolean }): Promise<void> {
  await withProfile(account, options, async (session, uri) => {
    const { value } = await session.item(uri)
    const text = value.expose().toString('utf8')
    if (options.secrets === true) return void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
    let profile: unknown
    try {
      profile = JSON.parse(text)
    } catch {
      // The parser's message quotes the text, which may hold a password.
      throw new GatewayError('PROFILE_INVALID', { where: 'no JSON; see --secrets' })
    }
    const masked = (name: string, one: unknown) => (name === 'password' ? '[secret]' : one)
    process.stdout.write(`${JSON.stringify(profile, masked, 2)}\n`)
  })
}

async function listProfiles(account: string, options: ProfileOptions & { readonly json?: boolean }): Promise<void> {
  const { externalId } = itemOf(account.replace(/[!#].*/s, ''))
  const address = externalId.replace(/!$/, '')
  await withProfile(account, options, async (session) => {
    const names: string[] = []
    for (let after: number | null = 0; after !== null; ) {
      const query = new URLSearchParams({
        domain: session.client.domain,
        prefix: address,
        after: String(after),
        limit: String(PAGE),
        fields: 'id,type,meta,file(externals)',
      })
      const { result }: { result: JsonObject } = await session.request({ path: `vaultItems?${query}` })
      names.push(...objectsAt(result, 'vaultItems').flatMap((item) => profileNames(item, address)))
      after = optionalId(result, 'next')
    }
    if (options.json === true) return printJson(names)
    process.stdout.write(names.map((name) => `${name}\n`).join(''))
  })
}

async function deleteProfile(account: string, options: ProfileOptions): Promise<void> {
  await withProfile(account, options, async (session, uri) => {
    const item = await session.fetchItem(parseVesUri(uri, session.client.domain), 'id')
    await session.request({ path: `vaultItems/${idAt(item)}`, body: { $op: 'delete' }, repeatable: true })
  })
}

async function withProfile(
  account: string,
  options: ProfileOptions,
  run: (session: VaultSession, profileUri: string) => Promise<void>,
): Promise<void> {
  const { vaultUri, profileUri } = parseAccountName(account)
  if (profileUri === null) throw new UsageError('a vault URI needs ##name to name a profile')
  if (options.passwordStdin !== true) throw new UsageError('--password-stdin is needed')
  const password = await readPassword(process.stdin)
  await withClient(clientOf(options), async (client) => {
    const session = await client.unlock(vaultUri, password)
    await run(session, profileUri)
    await session.settled()
  })
}

/** Checked as a login would check it, so that a mistake shows now and not as XVES-7 to the user. */
function readProfile(file: string): Buffer {
  const value = readFileSync(file)
  try {
    const { profile } = parseProfile(value)
    if (profile.imap === null && profile.smtp === null) {
      throw new GatewayError('PROFILE_INVALID', { where: 'neither imap nor smtp' })
    }
  } catch (error) {
    if (error instanceof GatewayError) throw new UsageError(`${file}: no mail profile: ${error.detail.where}`)
    throw error
  }
  return value
}

/** What is written behind the address at login. */
function profileNames(item: JsonObject, address: string): string[] {
  const externals = objectsAt(optionalObject(item, 'file') ?? {}, 'externals')
  const names = externals.map((external) => textAt(external, 'externalId'))
  return names.filter((name) => /^[!#]/.test(name.slice(address.length)) && name !== `${address}!plain`)
}

function itemOf(account: string): { readonly externalId: string } {
  const { profileUri } = parseAccountName(account)
  const uri = profileUri === null ? null : parseVesUri(profileUri)
  if (uri === null || uri.kind !== 'item') throw new UsageError(`not an account name: ${account}`)
  return uri
}
