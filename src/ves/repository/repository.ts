/**
 * The key repository: requests in, answers out, everything between in one transaction each. It knows public keys,
 * encrypted private keys and encrypted values, and can decrypt none of it (key-repository.md).
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { CompiledQuery } from 'kysely'
import type { Clock } from '../../base/clock.ts'
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import type { Secret } from '../../base/secret.ts'
import type { ApiRequest, ApiResponse } from './api.ts'
import { AuditChain } from './audit-chain.ts'
import type { Call, Caller } from './call.ts'
import { parseFields } from './fields.ts'
import type { Mailer } from './mailer.ts'
import { Metrics } from './metrics.ts'
import { peerOf } from './peer.ts'
import { RateLimit } from './rate.ts'
import { failureAnswer, notFound, quota } from './refuse.ts'
import { type Rule, refuseUnsupported, ruleFor } from './routes.ts'
import { pendingMatters } from './rules/attn.ts'
import { authenticate, type Credentials, parseAuthorization, readToken } from './rules/authenticate.ts'
import { SessionSealer } from './session-sealer.ts'
import type { Settings } from './settings.ts'
import { appendAudit, leaveAudit } from './store/audit.ts'
import type { Db } from './store/schema.ts'
import type { Store } from './store/store.ts'
import { Tokens } from './tokens.ts'
import { viewEntriesOfKey, viewItems } from './views/items.ts'
import type { View } from './views/keys.ts'
import { viewUsers } from './views/users.ts'
import type { Views } from './views/views.ts'

export interface RepositoryOptions {
  readonly store: Store
  readonly settings: Settings
  /** Opens the administrator's requests. */
  readonly adminToken: Secret<string>
  /** Key of the MAC over tokens, 32 octets. */
  readonly tokenKey: Secret<Buffer>
  readonly log: Log
  readonly clock: Clock
  /** None: no onboarding, and nobody is told of mail. */
  readonly mailer?: Mailer
}

const PREFIX = '/v1/'
const VIEWS: Views = { items: viewItems, entriesOfKey: viewEntriesOfKey, users: viewUsers }
const NOBODY: Caller = { kind: 'nobody' }
/** Rows that one answer may be made of. */
const MAX_ROWS = 30_000
/** Of encData in one answer; an item for 5000 keys of ML-KEM-1024 takes eleven million. */
const MAX_OCTETS = 16 * 1024 * 1024
/** Sessions whose last `attn` question is remembered. */
const MAX_ASKED = 50_000

export class Repository {
  readonly #options: RepositoryOptions
  readonly #tokens: Tokens
  readonly #sealer: SessionSealer
  readonly #adminTokenHash: Buffer
  readonly #byAddress: RateLimit
  readonly #byUser: RateLimit
  readonly #mailPeers: RateLimit
  readonly #mailSenders: RateLimit
  readonly metrics = new Metrics()
  readonly #attnAskedMs = new Map<number, number>()
  readonly #audit: AuditChain

  constructor(options: RepositoryOptions) {
    const { settings } = options
    this.#options = options
    this.#tokens = new Tokens(options.tokenKey.expose())
    this.#sealer = new SessionSealer(this.#tokens, options.log)
    this.#adminTokenHash = createHash('sha256').update(options.adminToken.expose()).digest()
    this.#byAddress = new RateLimit(settings.requestsPerSecondPerAddress, settings.requestBurstPerAddress)
    this.#byUser = new RateLimit(settings.requestsPerSecondPerUser, settings.requestBurstPerUser)
    const perHour = settings.onboardingPerPeerPerHour
    this.#mailPeers = new RateLimit(perHour / 3600, perHour)
    const invites = settings.invitesPerUserPerHour
    this.#mailSenders = new RateLimit(invites / 3600, invites)
    this.#audit = new AuditChain(options.store, options.log)
    this.#audit.soon()
  }

  /** Before the store is closed. */
  async close(): Promise<void> {
    await this.#audit.close()
  }

