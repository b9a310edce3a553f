/**
 * What `vesmail encrypt` and `vesmail decrypt` share: a message comes on standard input and leaves on standard output,
 * streamed, with the keys of one account (daemon.md §2). Configuration: the `*` block only, and only if there is a file.
 */
import { once } from 'node:events'
import { createReadStream, existsSync, readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { parseConfigFile, printConfigError } from '../base/config/config-file.ts'
import { mergeBlocks } from '../base/config/merge.ts'
import type { Config } from '../base/config/options.ts'
import { GatewayError } from '../base/errors.ts'
import { type Log, silentLog } from '../base/log.ts'
import { Secret } from '../base/secret.ts'
import { parseAccountName } from '../engine/account-name.ts'
import { runTransform, type TransformAnswers } from '../engine/run-transform.ts'
import { runBatch } from '../engine/seal/batch.ts'
import type { Transform } from '../engine/transform.ts'
import type { VesClient, VesSession } from '../ves/client/ves-client.ts'
import { repositoryUrl } from '../workers/compose.ts'
import { pinoLog } from '../workers/log.ts'
import { UsageError } from './exit.ts'
import { type ApiOptions, clientOf, withApi, withClient } from './options.ts'
import { readVeskeyFile } from './password.ts'

export interface FilterOptions extends ApiOptions {
  readonly account?: string
  readonly veskey?: string
  /** Other spellings of the same, as C has them. */
  readonly v?: string
  readonly VESkey?: string
  readonly unlock?: string
  readonly token?: string
  readonly conf?: string
  readonly input?: string
  readonly debug?: true
}

/** A copy of what leaves, beside standard output. What happens to it never fails the message. */
export interface Copy {
  write(bytes: Buffer): Promise<void>
  /** The message is complete. */
  commit(): Promise<void>
  /** It is not, and will not be. Nothing after commit. */
  abort(): Promise<void>
}

export interface Filtering {
  readonly transform: Transform
  readonly answers: TransformAnswers
  /** Asked for when the first octets leave. */
  readonly copy?: () => Promise<Copy>
}

export interface Filter {
  readonly session: VesSession
  readonly config: Config
  readonly log: Log
}

const DEFAULT_CONFIG = '/etc/vesmail/vesmail.conf'

export function withFilterOptions(command: Command): Command {
  return withApi(command)
    .option('-a, --account <account>', 'account as at login, e.g. jane@x.org')
    .option('-u, --veskey <veskey>', "its password (VESkey); default: the account's file in veskey-dir")
    .option('-v <veskey>', 'the same')
    .option('--VESkey <veskey>', 'the same')
    .option('--unlock <veskey>', 'the same')
    .option('-T, --token <token>', 'a session token in place of the VESkey: enough to encrypt, it opens nothing')
    .option('-C, --conf <file>', `configuration file; default: ${DEFAULT_CONFIG}, if there`)
    .option('-i, --input <file>', 'read from a file instead of standard input')
    .option('-x, --debug', 'log to standard error')
}

/** Unlocks, lets `filter` make the transform and its answers, and pipes the message through. */
export async function runFilter(options: FilterOptions, filter: (parts: Filter) => Filtering): Promise<void> {
  const { account, token } = options
  if (account === undefined) throw new UsageError('-a ACCOUNT is needed')
  if (token !== undefined && givenVeskey(options) !== undefined) throw new UsageError('either -u or -T, not both')
  const { config, api } = readConfig(options.conf)
  const { vaultUri } = parseAccountName(account, config['ves.domain'])
  const log = options.debug === true ? pinoLog(process.stderr, 'debug', {}) : silentLog
  const newKeys = config['ves.newKeys']
  const more = { domain: config['ves.domain'], log, ...(newKeys === null ? {} : { newKeys }) }
  await withClient(clientOf(withCa(options, config), api, more), async (client: VesClient) => {
    const session =
      token === undefined
        ? await client.unlock(vaultUri, veskeyOf(options, account, config))
        : await client.withToken(vaultUri, new Secret(token))
    const { transform, answers, copy: openCopy } = filter({ session, config, log })
    const input = options.input === undefined ? process.stdin : createReadStream(options.input)
    const octets = runTransform(transform, input, { batch: runBatch, ...answers })
    let copy: Copy | null = null
    try {
      for await (const chunk of octets) {
        copy ??= (await openCopy?.()) ?? null
        await copy?.write(chunk)
        if (!process.stdout.write(chunk)) await once(process.stdout, 'drain')
      }
      await copy?.commit()
    } finally {
      await copy?.abort()
    }
    await session.settled()
  })
}

function readConfig(given: string | undefined): { readonly config: Config; readonly api: string } {
  const path = given ?? DEFAULT_CONFIG
  const text = given === undefined && !existsSync(path) ? '{}' : readFileSync(path, 'utf8')
  try {
    const file = parseConfigFile(text, path)
    return { config: mergeBlocks(file.all), api: repositoryUrl(file) }
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code !== 'CONFIG_INVALID') throw error
    throw new GatewayError('CONFIG_INVALID', { text: printConfigError(error.detail) }, error)
  }
}

function givenVeskey(options: FilterOptions): string | undefined {
  return options.veskey ?? options.v ?? options.VESkey ?? options.unlock
}

function veskeyOf(options: FilterOptions, account: string, config: Config): Secret<Buffer> {
  const given = givenVeskey(options)
  return given === undefined ? readVeskeyFile(account, config['veskey-dir']) : new Secret(Buffer.from(given))
}

function withCa(options: ApiOptions, config: Config): ApiOptions {
  const caBundle = options.caBundle ?? config['ves.caBundle']
  return caBundle === null ? options : { ...options, caBundle }
}
