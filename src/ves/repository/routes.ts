/** Which request is for which rule. */

import { GatewayError } from '../../base/errors.ts'
import { ADMIN_ROUTES } from './admin-routes.ts'
import type { ApiRequest } from './api.ts'
import { itemBody, keyBody, type Reader, readBody, userBody } from './body.ts'
import type { Call } from './call.ts'
import type { Fields } from './fields.ts'
import { numberParameter } from './query.ts'
import { invalid, notFound } from './refuse.ts'
import { accountBody, createAccount } from './rules/accounts.ts'
import { pendingMatters } from './rules/attn.ts'
import { deleteSession, getMe, getSession, getUser, postUser } from './rules/users.ts'
import { getFile, getVaultItem, isBareId, listItems, postVaultItem } from './rules/vault-items.ts'
import { getVaultKey, postVaultKey } from './rules/vault-keys.ts'
import type { Sees } from './store/store.ts'
import type { View } from './views/keys.ts'

/** A request understood as far as that is possible without the database: it may be run more than once. */
export type Rule = (call: Call, fields: Fields | null) => Promise<View>

type Method = 'GET' | 'POST'
type Make = (request: ApiRequest, query: URLSearchParams, parts: readonly string[]) => Rule
/** A pattern's `:id` takes a number, `:text` anything, percent-decoded. */
export type Route = readonly [method: Method, pattern: string, make: Make, kind?: RouteKind]
/** `own-token`: the bearer token is no session's. `audit`: reads the audit log. `long`: may read for long. */
type RouteKind = 'own-token' | 'audit' | 'long'

const ROUTES: readonly Route[] = [
  [
    'GET',
    'vaultKeys/:id',
    (_, __, [id]) =>
      (call, fields) =>
        getVaultKey(call, Number(id), fields),
  ],
  ['POST', 'vaultKeys', (request) => keyRule(request, null)],
  ['POST', 'vaultKeys/:id', (request, _, [id]) => keyRule(request, Number(id))],
  ['GET', 'vaultItems', (_, query) => itemList(query)],
  [
    'GET',
    'vaultItems/:id',
    (_, __, [id]) =>
      (call, fields) =>
        getVaultItem(call, Number(id), fields),
  ],
  ['POST', 'vaultItems', (request) => itemRule(request, null)],
  ['POST', 'vaultItems/:id', (request, _, [id]) => itemRule(request, Number(id))],
  [
    'GET',
    'files/:id',
    (_, __, [id]) =>
      (call, fields) =>
        getFile(call, Number(id), fields),
  ],
  [
    'GET',
    'users/:id',
    (_, __, [id]) =>
      (call, fields) =>
        getUser(call, Number(id), fields),
  ],
  ['POST', 'users', (request) => userRule(request, null)],
  ['POST', 'users/:id', (request, _, [id]) => userRule(request, Number(id))],
  ['GET', 'me', () => (call, fields) => getMe(call, fields)],
  ['GET', 'attn', () => async (call) => (await pendingMatters(call)) ?? {}],
  [
    'GET',
    'sessions/:id',
    (_, __, [id]) =>
      (call, fields) =>
        getSession(call, Number(id), fields),
  ],
  ['POST', 'sessions', (request) => sessionRule(request, null)],
  ['POST', 'sessions/:id', (request, _, [id]) => sessionRule(request, Number(id))],
  ['POST', 'accounts', (request) => accountRule(request)],
]

/** POST requests that only look something up. */
const LOOKUPS = new WeakSet<Rule>()

function lookup(rule: Rule, is: boolean): Rule {
  if (is) LOOKUPS.add(rule)
  return rule
}

function keyRule(request: ApiRequest, id: number | null): Rule {
  const body = withId(readBody(request.body, keyBody), id)
  return lookup((call, fields) => postVaultKey(call, body, fields), body.op === 'fetch')
}

