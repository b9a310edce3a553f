/** `vesmail account create`: makes the keys here, and the account at the repository. */
import { Command, Option } from 'commander'
import { Secret } from '../base/secret.ts'
import { KIND_OF_NEW, makeVeskey } from '../engine/seal/vault-key-make.ts'
import { createAccount } from '../ves/client/accounts.ts'
import { UsageError } from './exit.ts'
import { type ApiOptions, addressOf, clientOf, printJson, withApi, withClient } from './options.ts'
import { readPassword, readTokenFile, roundsFor } from './password.ts'

interface CreateOptions extends ApiOptions {
  readonly adminTokenFile?: string
  readonly token?: string
  readonly algo?: 'RSA' | 'ECDH' | 'OQS'
  readonly name?: string
  readonly passwordStdin?: boolean
  readonly json?: boolean
}

export function createSubcommand(): Command {
  return withApi(new Command('create'))
    .argument('<email>')
    .description('make an account: its primary key, its app vault, the password')
    .option('--admin-token-file <file>', "the repository's admin-token")
    .option('--token <token>', 'the one-time token out of the onboarding mail, in place of the administrator’s')
    .addOption(new Option('--algo <algo>', 'kind of the keys; default: by ves.newKeys').choices(['ECDH', 'RSA', 'OQS']))
    .option('--name <name>', 'display name')
    .option('--password-stdin', 'the password (VESkey of the app vault) comes on standard input; default: a random one')
    .option('--json', 'print one JSON object')
    .action((email: string, options: CreateOptions) => create(addressOf(email), options))
}

/** Asks the repository to mail the proof that an address is its reader's. */
export function inviteSubcommand(): Command {
  return withApi(new Command('invite'))
    .argument('<email>')
    .description('have a one-time token mailed, for account create --token')
    .action((email: string, options: ApiOptions) =>
      withClient(clientOf(options), async (client) => {
        await client.api.request({ path: 'onboarding', body: { email: addressOf(email) } })
        process.stdout.write(`if ${addressOf(email)} has no account and no mail went out lately, one is on its way\n`)
      }),
    )
}

async function create(email: string, options: CreateOptions): Promise<void> {
  if ((options.adminTokenFile === undefined) === (options.token === undefined)) {
    throw new UsageError('either --admin-token-file FILE or --token TOKEN is needed')
  }
  const proof =
    options.adminTokenFile !== undefined
      ? ({ by: 'admin', token: readTokenFile(options.adminTokenFile) } as const)
      : ({ by: 'mail', token: new Secret(options.token!) } as const)
  const given = options.passwordStdin === true ? await readPassword(process.stdin) : null
  const password = given ?? new Secret(makeVeskey())
  const recoveryKey = new Secret(makeVeskey())
  await withClient(clientOf(options), async (client) => {
    const kind = options.algo === undefined ? client.newKind : KIND_OF_NEW[options.algo]
    const rounds = given === null ? null : roundsFor(given)
    const account = { email, name: options.name ?? null, kind, password, rounds, recoveryKey }
    const { vaultUri } = await createAccount(client, account, proof)
    const made = {
      email,
      vault: vaultUri,
      password: password.expose().toString('utf8'),
      recoveryKey: recoveryKey.expose().toString('utf8'),
    }
    if (options.json === true) return printJson(made)
    process.stdout.write(
      `account       ${made.email}\nvault         ${made.vault}\npassword      ${made.password}\n` +
        `recovery key  ${made.recoveryKey}\n\n` +
        'Keep the recovery key in a safe place: it is stored nowhere, and replaces a lost password.\n',
    )
  })
}
