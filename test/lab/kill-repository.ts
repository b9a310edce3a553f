/**
 * kill -9 of a repository under load, again and again: what was acknowledged is there after the restart, and of what was
 * not there is all or nothing. Every item carries its version in its meta and in each of its entries, whose number goes
 * by the version too, so that half a request would show.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openFromVaultKey, unlockPrivateKey } from '../../src/engine/seal/vault-key.ts'
import { type Any, newKey } from '../ves/repository/harness.ts'

const PROGRAM = fileURLToPath(new URL('../../bin/vesmail.ts', import.meta.url))
const WRITERS = 8
const MIN_LOAD_MS = 10
const MAX_LOAD_MS = 250
/** Keys that entries are for; version v has the first 1 + v % KEYS of them. */
const KEYS = 4
const DELETED = -1

export interface KillOptions {
  readonly data: string
  readonly database?: string
  readonly kills: number
  /** Done while the repository is dead. */
  readonly meanwhile?: (kill: number) => Promise<void>
}

export interface KillResult {
  readonly acknowledged: number
  /** In flight when the repository died: made it, or left no trace. */
  readonly unanswered: { readonly there: number; readonly gone: number }
}

/** What the writer knows of one of its items. */
interface Known {
  readonly name: string
  acknowledged: number | null
  /** Sent and not answered. */
  pending: number | null
  /** The temp key that its first version makes on the way. */
  readonly stranger: string
}

class Served {
  readonly child: ChildProcess
  readonly url: string

  private constructor(child: ChildProcess, url: string) {
    this.child = child
    this.url = url
  }

  static async start(options: KillOptions): Promise<Served> {
    const args = ['repository', 'serve', '--listen', '127.0.0.1:0', '--data', options.data]
    if (options.database !== undefined) args.push('--database', options.database)
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
    let said = ''
    for await (const chunk of child.stdout!) {
      said += String(chunk)
      if (said.includes('\n')) break
    }
    const url = /^ready (http:\S+)\n/.exec(said)?.[1]
    assert.ok(url !== undefined, `repository did not start: ${said}`)
    return new Served(child, url)
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const gone = once(this.child, 'exit')
    this.child.kill(signal)
    await gone
  }