function itemRule(request: ApiRequest, id: number | null): Rule {
  const body = withId(readBody(request.body, itemBody), id)
  return lookup((call, fields) => postVaultItem(call, body, fields), body.op === 'fetch' || isBareId(body))
}

function userRule(request: ApiRequest, id: number | null): Rule {
  const body = withId(readBody(request.body, userBody), id)
  return lookup((call, fields) => postUser(call, body, fields), body.op === 'fetch')
}

function accountRule(request: ApiRequest): Rule {
  const body = readBody(request.body, accountBody)
  return (call, fields) => createAccount(call, body, fields)
}

function sessionRule(request: ApiRequest, id: number | null): Rule {
  const op = readBody(request.body, deleteOnly)
  if (op !== 'delete') throw invalid('$op: delete expected')
  return (call) => deleteSession(call, id)
}

function deleteOnly(reader: Reader): 'delete' | null {
  const op = reader.oneOf('$op', ['delete'])
  reader.ignore('id')
  reader.done()
  return op
}

function itemList(query: URLSearchParams): Rule {
  const asked = {
    domain: query.get('domain') ?? 'vesmail',
    prefix: query.get('prefix') ?? '',
    after: numberParameter(query, 'after', 0),
    limit: numberParameter(query, 'limit', 100),
  }
  if (asked.prefix.length > 1024 || /\0/.test(asked.prefix + asked.domain)) throw invalid('prefix: unusable')
  return (call, fields) => listItems(call, asked, fields)
}

/** What the hosted service has and we do not (yet): an error that says so, rather than an answer without it. */
export function refuseUnsupported(query: URLSearchParams, fields: Fields | null): void {
  const asked = ['events', 'encPersistentSessionToken'].find((name) => fields?.has(name))
  const what = query.has('poll') ? 'poll' : asked
  if (what !== undefined)
    throw new GatewayError('API_UNSUPPORTED', { text: `${what}: not supported by this repository` })
}

function withId<T extends { readonly id: number | null }>(body: T, id: number | null): T {
  if (id === null || body.id === id) return body
  if (body.id !== null) throw invalid('id: not that of the path')
  return { ...body, id }
}

const ALL_ROUTES = [...ROUTES, ...ADMIN_ROUTES]

/**
 * @param path behind `/v1/`
 * @throws GatewayError VES_NOT_FOUND, API_METHOD, API_INVALID
 */
export function ruleFor(
  request: ApiRequest,
  path: string,
  query: URLSearchParams,
): { readonly name: string; readonly rule: Rule; readonly kind: RouteKind | null; readonly sees: Sees } {
  let other = false
  for (const [method, pattern, make, kind] of ALL_ROUTES) {
    const parts = match(pattern, path)
    if (parts === null) continue
    if (method === request.method) {
      const rule = make(request, query, parts)
      const reads = method === 'GET' || LOOKUPS.has(rule)
      const sees = !reads ? 'newest' : kind === 'audit' || kind === 'long' ? 'moment' : 'short-moment'
      return { name: `${method} ${pattern}`, rule, kind: kind ?? null, sees }
    }
    other = true
  }
  throw other ? new GatewayError('API_METHOD') : notFound('no such resource')
}

function match(pattern: string, path: string): string[] | null {
  const wanted = pattern.split('/')
  const given = path.split('/')
  if (wanted.length !== given.length) return null
  const parts: string[] = []
  for (const [n, want] of wanted.entries()) {
    const part = given[n]!
    if (want === ':id') {
      if (!/^[1-9]\d{0,15}$/.test(part) || !Number.isSafeInteger(Number(part))) return null
      parts.push(part)
    } else if (want === ':text') {
      const decoded = decoded1(part)
      if (decoded === null) return null
      parts.push(decoded)
    } else if (want !== part) return null
  }
  return parts
}

function decoded1(part: string): string | null {
  try {
    return decodeURIComponent(part)
  } catch (error) {
    if (error instanceof URIError) return null
    throw error
  }
}
