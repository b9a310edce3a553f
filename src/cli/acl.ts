/**
 * `vesmail acl`: who may use the proxies. An access list is a vault item; whoever it is shared with is on it
 * (daemon.md §1, `acl`). It belongs to the account that made it.
 */
import { Command } from 'commander'
import { GatewayError } from '../base/errors.ts'
import { Secret } from '../base/secret.ts'
import { parseAccountName } from '../engine/account-name.ts'
import { holdersOf, shareItem, unshareItem } from '../ves/client/sharing.ts'
import type { VaultSession } from '../ves/client/vault-session.ts'
import { encodeVesPath, printVesUri } from '../ves/uri.ts'
import { UsageError } from './exit.ts'
import { type ApiOptions, addressOf, clientOf, printJson, withApi, withClient } from './options.ts'
import { readPassword } from './password.ts'
import { printTable } from './table.ts'

interface AclOptions extends ApiOptions {
  readonly account: string
  readonly passwordStdin?: boolean
  readonly json?: boolean
}

export function aclCommand(): Command {
  const command = new Command('acl').description('who may use the proxies: an item, and whom it is shared with')
  const add = (name: string, description: string): Command => {
    const one = withApi(new Command(name))
      .argument('<item>', 'URI, or name in the domain, as in the configuration')
      .description(description)
      .requiredOption('-a, --account <account>', 'whose list it is')
      .option('--password-stdin', 'its password comes on standard input')
      .option('--json', 'print JSON')
    command.addCommand(one)
    return one
  }
  add('create', 'make an empty list').action(create)
  add('show', 'who is on it').action(show)
  add('add', 'put accounts on it').argument('<email...>').action(addTo)
  add('remove', 'take accounts off it').argument('<email...>').action(removeFrom)
  add('grant', 'let others administer it, by their .admin vault').argument('<email...>').action(grant)
  return command
}

async function create(item: string, options: AclOptions): Promise<void> {
  await asAccount(options, async (session) => {
    const uri = itemUri(item, session)
    if (await session.itemExists(uri)) throw new GatewayError('VES_DENIED', { text: `${uri} exists` })
    const value = new Secret(Buffer.from('acl'))
    const { id } = await session.putItem(uri, { type: 'string', meta: { purpose: 'acl' }, value })
    if (options.json === true) printJson({ id, uri })
    else process.stdout.write(`${uri}\n`)
  })
}

async function show(item: string, options: AclOptions): Promise<void> {
  await asAccount(options, async (session) => {
    const holders = await holdersOf(session, itemUri(item, session))
    if (options.json === true) return printJson(holders)
    printTable(
      ['key', 'type', 'user', 'vault'],
      holders.map(({ keyId, type, userId, vaults }) => [String(keyId), type, String(userId ?? ''), vaults.join(' ')]),
    )
  })
}

async function addTo(item: string, emails: readonly string[], options: AclOptions): Promise<void> {
  await asAccount(options, async (session) => {
    const vaults = await Promise.all(emails.map((email) => session.vault(addressOf(email))))
    await shareItem(session, itemUri(item, session), vaults)
  })
}

async function grant(item: string, emails: readonly string[], options: AclOptions): Promise<void> {
  await asAccount(options, async (session) => {
    const vaults = await Promise.all(
      emails.map((email) =>
        session.vault(printVesUri({ kind: 'vault', domain: '.admin', externalId: addressOf(email), owner: null })),
      ),
    )
    await shareItem(session, itemUri(item, session), vaults)
  })
}

async function removeFrom(item: string, emails: readonly string[], options: AclOptions): Promise<void> {
  await asAccount(options, async (session) => {
    const uri = itemUri(item, session)
    const wanted = new Set(emails.map((email) => `/${encodeVesPath(addressOf(email))}/`))
    const holders = await holdersOf(session, uri)
    const keys = holders.filter(({ vaults }) => vaults.some((vault) => [...wanted].some((one) => vault.endsWith(one))))
    const missing = [...wanted].filter((one) => !keys.some(({ vaults }) => vaults.some((vault) => vault.endsWith(one))))
    if (missing.length > 0) throw new GatewayError('VES_NOT_FOUND', { text: `not on the list: ${missing.join(' ')}` })
    if (keys.some(({ keyId }) => keyId === session.keyId)) throw new UsageError('the owner stays on the list')
    await unshareItem(
      session,
      uri,
      keys.map(({ keyId }) => keyId),
    )
  })
}

function itemUri(item: string, session: VaultSession): string {
  return item.includes('/') ? item : `ves://${session.client.domain}/${encodeVesPath(item)}`
}

async function asAccount(options: AclOptions, run: (session: VaultSession) => Promise<void>): Promise<void> {
  if (options.passwordStdin !== true) throw new UsageError('--password-stdin is needed')
  const password = await readPassword(process.stdin)
  const { vaultUri } = parseAccountName(options.account)
  await withClient(clientOf(options), async (client) => run(await client.unlock(vaultUri, password)))
}
