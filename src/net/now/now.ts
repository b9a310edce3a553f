/**
 * The HTTP side next to the proxies ("now", now.md): which request is answered how. Each answer's work is in a file of
 * its own; what it needs from outside comes with {@link NowParts}.
 */

import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { ApiAnswer, ApiRequest } from '../../ves/client/api-connection.ts'
import type { HttpHead, HttpRequest, HttpResponse } from '../http.ts'
import { failure, json, plain, withHeaders } from './answers.ts'
import { type NowAsk, parseAsk } from './ask.ts'
import { type SealedAnswer, type SpoolReaders, sendOpened, sendSealed } from './download.ts'
import { passToRepository, REPOSITORY_PATH } from './repository-way.ts'
import { type UploadParts, upload } from './upload.ts'
import type { Viewer } from './viewer.ts'

/** JSON bodies: a VESkey, two ids and provider settings. */
export const MAX_JSON_OCTETS = 32 * 1024

export interface NowParts {
  /** TLS from the first octet or by SNI: secrets are taken over nothing else. */
  readonly isSecure: boolean
  /** `now.headers`, in order. */
  readonly headers: readonly (readonly [string, string])[]
  /** What `GET /ves.json` answers; null: 404. */
  readonly manifest: string | null
  /** Where `GET /e2e/…` leads; null: 404. */
  readonly e2eUrl: string | null
  /** PEM of the OAuth public key; null: 404. */
  readonly oauthKey: string | null
  /** The viewer's files by path below `/now/`; null where it is not there. */
  readonly viewer: Viewer | null
  /** The viewer's way to the key repository; null where it is not there. */
  readonly repository: ((request: ApiRequest) => Promise<ApiAnswer>) | null
  /** null: nothing is spooled here. */
  readonly spool: (SpoolReaders & UploadParts) | null
  readonly log: Log
}

/** Of answers that do not say otherwise: what is secret stays in no cache, nothing is run or framed. */
const CAREFUL = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
}
/** Of what is public and seldom changes. */
const PUBLIC = { 'cache-control': 'public, max-age=300' }

/** Tries a provider; what is asked is checked there, in now.md's order. */
export type Probe = (ask: Extract<NowAsk, { kind: 'probe' }>) => Promise<HttpResponse>

/** Who sent the request. */
export interface Visitor {
  readonly probe: Probe
  /** Abuse protection refuses this address. */
  readonly isBlocked: () => Promise<boolean>
  /** It came with a wrong VESkey. */
  readonly wrongKey: () => void
}

/** Uploads are streamed, and what goes on to the repository, which counts for itself; everything else is small. */
export function isStreamed({ method, path }: Pick<HttpHead, 'method' | 'path'>): boolean {
  return method === 'PUT' || (method === 'POST' && path.startsWith(REPOSITORY_PATH))
}

/** Never throws: what fails is an answer. */
export async function answerNow(request: HttpRequest, parts: NowParts, visitor: Visitor): Promise<HttpResponse> {
  return guarded(route(request, parts, visitor), request.path, parts)
}

async function guarded<T extends HttpResponse>(
  given: Promise<T>,
  path: string,
  parts: NowParts,
): Promise<T | HttpResponse> {
  const answer = await given.catch((thrown: unknown) => failed(thrown, path, parts))
  return finished(answer, parts)
}

function failed(thrown: unknown, path: string, { log }: NowParts): HttpResponse {
  const error = asGatewayError(thrown)
  if (error.code === 'INTERNAL') log.write('error', 'now', { path, reason: nameOf(thrown) })
  return failure(error)
}

/**
 * The answer to a POST to `/` that asks for a sealed message, at once or later; null: it asks for something else, or may
 * not ask here. The same as {@link answerNow} gives. Never throws, never rejects.
 */
export function answerSealed(body: Buffer, parts: NowParts): Promise<SealedAnswer> | SealedAnswer | null {
  if (!parts.isSecure || parts.spool === null) return null
  const ask = parseAsk(body)
  if (ask?.kind === 'opened') ask.veskey.wipe()
  if (ask?.kind !== 'sealed') return null
  try {
    const answer = sendSealed(ask.messageId, ask.token, parts.spool)
    return answer instanceof Promise ? guarded(answer, '/', parts) : finished(answer, parts)
  } catch (thrown) {
    return finished(failed(thrown, '/', parts), parts)
  }
}

/** With what every answer has: what keeps browsers from guessing and storing, and headers of the configuration. */
export function finished<T extends HttpResponse>(answer: T, { headers }: NowParts): T {
  return withHeaders(answer, CAREFUL, headers)
}

