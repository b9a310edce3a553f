/**
 * The bodies of POST requests: JSON with known properties of the right types, or a refusal that names the place. What
 * passes here is typed, bounded and safe to store; whether it is allowed is for the rules.
 */
import type { JsonObject } from './api.ts'
import { invalid } from './refuse.ts'
import type { ItemType, KeyAlgo, KeyType } from './store/schema.ts'

export type Op = 'fetch' | 'create' | 'delete' | 'ignore' | null

export interface External {
  readonly domain: string
  readonly externalId: string
}

export interface UserBody {
  readonly op: Op
  readonly id: number | null
  readonly email: string | null
  readonly firstName: string | null
  readonly lastName: string | null
  readonly vaultKeys: readonly KeyBody[] | null
}

export interface KeyBody {
  readonly op: Op
  readonly ref: string | null
  readonly id: number | null
  readonly type: KeyType | null
  readonly algo: KeyAlgo | null
  readonly publicKey: string | null
  readonly privateKey: string | null
  readonly user: UserBody | null
  readonly externals: readonly External[] | null
  readonly vaultItems: readonly ItemBody[] | null
  readonly vaultEntries: readonly EntryBody[] | null
  readonly appUrl: string | null
  readonly replaces: number | null
}

export interface ItemBody {
  readonly op: Op
  readonly ref: string | null
  readonly id: number | null
  readonly type: ItemType | null
  /** Undefined: not mentioned. Null: none. */
  readonly meta: JsonObject | null | undefined
  readonly file: FileBody | null
  readonly vaultKey: KeyBody | null
  readonly vaultEntries: readonly EntryBody[] | null
}

export interface FileBody {
  readonly externals: readonly External[] | null
  readonly name: string | null
  readonly mime: string | null
  readonly path: string | null
}

export interface EntryBody {
  readonly op: Op
  readonly id: number | null
  readonly vaultKey: KeyBody | null
  readonly vaultItem: ItemBody | null
  readonly encData: string | null
}

/** PEM and encData (key-repository.md §2). */
const MAX_VALUE = 65_535
const MAX_LIST = 10_000
const MAX_EXTERNALS = 16
const MAX_META = 16_384
const MAX_META_DEPTH = 8
/** Message ids are external ids: RFC 5322 lines have at most 998 octets. */
const MAX_EXTERNAL_ID = 1024
/** A vault key inside an entry inside an item inside a key inside an entry: more is nobody's flow. */
const MAX_DEPTH = 6

const PUBLIC_PEM = /^-----BEGIN PUBLIC KEY-----[ \t]*\r?\n[A-Za-z0-9+/=\r\n]+\r?\n?-----END PUBLIC KEY-----\s*$/
/** Only encrypted ones: a client that sends a bare private key has a fault that nobody may profit from. */
const PRIVATE_PEM =
  /^-----BEGIN ENCRYPTED PRIVATE KEY-----[ \t]*\r?\n[A-Za-z0-9+/=\r\n]+\r?\n?-----END ENCRYPTED PRIVATE KEY-----\s*$/
/** Of a multiple of four characters. In groups of four it takes six times as long to match. */
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

const OPS = ['fetch', 'create', 'delete', 'ignore'] as const
const KEY_TYPES = ['current', 'shadow', 'temp', 'lost', 'secondary', 'recovery', 'pending', 'deleted'] as const
const ITEM_TYPES = ['string', 'file', 'password', 'secret'] as const
const ALGOS = ['RSA', 'ECDH', 'OQS'] as const

/** One JSON object, its properties read by name; {@link Reader.done} refuses what nobody asked for. */
export class Reader {
  readonly #object: Record<string, unknown>
  readonly #at: string
  readonly depth: number
  readonly #known = new Set<string>()

  constructor(value: unknown, at: string, depth = 0) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${at}: object expected`)
    if (depth > MAX_DEPTH) throw invalid(`${at}: too deep`)
    this.#object = value as Record<string, unknown>
    this.#at = at
    this.depth = depth
  }

  /** Null and undefined are "not there". */
  #take(name: string): unknown {
    this.#known.add(name)
    return Object.hasOwn(this.#object, name) ? (this.#object[name] ?? undefined) : undefined
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#object, name)
  }

  place(name: string): string {
    return this.#at === '' ? name : `${this.#at}.${name}`
  }

