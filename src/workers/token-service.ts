/**
 * The `token` question of a session: access tokens by `net/oauth-tokens.ts`, and a rotated refresh token saved back to
 * the profile it came from, which is encrypted like every item.
 */
import type { Service } from '../base/config/config-file.ts'
import { asGatewayError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { Secret } from '../base/secret.ts'
import { parseAccountName } from '../engine/account-name.ts'
import type { AnswerOf, AskOf } from '../engine/session.ts'
import type { OAuthTokens } from '../net/oauth-tokens.ts'
import type { UpstreamOptions } from '../net/upstream.ts'
import type { VesItem, VesSession } from '../ves/client/ves-client.ts'
import type { LoggedIn } from './login.ts'

export interface TokenServiceParts {
  readonly service: Service
  readonly tokens: OAuthTokens
  readonly upstream: UpstreamOptions
  readonly domain: string
  readonly log: Log
}

export async function accessToken(
  { endpoint }: AskOf<'token'>,
  { account, session }: LoggedIn,
  parts: TokenServiceParts,
): Promise<AnswerOf<'token'>> {
  const rotated = async (password: Secret<string>, before: Secret<string>): Promise<void> => {
    try {
      const { profileUri } = parseAccountName(account.name, parts.domain)
      if (profileUri !== null) await savePassword(session, profileUri, before, password)
      parts.log.write('info', 'refresh token', { result: 'saved', account: account.name })
    } catch (error) {
      // This process goes on with the new one; after a restart the user may have to log in at the provider again.
      parts.log.write('error', 'refresh token', {
        result: 'not saved',
        account: account.name,
        code: asGatewayError(error).code,
      })
    }
  }
  const current = async (): Promise<Secret<string> | null> => {
    try {
      const { profileUri } = parseAccountName(account.name, parts.domain)
      if (profileUri === null) return null
      const profile = profileOf(await session.item(profileUri, { fresh: true }))
      const password = serverOf(profile, parts.service === 'smtp' ? 'smtp' : 'imap')?.password
      return typeof password === 'string' ? new Secret(password) : null
    } catch (error) {
      parts.log.write('warn', 'refresh token', { result: 'profile not read again', code: asGatewayError(error).code })
      return null
    }
  }
  return { token: await parts.tokens.token({ endpoint, upstream: parts.upstream, rotated, current }) }
}

function profileOf(item: VesItem): Record<string, unknown> {
  const profile: unknown = JSON.parse(item.value.expose().toString('utf8'))
  return typeof profile === 'object' && profile !== null ? (profile as Record<string, unknown>) : {}
}

function serverOf(profile: Record<string, unknown>, name: string): Record<string, unknown> | null {
  const server = profile[name]
  return typeof server === 'object' && server !== null ? (server as Record<string, unknown>) : null
}

async function savePassword(
  session: VesSession,
  uri: string,
  old: Secret<string>,
  password: Secret<string>,
): Promise<void> {
  const item = await session.item(uri, { fresh: true })
  const profile = profileOf(item)
  let isChanged = false
  for (const name of ['imap', 'smtp']) {
    const server = serverOf(profile, name)
    // Another value: the user has changed it meanwhile.
    if (server?.password !== old.expose()) continue
    server.password = password.expose()
    isChanged = true
  }
  if (!isChanged) return
  const value = new Secret(Buffer.from(JSON.stringify(profile)))
  // A new version is shared with whom it names only; the user's other vaults and helpers keep theirs.
  const shareWith = await session.holders(uri)
  await session.putItem(uri, { type: item.type, meta: item.meta, value, shareWith })
}
