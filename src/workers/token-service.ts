/**
 * The `token` question of a session: access tokens by `net/oauth-tokens.ts`, and a rotated refresh token saved back to
 * the profile it came from, which is encrypted like every item.
 */
import { asGatewayError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { Secret } from '../base/secret.ts'
import { parseAccountName } from '../engine/account-name.ts'
import type { AnswerOf, AskOf } from '../engine/session.ts'
import type { OAuthTokens } from '../net/oauth-tokens.ts'
import type { UpstreamOptions } from '../net/upstream.ts'
import type { VesSession } from '../ves/client/ves-client.ts'
import type { LoggedIn } from './login.ts'

export interface TokenServiceParts {
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
  const rotated = async (password: Secret<string>): Promise<void> => {
    try {
      const { profileUri } = parseAccountName(account.name, parts.domain)
      if (profileUri !== null) await savePassword(session, profileUri, endpoint, password)
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
  return { token: await parts.tokens.token({ endpoint, upstream: parts.upstream, rotated }) }
}

async function savePassword(
  session: VesSession,
  uri: string,
  old: Secret<string>,
  password: Secret<string>,
): Promise<void> {
  const item = await session.item(uri)
  const profile = JSON.parse(item.value.expose().toString('utf8')) as Record<string, unknown>
  let isChanged = false
  for (const name of ['imap', 'smtp']) {
    const server = profile[name] as Record<string, unknown> | null | undefined
    // Another value: the user has changed it meanwhile.
    if (server?.password !== old.expose()) continue
    server.password = password.expose()
    isChanged = true
  }
  if (!isChanged) return
  const value = new Secret(Buffer.from(JSON.stringify(profile)))
  await session.putItem(uri, { type: item.type, meta: item.meta, value })
}
