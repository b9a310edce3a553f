/** Options that several subcommands share, with one meaning. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { VesClient, type VesClientOptions } from '../ves/client/ves-client.ts'
import { UsageError } from './exit.ts'

export interface ApiOptions {
  readonly api?: string
  readonly caBundle?: string
}

export function withApi(command: Command): Command {
  return command
    .option('--api <url>', "base URL of the key repository's API")
    .option('--ca-bundle <file>', 'PEM file of the CAs to trust for the API')
}

/** @param fallback where `--api` was not given; null = then it is needed */
export function clientOf(
  options: ApiOptions,
  fallback: string | null = null,
  more: Partial<VesClientOptions> = {},
): VesClient {
  const api = options.api ?? fallback
  if (api === null) throw new UsageError('--api URL is needed')
  const ca = options.caBundle === undefined ? {} : { ca: readFileSync(options.caBundle, 'utf8') }
  return new VesClient({ api, ...ca, ...more })
}

/** Runs with a client, and closes its connections afterwards. */
export async function withClient<T>(client: VesClient, run: (client: VesClient) => Promise<T>): Promise<T> {
  try {
    return await run(client)
  } finally {
    await client.close()
  }
}

/** `Jane@X.org` → `jane@x.org`. @throws UsageError for what is no address */
export function addressOf(text: string): string {
  const address = text.trim().toLowerCase()
  if (!/^[^\s@/<>"]+@[^\s@/<>"]+$/.test(address) || address.length > 254) {
    throw new UsageError(`not an e-mail address: ${text}`)
  }
  return address
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}
