/** `vesmail account rotate|recover`: a new key in the old one's place; a lost password by the recovery key. */
import { readFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { GatewayError } from '../base/errors.ts'
import { Secret } from '../base/secret.ts'
import { parseAccountName } from '../engine/account-name.ts'
import { KIND_OF_NEW, makeVeskey } from '../engine/seal/vault-key-make.ts'
import { idAt, objectsAt } from '../ves/client/answer.ts'
import { rotateKey } from '../ves/client/rotation.ts'
import type { VaultSession } from '../ves/client/vault-session.ts'
import type { VesClient } from '../ves/client/ves-client.ts'
import { printVesUri } from '../ves/uri.ts'
import { collectShares } from './account-friends.ts'
import { UsageError } from './exit.ts'
import { type ApiOptions, addressOf, clientOf, printJson, withApi, withClient } from './options.ts'
import { readPasswords, roundsFor } from './password.ts'

interface RotateOptions extends ApiOptions {
  readonly passwordStdin?: boolean
  readonly newPasswordStdin?: boolean
  readonly newPassword?: boolean
  readonly primary?: boolean
  readonly algo?: 'RSA' | 'ECDH' | 'OQS'
  readonly keepUnreadable?: boolean
  readonly json?: boolean
}

interface RecoverOptions extends ApiOptions {
  readonly recoveryKeyStdin?: boolean
  readonly state?: string
  readonly json?: boolean
}

export function rotateSubcommand(): Command {
  return withApi(new Command('rotate'))
    .argument('<email>')
    .description(
      'put a new key in the place of the app vault’s; all mail stays readable. Safe to repeat after a failure',
    )
    .option('--password-stdin', 'the password comes on standard input (with --primary: the recovery key)')
    .option('--new-password-stdin', 'so does, on a second line, the new one')
    .option('--new-password', 'make a new random one; default: it stays')
    .option('--primary', 'rotate the primary key; its new recovery key is printed')
    .addOption(
      new Option('--algo <algo>', 'kind of the new key; default: by ves.newKeys').choices(['ECDH', 'RSA', 'OQS']),
    )
    .option('--keep-unreadable', 'go on although some entries do not open with the old key')
    .option('--json', 'print one JSON object')
    .action((email: string, options: RotateOptions) => rotate(addressOf(email), options))
}

export function recoverSubcommand(): Command {
  return withApi(new Command('recover'))
    .argument('<email>')
    .description('a lost password: by the recovery key, or by friends (see account friends)')
    .option('--recovery-key-stdin', 'the recovery key comes on standard input')
    .option('--state <file>', 'what "account friends start" wrote')
    .option('--json', 'print one JSON object')
    .action((email: string, options: RecoverOptions) => recover(addressOf(email), options))
}

async function rotate(email: string, options: RotateOptions): Promise<void> {
  if (options.passwordStdin !== true) throw new UsageError('--password-stdin is needed')
  const named = options.newPasswordStdin === true ? ['password', 'new password'] : ['password']
  const [old, given] = await readPasswords(process.stdin, named)
  const isPrimary = options.primary === true
  // A primary key's VESkey that stays would be no rotation of what is kept on paper.
  const makesNew = given === undefined && (options.newPassword === true || isPrimary)
  const veskey = given ?? (makesNew ? new Secret(makeVeskey()) : old!)
  const what = isPrimary ? 'recovery key' : 'password'
  const { vaultUri } = parseAccountName(email)
  const uri = isPrimary ? printVesUri({ kind: 'primary', user: email }) : vaultUri
  await withClient(clientOf(options), async (client) => {
    const session = await client.unlock(uri, old!)
    const done = await rotateKey(session, {
      kind: options.algo === undefined ? client.newKind : KIND_OF_NEW[options.algo],
      veskey,
      rounds: makesNew ? null : roundsFor(veskey),
      keepUnreadable: options.keepUnreadable === true,
      progress: (entries) => tell(options, `\r${entries} entries sealed anew`),
      beforeCommit: () => {
        // Told before it is in force: whoever ends us now must not have lost it.
        if (makesNew) tell(options, `\nnew ${what}, in force if this ends well: ${veskey.expose()}\n`, true)
      },
    })
    const { newKeyId, oldKeyId, entries, resumed, unreadable } = done
    const secret = veskey.expose().toString('utf8')
    const made = { email, vault: uri, ...(isPrimary ? { recoveryKey: secret } : { password: secret }) }
    if (options.json === true) return printJson({ ...made, oldKeyId, newKeyId, entries, resumed, unreadable })
    process.stdout.write(
      `\nrotated: key ${newKeyId} in the place of ${oldKeyId}, ${entries} entries${resumed ? ' (resumed)' : ''}\n` +
        (unreadable > 0 ? `${unreadable} entries did not open with the old key, and won't with the new one\n` : '') +
        (makesNew ? `${what}  ${secret}\n` : ''),
    )
  })
}

async function recover(email: string, options: RecoverOptions): Promise<void> {
  const byFriends = options.state !== undefined
  if (byFriends === (options.recoveryKeyStdin === true)) {
    throw new UsageError('either --recovery-key-stdin or --state FILE is needed')
  }
  await withClient(clientOf(options), async (client) => {
    const recoveryKey = byFriends
      ? await collectShares(client, email, readFileSync(options.state!, 'utf8'))
      : (await readPasswords(process.stdin, ['recovery key']))[0]!
    const session = await client.unlock(printVesUri({ kind: 'primary', user: email }), recoveryKey)
    const password = await passwordOf(client, session, email)
    const made = {
      email,
      vault: printVesUri({ kind: 'vault', domain: client.domain, externalId: email, owner: null }),
      password: password.expose().toString('utf8'),
      recoveryKey: recoveryKey.expose().toString('utf8'),
    }
    if (options.json === true) return printJson(made)
    process.stdout.write(
      `password      ${made.password}\n${byFriends ? `recovery key  ${made.recoveryKey}\n` : ''}\n` +
        'If somebody else may know it now: vesmail account rotate --new-password\n',
    )
  })
}

/** The app vault's VESkey, as its password item has it for the primary key. */
async function passwordOf(client: VesClient, session: VaultSession, email: string): Promise<Secret<Buffer>> {
  const { result: me } = await session.request({ path: 'me?fields=id,vaultKeys(id,type,externals)' })
  const app = objectsAt(me, 'vaultKeys').find((key) =>
    objectsAt(key, 'externals').some(({ domain, externalId }) => domain === client.domain && externalId === email),
  )
  if (app === undefined) throw new GatewayError('VES_NOT_FOUND', { text: `app vault of ${email}` })
  const path = `vaultKeys/${idAt(app)}?fields=vaultItems(id,type,vaultEntries(vaultKey(id),encData))`
  const { result } = await session.request({ path })
  for (const item of objectsAt(result, 'vaultItems')) {
    const value = await session.openEntry(item)
    if (value !== null) return new Secret(value)
  }
  throw new GatewayError('VES_DENIED', { text: 'the password is not shared with the primary key' })
}

function tell(options: RotateOptions, text: string, always = false): void {
  if (always || (options.json !== true && process.stderr.isTTY)) process.stderr.write(text)
}
