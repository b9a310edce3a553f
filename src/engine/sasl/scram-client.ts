/**
 * Client side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677; channel binding tls-exporter, RFC 9266).
 * The password never leaves us, and the provider has to prove that it knows it too: a yes without the proof is a no.
 * Primitives are node:crypto's; PBKDF2 is asked for (`derive-key`).
 */
import { createHash, createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { GatewayError } from '../../base/errors.ts'
import { Secret } from '../../base/secret.ts'
import { decodeBase64, encodeBase64 } from './base64.ts'
import type { ChannelBinding, ProviderCredentials, SaslClient, SaslClientStep } from './client.ts'

/** RFC 7677 §4: fewer make the stolen exchange cheap to search. */
const MIN_ITERATIONS = 4096
/** The provider picks the number, we spend the time: half a second of one core. */
const MAX_ITERATIONS = 1_000_000
const MAX_NONCE_CHARS = 1024
const MAX_SALT_OCTETS = 1024

type State =
  | { readonly at: 'first' }
  | { readonly at: 'deriving'; readonly serverFirst: string; readonly nonce: string }
  | { readonly at: 'proved'; readonly serverSignature: Buffer }
  | { readonly at: 'verified' }

export class ScramClient implements SaslClient {
  readonly mechanism: 'SCRAM-SHA-256' | 'SCRAM-SHA-256-PLUS'
  readonly initial: string
  readonly #password: Secret<string>
  readonly #gs2Header: string
  readonly #binding: Buffer
  readonly #firstBare: string
  readonly #nonce: string
  #state: State = { at: 'first' }

  /** @param nonce random octets, at least 18 */
  constructor(
    mechanism: 'SCRAM-SHA-256' | 'SCRAM-SHA-256-PLUS',
    credentials: ProviderCredentials,
    binding: ChannelBinding | null,
    nonce: Buffer,
  ) {
    this.mechanism = mechanism
    this.#password = credentials.password
    if (mechanism === 'SCRAM-SHA-256-PLUS') {
      if (binding === null) throw new GatewayError('SASL_SEQUENCE', { reason: 'no channel binding' })
      this.#gs2Header = `p=${binding.name},,`
      this.#binding = binding.data
    } else {
      // `y`: we could, but the provider did not offer it; where it did, it notices that somebody cut the list.
      this.#gs2Header = binding === null ? 'n,,' : 'y,,'
      this.#binding = Buffer.alloc(0)
    }
    this.#nonce = nonce.toString('base64url')
    this.#firstBare = `n=${saslName(prepared(credentials.login))},r=${this.#nonce}`
    this.initial = encodeBase64(this.#gs2Header + this.#firstBare)
  }

  next(challenge: string): SaslClientStep {
    const message = decodeBase64(challenge).toString('utf8')
    switch (this.#state.at) {
      case 'first':
        return this.#serverFirst(message)
      case 'proved':
        this.#verify(message, this.#state.serverSignature)
        return { do: 'respond', base64: '' }
      default:
        throw sequence('one challenge too many')
    }
  }

  derived(key: Buffer): SaslClientStep {
    if (this.#state.at !== 'deriving') throw sequence('no key was asked for')
    const salted = createSecretKey(key)
    const { serverFirst, nonce } = this.#state
    const bound = Buffer.concat([Buffer.from(this.#gs2Header), this.#binding]).toString('base64')
    const withoutProof = `c=${bound},r=${nonce}`
    const authMessage = `${this.#firstBare},${serverFirst},${withoutProof}`
    const clientKey = hmac(salted, 'Client Key')
    const storedKey = createHash('sha256').update(clientKey).digest()
    const signature = hmac(createSecretKey(storedKey), authMessage)
    const proof = Buffer.from(clientKey.map((octet, at) => octet ^ signature[at]!))
    const serverKey = createSecretKey(hmac(salted, 'Server Key'))
    this.#state = { at: 'proved', serverSignature: hmac(serverKey, authMessage) }
    return { do: 'respond', base64: encodeBase64(`${withoutProof},p=${proof.toString('base64')}`) }
  }

  succeeded(data: string | null): void {
    if (this.#state.at === 'proved' && data !== null && data !== '') {
      this.#verify(decodeBase64(data).toString('utf8'), this.#state.serverSignature)
    }
    if (this.#state.at !== 'verified') throw sequence('the provider did not prove itself')
  }

  /** server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions] */
  #serverFirst(message: string): SaslClientStep {
    const form = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,9})(?:,|$)/.exec(message)
    if (form === null) throw sequence('SCRAM server-first-message')
    const [, nonce, saltText, count] = form as unknown as [string, string, string, string]
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length || nonce.length > MAX_NONCE_CHARS) {
      throw sequence('SCRAM nonce')
    }
    const salt = decodeBase64(saltText)
    const iterations = Number(count)
    if (salt.length > MAX_SALT_OCTETS || iterations < MIN_ITERATIONS || iterations > MAX_ITERATIONS) {
      throw sequence('SCRAM salt or iteration count')
    }
    this.#state = { at: 'deriving', serverFirst: message, nonce }
    const password = new Secret(Buffer.from(prepared(this.#password.expose()), 'utf8'))
    return { do: 'derive-key', ask: { password, salt, iterations } }
  }

  #verify(message: string, expected: Buffer): void {
    const value = /^v=([A-Za-z0-9+/=]+)(?:,|$)/.exec(message)?.[1]
    const signature = value === undefined ? null : decodeBase64(value)
    if (signature === null || signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
      throw sequence('the provider did not prove itself')
    }
    this.#state = { at: 'verified' }
  }
}

/** With a key object: one of octets takes four times as long. */
function hmac(key: KeyObject, text: string): Buffer {
  return createHmac('sha256', key).update(text, 'utf8').digest()
}

/** `,` and `=` would end the name (RFC 5802 §5.1). */
function saslName(name: string): string {
  return name.replaceAll('=', '=3D').replaceAll(',', '=2C')
}

/** SASLprep (RFC 4013) as far as it changes what people type: compatibility forms, odd spaces, soft hyphens. */
function prepared(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text
  return text
    .replace(/[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/g, ' ')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .normalize('NFKC')
}

function sequence(reason: string): GatewayError {
  return new GatewayError('SASL_SEQUENCE', { reason })
}
