/**
 * Access tokens from the endpoints that provider passwords name (daemon.md §3): `https://host/path#body`. One request
 * at a time for an endpoint, tokens kept until shortly before they expire, rotated refresh tokens told to whoever can
 * store them and used from then on, whether or not that worked.
 *
 * Other processes refresh too. A refresh token that is used twice may cost the user all of them (RFC 9700 §4.14.2), so
 * they take turns; and who had to wait, or is refused, looks whether the profile holds a newer one by now.
 *
 * Rule: an endpoint and all that belongs to it is a secret. Neither is logged, nor put into an error.
 */
import { createHash } from 'node:crypto'
import { GatewayError } from '../base/errors.ts'
import { Secret } from '../base/secret.ts'
import type { UpstreamOptions } from './upstream.ts'
import { webRequest } from './web-request.ts'

/** A token is not used in its last minute: it has to live until the provider has seen it. */
const MARGIN_MS = 60_000
/** Whatever the endpoint says: a token revoked there should not live on here. */
const MAX_LIFE_MS = 3600_000
const MAX_ANSWER_OCTETS = 64 * 1024
const MAX_ENTRIES = 10_000

export interface OAuthTokensOptions {
  readonly nowMs: () => number
  /** From request to complete answer. */
  readonly timeoutMs: number
  /** Turns among processes. Absent: there is one. */
  readonly turns?: Turns
}

/** Never rejects. @param name what is taken turns at. */
export type Turns = (name: string) => Promise<Turn>

export interface Turn {
  /** Somebody else had it before. */
  readonly waited: boolean
  readonly done: () => void
}

export interface TokenRequest {
  /** The provider password of the profile. */
  readonly endpoint: Secret<string>
  readonly upstream: UpstreamOptions
  /** The endpoint gave a new refresh token: the password as it has to be from now on, and was. Its failure is the caller's to log. */
  readonly rotated: (password: Secret<string>, before: Secret<string>) => Promise<void>
  /** The password that the profile has at this moment; null where that cannot be known. Never rejects. */
  readonly current: () => Promise<Secret<string> | null>
}

interface Entry {
  /** As the endpoint is to be asked now; newer than the profile's where storing it failed. */
  password: Secret<string>
  token: Secret<string> | null
  expiresMs: number
  flight: Promise<Secret<string>> | null
}

interface Answer {
  readonly token: Secret<string>
  readonly lifeMs: number
  readonly refreshToken: string | null
}

export class OAuthTokens {
  readonly #options: OAuthTokensOptions
  /** By hash of the password, in order of last use. */
  readonly #entries = new Map<string, Entry>()

  constructor(options: OAuthTokensOptions) {
    this.#options = options
  }

  /** @throws GatewayError SASL_SEQUENCE for a malformed endpoint, UPSTREAM_REFUSED, UPSTREAM_BUSY, UPSTREAM_* */
  token(ask: TokenRequest): Promise<Secret<string>> {
    const entry = this.#entry(ask.endpoint)
    if (entry.token !== null && this.#options.nowMs() < entry.expiresMs - MARGIN_MS) return Promise.resolve(entry.token)
    entry.flight ??= this.#refresh(entry, ask).finally(() => {
      entry.flight = null
    })
    return entry.flight
  }

  async #refresh(entry: Entry, ask: TokenRequest): Promise<Secret<string>> {
    const turn = (await this.#options.turns?.(hashOf(entry.password))) ?? { waited: false, done: () => {} }
    try {
      if (turn.waited) await this.#renew(entry, ask)
      return await this.#inTurn(entry, ask)
    } finally {
      turn.done()
    }
  }

  async #inTurn(entry: Entry, ask: TokenRequest): Promise<Secret<string>> {
    let answer: Answer
    try {
      answer = await this.#fetch(entry.password, ask.upstream).catch(async (error: unknown) => {
        if (!isRefusal(error) || !(await this.#renew(entry, ask))) throw error
        return this.#fetch(entry.password, ask.upstream)
      })
    } catch (error) {
      // A token in its last minute is better than none while the endpoint is away.
      if (!isRefusal(error) && entry.token !== null && this.#options.nowMs() < entry.expiresMs) return entry.token
      throw error
    }
    entry.token = answer.token
    entry.expiresMs = this.#options.nowMs() + Math.min(answer.lifeMs, MAX_LIFE_MS)
    const next = answer.refreshToken === null ? null : withRefreshToken(entry.password, answer.refreshToken)
    if (next !== null) {
      const before = entry.password
      this.#replace(entry, next)
      await ask.rotated(next, before)
    }
    return answer.token
  }

  /** @returns whether the profile holds another password for the same endpoint by now */
  async #renew(entry: Entry, ask: TokenRequest): Promise<boolean> {
    const current = await ask.current()
    if (current === null || current.expose() === entry.password.expose()) return false
    // It may be what we asked with before it was rotated, where the newer one could not be saved.
    if (this.#entries.get(hashOf(current)) === entry || !isSameEndpoint(current, entry.password)) return false
    this.#replace(entry, current)
    return true
  }

  /** Sessions that have read the old profile, and those that will read the new one, share what is known. */
  #replace(entry: Entry, password: Secret<string>): void {
    entry.password = password
    this.#entries.set(hashOf(password), entry)
  }

  #entry(password: Secret<string>): Entry {
    const key = hashOf(password)
    const known = this.#entries.get(key)
    const entry = known ?? { password, token: null, expiresMs: 0, flight: null }
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_ENTRIES) break
      this.#entries.delete(oldest)
    }
    return entry
  }

  async #fetch(password: Secret<string>, upstream: UpstreamOptions): Promise<Answer> {
    const { url, body } = parseEndpoint(password)
    const headers: Record<string, string> = { accept: 'application/json' }
    if (body !== null) {
      headers['content-type'] = body.startsWith('{') ? 'application/json' : 'application/x-www-form-urlencoded'
    }
    const { timeoutMs } = this.#options
    const { status, text } = await webRequest({ url, headers, body, maxOctets: MAX_ANSWER_OCTETS, timeoutMs }, upstream)
    if (status !== 200) {
      const busy = status >= 500 || status === 408 || status === 429
      throw new GatewayError(busy ? 'UPSTREAM_BUSY' : 'UPSTREAM_REFUSED', { at: 'token endpoint', status })
    }
    return parseAnswer(text)
  }
}

