/**
 * The probe (now.md): someone who sets up a profile tries it before it is kept. A real provider login, its dialogue
 * streamed as it goes; the guard against inner networks is in force, and failures count as those of the proxies do.
 */

import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { duplexPair } from 'node:stream'
import { asGatewayError, GatewayError } from '../base/errors.ts'
import type { Secret } from '../base/secret.ts'
import { ImapProbe } from '../engine/imap/imap-probe.ts'
import type { Session, SessionStart } from '../engine/session.ts'
import { SmtpProbe } from '../engine/smtp/smtp-probe.ts'
import { Drive, type Services } from '../net/drive.ts'
import type { HttpResponse } from '../net/http.ts'
import { failure, plain } from '../net/now/answers.ts'
import type { NowAsk } from '../net/now/ask.ts'
import type { ApiConnection } from '../ves/client/api-connection.ts'
import { parseVesUri } from '../ves/uri.ts'
import type { NowConnection } from './now-server.ts'
import { parseProfile } from './profile.ts'
import type { Protection } from './protection.ts'
import type { SessionLog } from './session-log.ts'

/** Below this the door is shut for probes too, which many use to find their way. */
const ABUSE_FLOOR = -3600

export interface ProbeParts {
  readonly api: ApiConnection
  readonly domain: string
  readonly protection: Protection
  readonly start: SessionStart
  readonly log: SessionLog
  /** Counts a visitor whom abuse protection turns away. */
  readonly refused: () => void
  readonly token: Services['token']
}

/** The checks stand in the order that now.md gives. */
export async function probe(
  { protocol, server, token }: Extract<NowAsk, { kind: 'probe' }>,
  { client, tenant, upstream }: NowConnection,
  parts: ProbeParts,
): Promise<HttpResponse> {
  const { config } = tenant()
  const { protection, log, start } = parts
  const isProtected = config['abuse-sense'] > 0
  const peerLeft = isProtected ? await protection.remaining('peer', client.address) : 0
  if (peerLeft < ABUSE_FLOOR) return turnedAway(parts)
  if (token === null) return plain(401, 'A session token is required')
  const user = await userOf(token, parts).catch((error: unknown) => failure(asGatewayError(error), 502))
  if (typeof user !== 'string') return user
  if (config.acl !== null && !(await isListed(config.acl, token, parts)))
    return failure(new GatewayError('ACCESS_DENIED'), 403)
  if (protocol === null) return plain(400, 'imap or smtp is expected in probe')
  if (server === null) return plain(400, `probe.${protocol}: host and port of the server are expected`)
  log.user(user, user)
  const userLeft = isProtected ? await protection.remaining('account', user) : 0
  if (userLeft < ABUSE_FLOOR) return turnedAway(parts)
  let session: Session
  try {
    const { profile } = parseProfile(Buffer.from(JSON.stringify({ [protocol]: server })))
    session = protocol === 'imap' ? new ImapProbe(start, profile.imap!) : new SmtpProbe(start, profile.smtp!)
  } catch (error) {
    return failure(asGatewayError(error), 400)
  }
  const [inner, outer] = duplexPair()
  const drive = new Drive({
    session,
    client: Object.assign(inner, { setNoDelay: () => inner }) as unknown as Socket,
    services: { ...NO_SERVICES, ...(parts.token === undefined ? {} : { token: parts.token }) },
    log,
    clientTls: null,
    upstream,
    showsCertificates: true,
  })
  void drive.ended.then((end) => log.ended(end))
  drive.start()
  return {
    status: 200,
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      'x-vesmail-abuse': String(isProtected ? Math.min(peerLeft, userLeft) : 0),
    },
    body: dialogue(outer),
  }
}

/** Not asked by a probe: it logs in to a provider and does nothing there. */
const NO_SERVICES: Services = {
  login: refuse,
  recipient: refuse,
  'seal-key': refuse,
  'open-key': refuse,
  batch: refuse,
}

async function refuse(): Promise<never> {
  throw new GatewayError('INTERNAL', { reason: 'a probe asks for nothing' })
}

function turnedAway({ refused }: ProbeParts): HttpResponse {
  refused()
  return failure(new GatewayError('ABUSE'), 503)
}

async function* dialogue(outer: Duplex): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of outer) yield chunk as Buffer
  } finally {
    // The visitor left: the provider is let go at once.
    outer.destroy()
  }
}

async function userOf(token: Secret<string>, { api }: ProbeParts): Promise<string> {
  const { result } = await api.request({ path: 'me?fields=id,email', bearer: token })
  if (typeof result.email !== 'string') throw new GatewayError('VES_PARSE', { reason: 'no user' })
  return result.email
}

async function isListed(acl: string, bearer: Secret<string>, { api, domain }: ProbeParts): Promise<boolean> {
  const list = parseVesUri(acl, domain)
  if (list.kind !== 'item') throw new GatewayError('VES_PARAMETER', { text: 'the access list is no item' })
  const { result } = await api.request({
    path: 'vaultItems?fields=id,vaultEntries(id)',
    body: { file: { externals: [{ domain: list.domain, externalId: list.externalId }] }, $op: 'fetch' },
    bearer,
    repeatable: true,
  })
  return Array.isArray(result.vaultEntries) && result.vaultEntries.length > 0
}