  /** @param authorization the header of that name */
  isAdmin(authorization: string | undefined): boolean {
    const token = /^Bearer +(\S{1,120})$/i.exec(authorization ?? '')?.[1] ?? ''
    return timingSafeEqual(createHash('sha256').update(token).digest(), this.#adminTokenHash)
  }

  /**
   * What somebody with this header may send: not what they say counts, but whether the token is one of ours. Otherwise
   * anybody could have us keep and parse the largest of bodies.
   * @param octets of the body, where they are known: who sends no more than anybody may is not looked at
   */
  maxBodyOctets(authorization: string | undefined, octets: number | null): number {
    const { settings } = this.#options
    if (octets !== null && octets <= settings.maxStrangerBodyOctets) return settings.maxStrangerBodyOctets
    const [, token] = /^Bearer +(\S{1,120})\s*$/i.exec(authorization ?? '') ?? []
    const known =
      token !== undefined &&
      (this.isAdmin(authorization) || readToken(this.#tokens, token, this.#options.clock.nowMs()))
    return known ? settings.maxBodyOctets : settings.maxStrangerBodyOctets
  }

  /** Never rejects: what goes wrong is an answer. */
  async handle(request: ApiRequest): Promise<ApiResponse> {
    const startedMs = this.#options.clock.nowMs()
    const cors = this.#cors(request)
    const at = { route: 'none' }
    let answer: ApiResponse
    try {
      answer = request.method === 'OPTIONS' ? { status: 200, body: { result: {} } } : await this.#answer(request, at)
    } catch (error) {
      answer = failureAnswer(error)
      if (answer.status >= 500) this.#logFailure(error, at.route)
    }
    this.metrics.count(at.route, answer.status, this.#options.clock.nowMs() - startedMs)
    return { ...answer, headers: { ...cors, ...answer.headers } }
  }

  async #answer(request: ApiRequest, at: { route: string }): Promise<ApiResponse> {
    const { settings, clock } = this.#options
    const nowMs = clock.nowMs()
    const peer = peerOf(request.address, request.headers['x-forwarded-for'], settings.uncountedAddresses)
    const counted = !settings.uncountedAddresses.includes(peer)
    if (counted && !this.#byAddress.take(peer, nowMs)) throw quota('too many requests from your address')
    if (!request.path.startsWith(PREFIX)) throw notFound('the API is below /v1/')
    const credentials = parseAuthorization(request.headers.authorization)
    const max = this.maxBodyOctets(request.headers.authorization, request.body.length)
    if (request.body.length > max) throw new GatewayError('API_TOO_LARGE', { text: `more than ${max} octets` })
    const query = new URLSearchParams(request.query)
    // A plus is itself here, and not a space: `[start+n]`.
    const fields = parseFields(query.get('fields')?.replaceAll(' ', '+') ?? null)
    refuseUnsupported(query, fields)
    const { name, rule, kind, sees } = ruleFor(request, request.path.slice(PREFIX.length), query)
    at.route = name
    if (kind === 'audit' && this.isAdmin(request.headers.authorization)) await this.#audit.now()
    const afterwards: Call['afterwards'] = []
    const ownToken = kind === 'own-token'
    const asksForAttn = query.get('attn') === '*'
    let runs = 0
    const { body, changed, attnOf } = await this.#options.store.transaction(async (db, last) => {
      // A second run of the same request starts from nothing, but is no second request.
      afterwards.length = 0
      const counted = runs++ > 0
      const call = await this.#call(db, { credentials, ownToken, address: peer, nowMs, afterwards, counted })
      const body = await this.#run(call, rule, fields, asksForAttn)
      await this.#note(call, last)
      const attnOf = asksForAttn && call.caller.kind === 'session' ? call.caller.sessionId : null
      return { body, changed: call.notes.length > 0, attnOf }
    }, sees)
    if (attnOf !== null) this.#attnAsked(attnOf, nowMs)
    if (changed && this.#options.store.kind === 'postgresql') this.#audit.soon()
    for (const step of afterwards) await step()
    return { status: 200, body }
  }

  async #call(
    db: Db,
    from: {
      credentials: Credentials
      ownToken: boolean
      address: string
      nowMs: number
      afterwards: Call['afterwards']
      /** Against the user's rate. */
      counted: boolean
    },
  ): Promise<Call> {
    const { credentials, ownToken, nowMs, afterwards } = from
    const { store, settings } = this.#options
    const at = { db, tokens: this.#tokens, sealer: this.#sealer, settings, adminTokenHash: this.#adminTokenHash, nowMs }
    const caller = ownToken ? NOBODY : await authenticate(credentials, at)
    if (caller.kind === 'session' && !from.counted && !this.#byUser.take(String(caller.userId), nowMs)) {
      throw quota('too many requests of this user')
    }
    const { tokens, sealer } = at
    return {
      db,
      store: store.kind,
      caller,
      address: from.address,
      bearer: credentials.kind === 'bearer' ? credentials.token : null,
      mailer: this.#options.mailer ?? null,
      mailPeers: this.#mailPeers,
      mailSenders: this.#mailSenders,
      metrics: this.metrics,
      views: VIEWS,
      nowMs,
      settings,
      tokens,
      sealer,
      notes: [],
      afterwards,
      later: (work) => store.transaction((later) => work(later)),
      budget: { rows: MAX_ROWS, octets: MAX_OCTETS },
    }
  }

  async #run(call: Call, rule: Rule, fields: ReturnType<typeof parseFields>, wantsAttn: boolean): Promise<View> {
    const result = await rule(call, fields)
    const body: View = { result }
    if (wantsAttn && call.caller.kind === 'session' && this.#attnIsDue(call.caller.sessionId, call.nowMs)) {
      const attn = await pendingMatters(call)
      if (attn !== null) body.attn = attn
    }
    return body
  }

  /** What was changed, for the audit log. */
  async #note(call: Call, last: (statement: CompiledQuery) => void): Promise<void> {
    if (call.notes.length === 0) return
    const actor = actorOf(call.caller)
    const entries = call.notes.map((one) => ({
      actor,
      userId: one.userId ?? (call.caller.kind === 'session' ? call.caller.userId : null),
      action: one.action,
      subject: one.subject,
      keys: one.keys,
    }))
    if (call.store === 'postgresql') last(leaveAudit(call.db, entries, call.nowMs))
    else await appendAudit(call.db, call.store, entries, call.nowMs)
  }

  /** C asks with each request: what waits is looked up at the first, and then now and then. */
  #attnIsDue(sessionId: number, nowMs: number): boolean {
    const askedMs = this.#attnAskedMs.get(sessionId)
    return askedMs === undefined || nowMs >= askedMs + this.#options.settings.attnEveryMs
  }