/** @returns body null: GET */
function parseEndpoint(password: Secret<string>): { url: URL; body: string | null } {
  const text = password.expose()
  const at = text.indexOf('#')
  const url = at < 0 ? null : URL.parse(text.slice(0, at))
  if (url === null || url.protocol !== 'https:' || url.username !== '' || url.password !== '') {
    throw new GatewayError('SASL_SEQUENCE', { reason: 'token endpoint' })
  }
  const body = text.slice(at + 1)
  return { url, body: body === '' ? null : body }
}

function parseAnswer(text: string): Answer {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    // The parser's message would quote a token.
    throw new GatewayError('UPSTREAM_UNEXPECTED', { at: 'token endpoint', reason: 'no JSON' })
  }
  const fields = typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {}
  const { access_token: token, expires_in: seconds, refresh_token: refresh } = fields
  if (typeof token !== 'string' || !/^[\x21-\x7e]{1,16384}$/.test(token)) {
    throw new GatewayError('UPSTREAM_UNEXPECTED', { at: 'token endpoint', reason: 'no access_token' })
  }
  const life = Number(seconds ?? 0)
  return {
    token: new Secret(token),
    // Unknown: for this login only (RFC 6749 §5.1 recommends to say).
    lifeMs: Number.isFinite(life) && life > 0 ? life * 1000 : 0,
    refreshToken: typeof refresh === 'string' && refresh !== '' ? refresh : null,
  }
}

/** The password with another refresh token in its body; null where it has that one already, or has none. */
function withRefreshToken(password: Secret<string>, refreshToken: string): Secret<string> | null {
  const text = password.expose()
  const at = text.indexOf('#')
  const head = text.slice(0, at + 1)
  const body = text.slice(at + 1)
  if (body.startsWith('{')) {
    const json = JSON.parse(body) as Record<string, unknown>
    if (typeof json.refresh_token !== 'string' || json.refresh_token === refreshToken) return null
    return new Secret(head + JSON.stringify({ ...json, refresh_token: refreshToken }))
  }
  const form = new URLSearchParams(body)
  const old = form.get('refresh_token')
  if (old === null || old === refreshToken) return null
  form.set('refresh_token', refreshToken)
  return new Secret(head + form.toString())
}

function isRefusal(error: unknown): boolean {
  return error instanceof GatewayError && error.code === 'UPSTREAM_REFUSED'
}

function isSameEndpoint(one: Secret<string>, other: Secret<string>): boolean {
  const url = (password: Secret<string>): string => password.expose().split('#', 1)[0]!
  return url(one) === url(other)
}

function hashOf(password: Secret<string>): string {
  return createHash('sha256').update(password.expose()).digest('base64')
}
