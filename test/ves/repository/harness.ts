/** A repository in memory or on a given store, asked as clients ask it, with real keys and a clock to turn. */
import assert from 'node:assert/strict'
import { Secret } from '../../../src/base/secret.ts'
import {
  type KeyKind,
  openFromVaultKey,
  sealToVaultKey,
  unlockPrivateKey,
  type VaultKey,
} from '../../../src/engine/seal/vault-key.ts'
import { makeVaultKey, makeVeskey } from '../../../src/engine/seal/vault-key-make.ts'
import type { ApiResponse, JsonObject } from '../../../src/ves/repository/api.ts'
import type { Mailer } from '../../../src/ves/repository/mailer.ts'
import { Repository } from '../../../src/ves/repository/repository.ts'
import { DEFAULT_SETTINGS, type Settings } from '../../../src/ves/repository/settings.ts'
import { openSqliteStore } from '../../../src/ves/repository/store/sqlite.ts'
import type { Store } from '../../../src/ves/repository/store/store.ts'
import { Tokens } from '../../../src/ves/repository/tokens.ts'
import { LogWatch } from '../../lab/log-secrets.ts'

export const ADMIN_TOKEN = 'an-admin-token-for-tests'
const TOKEN_KEY = Buffer.alloc(32, 7)
const watch = LogWatch.forFile()
watch.secret(ADMIN_TOKEN, TOKEN_KEY)

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into freely here, and every wrong guess fails its test
export type Any = any

export interface Ask {
  readonly token?: string
  readonly body?: unknown
  readonly headers?: Record<string, string>
  readonly address?: string
}

export interface TestKey {
  readonly id: number
  readonly veskey: Buffer
  readonly key: VaultKey
  readonly publicKey: string
  readonly algo: string
}

export interface TestAccount {
  readonly email: string
  readonly userId: number
  readonly primary: TestKey
  readonly vault: TestKey
  /** Of the app vault. */
  readonly token: string
}

export class Harness {
  readonly store: Store
  readonly repository: Repository
  readonly tokens = new Tokens(TOKEN_KEY)
  nowMs = 1_800_000_000_000

  constructor(store: Store, settings: Partial<Settings> = {}, mailer: Mailer | null = null) {
    this.store = store
    this.repository = new Repository({
      store,
      settings: { ...DEFAULT_SETTINGS, ...settings },
      adminToken: new Secret(ADMIN_TOKEN),
      tokenKey: new Secret(TOKEN_KEY),
      log: watch.log,
      clock: { nowMs: () => this.nowMs },
      ...(mailer === null ? {} : { mailer }),
    })
  }

  /** @param url `vaultKeys/1?fields=id`, behind `/v1/` */
  async ask(method: string, url: string, ask: Ask = {}): Promise<ApiResponse & { readonly body: Any }> {
    const [path, query] = url.split('?')
    if (ask.token !== undefined && ask.token.length > 8) watch.secret(ask.token)
    const answer = await this.repository.handle({
      method,
      path: `/v1/${path}`,
      query: query ?? '',
      headers: { ...(ask.token === undefined ? {} : { authorization: `Bearer ${ask.token}` }), ...ask.headers },
      body: Buffer.isBuffer(ask.body) ? ask.body : Buffer.from(ask.body === undefined ? '' : JSON.stringify(ask.body)),
      address: ask.address ?? '127.0.0.1',
    })
    // Whatever the answer is, it is complete.
    const { body, status } = answer
    if (status === 200) assert.equal(typeof body.result, 'object')
    else {
      const [error] = body.errors as readonly JsonObject[]
      assert.equal(typeof error?.type, 'string')
      assert.equal(typeof error?.message, 'string')
      assert.equal(typeof error?.number, 'number')
    }
    return answer as ApiResponse & { readonly body: Any }
  }

  /** The result of a request that must succeed. */
  async ok(method: string, url: string, ask: Ask = {}): Promise<Any> {
    const answer = await this.ask(method, url, ask)
    assert.equal(answer.status, 200, `${method} ${url}: ${JSON.stringify(answer.body)}`)
    return answer.body.result
  }

  async refused(status: number, method: string, url: string, ask: Ask = {}): Promise<string> {
    const answer = await this.ask(method, url, ask)
    assert.equal(answer.status, status, `${method} ${url}: ${JSON.stringify(answer.body)}`)
    return answer.body.errors[0].type
  }

