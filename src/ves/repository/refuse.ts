/** The refusals of the API, and how each looks on the wire: C judges by the status, JavaScript by `errors[0].type`. */
import { asGatewayError, type FaultCode, GatewayError } from '../../base/errors.ts'
import type { ApiResponse } from './api.ts'

/** @param what `vaultKey`, `vaultItem`, … */
export function notFound(what: string): GatewayError {
  return new GatewayError('VES_NOT_FOUND', { text: what })
}

export function denied(why: string): GatewayError {
  return new GatewayError('VES_DENIED', { text: why })
}

/** @param why names the place, never the value */
export function invalid(why: string): GatewayError {
  return new GatewayError('API_INVALID', { text: why })
}

export function quota(why: string): GatewayError {
  return new GatewayError('VES_QUOTA', { text: why })
}

export function noSession(why = 'Authorization needed'): GatewayError {
  return new GatewayError('API_SESSION', { text: why })
}

/** Type, and the number that our clients may log; the numbers are libVES's own error codes where there is one. */
const TYPES: Partial<Record<FaultCode, readonly [type: string, status: number]>> = {
  VES_NOT_FOUND: ['NotFound', 404],
  VES_DENIED: ['Unauthorized', 403],
  API_SESSION: ['Unauthorized', 401],
  API_INVALID: ['InvalidValue', 400],
  API_METHOD: ['InvalidValue', 405],
  API_TOO_LARGE: ['InvalidValue', 413],
  API_UNSUPPORTED: ['Unsupported', 501],
  VES_QUOTA: ['Quota', 503],
  SHUTDOWN: ['Quota', 503],
}

/** A failure as the client sees it: what is not the client's business is said to be ours, without detail. */
export function failureAnswer(thrown: unknown): ApiResponse {
  const error = asGatewayError(thrown)
  const [type, status] = TYPES[error.code] ?? ['Server', 500]
  const text = TYPES[error.code] === undefined ? 'Internal error' : error.detail.text
  const message = typeof text === 'string' ? text : error.fault.text
  return { status, body: { errors: [{ number: status, type, message }] } }
}
