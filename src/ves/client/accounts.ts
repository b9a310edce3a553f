/**
 * Making an account at our own repository (docs/repository-api.md): a primary key and the app vault. All keys are made
 * here; the repository gets them encrypted.
 */
import type { Secret } from '../../base/secret.ts'
import type { KeyKind } from '../../engine/seal/vault-key.ts'
import { printVesUri } from '../uri.ts'
import { idAt, type JsonObject } from './answer.ts'
import { splitName, toBase64 } from './item-answer.ts'
import type { VesClient } from './ves-client.ts'

export interface NewAccount {
  readonly email: string
  readonly name: string | null
  readonly kind: KeyKind
  /** The app vault's VESkey: the password at the gateway. */
  readonly password: Secret<Buffer>
  /** Rounds of PBKDF2 for the app vault; null = the default for random VESkeys. */
  readonly rounds: number | null
  /** The primary key's VESkey; kept nowhere. */
  readonly recoveryKey: Secret<Buffer>
}

/** Who may make it: the administrator, or whoever got the mail. */
export type AccountProof =
  | { readonly by: 'admin'; readonly token: Secret<string> }
  | { readonly by: 'mail'; readonly token: Secret<string> }

/** @throws GatewayError VES_DENIED where the account exists or the token is not accepted */
export async function createAccount(
  client: VesClient,
  account: NewAccount,
  proof: AccountProof,
): Promise<{ readonly userId: number; readonly vaultUri: string }> {
  const { email, kind, password, recoveryKey } = account
  const primary = await client.keys.run('make', { kind, veskey: recoveryKey.expose(), rounds: null })
  const app = await client.keys.run('make', { kind, veskey: password.expose(), rounds: account.rounds })
  const { sealed } = await client.keys.run('seal', { keys: [primary.publicKey], value: password.expose() })
  const entry = { vaultKey: { $ref: '#/vaultKeys/0' }, encData: toBase64(sealed[0]!) }
  const body: JsonObject = {
    ...(proof.by === 'admin' ? { email, ...splitName(account.name) } : { token: proof.token.expose() }),
    vaultKeys: [
      { type: 'current', ...primary },
      {
        type: 'secondary',
        ...app,
        externals: [{ domain: client.domain, externalId: email }],
        vaultItems: [{ type: 'password', vaultEntries: [entry] }],
      },
    ],
  }
  const bearer = proof.by === 'admin' ? { bearer: proof.token } : {}
  const { result } = await client.api.request({ path: 'accounts', body, ...bearer })
  const vaultUri = printVesUri({ kind: 'vault', domain: client.domain, externalId: email, owner: null })
  return { userId: idAt(result), vaultUri }
}
