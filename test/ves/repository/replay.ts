/**
 * What real C clients sent (fixtures/api-requests.jsonl, made with libVES 1.36 against a stand-in of the API), replayed
 * against ours. Ids are learned from the answers; where the rules withhold what the lax stand-in gave, ours may be less.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { ADMIN_TOKEN, type Any, type Harness, newKey, sealed } from './harness.ts'

interface Recorded {
  readonly method: string
  readonly url: string
  readonly bearer: boolean
  readonly body: Any
  readonly status: number
  readonly answer: Any
}

const FILE = new URL('./fixtures/api-requests.jsonl', import.meta.url)

/** Of the stand-in: user, primary key, app vault. */
const ALICE = { user: 1001, primary: 1002, vault: 1003, email: 'alice@lab.test' }
const BOB = { user: 1008, primary: 1009, vault: 1010, email: 'bob@lab.test' }

/** @returns how many requests were replayed */
export async function replay(harness: Harness): Promise<number> {
  const recorded = readFileSync(FILE, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Recorded)
  const ids = new Map<number, number>()
  for (const person of [ALICE, BOB]) await makePerson(harness, recorded, person, ids)
  let token = ''
  let user = 0
  const closed = new Set<string>()
  for (const [n, one] of recorded.entries()) {
    // C names itself in the request that fetches its session token.
    if (one.url.includes('encSessionToken')) {
      user = one.body.creator.id
      const vault = user === ALICE.user ? ALICE.vault : BOB.vault
      token = harness.tokens.session(ids.get(vault)!, harness.nowMs)
      harness.nowMs += 1000
    }
    const url = one.url.replace('/v1/', '').replace(/\/(\d+)/, (_, id) => `/${ids.get(Number(id)) ?? 'unknown'}`)
    const answer = await harness.ask(one.method, url, {
      ...(one.bearer ? { token } : {}),
      ...(one.body === null ? {} : { body: translated(one.body, ids) }),
    })
    assert.equal(answer.status, one.status, `line ${n + 1}: ${JSON.stringify(answer.body)}`)
    const at = `line ${n + 1}`
    if (isOutsider(one, user, closed)) {
      // The stand-in shows entries to all; the rule is none, with the rest of the item.
      assert.deepEqual(answer.body.result.vaultEntries, [], at)
      one.answer.result.vaultEntries = []
    }
    compare(one.answer, answer.body, ids, at, !one.bearer)
  }
  return recorded.length
}

async function makePerson(
  harness: Harness,
  recorded: readonly Recorded[],
  person: typeof ALICE,
  ids: Map<number, number>,
): Promise<void> {
  const vault = recorded.find((one) => one.url.includes('encSessionToken') && one.body.creator.id === person.user)!
    .answer.result
  const primary = newKey().pems
  const made = await harness.ok('POST', 'accounts', {
    token: ADMIN_TOKEN,
    body: {
      email: person.email,
      vaultKeys: [
        { type: 'current', ...primary },
        {
          type: 'secondary',
          algo: vault.algo,
          publicKey: vault.publicKey,
          privateKey: vault.privateKey,
          externals: [{ domain: 'vesmail', externalId: person.email }],
          vaultItems: [
            {
              type: 'password',
              vaultEntries: [
                { vaultKey: { $ref: '#/vaultKeys/0' }, encData: sealed(primary.publicKey, Buffer.from('unknown')) },
              ],
            },
          ],
        },
      ],
    },
  })
  ids.set(person.user, made.id)
  ids.set(person.primary, made.vaultKeys[0].id)
  ids.set(person.vault, made.vaultKeys[1].id)
}

/** Is the answer about an item that this user made no part of and holds no entry of? C asks for the same one twice. */
function isOutsider(one: Recorded, user: number, closed: Set<string>): boolean {
  const item = one.answer.result
  if (!Array.isArray(item?.vaultEntries)) return false
  const name = `${user} ${item.id}`
  if (item.file === undefined) return closed.has(name)
  const inside =
    item.file.creator.id === user || item.vaultEntries.some((entry: Any) => entry.vaultKey.user.id === user)
  if (inside) closed.delete(name)
  else closed.add(name)
  return !inside
}

function translated(value: Any, ids: ReadonlyMap<number, number>): Any {
  if (Array.isArray(value)) return value.map((one) => translated(one, ids))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      name === 'id' ? (ids.get(inner as number) ?? assert.fail(`unknown id ${inner}`)) : translated(inner, ids),
    ]),
  )
}

/** May be left out by the rules; where it is given it must be as recorded. */
const WITHHELD = ['encData', 'vaultItems', 'privateKey', 'publicKey']
/** Made anew each time. */
const FRESH = ['encSessionToken', 'verifyToken', 'message', 'number']

function compare(theirs: Any, ours: Any, ids: Map<number, number>, at: string, stranger: boolean): void {
  if (Array.isArray(theirs)) {
    assert.equal(ours?.length, theirs.length, at)
    for (const [n, one] of theirs.entries()) compare(one, ours[n], ids, `${at}[${n}]`, stranger)
    return
  }
  if (typeof theirs !== 'object' || theirs === null) {
    // The primary keys' public halves are not in the recording.
    if (!at.endsWith('activeVaultKeys[0].publicKey')) assert.deepEqual(ours, theirs, at)
    return
  }
  assert.equal(typeof ours, 'object', at)
  assert.notEqual(ours, null, at)
  for (const [name, value] of Object.entries(theirs)) {
    const place = `${at}.${name}`
    if (name === 'id') {
      const known = ids.get(value as number)
      if (known === undefined) ids.set(value as number, ours.id)
      else assert.equal(ours.id, known, place)
    } else if (value === null) assert.ok(!(name in ours), `${place}: left out, never null`)
    else if (FRESH.includes(name)) assert.ok(name in ours, place)
    else if (!(name in ours)) {
      assert.ok(
        WITHHELD.includes(name) || (stranger && ['email', 'firstName', 'lastName'].includes(name)),
        `${place}: missing`,
      )
    } else compare(value, ours[name], ids, place, stranger)
  }
}
