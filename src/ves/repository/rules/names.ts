/** Who may have which external id (key-repository.md §1, §3): nobody may take a name that is someone else's address. */

import { GatewayError } from '../../../base/errors.ts'
import { denied, invalid } from '../refuse.ts'
import type { Settings } from '../settings.ts'
import { externalsOfKeys } from '../store/keys.ts'
import type { Db } from '../store/schema.ts'
import { userByEmail } from '../store/users.ts'

export interface Name {
  readonly domain: string
  readonly externalId: string
}

/** Who acts, also where no session does it (an account being made). */
export interface Actor {
  readonly userId: number
  /** Lower case. */
  readonly email: string
}

/** Domains of the repository itself: one vault per address, of whoever owns the address. */
const OWN_DOMAINS = ['.admin', '.propagate']

function isFree(domain: string): boolean {
  return domain === 'demo' || domain.startsWith('x-')
}

/** `jane@x.org` of `jane@x.org!section` and `jane@x.org#p1`; null where no address begins the name. */
export function addressOf(externalId: string): string | null {
  const head = /^[^!#]+/.exec(externalId)?.[0] ?? ''
  return head.includes('@') ? head.toLowerCase() : null
}

/** `jane@x.org!section`: its sessions only read. */
export function isSection(externalId: string): boolean {
  const mark = externalId.indexOf('!')
  return mark > 0 && mark < externalId.length - 1
}

export async function isSectionKey(db: Db, keyId: number): Promise<boolean> {
  const names = (await externalsOfKeys(db, [keyId])).get(keyId) ?? []
  return names.some((name) => isSection(name.external_id))
}

/** @throws GatewayError VES_DENIED, API_UNSUPPORTED */
export function checkVaultName(settings: Settings, name: Name, owner: string): void {
  checkPlain(name)
  const { domain, externalId } = name
  if (!OWN_DOMAINS.includes(domain) && !isFree(domain) && !settings.domains.includes(domain)) {
    throw denied('domain not registered')
  }
  if (externalId.startsWith('!'))
    throw new GatewayError('API_UNSUPPORTED', { text: 'anonymous vaults are not supported' })
  const address = addressOf(externalId)
  if (address === null ? !isFree(domain) : address !== owner.toLowerCase()) throw denied('not your address')
}

/** @param owner address of whom the temp key stands for */
export function checkTempName(settings: Settings, name: Name, owner: string): void {
  if (OWN_DOMAINS.includes(name.domain)) throw denied('no temp keys in this domain')
  checkVaultName(settings, name, owner)
}

/** Message ids are anybody's; a profile or anything else named after an address is its owner's, once they have an account. */
export async function checkItemName(db: Db, settings: Settings, name: Name, actor: Actor): Promise<void> {
  checkPlain(name)
  if (!isFree(name.domain) && !settings.domains.includes(name.domain)) throw denied('domain not registered')
  if (!/[!#]/.test(name.externalId)) return
  const address = addressOf(name.externalId)
  if (address === null || address === actor.email) return
  const owner = await userByEmail(db, address)
  if (owner?.account === 1) throw denied('named after the address of someone else')
}

function checkPlain(name: Name): void {
  if (/[\x00-\x1f\x7f]/.test(name.domain + name.externalId)) throw invalid('externals: control characters')
}
