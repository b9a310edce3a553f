/** Base64 as SASL exchanges carry it (RFC 4648 §4): strict, since Buffer's decoder skips whatever it does not know. */
import { GatewayError } from '../../base/errors.ts'

const STRICT = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** @throws GatewayError SYNTAX */
export function decodeBase64(text: string): Buffer {
  if (!STRICT.test(text)) throw new GatewayError('SYNTAX', { reason: 'base64' })
  return Buffer.from(text, 'base64')
}

export function encodeBase64(octets: Buffer | string): string {
  return (typeof octets === 'string' ? Buffer.from(octets, 'utf8') : octets).toString('base64')
}
