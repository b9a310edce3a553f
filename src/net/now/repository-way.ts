/**
 * The viewer's way to the key repository: `/now/api/…` is passed on, so that the page needs no other origin, and works
 * where the repository is on a network of ours. What goes through is what a browser may send to the repository anyway:
 * sealed keys, tokens, ids.
 *
 * Rule: only what the viewer needs. The administrator's requests are not among it, nor is their token passed on.
 */
import { asGatewayError, type FaultCode, GatewayError } from '../../base/errors.ts'
import { Secret } from '../../base/secret.ts'
import type { ApiAnswer, ApiRequest } from '../../ves/client/api-connection.ts'
import type { HttpRequest, HttpResponse } from '../http.ts'
import { json } from './answers.ts'

export const REPOSITORY_PATH = '/now/api/'

/** Sixteen entries for ML-KEM-1024 keys are 40 KiB. */
const MAX_BODY_OCTETS = 256 * 1024
/** Of all requests that are on their way in: many, from many addresses, shall not fill the memory. */
const MAX_HELD_OCTETS = 64 * 1024 * 1024
let heldOctets = 0
const BY_SESSION = /^(?:vaultKeys|vaultItems|users|files)(?:\/\d{1,16})?$|^(?:me|attn)$/
/** What one asks who has no session yet; a token here would be the administrator's. */
const BY_STRANGERS = /^(?:onboarding|accounts)$/

/** What is refused here. */
const OURS: Partial<Record<FaultCode, number>> = { API_TOO_LARGE: 413, API_INVALID: 400, TOO_MANY: 503 }

/** Passes one request on; what fails is an answer in the repository's form. */
export async function passToRepository(
  request: HttpRequest,
  ask: (request: ApiRequest) => Promise<ApiAnswer>,
): Promise<HttpResponse> {
  try {
    const { result, attn } = await ask(await apiRequest(request))
    return answer(200, { result, ...(attn === null ? {} : { attn }) })
  } catch (thrown) {
    const error = asGatewayError(thrown)
    const { status, type, message } = error.detail
    if (error.code === 'INTERNAL') throw thrown
    // What the repository said, in its words; else trouble on the way to it.
    const said = typeof status === 'number' && typeof type === 'string' && status >= 400
    return answer(said ? status : (OURS[error.code] ?? 502), {
      errors: [{ number: 0, type: said ? type : 'Server', message: typeof message === 'string' ? message : '' }],
    })
  }
}

async function apiRequest(request: HttpRequest): Promise<ApiRequest> {
  const name = request.path.slice(REPOSITORY_PATH.length)
  const bySession = BY_SESSION.test(name)
  if (!bySession && !BY_STRANGERS.test(name)) throw new GatewayError('VES_NOT_FOUND', { status: 404, type: 'NotFound' })
  const path = request.query === '' ? name : `${name}?${request.query}`
  const token = bySession ? /^Bearer (\S{1,120})$/.exec(request.headers.authorization ?? '')?.[1] : undefined
  return {
    path,
    ...(request.method === 'POST' ? { body: await bodyOf(request) } : {}),
    ...(token === undefined ? {} : { bearer: new Secret(token) }),
    forwardedFor: request.address,
  }
}

async function bodyOf({ body, stream }: HttpRequest): Promise<Readonly<Record<string, unknown>>> {
  const parts = [body]
  let octets = body.length
  try {
    for await (const part of stream ?? []) {
      octets += part.length
      heldOctets += part.length
      if (octets > MAX_BODY_OCTETS) throw new GatewayError('API_TOO_LARGE')
      if (heldOctets > MAX_HELD_OCTETS) throw new GatewayError('TOO_MANY', { reason: 'bodies for the repository' })
      parts.push(part)
    }
  } finally {
    heldOctets -= octets - body.length
  }
  try {
    const parsed: unknown = JSON.parse(Buffer.concat(parts).toString('utf8'))
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return { ...parsed }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new GatewayError('API_INVALID', { text: 'a JSON object is expected' })
}

function answer(status: number, value: unknown): HttpResponse {
  const { headers, ...rest } = json(status, JSON.stringify(value))
  return { ...rest, headers: { ...headers, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } }
}