  /** @param mailToken makes the account in place of the administrator */
  async account(email: string, kind: KeyKind = 'P-256', mailToken?: string): Promise<TestAccount> {
    const primary = newKey(kind)
    const vault = newKey(kind)
    const made = await this.ok('POST', 'accounts', {
      ...(mailToken === undefined ? { token: ADMIN_TOKEN } : {}),
      body: {
        ...(mailToken === undefined ? { email } : { token: mailToken }),
        vaultKeys: [
          { type: 'current', ...primary.pems },
          {
            type: 'secondary',
            ...vault.pems,
            externals: [{ domain: 'vesmail', externalId: email }],
            vaultItems: [
              {
                type: 'password',
                vaultEntries: [
                  { vaultKey: { $ref: '#/vaultKeys/0' }, encData: sealed(primary.pems.publicKey, vault.veskey) },
                ],
              },
            ],
          },
        ],
      },
    })
    const keys = { primary: withId(primary, made.vaultKeys[0].id), vault: withId(vault, made.vaultKeys[1].id) }
    return { email, userId: made.id, ...keys, token: await this.login(keys.vault) }
  }

  /** What a client does: fetch the key, unlock it, open the session token. */
  async login(key: TestKey): Promise<string> {
    const got = await this.ok('GET', `vaultKeys/${key.id}?fields=privateKey,encSessionToken`)
    const unlocked = unlockPrivateKey(got.privateKey, key.veskey)
    return openFromVaultKey(unlocked, Buffer.from(got.encSessionToken, 'base64')).toString()
  }

  /** An item named `name`, its value sealed to these keys. */
  async item(
    owner: TestAccount,
    name: string,
    value: string,
    keys: readonly { id: number; publicKey: string }[],
  ): Promise<number> {
    const made = await this.ok('POST', 'vaultItems', {
      token: owner.token,
      body: {
        type: 'file',
        $op: 'create',
        meta: { a: 'AES256GCM1K' },
        file: { externals: [{ domain: 'vesmail', externalId: name }] },
        vaultEntries: keys.map((key) => ({
          vaultKey: { id: key.id },
          encData: sealed(key.publicKey, Buffer.from(value)),
        })),
      },
    })
    return made.id
  }

  /** A temp key's properties as C sends them, its VESkey shared with `keys`. */
  temp(
    email: string,
    keys: readonly { id: number; publicKey: string }[],
    named = true,
  ): { body: JsonObject; key: Omit<TestKey, 'id'> } {
    const made = newKey('P-256')
    return {
      key: withId(made, 0),
      body: {
        type: 'temp',
        ...made.pems,
        user: { email },
        vaultItems: [
          {
            type: 'password',
            $op: 'create',
            vaultEntries: keys.map((key) => ({
              vaultKey: { id: key.id },
              encData: sealed(key.publicKey, made.veskey),
            })),
          },
        ],
        ...(named ? { externals: [{ domain: 'vesmail', externalId: email }] } : {}),
      },
    }
  }

  async close(): Promise<void> {
    await this.store.close()
  }
}

export async function inMemory(settings: Partial<Settings> = {}, mailer: Mailer | null = null): Promise<Harness> {
  return new Harness(await openSqliteStore(':memory:'), settings, mailer)
}

export function sealed(publicKey: string, value: Buffer): string {
  return sealToVaultKey(publicKey, value).toString('base64')
}

export function opened(key: { key: VaultKey }, encData: string): string {
  return openFromVaultKey(key.key, Buffer.from(encData, 'base64')).toString()
}

export interface MadeKey {
  readonly veskey: Buffer
  readonly pems: { readonly algo: string; readonly publicKey: string; readonly privateKey: string }
}

export function newKey(kind: KeyKind = 'P-256'): MadeKey {
  const veskey = makeVeskey()
  const { algo, publicKey, privateKey } = makeVaultKey(kind, veskey, 1000)
  return { veskey, pems: { algo, publicKey, privateKey } }
}

export function withId(made: MadeKey, id: number): TestKey {
  const { publicKey, privateKey, algo } = made.pems
  return { id, veskey: made.veskey, key: unlockPrivateKey(privateKey, made.veskey), publicKey, algo }
}
