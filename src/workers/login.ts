/**
 * Logging in: account name → vault unlocked with the password → access list → mail profile → override → account
 * (daemon.md §3). What fails has the code of daemon.md §6; a wrong VESkey and no such vault look the same outside.
 */
import type { Service } from '../base/config/config-file.ts'
import { GatewayError } from '../base/errors.ts'
import type { Secret } from '../base/secret.ts'
import type { Account } from '../engine/account.ts'
import { parseAccountName } from '../engine/account-name.ts'
import type { Credentials } from '../engine/sasl/credentials.ts'
import type { MailSettings } from '../engine/settings.ts'
import type { VesClient, VesItem, VesSession } from '../ves/client/ves-client.ts'
import type { Tenant } from './listener.ts'
import { parseProfile } from './profile.ts'

export interface LoggedIn {
  readonly account: Account
  readonly session: VesSession
}

export interface LoginParts {
  readonly ves: VesClient
  readonly domain: string
  /** Opens a bearer to the VESkey in it; null where there is no oauth-key. */
  readonly openBearer: ((bearer: Secret<Buffer>) => Secret<Buffer>) | null
  /** Settings after the profile's override URL; refused with OVERRIDE. */
  readonly override: (request: OverrideRequest) => Promise<MailSettings>
}

export interface OverrideRequest {
  readonly url: string
  readonly tenant: Tenant
  readonly session: VesSession
  readonly profileItemId: number
}

export class Login {
  readonly #parts: LoginParts

  constructor(parts: LoginParts) {
    this.#parts = parts
  }

  get takesBearers(): boolean {
    return this.#parts.openBearer !== null
  }

  /** @throws {GatewayError} BAD_CREDENTIALS, ACCESS_DENIED, PROFILE_INVALID, OVERRIDE, VES_* */
  async run(credentials: Credentials, service: Service, tenant: Tenant): Promise<LoggedIn> {
    const { ves, domain } = this.#parts
    const name = parseAccountName(credentials.account, domain)
    const veskey = this.#veskey(credentials)
    const session = await ves.unlock(name.vaultUri, veskey)
    await this.#checkAccess(session, tenant)
    if (name.profileUri === null) throw new GatewayError('PROFILE_INVALID', { where: 'account name' })
    const item = await profileItem(session, name.profileUri)
    const { profile, overrides } = parseProfile(item.value.expose())
    const side = service === 'smtp' ? 'smtp' : 'imap'
    if (profile[side] === null) throw new GatewayError('PROFILE_INVALID', { where: side })
    const url = overrides[side]
    const settings =
      url === null || !mayOverride(tenant)
        ? tenant.settings
        : await this.#parts.override({ url, tenant, session, profileItemId: item.id })
    const account = Object.freeze({ name: credentials.account, user: session.user.email, profile, settings })
    return { account, session }
  }

  #veskey(credentials: Credentials): Secret<Buffer> {
    if (credentials.bearer !== true) return credentials.password
    if (this.#parts.openBearer === null) throw new GatewayError('BAD_CREDENTIALS', { reason: 'no oauth-key' })
    return this.#parts.openBearer(credentials.password)
  }

  async #checkAccess(session: VesSession, tenant: Tenant): Promise<void> {
    const { acl } = tenant.config
    if (acl === null) return
    const uri = acl.includes('/') ? acl : `ves://${this.#parts.domain}/${acl}`
    // A list that is missing lets nobody in.
    const isListed = await session.hasAccess(uri).catch((error: unknown) => {
      if (error instanceof GatewayError && error.code === 'VES_NOT_FOUND') return false
      throw error
    })
    if (!isListed) throw new GatewayError('ACCESS_DENIED')
  }
}

/** @throws {GatewayError} OVERRIDE where overrides are forbidden */
function mayOverride({ config }: Tenant): boolean {
  const { overrides } = config
  if (overrides === 'deny') throw new GatewayError('OVERRIDE', { text: 'not allowed' })
  return overrides === 'allow' || (overrides === 'auto' && config.acl === null)
}

/** No such item, or one that is not theirs: both are "no profile". */
async function profileItem(session: VesSession, uri: string): Promise<VesItem> {
  try {
    return await session.item(uri)
  } catch (error) {
    if (error instanceof GatewayError && (error.code === 'VES_NOT_FOUND' || error.code === 'VES_DENIED')) {
      throw new GatewayError('PROFILE_INVALID', { where: error.code }, error)
    }
    throw error
  }
}