async function route(request: HttpRequest, parts: NowParts, visitor: Visitor): Promise<HttpResponse> {
  switch (request.method) {
    case 'OPTIONS':
      return { status: 200 }
    case 'GET':
    case 'HEAD':
      return request.path.startsWith(REPOSITORY_PATH) ? repository(request, parts) : get(request, parts)
    case 'PUT':
      return parts.spool === null ? plain(503, 'Nothing is spooled here') : upload(request, parts.spool)
    case 'POST':
      return request.path.startsWith(REPOSITORY_PATH) ? repository(request, parts) : post(request, parts, visitor)
    default:
      return notAllowed('GET, HEAD, OPTIONS, POST, PUT')
  }
}

/** @param allow RFC 9110 §15.5.6: what this path would take */
function notAllowed(allow: string): HttpResponse {
  return plain(405, 'Method not allowed', { allow })
}

/** What is the same for everyone, always; null: it is not. */
export function publicAnswer(path: string, parts: NowParts): HttpResponse | null {
  if (path === '/ves.json') {
    return parts.manifest === null ? plain(404, 'No manifest') : json(200, parts.manifest, PUBLIC)
  }
  if (!path.startsWith('/oauth')) return null
  if (parts.oauthKey === null) return plain(404, 'No OAuth key')
  return { status: 200, headers: { 'content-type': 'application/x-pem-file', ...PUBLIC }, body: parts.oauthKey }
}

function get({ path, query }: HttpRequest, parts: NowParts): HttpResponse {
  const known = publicAnswer(path, parts)
  if (known !== null) return known
  if (path.startsWith('/e2e/')) {
    if (parts.e2eUrl === null) return plain(404, 'Not configured')
    const target = parts.e2eUrl + path.slice('/e2e/'.length) + (query === '' ? '' : `#${query}`)
    return { status: 302, headers: { location: target } }
  }
  // A WebSocket's path without the upgrade.
  if (path.startsWith('/ws/')) return plain(426, 'A WebSocket is expected here', { upgrade: 'websocket' })
  if (path.startsWith('/now/')) {
    if (parts.viewer === null) return plain(404, 'Not found')
    // The page takes secrets, and browsers give it no cryptography without TLS.
    if (!parts.isSecure) return plain(426, 'TLS is required', { upgrade: 'TLS/1.2' })
    return parts.viewer(path.slice('/now/'.length), query) ?? plain(404, 'Not found')
  }
  return notAllowed('OPTIONS, POST, PUT')
}

async function repository(request: HttpRequest, parts: NowParts): Promise<HttpResponse> {
  if (parts.repository === null) return plain(404, 'Not found')
  if (!parts.isSecure) return plain(426, 'TLS is required', { upgrade: 'TLS/1.2' })
  return passToRepository(request, parts.repository)
}

async function post(request: HttpRequest, parts: NowParts, visitor: Visitor): Promise<HttpResponse> {
  const ask = parseAsk(request.body)
  if (ask === null) return plain(400, 'A JSON object with messageId and token, or with probe, is expected')
  // Before anything else is looked at: whoever sent a secret in plaintext shall stop.
  if (!parts.isSecure) return plain(426, 'TLS is required', { upgrade: 'TLS/1.2' })
  switch (ask.kind) {
    case 'probe':
      return visitor.probe(ask)
    case 'sealed':
      return parts.spool === null
        ? plain(404, 'Nothing is spooled here')
        : sendSealed(ask.messageId, ask.token, parts.spool)
    case 'opened':
      if (request.path !== '/') return notAllowed('GET, HEAD, OPTIONS, POST, PUT')
      return parts.spool === null ? plain(404, 'Nothing is spooled here') : opened(ask, parts.spool, visitor)
  }
}

/** Whoever guesses VESkeys is counted and stopped as by the proxies. */
async function opened(
  ask: Extract<NowAsk, { kind: 'opened' }>,
  spool: SpoolReaders,
  visitor: Visitor,
): Promise<HttpResponse> {
  if (await visitor.isBlocked()) return failure(new GatewayError('ABUSE'), 503)
  const answer = await sendOpened(ask, spool)
  if (answer.status === 401) visitor.wrongKey()
  return answer
}

function nameOf(thrown: unknown): string {
  return thrown instanceof Error ? `${thrown.name} ${thrown.stack?.split('\n')[1]?.trim() ?? ''}` : typeof thrown
}
