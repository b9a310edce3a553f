/** Routes of the administrator, of onboarding and of recovery (docs/repository-api.md). */
import { readBody } from './body.ts'
import { needAdmin } from './call.ts'
import { numberParameter } from './query.ts'
import type { Route } from './routes.ts'
import {
  accountChange,
  changeAccount,
  checkAudit,
  endSessions,
  listAccounts,
  listAudit,
  listSessions,
  sessionEnd,
  showAccount,
} from './rules/admin.ts'
import { onboardingBody, startOnboarding } from './rules/onboarding.ts'
import {
  collectRecovery,
  getRecovery,
  givenBody,
  giveOwnShare,
  planBody,
  postPlan,
  startBody,
  startRecovery,
} from './rules/recovery.ts'

const page = (query: URLSearchParams) => ({
  after: numberParameter(query, 'after', 0),
  limit: numberParameter(query, 'limit', 100),
})

export const ADMIN_ROUTES: readonly Route[] = [
  [
    'GET',
    'admin/accounts',
    (_, query) => {
      const asked = page(query)
      return (call) => listAccounts(call, asked)
    },
    'long',
  ],
  [
    'GET',
    'admin/accounts/:text',
    (_, __, [email]) =>
      (call) =>
        showAccount(call, email!),
    'long',
  ],
  [
    'POST',
    'admin/accounts/:text',
    (request, _, [email]) => {
      const change = readBody(request.body, accountChange)
      return (call) => changeAccount(call, email!, change)
    },
  ],
  [
    'GET',
    'admin/accounts/:text/sessions',
    (_, __, [email]) =>
      (call) =>
        listSessions(call, email!),
  ],
  [
    'POST',
    'admin/accounts/:text/sessions',
    (request, _, [email]) => {
      const end = readBody(request.body, sessionEnd)
      return (call) => endSessions(call, email!, end)
    },
  ],
  [
    'POST',
    'admin/accounts/:text/recovery',
    (request, _, [email]) => {
      const body = readBody(request.body, startBody)
      return (call) => startRecovery(call, email!, body)
    },
  ],
  [
    'GET',
    'admin/audit',
    (_, query) => {
      const asked = page(query)
      const user = numberParameter(query, 'user', 0)
      return (call) => listAudit(call, asked, user === 0 ? null : user)
    },
    'audit',
  ],
  ['GET', 'admin/audit/verify', () => (call) => checkAudit(call), 'audit'],
  [
    'GET',
    'admin/metrics',
    () => async (call) => {
      needAdmin(call)
      return call.metrics.toJson()
    },
  ],
  [
    'POST',
    'onboarding',
    (request) => {
      const body = readBody(request.body, onboardingBody)
      return (call) => startOnboarding(call, body)
    },
  ],
  ['GET', 'recovery', () => (call) => getRecovery(call)],
  [
    'POST',
    'recovery',
    (request) => {
      const body = readBody(request.body, planBody)
      return (call) => postPlan(call, body)
    },
  ],
  [
    'POST',
    'recovery/:id',
    (request, _, [id]) => {
      const body = readBody(request.body, givenBody)
      return (call) => giveOwnShare(call, Number(id), body)
    },
  ],
  [
    'GET',
    'recovery/:id',
    (_, __, [id]) =>
      (call) =>
        collectRecovery(call, Number(id)),
    'own-token',
  ],
]
