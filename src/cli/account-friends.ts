/**
 * `vesmail account friends`: recovery of an account by n of m friends, with a delay in which its owner can object.
 * `plan` (owner) → `start` (administrator, having made sure who asks) → `give` (each friend) → `account recover --state`.
 */
import { writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { GatewayError } from '../base/errors.ts'
import { Secret } from '../base/secret.ts'
import { makeVeskey } from '../engine/seal/vault-key-make.ts'
import { idAt, type JsonObject, objectsAt, octetsAt, optionalObject, textAt } from '../ves/client/answer.ts'
import { toBase64 } from '../ves/client/item-answer.ts'
import { joinShares, openShare, splitVeskey } from '../ves/client/recovery.ts'
import type { VesClient } from '../ves/client/ves-client.ts'
import { printVesUri } from '../ves/uri.ts'
import { type AdminOptions, accountPath, asAdmin, withAdmin } from './account-admin.ts'
import { UsageError } from './exit.ts'
import { type ApiOptions, addressOf, clientOf, printJson, withApi, withClient } from './options.ts'
import { readPassword } from './password.ts'
import { printTable, timeText } from './table.ts'

interface PlanOptions extends ApiOptions {
  readonly recoveryKeyStdin?: boolean
  readonly threshold: string
  readonly delay: string
  readonly friend: readonly string[]
}

interface FriendOptions extends ApiOptions {
  readonly passwordStdin?: boolean
  readonly for?: string
  readonly json?: boolean
}

/** What `start` writes and `account recover --state` reads. */
interface State {
  readonly email: string
  readonly id: number
  readonly token: string
  readonly privateKey: string
  readonly veskey: string
}

export function friendsSubcommand(): Command {
  const command = new Command('friends').description('recovery by n of m trusted friends')
  command.addCommand(
    withApi(new Command('plan'))
      .argument('<email>')
      .description('split the recovery key among friends (replaces an earlier plan)')
      .requiredOption('--friend <email...>', 'who gets a share; they need accounts')
      .requiredOption('--threshold <n>', 'how many of them it takes')
      .option('--delay <hours>', 'hours between the start of a recovery and its end', '24')
      .option('--recovery-key-stdin', 'the recovery key comes on standard input')
      .action(plan),
  )
  command.addCommand(
    withAdmin(new Command('start'))
      .argument('<email>')
      .description('start a recovery; make sure beforehand who asks for it')
      .requiredOption('--state <file>', 'written for account recover; keep it safe')
      .action(start),
  )
  const asFriend = (name: string): Command =>
    withApi(new Command(name))
      .argument('<email>')
      .option('--password-stdin', 'the password comes on standard input')
      .option('--json', 'print JSON')
  command.addCommand(asFriend('show').description('own plan, own running recovery, and friends who ask').action(show))
  command.addCommand(
    asFriend('give')
      .description('give the share to a friend who recovers; talk to them before')
      .requiredOption('--for <email>', 'the friend')
      .action(give),
  )
  command.addCommand(
    asFriend('cancel').description('object to a running recovery of your account; else remove the plan').action(cancel),
  )
  return command
}

async function plan(email: string, options: PlanOptions): Promise<void> {
  if (options.recoveryKeyStdin !== true) throw new UsageError('--recovery-key-stdin is needed')
  const threshold = Number(options.threshold)
  const hours = Number(options.delay)
  if (!Number.isInteger(threshold) || !(hours >= 0)) throw new UsageError('--threshold and --delay: numbers expected')
  const friends = [...new Set(options.friend.map(addressOf))]
  if (threshold < 2 || threshold > friends.length)
    throw new UsageError(`--threshold: from 2 to the number of friends (${friends.length}) expected`)
  const recoveryKey = await readPassword(process.stdin)
  await withClient(clientOf(options), async (client) => {
    const session = await client.unlock(printVesUri({ kind: 'primary', user: addressOf(email) }), recoveryKey)
    const pieces = await splitVeskey(recoveryKey, friends.length, threshold)
    const shares: JsonObject[] = []
    for (const [i, friend] of friends.entries()) {
      const vault = await session.vault(friend)
      const [entry] = await session.sealEntries([vault], pieces[i]!)
      shares.push({ vaultKey: { id: vault.keyId }, encData: entry!.encData })
    }
    await session.request({ path: 'recovery', body: { threshold, delaySeconds: Math.round(hours * 3600), shares } })
    process.stdout.write(
      `${threshold} of ${friends.length} friends can recover ${addressOf(email)}, after ${hours} h\n`,
    )
  })
}

async function start(email: string, options: AdminOptions & { readonly state: string }): Promise<void> {
  const veskey = makeVeskey()
  await asAdmin(options, async (ask) => {
    const made = await withClient(clientOf(options), (client) =>
      client.keys.run('make', { kind: client.newKind, veskey, rounds: null }),
    )
    const body = { algo: made.algo, publicKey: made.publicKey }
    const result = await ask({ path: `${accountPath(email)}/recovery`, body })
    const state: State = {
      email: addressOf(email),
      id: idAt(result),
      token: textAt(result, 'token'),
      privateKey: made.privateKey,
      veskey: veskey.toString('latin1'),
    }
    writeFileSync(options.state, `${JSON.stringify(state)}\n`, { mode: 0o600, flag: 'wx' })
    if (options.json === true) return printJson({ id: state.id, readyMs: result.readyMs })
    process.stdout.write(
      `started; ready not before ${timeText(result.readyMs)} UTC. Then, when enough friends gave their share:\n` +
        `vesmail account recover ${state.email} --state ${options.state}\n`,
    )
  })
}

async function show(email: string, options: FriendOptions): Promise<void> {
  await asOwner(email, options, async (result) => {
    if (options.json === true) return printJson(result)
    const own = optionalObject(result, 'plan')
    const running = optionalObject(result, 'running')
    const shares = own === null ? [] : objectsAt(own, 'shares')
    process.stdout.write(
      own === null
        ? 'no plan\n'
        : `plan: ${own.threshold} of ${shares.length}, after ${Number(own.delaySeconds) / 3600} h\n`,
    )
    if (running !== null) {
      process.stdout.write(`A RECOVERY OF YOUR ACCOUNT IS RUNNING, ready ${timeText(running.readyMs)} UTC\n`)
    }
    const rows = objectsAt(result, 'requests').map((one) => [
      String(optionalObject(one, 'user')?.email ?? ''),
      timeText(one.startedMs),
    ])
    if (rows.length > 0) printTable(['asks for your share', 'since'], rows)
  })
}

async function give(email: string, options: FriendOptions): Promise<void> {
  const friend = addressOf(options.for!)
  await asOwner(email, options, async (result, ask, open) => {
    const request = objectsAt(result, 'requests').find((one) => optionalObject(one, 'user')?.email === friend)
    if (request === undefined) throw new GatewayError('VES_NOT_FOUND', { text: `no recovery of ${friend}` })
    const share = await open(octetsAt(optionalObject(request, 'share') ?? {}, 'encData'))
    const encData = await ask.sealTo(textAt(request, 'publicKey'), share)
    await ask.post(`recovery/${idAt(request)}`, { encData })
    process.stdout.write(`share given to the recovery of ${friend}\n`)
  })
}

async function cancel(email: string, options: FriendOptions): Promise<void> {
  await asOwner(email, options, async (_result, ask) => {
    await ask.post('recovery', { $op: 'delete' })
    process.stdout.write('done\n')
  })
}

interface OwnerAsks {
  post(path: string, body: JsonObject): Promise<void>
  sealTo(publicKey: string, value: Buffer): Promise<string>
}

async function asOwner(
  email: string,
  options: FriendOptions,
  run: (result: JsonObject, ask: OwnerAsks, open: (sealed: Buffer) => Promise<Buffer>) => Promise<void>,
): Promise<void> {
  if (options.passwordStdin !== true) throw new UsageError('--password-stdin is needed')
  const password = await readPassword(process.stdin)
  await withClient(clientOf(options), async (client) => {
    const uri = printVesUri({ kind: 'vault', domain: client.domain, externalId: addressOf(email), owner: null })
    const session = await client.unlock(uri, password)
    const { result } = await session.request({ path: 'recovery' })
    const asks: OwnerAsks = {
      post: async (path, body) => void (await session.request({ path, body })),
      sealTo: async (publicKey, value) => {
        const { sealed } = await client.keys.run('seal', { keys: [publicKey], value })
        return toBase64(sealed[0]!)
      },
    }
    await run(result, asks, async (sealed) => {
      const { values } = await client.keys.run('open', { key: session.privateKey, sealed: [sealed] })
      return Buffer.from(values[0]!)
    })
  })
}

/** The recovery key, from the shares that friends gave. @throws GatewayError VES_DENIED as long as it is not ready */
export async function collectShares(client: VesClient, email: string, stateText: string): Promise<Secret<Buffer>> {
  const state = JSON.parse(stateText) as State
  if (state.email !== email) throw new UsageError(`the state file is about ${state.email}`)
  const bearer = new Secret(state.token)
  const { result } = await client.api.request({ path: `recovery/${state.id}`, bearer })
  if (!Array.isArray(result.shares)) {
    const text = `not ready: ${result.given} of ${result.threshold} shares, not before ${timeText(result.readyMs)} UTC`
    throw new GatewayError('VES_DENIED', { text })
  }
  const veskey = Buffer.from(state.veskey, 'latin1')
  const { key } = await client.keys.run('unlock', { privateKey: state.privateKey, veskey, sealed: [] })
  const sealed = (result.shares as unknown[]).filter((one) => typeof one === 'string')
  const shares = sealed.flatMap((one) => openShare(key, Buffer.from(one, 'base64')) ?? [])
  return joinShares(shares, Number(result.threshold))
}