  #attnAsked(sessionId: number, nowMs: number): void {
    if (!this.#attnIsDue(sessionId, nowMs)) return
    this.#attnAskedMs.delete(sessionId)
    if (this.#attnAskedMs.size >= MAX_ASKED) this.#attnAskedMs.delete(this.#attnAskedMs.keys().next().value!)
    this.#attnAskedMs.set(sessionId, nowMs)
  }

  #cors(request: ApiRequest): Record<string, string> {
    const { origins } = this.#options.settings
    const origin = request.headers.origin
    const headers: Record<string, string> = { 'content-type': 'application/json', 'cache-control': 'no-store' }
    if (origin === undefined) return headers
    const any = origins.includes('*')
    if (!any) headers.vary = 'Origin'
    if (!any && !origins.includes(origin)) return headers
    headers['access-control-allow-origin'] = any ? '*' : origin
    if (request.method !== 'OPTIONS') return headers
    return {
      ...headers,
      'access-control-allow-methods': 'GET, POST, OPTIONS',
      'access-control-allow-headers': 'Authorization, Content-Type, Accept',
      'access-control-max-age': '86400',
    }
  }

  #logFailure(thrown: unknown, route: string): void {
    const error = asGatewayError(thrown)
    if (['VES_QUOTA', 'SHUTDOWN', 'API_UNSUPPORTED'].includes(error.code)) return
    const cause = error.cause instanceof Error ? error.cause.stack : String(error.cause)
    this.#options.log.write('error', 'repository-failure', { route, code: error.code, cause: cause ?? '' })
  }
}

function actorOf(caller: Caller): string {
  return caller.kind === 'session' ? `user:${caller.userId}` : caller.kind === 'admin' ? 'admin' : 'mail-token'
}
