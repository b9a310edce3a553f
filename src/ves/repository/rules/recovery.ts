/**
 * Recovery by trusted friends, n of m (docs/repository-api.md): the repository keeps sealed shares, sees that a recovery
 * takes its time, and tells the owner. It opens none of them.
 */
import type { Reader } from '../body.ts'
import { type Call, note } from '../call.ts'
import { denied, invalid, noSession, notFound } from '../refuse.ts'
import { keysByIds, WORKING_TYPES } from '../store/keys.ts'
import {
  cancelRuns,
  givenShares,
  giveShare,
  insertRun,
  planOf,
  removePlan,
  replacePlan,
  runById,
  runOf,
  runsAsking,
  sharesOf,
} from '../store/recovery.ts'
import type { KeyAlgo } from '../store/schema.ts'
import { hashToken, randomToken } from '../tokens.ts'
import type { View } from '../views/keys.ts'
import { knownUser } from './admin.ts'
import { checkPublicKey } from './key-create.ts'
import { needWriter } from './vault-keys.ts'

const MAX_FRIENDS = 32
const MAX_DELAY_SECONDS = 90 * 86_400
const MAX_REQUESTS = 100

export interface PlanBody {
  readonly op: 'delete' | null
  readonly threshold: number | null
  readonly delaySeconds: number | null
  readonly shares: readonly { readonly keyId: number; readonly encData: string }[] | null
}

export function planBody(reader: Reader): PlanBody {
  const body = {
    op: reader.oneOf('$op', ['delete'] as const),
    threshold: reader.integer('threshold', 2, MAX_FRIENDS),
    delaySeconds: reader.integer('delaySeconds', 0, MAX_DELAY_SECONDS),
    shares: reader.list('shares', shareBody, MAX_FRIENDS),
  }
  reader.done()
  return body
}

function shareBody(reader: Reader): { keyId: number; encData: string } {
  const keyId = reader.nested('vaultKey', (inner) => {
    const id = inner.id('id')
    inner.done()
    return id
  })
  const encData = reader.encData('encData')
  reader.done()
  if (keyId === null || encData === null) throw invalid('shares: vaultKey.id and encData expected')
  return { keyId, encData }
}

export async function postPlan(call: Call, body: PlanBody): Promise<View> {
  const session = needWriter(call)
  if (body.op === 'delete') {
    const cancelled = await cancelRuns(call.db, session.userId)
    if (cancelled === 0) await removePlan(call.db, call.store, session.userId)
    note(call, cancelled > 0 ? 'recovery.cancel' : 'recovery.plan-delete', `user:${session.userId}`)
    return { id: session.userId }
  }
  const { threshold, delaySeconds, shares } = body
  if (threshold === null || shares === null) throw invalid('threshold and shares expected')
  if (shares.length < threshold) throw invalid('shares: fewer than the threshold')
  const least = call.settings.minRecoveryDelaySeconds
  if ((delaySeconds ?? least) < least) throw denied(`delaySeconds: at least ${least}`)
  const keys = await keysByIds(
    call.db,
    shares.map((share) => share.keyId),
    call.store,
  )
  const friends = new Set<number>()
  const forFriends: { friendId: number; keyId: number; encData: string }[] = []
  for (const share of shares) {
    const key = keys.get(share.keyId)
    if (key === undefined || !(WORKING_TYPES as readonly string[]).includes(key.type)) throw notFound('vaultKey')
    if (key.user_id === session.userId) throw denied('shares: you are no friend of yourself')
    friends.add(key.user_id)
    forFriends.push({ ...share, friendId: key.user_id })
  }
  if (friends.size !== shares.length) throw invalid('shares: one per friend')
  await cancelRuns(call.db, session.userId)
  await replacePlan(
    call.db,
    call.store,
    { userId: session.userId, threshold, delaySeconds: delaySeconds ?? least, shares: forFriends },
    call.nowMs,
  )
  note(
    call,
    'recovery.plan',
    `user:${session.userId}`,
    shares.map((share) => share.keyId),
  )
  return { id: session.userId }
}

