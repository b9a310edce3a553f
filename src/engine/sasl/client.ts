/**
 * Client side of SASL towards the provider, shared by both proxies: PLAIN, LOGIN, XOAUTH2, OAUTHBEARER and
 * SCRAM-SHA-256(-PLUS). Only the exchange; who carries it (`334`, `+`) is the protocol's matter.
 */
import { GatewayError } from '../../base/errors.ts'
import type { Secret } from '../../base/secret.ts'
import { decodeBase64, encodeBase64 } from './base64.ts'
import { ScramClient } from './scram-client.ts'

export interface ProviderCredentials {
  readonly login: string
  /** The password; for the OAuth mechanisms the access token. */
  readonly password: Secret<string>
  /** For OAUTHBEARER. */
  readonly host: string
  readonly port: number
}

/** What binds an exchange to its TLS connection (RFC 5056). */
export interface ChannelBinding {
  readonly name: 'tls-exporter'
  readonly data: Buffer
}

/** PBKDF2-HMAC-SHA-256, 32 octets: takes long enough to be done off the event loop, so it is asked for. */
export interface DeriveKeyAsk {
  readonly password: Secret<Buffer>
  readonly salt: Buffer
  readonly iterations: number
}

export type SaslClientStep =
  /** To be sent as it stands, base64 or empty. */
  | { readonly do: 'respond'; readonly base64: string }
  /** Ask the `derive-key` question and bring its answer to {@link SaslClient.derived}. */
  | { readonly do: 'derive-key'; readonly ask: DeriveKeyAsk }

export interface SaslClient {
  readonly mechanism: ClientMechanism
  /** Initial response in base64, `''` for an empty one; null: the provider speaks first. */
  readonly initial: string | null
  /** The provider's challenge in base64. @throws GatewayError SASL_SEQUENCE for one that does not belong here */
  next(challenge: string): SaslClientStep
  derived(key: Buffer): SaslClientStep
  /**
   * The provider said yes. @param data base64 that came with it, null = none
   * @throws GatewayError SASL_SEQUENCE where the provider owes a proof (SCRAM) and gave none
   */
  succeeded(data: string | null): void
}

const OAUTH = ['XOAUTH2', 'OAUTHBEARER'] as const
const PASSWORD = ['PLAIN', 'LOGIN', 'SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'] as const
export type ClientMechanism = (typeof OAUTH)[number] | (typeof PASSWORD)[number]

/** A password that is really the address where tokens are got (daemon.md §3). It is never sent as a password. */
export function isTokenEndpoint(password: Secret<string>): boolean {
  return password.expose().startsWith('https://')
}

export function isOAuth(mechanism: ClientMechanism): boolean {
  return (OAUTH as readonly string[]).includes(mechanism)
}

/**
 * @param offered  the provider's mechanisms in its order
 * @param wanted   the profile's `sasl`, exact upper case; null: the first offered one that goes with the password
 * @param bindable the connection has a channel binding
 * @throws GatewayError SASL_SEQUENCE when nothing goes
 */
export function chooseMechanism(
  offered: readonly string[],
  wanted: string | null,
  tokenEndpoint: boolean,
  bindable: boolean,
): ClientMechanism {
  const usable: readonly string[] = (tokenEndpoint ? OAUTH : [...PASSWORD, ...OAUTH]).filter(
    (mechanism) => bindable || mechanism !== 'SCRAM-SHA-256-PLUS',
  )
  if (wanted !== null) {
    if (usable.includes(wanted)) return wanted as ClientMechanism
    throw new GatewayError('SASL_SEQUENCE', { reason: 'the profile names a mechanism that cannot be used' })
  }
  const fit = offered.map((name) => name.toUpperCase()).filter((name) => usable.includes(name)) as ClientMechanism[]
  // A password is no token: such a mechanism only where there is nothing else.
  const first = tokenEndpoint ? fit[0] : (fit.find((mechanism) => !isOAuth(mechanism)) ?? fit[0])
  if (first === undefined) throw new GatewayError('SASL_SEQUENCE', { reason: 'no common mechanism' })
  // The bound form of the same mechanism proves more, and a list without it may be an attacker's (RFC 5802 §6).
  return first === 'SCRAM-SHA-256' && fit.includes('SCRAM-SHA-256-PLUS') ? 'SCRAM-SHA-256-PLUS' : first
}

/**
 * @param binding the connection's, null where it has none
 * @param nonce   random octets for SCRAM, at least 18
 */
export function saslClient(
  mechanism: ClientMechanism,
  credentials: ProviderCredentials,
  binding: ChannelBinding | null,
  nonce: Buffer,
): SaslClient {
  const { login, password, host, port } = credentials
  switch (mechanism) {
    case 'PLAIN':
      return new FixedResponses(mechanism, [`\0${login}\0${password.expose()}`], true)
    case 'LOGIN':
      return new FixedResponses(mechanism, [login, password.expose()], false)
    case 'XOAUTH2':
      return new OAuthClient(mechanism, `user=${login}\x01auth=Bearer ${password.expose()}\x01\x01`, '')
    case 'OAUTHBEARER': {
      const name = login.replaceAll('=', '=3D').replaceAll(',', '=2C')
      const response = `n,a=${name},\x01host=${host}\x01port=${port}\x01auth=Bearer ${password.expose()}\x01\x01`
      // RFC 7628 §3.2.3 wants ^A; daemon.md §3 an empty line, which providers of both kinds take.
      return new OAuthClient(mechanism, response, '')
    }
    case 'SCRAM-SHA-256':
    case 'SCRAM-SHA-256-PLUS':
      return new ScramClient(mechanism, credentials, binding, nonce)
  }
}

abstract class WithoutDerivation {
  derived(): never {
    throw new GatewayError('SASL_SEQUENCE', { reason: 'no key was asked for' })
  }

  succeeded(): void {}
}

/** PLAIN and LOGIN: what to say is known beforehand, challenges are prompts. */
class FixedResponses extends WithoutDerivation implements SaslClient {
  readonly mechanism: ClientMechanism
  readonly initial: string | null
  readonly #left: string[]

  constructor(mechanism: ClientMechanism, responses: string[], firstIsInitial: boolean) {
    super()
    this.mechanism = mechanism
    this.#left = responses
    this.initial = firstIsInitial ? encodeBase64(responses.shift()!) : null
  }

  next(): SaslClientStep {
    const response = this.#left.shift()
    if (response === undefined) throw new GatewayError('SASL_SEQUENCE', { reason: 'one challenge too many' })
    return { do: 'respond', base64: encodeBase64(response) }
  }
}

class OAuthClient extends WithoutDerivation implements SaslClient {
  readonly mechanism: ClientMechanism
  readonly initial: string
  readonly #toError: string
  #refused = false

  constructor(mechanism: ClientMechanism, response: string, toError: string) {
    super()
    this.mechanism = mechanism
    this.initial = encodeBase64(response)
    this.#toError = toError
  }

  /** A challenge is an error in JSON; it wants an answer before the refusal comes. */
  next(challenge: string): SaslClientStep {
    if (this.#refused) throw new GatewayError('SASL_SEQUENCE', { reason: 'one challenge too many' })
    this.#refused = true
    decodeBase64(challenge)
    return { do: 'respond', base64: this.#toError }
  }
}
