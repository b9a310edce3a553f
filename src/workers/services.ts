/**
 * The answers to a session's questions, over the key repository: who logs in, who can be written to, which key a
 * message has. One object per session; it holds the unlocked vault, which the session itself never sees.
 */
import type { Service } from '../base/config/config-file.ts'
import { GatewayError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { SealMode } from '../engine/account.ts'
import { vesUri } from '../engine/account-name.ts'
import { viewerUrlOf } from '../engine/seal/banner.ts'
import type { BatchJob, BatchResult } from '../engine/seal/batch.ts'
import type { AnswerOf, AskOf } from '../engine/session.ts'
import type { Services } from '../net/drive.ts'
import type { OAuthTokens } from '../net/oauth-tokens.ts'
import type { UpstreamOptions } from '../net/upstream.ts'
import type { Recipient, RecipientRule, VesSession } from '../ves/client/ves-client.ts'
import type { Tenant } from './listener.ts'
import type { LoggedIn, Login } from './login.ts'
import type { Metrics } from './metrics.ts'
import type { SizeStore } from './size-store.ts'
import { accessToken } from './token-service.ts'

export interface ServiceParts {
  readonly service: Service
  /** Of vaults and items. */
  readonly domain: string
  readonly login: Login
  /** As chosen by the client's handshake so far. */
  readonly tenant: () => Tenant
  readonly batch: (job: BatchJob, signal: AbortSignal) => Promise<BatchResult>
  readonly metrics: Metrics
  readonly log: Log
  readonly tokens: OAuthTokens
  readonly sizes: SizeStore
  readonly upstream: UpstreamOptions
  /** Told once, when the client has proved who it is. Throws to refuse (session limits, abuse protection). */
  readonly admitted: (loggedIn: LoggedIn) => Promise<void>
}

/** Recipients looked up at a time: a message for a thousand must not fill the repository's connections. */
const LOOKUPS_AT_ONCE = 8

export function sessionServices(parts: ServiceParts): Services {
  let loggedIn: LoggedIn | null = null
  const vault = (): VesSession => {
    if (loggedIn === null) throw new Error('a question before login')
    return loggedIn.session
  }
  return {
    login: async (ask) => {
      const found = await parts.metrics.timed('login', parts.login.run(ask, parts.service, parts.tenant()))
      await parts.admitted(found)
      loggedIn = found
      return found.account
    },
    recipient: async ({ address, mode }) => {
      const session = vault()
      const recipient = await parts.metrics.timed('recipient', session.recipient(address, ruleOf(mode)))
      if (recipient === null) throw new GatewayError('RECIPIENT_WITHOUT_VAULT')
      if (mode === 'FALLBACK' && (await session.itemExists(vesUri(parts.domain, `${address}!plain`)))) {
        throw new GatewayError('RECIPIENT_WITHOUT_VAULT', { reason: 'wants plaintext' })
      }
      return { uri: recipient.uri }
    },
    'seal-key': async (ask) => {
      if (loggedIn === null) throw new Error('a question before login')
      const answer = await parts.metrics.timed('seal-key', sealKey(ask, loggedIn))
      parts.metrics.sealed(parts.service)
      parts.log.write('info', 'sealed', {
        id: ask.messageId,
        item: answer.uri,
        recipients: answer.recipients,
        keyIds: answer.keyIds.map(String),
      })
      return { key: answer.key, uri: answer.uri, xchg: answer.xchg, verify: answer.verify }
    },
    'open-key': async ({ messageId, xchg }) => {
      const key = await parts.metrics.timed('open-key', vault().messageKey(messageId, xchg))
      parts.metrics.opened(parts.service)
      return { key }
    },
    batch: parts.batch,
    sizes: async (ask) => {
      if (loggedIn === null) throw new Error('a question before login')
      return parts.sizes.answer(ask, loggedIn.account)
    },
    token: async (ask) => {
      if (loggedIn === null) throw new Error('a question before login')
      return accessToken(ask, loggedIn, parts)
    },
  }
}

function ruleOf(mode: SealMode): RecipientRule {
  if (mode === 'REJECT') return 'account'
  return mode === 'XCHG' || mode === 'HIGH' ? 'anyone' : 'vault'
}

type SealedFor = AnswerOf<'seal-key'> & { readonly recipients: readonly string[]; readonly keyIds: readonly number[] }

/** Fails when one recipient or auditor fails: nobody is ever left out in silence. */
async function sealKey(ask: AskOf<'seal-key'>, { session, account }: LoggedIn): Promise<SealedFor> {
  const rule = ruleOf(ask.mode)
  const names = new Map(ask.headerRecipients.map(({ address, name }) => [address, name]))
  const recipients = await lookUp(ask.recipients, async (address) => {
    const recipient = await session.recipient(address, rule, names.get(address) ?? null)
    if (recipient === null) throw new GatewayError('RECIPIENT_WITHOUT_VAULT', { address })
    return recipient
  })
  const auditors = await lookUp(account.settings.audit, (name) => session.vault(name))
  const submitted = ask.recipients.length > 0
  const { viewerUrl } = account.settings
  const created = await session.createMessageKey(ask.messageId, [...recipients, ...auditors], {
    xchg: submitted && ask.mode !== 'HIGH',
    viewerUrl: viewerUrl === null ? null : viewerUrlOf(viewerUrl, ask.messageId),
  })
  const wantsVerify = submitted && account.settings.verifyHeader
  return {
    key: created.key,
    uri: created.uri,
    xchg: submitted ? created.xchg : null,
    verify: wantsVerify ? (await session.verifyToken(created.itemId)).expose() : null,
    recipients: [...recipients, ...auditors].map((one) => one.uri),
    keyIds: created.keyIds,
  }
}

/** In order; the first failure is the outcome. */
async function lookUp(names: readonly string[], find: (name: string) => Promise<Recipient>): Promise<Recipient[]> {
  const found: Recipient[] = new Array(names.length)
  let next = 0
  const worker = async (): Promise<void> => {
    for (let i = next++; i < names.length; i = next++) found[i] = await find(names[i]!)
  }
  await Promise.all(Array.from({ length: Math.min(LOOKUPS_AT_ONCE, names.length) }, worker))
  return found
}