export async function getRecovery(call: Call): Promise<View> {
  const session = needWriter(call)
  const view: View = {}
  const plan = await planOf(call.db, session.userId)
  if (plan !== null) {
    const shares = await sharesOf(call.db, session.userId)
    view.plan = {
      threshold: plan.threshold,
      delaySeconds: plan.delay_seconds,
      shares: shares.map((share) => ({ vaultKey: { id: share.key_id }, user: { id: share.friend_id } })),
    }
  }
  const run = await runOf(call.db, session.userId)
  if (run !== null) view.running = { id: run.id, startedMs: run.started_ms, readyMs: run.ready_ms }
  const asking = await runsAsking(call.db, session.userId, MAX_REQUESTS)
  view.requests = asking.map((one) => ({
    id: one.id,
    user: { id: one.user_id, email: one.email },
    algo: one.algo,
    publicKey: one.public_key,
    startedMs: one.started_ms,
    share: { vaultKey: { id: one.key_id }, encData: one.enc_data },
  }))
  return view
}

export interface StartBody {
  readonly algo: KeyAlgo
  readonly publicKey: string
}

export function startBody(reader: Reader): StartBody {
  const algo = reader.algo('algo')
  const publicKey = reader.publicKey('publicKey')
  reader.done()
  if (algo === null || publicKey === null) throw invalid('algo and publicKey expected')
  return { algo, publicKey }
}

export async function startRecovery(call: Call, email: string, body: StartBody): Promise<View> {
  const user = await knownUser(call, email)
  checkPublicKey(body.algo, body.publicKey)
  const plan = await planOf(call.db, user.id)
  if (plan === null) throw notFound('no recovery plan')
  await cancelRuns(call.db, user.id)
  const token = randomToken()
  const readyMs = call.nowMs + plan.delay_seconds * 1000
  const id = await insertRun(call.db, { ...body, userId: user.id, tokenHash: hashToken(token), readyMs }, call.nowMs)
  note(call, 'recovery.start', `user:${user.id}`, [], user.id)
  call.afterwards.push(() => call.mailer?.recoveryStarted(user.email, readyMs))
  return { id, token, readyMs }
}

export function givenBody(reader: Reader): { readonly encData: string } {
  const encData = reader.encData('encData')
  reader.done()
  if (encData === null) throw invalid('encData: expected')
  return { encData }
}

export async function giveOwnShare(call: Call, runId: number, body: { readonly encData: string }): Promise<View> {
  const session = needWriter(call)
  const run = await runById(call.db, runId)
  const friends = run === null ? [] : await sharesOf(call.db, run.user_id)
  if (run === null || run.state !== 'running' || !friends.some((one) => one.friend_id === session.userId)) {
    throw notFound('recovery')
  }
  await giveShare(call.db, runId, session.userId, body.encData)
  note(call, 'recovery.share', `user:${run.user_id}`, [], run.user_id)
  return { id: runId }
}

/** The bearer token is the one that the start of this recovery gave. */
export async function collectRecovery(call: Call, runId: number): Promise<View> {
  const run = await runById(call.db, runId)
  const token = call.bearer ?? ''
  if (run === null || run.token_hash !== hashToken(token)) throw noSession('not the token of this recovery')
  const plan = await planOf(call.db, run.user_id)
  if (run.state !== 'running' || plan === null) throw denied('this recovery was cancelled')
  const shares = await givenShares(call.db, runId)
  const view: View = { id: run.id, threshold: plan.threshold, given: shares.length, readyMs: run.ready_ms }
  if (call.nowMs >= run.ready_ms && shares.length >= plan.threshold) {
    view.shares = shares
    note(call, 'recovery.collect', `user:${run.user_id}`, [], run.user_id)
  }
  return view
}
