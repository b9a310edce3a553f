/** `vesmail profile`: an account's mail profiles, which say how to reach its provider (daemon.md §3). */
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { GatewayError } from '../base/errors.ts'
import { Secret } from '../base/secret.ts'
import { parseAccountName } from '../engine/account-name.ts'
import { parseProfile } from '../workers/profile.ts'
import { UsageError } from './exit.ts'
import { type ApiOptions, clientOf, withApi, withClient } from './options.ts'
import { readPassword } from './password.ts'

interface ProfileOptions extends ApiOptions {
  readonly passwordStdin?: boolean
  readonly from: string
}

const withPassword = (command: Command): Command =>
  withApi(command).option('--password-stdin', "the account's password comes on standard input")

export function profileCommand(): Command {
  const command = new Command('profile').description(
    "an account's mail profiles; ACCOUNT as at login, e.g. jane@x.org!work",
  )
  withPassword(command.command('set <account>'))
    .description('write the profile from a JSON file')
    .requiredOption('--from <file>', 'JSON: {"imap": {…}, "smtp": {…}}')
    .action((account: string, options: ProfileOptions) => setProfile(account, options))
  return command
}

async function setProfile(account: string, options: ProfileOptions): Promise<void> {
  const value = readProfile(options.from)
  const { vaultUri, profileUri } = parseAccountName(account)
  if (profileUri === null) throw new UsageError('a vault URI needs ##name to name a profile')
  const password = await passwordOf(options)
  await withClient(clientOf(options), async (client) => {
    const session = await client.unlock(vaultUri, password)
    await session.putItem(profileUri, { type: 'file', meta: { a: 'NULL' }, value: new Secret(value) })
    await session.settled()
  })
}

/** Checked as a login would check it, so that a mistake shows now and not as XVES-7 to the user. */
function readProfile(file: string): Buffer {
  const value = readFileSync(file)
  try {
    const { profile } = parseProfile(value)
    if (profile.imap === null && profile.smtp === null)
      throw new GatewayError('PROFILE_INVALID', { where: 'neither imap nor smtp' })
  } catch (error) {
    if (error instanceof GatewayError) throw new UsageError(`${file}: no mail profile: ${error.detail.where}`)
    throw error
  }
  return value
}

async function passwordOf(options: ProfileOptions): Promise<Secret<Buffer>> {
  if (options.passwordStdin !== true) throw new UsageError('--password-stdin is needed')
  return readPassword(process.stdin)
}
