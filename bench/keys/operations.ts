/** What is measured, and the accounts it needs: all vaults of one kind of key. */
import { Secret } from '../../src/base/secret.ts'
import type { KeyKind } from '../../src/engine/seal/vault-key.ts'
import { makeVeskey } from '../../src/engine/seal/vault-key-make.ts'
import { createAccount } from '../../src/ves/client/accounts.ts'
import type { VaultSession } from '../../src/ves/client/vault-session.ts'
import { type VaultRef, VesClient } from '../../src/ves/client/ves-client.ts'
import { ThreadPool } from '../../src/workers/pool.ts'
import { FULL_ACCOUNTS, fillerAddress } from './fill.ts'
import type { Served } from './stores.ts'

export interface Ground {
  readonly served: Served
  readonly kind: KeyKind
  /** As a worker has it: keeps what it looked up. */
  readonly client: VesClient
  /** Keeps nothing. */
  readonly forgetful: VesClient
  readonly accounts: readonly { readonly uri: string; readonly address: string; readonly password: Secret<Buffer> }[]
  readonly session: VaultSession
  readonly refs: readonly VaultRef[]
  close(): Promise<void>
}

export interface Operation {
  readonly name: string
  /** Clients at the same time: enough to keep both ends busy. */
  readonly atOnce: number
  /** On the large repositories, too. */
  readonly alsoFull?: true
  run(ground: Ground): Promise<unknown>
}

const ACCOUNTS = 50
let turn = 0

export const OPERATIONS: readonly Operation[] = [
  {
    name: 'login',
    atOnce: 8,
    run: ({ forgetful, accounts }) => {
      const { uri, password } = accounts[turn++ % accounts.length]!
      return forgetful.unlock(uri, password)
    },
  },
  {
    name: 'lookup',
    atOnce: 16,
    alsoFull: true,
    run: ({ served, forgetful, accounts }) => {
      // All over the large one, so that no cache of the database's holds them all.
      const externalId = served.full
        ? fillerAddress(1 + ((turn++ * 7919) % FULL_ACCOUNTS))
        : accounts[turn++ % accounts.length]!.address
      forgetful.recipients.forget({ domain: 'vesmail', externalId })
      return forgetful.recipients.vault({ domain: 'vesmail', externalId })
    },
  },
  ...[1, 3, 50].map((recipients) => ({
    name: `create-${recipients}`,
    atOnce: 8,
    run: ({ session, refs }: Ground) =>
      session.createMessageKey(`${turn++}-${recipients}-${process.pid}@bench.test`, refs.slice(0, recipients)),
  })),
]

export async function layGround(served: Served, kind: KeyKind): Promise<Ground> {
  const pool = new ThreadPool({ threads: 1 })
  const client = new VesClient({ api: served.api, keys: pool })
  const forgetful = new VesClient({ api: served.api, keys: pool, recipientCacheEntries: 0 })
  const proof = { by: 'admin', token: served.adminToken } as const
  const accounts: { uri: string; address: string; password: Secret<Buffer> }[] = []
  for (let i = 0; i < ACCOUNTS; i++) {
    const address = `${i}-${kind.toLowerCase()}@bench.test`
    const password = new Secret(makeVeskey())
    const recoveryKey = new Secret(makeVeskey())
    await createAccount(client, { email: address, name: null, kind, password, rounds: null, recoveryKey }, proof)
    accounts.push({ uri: `ves://vesmail/${address}/`, address, password })
  }
  const session = await client.unlock(accounts[0]!.uri, accounts[0]!.password)
  const refs = await Promise.all(accounts.map(({ address }) => session.vault(address)))
  const close = async (): Promise<void> => {
    await client.close()
    await forgetful.close()
    await pool.close()
  }
  return { served, kind, client, forgetful, accounts, session, refs, close }
}
