/** Our own repository, real, in this process, with a temporary folder; and accounts in it. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../src/base/clock.ts'
import { Secret } from '../../../src/base/secret.ts'
import { openRepositoryFolder } from '../../../src/cli/repository-data.ts'
import type { KeyKind } from '../../../src/engine/seal/vault-key.ts'
import { makeVeskey } from '../../../src/engine/seal/vault-key-make.ts'
import { listen } from '../../../src/net/http.ts'
import { createAccount } from '../../../src/ves/client/accounts.ts'
import type { VaultSession } from '../../../src/ves/client/vault-session.ts'
import { VesClient, type VesClientOptions } from '../../../src/ves/client/ves-client.ts'
import type { Mailer } from '../../../src/ves/repository/mailer.ts'
import { Repository } from '../../../src/ves/repository/repository.ts'
import { DEFAULT_SETTINGS, type Settings } from '../../../src/ves/repository/settings.ts'
import { openSqliteStore } from '../../../src/ves/repository/store/sqlite.ts'
import { LogWatch } from '../../lab/log-secrets.ts'

export interface OwnRepository {
  readonly api: string
  readonly adminTokenFile: string
  readonly adminToken: Secret<string>
  readonly directory: string
  client(options?: Partial<VesClientOptions>): VesClient
  /** @returns the password */
  account(email: string, kind?: KeyKind): Promise<Secret<Buffer>>
  /** Makes the account, and logs in. */
  session(email: string, kind?: KeyKind, options?: Partial<VesClientOptions>): Promise<VaultSession>
  close(): Promise<void>
}

export const vaultOf = (email: string): string => `ves://vesmail/${email}/`

export async function ownRepository(settings: Partial<Settings> = {}, mailer?: Mailer): Promise<OwnRepository> {
  const directory = mkdtempSync(join(tmpdir(), 'vesmail-repository-'))
  const served = await serve(directory, { ...DEFAULT_SETTINGS, ...settings }, mailer)
  const adminTokenFile = join(directory, 'admin-token')
  const adminToken = new Secret(readFileSync(adminTokenFile, 'utf8').trim())
  const clients: VesClient[] = []
  const client = (options: Partial<VesClientOptions> = {}): VesClient => {
    const made = new VesClient({ api: served.url, failedUnlockMs: 0, ...options })
    clients.push(made)
    return made
  }
  const admin = client()
  const account = async (email: string, kind: KeyKind = 'ML-KEM-768'): Promise<Secret<Buffer>> => {
    const password = new Secret(makeVeskey())
    const recoveryKey = new Secret(makeVeskey())
    const proof = { by: 'admin', token: adminToken } as const
    await createAccount(admin, { email, name: null, kind, password, rounds: null, recoveryKey }, proof)
    return password
  }
  return {
    api: served.url,
    adminTokenFile,
    adminToken,
    directory,
    client,
    account,
    session: async (email, kind, options) => client(options).unlock(vaultOf(email), await account(email, kind)),
    close: async () => {
      for (const one of clients) await one.close()
      await served.close()
      rmSync(directory, { recursive: true })
    },
  }
}

const watch = LogWatch.forFile()

/** As `vesmail repository serve`, but with settings that it does not offer. */
async function serve(
  directory: string,
  settings: Settings,
  mailer: Mailer | undefined,
): Promise<{ url: string; close(): Promise<void> }> {
  const { database, adminToken, tokenKey } = openRepositoryFolder(directory)
  watch.secret(adminToken.expose(), tokenKey.expose())
  const store = await openSqliteStore(database)
  const repository = new Repository({
    ...{ store, settings, adminToken, tokenKey, log: watch.log, clock: systemClock },
    ...(mailer === undefined ? {} : { mailer }),
  })
  const server = await listen({
    host: '127.0.0.1',
    port: 0,
    maxBodyOctets: settings.maxBodyOctets,
    handle: async (request) => {
      const { status, headers, body } = await repository.handle(request)
      return { status, ...(headers === undefined ? {} : { headers }), body: JSON.stringify(body) }
    },
  })
  return {
    url: `http://127.0.0.1:${server.port}/v1/`,
    close: async () => {
      await server.close()
      await store.close()
    },
  }
}
