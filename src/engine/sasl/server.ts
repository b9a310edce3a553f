/**
 * Server side of SASL (RFC 4422) as both proxies speak it to mail clients: PLAIN (RFC 4616), LOGIN, XOAUTH2 and
 * OAUTHBEARER (RFC 7628). Only the exchange is here: base64 responses in, challenges and at last credentials out.
 * Whether they are right, the `login` question tells.
 */
import { GatewayError } from '../../base/errors.ts'
import { Secret } from '../../base/secret.ts'
import { decodeBase64, encodeBase64 } from './base64.ts'
import type { Credentials } from './credentials.ts'

export type ServerMechanism = 'PLAIN' | 'LOGIN' | 'XOAUTH2' | 'OAUTHBEARER'

export type SaslServerStep =
  /** To be sent as `334 ` or `+ ` and this. */
  { readonly is: 'challenge'; readonly base64: string } | { readonly is: 'done'; readonly credentials: Credentials }

export interface SaslServer {
  /**
   * @param initial the initial response in base64, `=` for an empty one; null when the client sent none
   * @throws GatewayError SASL_CANCELLED for `*`, SYNTAX for bad base64, SASL_SEQUENCE for anything else
   */
  start(initial: string | null): SaslServerStep
  /** The line after a challenge. Throws as {@link start}; the exchange is over then. */
  next(response: string): SaslServerStep
}

/** Mechanisms to offer, in this order; the OAuth ones only where an `oauth-key` can open their tokens. */
export function serverMechanisms(oauth: boolean): readonly ServerMechanism[] {
  return oauth ? ['PLAIN', 'LOGIN', 'XOAUTH2', 'OAUTHBEARER'] : ['PLAIN', 'LOGIN']
}

/** @param name as the client wrote it, any case. @returns null for a mechanism that is not offered */
export function saslServer(name: string, oauth: boolean): SaslServer | null {
  switch (serverMechanisms(oauth).find((mechanism) => mechanism === name.toUpperCase())) {
    case 'PLAIN':
      return new SingleResponse(plainCredentials)
    case 'LOGIN':
      return new LoginServer()
    case 'XOAUTH2':
      return new SingleResponse(xoauth2Credentials)
    case 'OAUTHBEARER':
      return new SingleResponse(oauthBearerCredentials)
    case undefined:
      return null
  }
}

/** A mechanism whose one response says all. */
class SingleResponse implements SaslServer {
  readonly #read: (response: Buffer) => Credentials

  constructor(read: (response: Buffer) => Credentials) {
    this.#read = read
  }

  start(initial: string | null): SaslServerStep {
    return initial === null ? { is: 'challenge', base64: '' } : this.next(initial)
  }

  next(response: string): SaslServerStep {
    return { is: 'done', credentials: this.#read(readResponse(response)) }
  }
}

/** LOGIN has no RFC; draft-murchison-sasl-login: user name, then password, each to a prompt that clients ignore. */
class LoginServer implements SaslServer {
  #account: string | null = null

  start(initial: string | null): SaslServerStep {
    return initial === null ? { is: 'challenge', base64: encodeBase64('Username:') } : this.next(initial)
  }

  next(response: string): SaslServerStep {
    const octets = readResponse(response)
    if (this.#account === null) {
      this.#account = accountText(octets)
      return { is: 'challenge', base64: encodeBase64('Password:') }
    }
    return { is: 'done', credentials: { account: this.#account, password: new Secret(octets) } }
  }
}

function readResponse(line: string): Buffer {
  if (line === '*') throw new GatewayError('SASL_CANCELLED')
  return line === '=' ? Buffer.alloc(0) : decodeBase64(line)
}

/** message = [authzid] UTF8NUL authcid UTF8NUL passwd (RFC 4616 §2) */
function plainCredentials(octets: Buffer): Credentials {
  const first = octets.indexOf(0)
  const second = first < 0 ? -1 : octets.indexOf(0, first + 1)
  if (second < 0 || octets.indexOf(0, second + 1) >= 0) throw new GatewayError('SASL_SEQUENCE', { reason: 'PLAIN' })
  const account = accountText(octets.subarray(first + 1, second))
  const authzid = octets.subarray(0, first)
  // To act as somebody else is nothing we could check; most clients leave it empty, some repeat the name.
  if (authzid.length > 0 && authzid.toString('utf8') !== account) {
    throw new GatewayError('SASL_SEQUENCE', { reason: 'authorization identity' })
  }
  return { account, password: new Secret(Buffer.from(octets.subarray(second + 1))) }
}

/** `user=` name ^A `auth=Bearer ` token ^A ^A */
function xoauth2Credentials(octets: Buffer): Credentials {
  const fields = octets.toString('utf8').split('\x01')
  const user = fields.find((field) => field.startsWith('user='))
  if (user === undefined) throw new GatewayError('SASL_SEQUENCE', { reason: 'XOAUTH2' })
  return bearerCredentials(user.slice(5), fields)
}

/** gs2-header kvsep *kvpair kvsep; gs2-header = `n,` [`a=` authzid] `,` (RFC 7628 §3.1) */
function oauthBearerCredentials(octets: Buffer): Credentials {
  const fields = octets.toString('utf8').split('\x01')
  const header = /^[ny],a=([^,]*),$/.exec(fields[0] ?? '')
  if (header === null) throw new GatewayError('SASL_SEQUENCE', { reason: 'OAUTHBEARER' })
  return bearerCredentials(header[1]!.replaceAll('=2C', ',').replaceAll('=3D', '='), fields)
}

function bearerCredentials(account: string, fields: readonly string[]): Credentials {
  const auth = fields.find((field) => field.startsWith('auth='))
  // The scheme's case is free (RFC 6750 §2.1, RFC 9110 §11.1).
  const token = /^auth=bearer +(\S+)$/i.exec(auth ?? '')?.[1]
  if (token === undefined) throw new GatewayError('SASL_SEQUENCE', { reason: 'bearer token' })
  return { account: accountText(Buffer.from(account, 'utf8')), password: new Secret(Buffer.from(token)), bearer: true }
}

function accountText(octets: Buffer): string {
  const text = octets.toString('utf8')
  if (text === '' || text.includes('\ufffd')) throw new GatewayError('SASL_SEQUENCE', { reason: 'account name' })
  return text
}