  /** @returns null where no whole answer came */
  async ask(
    method: string,
    path: string,
    token: string,
    body?: unknown,
  ): Promise<{ status: number; body: Any } | null> {
    try {
      const answer = await fetch(this.url + path, {
        method,
        headers: token === '' ? {} : { authorization: `Bearer ${token}` },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      return { status: answer.status, body: await answer.json() }
    } catch (error) {
      if (error instanceof TypeError || error instanceof SyntaxError) return null
      throw error
    }
  }

  async ok(method: string, path: string, token: string, body?: unknown): Promise<Any> {
    const answer = await this.ask(method, path, token, body)
    assert.equal(answer?.status, 200, `${method} ${path}: ${JSON.stringify(answer?.body)}`)
    return answer!.body.result
  }
}

export async function killRepeatedly(options: KillOptions): Promise<KillResult> {
  let served = await Served.start(options)
  const admin = readFileSync(join(options.data, 'admin-token'), 'utf8')
  const people = []
  for (let n = 0; n < KEYS; n++) people.push(await makeAccount(served, admin, `p${n}@kill.test`))
  const token = people[0]!.token
  const keyIds = people.map((one) => one.keyId)
  const all: Known[] = []
  const result = { acknowledged: 0, unanswered: { there: 0, gone: 0 } }
  for (let kill = 0; kill < options.kills; kill++) {
    const round: Known[] = []
    const writers = Array.from({ length: WRITERS }, (_, n) => write(served, token, keyIds, round, `k${kill}w${n}`))
    // On a busy machine the first answers take their time: the load counts from there.
    while (!round.some((known) => known.acknowledged !== null)) await new Promise((resolve) => setTimeout(resolve, 5))
    await new Promise((resolve) => setTimeout(resolve, randomInt(MIN_LOAD_MS, MAX_LOAD_MS)))
    // However slow the machine: a run in which nothing was acknowledged would prove nothing.
    while (kill === 0 && !round.some((known) => known.acknowledged !== null)) {
      await new Promise((resolve) => setTimeout(resolve, MIN_LOAD_MS))
    }
    await served.kill()
    for (const acknowledged of await Promise.all(writers)) result.acknowledged += acknowledged
    await options.meanwhile?.(kill)
    served = await Served.start(options)
    for (const known of round) await check(served, token, keyIds, known, result.unanswered)
    all.push(...round)
  }
  const unanswered = { there: 0, gone: 0 }
  for (const known of all) await check(served, token, keyIds, known, unanswered)
  const audit = await served.ok('GET', 'admin/audit/verify', admin)
  assert.equal(audit.ok, true, 'the audit log is whole')
  await served.kill('SIGTERM')
  return result
}

async function makeAccount(served: Served, admin: string, email: string): Promise<{ keyId: number; token: string }> {
  const vault = newKey()
  const made = await served.ok('POST', 'accounts', admin, {
    email,
    vaultKeys: [
      { type: 'current', ...newKey().pems },
      { type: 'secondary', ...vault.pems, externals: [{ domain: 'vesmail', externalId: email }] },
    ],
  })
  const keyId = made.vaultKeys[1].id as number
  const { encSessionToken } = await served.ok('GET', `vaultKeys/${keyId}?fields=encSessionToken`, '')
  const key = unlockPrivateKey(vault.pems.privateKey, vault.veskey)
  return { keyId, token: openFromVaultKey(key, Buffer.from(encSessionToken, 'base64')).toString() }
}

/** Creates items, replaces and deletes them, until the repository is gone. @returns acknowledged requests */
async function write(
  served: Served,
  token: string,
  keyIds: readonly number[],
  round: Known[],
  name: string,
): Promise<number> {
  let acknowledged = 0
  for (let n = 0; ; n++) {
    const known: Known = {
      name: `${name}n${n}@kill.test`,
      acknowledged: null,
      pending: null,
      stranger: `s-${name}n${n}@kill.test`,
    }
    round.push(known)
    for (const version of [0, 1, 2, 3, DELETED].slice(0, randomInt(1, 6))) {
      known.pending = version
      const answer = await served.ask('POST', 'vaultItems', token, bodyOf(known, version, keyIds))
      if (answer === null) return acknowledged
      assert.equal(answer.status, 200, JSON.stringify(answer.body))
      known.acknowledged = version
      known.pending = null
      acknowledged++
    }
  }
}

const encData = (version: number, n: number): string => Buffer.from(`${version}.${n}`).toString('base64')

const ONE_TEMP = newKey().pems

function bodyOf(known: Known, version: number, keyIds: readonly number[]): unknown {
  const file = { externals: [{ domain: 'vesmail', externalId: known.name }] }
  if (version === DELETED) return { file, $op: 'delete' }
  const entries: unknown[] = keyIds
    .slice(0, 1 + (version % KEYS))
    .map((id, n) => ({ vaultKey: { id }, encData: encData(version, n) }))
  if (version === 0) {
    entries.push({
      encData: encData(0, entries.length),
      vaultKey: {
        type: 'temp',
        ...ONE_TEMP,
        user: { email: known.stranger },
        externals: [{ domain: 'vesmail', externalId: known.stranger }],
        vaultItems: [{ type: 'password', vaultEntries: [{ vaultKey: { id: keyIds[0] }, encData: encData(0, 9) }] }],
      },
    })
  }
  return {
    type: 'file',
    meta: { a: 'NULL', version },
    file,
    vaultEntries: entries,
    ...(version === 0 ? { $op: 'create' } : {}),
  }
}

async function check(
  served: Served,
  token: string,
  keyIds: readonly number[],
  known: Known,
  unanswered: { there: number; gone: number },
): Promise<void> {
  const fields = 'fields=meta,vaultEntries(encData,vaultKey(id,type))'
  const item = { file: { externals: [{ domain: 'vesmail', externalId: known.name }] }, $op: 'fetch' }
  const answer = await served.ask('POST', `vaultItems?${fields}`, token, item)
  assert.ok(answer !== null && [200, 404].includes(answer.status))
  const found = answer.status === 200 ? (answer.body.result.meta.version as number) : null
  const stateOf = (version: number | null): number | null => (version === DELETED ? null : version)
  const { acknowledged, pending } = known
  const possible = pending === null ? [stateOf(acknowledged)] : [stateOf(acknowledged), stateOf(pending)]
  assert.ok(possible.includes(found), `${known.name}: found ${found}, acknowledged ${acknowledged}, sent ${pending}`)
  if (pending !== null) unanswered[found === stateOf(pending) ? 'there' : 'gone']++
  if (found !== null) {
    const entries = answer.body.result.vaultEntries as Any[]
    const wanted = Array.from({ length: 1 + (found % KEYS) + (found === 0 ? 1 : 0) }, (_, n) => encData(found, n))
    assert.deepEqual(entries.map((entry) => entry.encData).sort(), wanted.sort(), `${known.name}: half a request`)
  }
  // The temp key came with the first version: with it, or not at all.
  const temp = await served.ask('POST', 'vaultKeys?fields=vaultItems(vaultEntries(encData))', token, {
    externals: [{ domain: 'vesmail', externalId: known.stranger }],
    $op: 'fetch',
  })
  if (pending !== null) {
    // A database server may still be committing what a dead repository had asked of it: not between our two looks.
    const again = await served.ask('POST', 'vaultItems?fields=meta', token, item)
    if (again?.status !== answer.status) return check(served, token, keyIds, known, { there: 0, gone: 0 })
  }
  const begun = acknowledged !== null || found !== null
  assert.equal(temp?.status, begun ? 200 : 404, `${known.name}: temp key`)
  if (begun) assert.equal(temp!.body.result.vaultItems[0].vaultEntries[0].encData, encData(0, 9))
  assert.ok(keyIds.length === KEYS)
}