  id(name: string): number | null {
    const value = this.#take(name)
    if (value === undefined) return null
    // Some clients have their ids as text.
    const number = typeof value === 'string' && /^[1-9]\d{0,15}$/.test(value) ? Number(value) : value
    if (!Number.isSafeInteger(number) || (number as number) < 1) throw invalid(`${this.place(name)}: id expected`)
    return number as number
  }

  integer(name: string, min: number, max: number): number | null {
    const value = this.#take(name)
    if (value === undefined) return null
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
      throw invalid(`${this.place(name)}: integer from ${min} to ${max} expected`)
    }
    return value as number
  }

  flag(name: string): boolean | null {
    const value = this.#take(name)
    if (value !== undefined && typeof value !== 'boolean') throw invalid(`${this.place(name)}: true or false expected`)
    return value ?? null
  }

  text(name: string, maxCharacters = 1024): string | null {
    const value = this.#take(name)
    if (value === undefined) return null
    if (typeof value !== 'string') throw invalid(`${this.place(name)}: string expected`)
    if (value.length > maxCharacters) throw invalid(`${this.place(name)}: longer than ${maxCharacters} characters`)
    if (!value.isWellFormed() || value.includes('\0')) throw invalid(`${this.place(name)}: unusable characters`)
    return value
  }

  email(name: string): string | null {
    const value = this.text(name, 320)?.toLowerCase() ?? null
    if (value !== null && !isAddress(value)) throw invalid(`${this.place(name)}: mail address expected`)
    return value
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T | null {
    const value = this.text(name)
    if (value !== null && !(values as readonly string[]).includes(value))
      throw invalid(`${this.place(name)}: unknown value`)
    return value as T | null
  }

  matching(name: string, pattern: RegExp, what: string): string | null {
    const value = this.text(name, MAX_VALUE)
    if (value !== null && (value === '' || !pattern.test(value))) throw invalid(`${this.place(name)}: ${what} expected`)
    return value
  }

  encData(name: string): string | null {
    const value = this.matching(name, BASE64, 'base64')
    if (value !== null && value.length % 4 !== 0) throw invalid(`${this.place(name)}: base64 expected`)
    return value
  }

  publicKey(name: string): string | null {
    return this.matching(name, PUBLIC_PEM, 'PEM public key')
  }

  algo(name: string): KeyAlgo | null {
    return this.oneOf(name, ALGOS)
  }

  nested<T>(name: string, read: (reader: Reader) => T): T | null {
    const value = this.#take(name)
    return value === undefined ? null : read(new Reader(value, this.place(name), this.depth + 1))
  }

  /** @param single may an object stand for a list of one? */
  list<T>(name: string, read: (reader: Reader) => T, max = MAX_LIST, single = false): readonly T[] | null {
    let value = this.#take(name)
    if (value === undefined) return null
    if (single && typeof value === 'object' && !Array.isArray(value)) value = [value]
    if (!Array.isArray(value)) throw invalid(`${this.place(name)}: list expected`)
    if (value.length > max) throw invalid(`${this.place(name)}: more than ${max}`)
    return value.map((one, n) => read(new Reader(one, `${this.place(name)}[${n}]`, this.depth + 1)))
  }

  meta(name: string): JsonObject | null | undefined {
    if (!this.has(name)) return undefined
    const value = this.#take(name)
    if (value === undefined) return null
    if (typeof value !== 'object' || Array.isArray(value)) throw invalid(`${this.place(name)}: object expected`)
    if (depthOf(value, MAX_META_DEPTH) > MAX_META_DEPTH) throw invalid(`${this.place(name)}: too deep`)
    const text = JSON.stringify(value)
    if (text.length > MAX_META) throw invalid(`${this.place(name)}: longer than ${MAX_META} characters`)
    if (!text.isWellFormed()) throw invalid(`${this.place(name)}: unusable characters`)
    return value as JsonObject
  }

  /** Read by nobody, but sent by known clients. */
  ignore(...names: readonly string[]): void {
    for (const name of names) this.#known.add(name)
  }

  done(): void {
    for (const name of Object.keys(this.#object)) {
      if (!this.#known.has(name))
        throw invalid(`${this.#at || 'body'}: unknown property ${JSON.stringify(name.slice(0, 64))}`)
    }
  }
}

function depthOf(value: unknown, max: number): number {
  if (typeof value !== 'object' || value === null) return 0
  if (max === 0) return 1
  let deepest = 0
  for (const inner of Object.values(value)) deepest = Math.max(deepest, depthOf(inner, max - 1))
  return deepest + 1
}

/** Good enough to own: something, one @, something, no white space, no control or list characters. */
export function isAddress(text: string): boolean {
  return /^[^\s@,;<>()"\\\x00-\x1f\x7f]+@[^\s@,;<>()"\\\x00-\x1f\x7f]+$/.test(text)
}

function external(reader: Reader): External {
  const domain = reader.text('domain', 255)
  const externalId = reader.text('externalId', MAX_EXTERNAL_ID)
  reader.ignore('id', '$op')
  reader.done()
  if (domain === null || domain === '' || externalId === null || externalId === '') {
    throw invalid(`${reader.place('externalId')}: domain and externalId expected`)
  }
  return { domain, externalId }
}

/** One may stand for a list; the same twice is once. */
function externals(reader: Reader): readonly External[] | null {
  const list = reader.list('externals', external, MAX_EXTERNALS, true)
  if (list === null) return null
  return [...new Map(list.map((one) => [JSON.stringify([one.domain, one.externalId]), one])).values()]
}

export function userBody(reader: Reader): UserBody {
  const body = {
    op: reader.oneOf('$op', OPS),
    id: reader.id('id'),
    email: reader.email('email'),
    firstName: reader.text('firstName', 128),
    lastName: reader.text('lastName', 128),
    vaultKeys: reader.list('vaultKeys', keyBody, 64),
  }
  reader.done()
  return body
}

export function keyBody(reader: Reader): KeyBody {
  const body = {
    op: reader.oneOf('$op', OPS),
    ref: reader.text('$ref', 64),
    id: reader.id('id'),
    type: reader.oneOf('type', KEY_TYPES),
    algo: reader.algo('algo'),
    publicKey: reader.publicKey('publicKey'),
    privateKey: reader.matching('privateKey', PRIVATE_PEM, 'PEM encrypted private key'),
    user: reader.nested('user', userBody),
    externals: externals(reader),
    vaultItems: reader.list('vaultItems', itemBody, 16),
    vaultEntries: reader.list('vaultEntries', entryBody),
    appUrl: reader.text('appUrl', 2048),
    replaces: reader.nested('replaces', reference),
  }
  // The creator is whoever asks, whatever is said here.
  reader.nested('creator', userBody)
  reader.done()
  return body
}

function reference(reader: Reader): number {
  const id = reader.id('id')
  reader.done()
  if (id === null) throw invalid(`${reader.place('id')}: expected`)
  return id
}

export function itemBody(reader: Reader): ItemBody {
  const body = {
    op: reader.oneOf('$op', OPS),
    ref: reader.text('$ref', 64),
    id: reader.id('id'),
    type: reader.oneOf('type', ITEM_TYPES),
    meta: reader.meta('meta'),
    file: reader.nested('file', fileBody),
    vaultKey: reader.nested('vaultKey', keyBody),
    vaultEntries: reader.list('vaultEntries', entryBody),
  }
  reader.done()
  return body
}

function fileBody(reader: Reader): FileBody {
  const body = {
    externals: externals(reader),
    name: reader.text('name', 255),
    mime: reader.text('mime', 255),
    path: reader.text('path', 1024),
  }
  reader.ignore('id')
  reader.nested('creator', userBody)
  reader.done()
  return body
}

export function entryBody(reader: Reader): EntryBody {
  const body = {
    op: reader.oneOf('$op', OPS),
    id: reader.id('id'),
    vaultKey: reader.nested('vaultKey', keyBody),
    vaultItem: reader.nested('vaultItem', itemBody),
    encData: reader.encData('encData'),
  }
  reader.done()
  return body
}

/** @param octets the request's body @throws GatewayError API_INVALID */
export function readBody<T>(octets: Buffer, read: (reader: Reader) => T): T {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(octets))
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) throw invalid('body: not JSON')
    throw error
  }
  return read(new Reader(value, ''))
}
