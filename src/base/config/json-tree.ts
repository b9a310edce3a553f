/**
 * JSON with positions: what `JSON.parse` reads (RFC 8259), but each value and key knows its line and column, and a
 * repeated key is noticed. For configuration files, so: small inputs, good errors. Not for mail or network input.
 *
 * Lines whose first character is `#`, `;` or `/` are comments (daemon.md §1).
 */
import { GatewayError } from '../errors.ts'

/** 1-based; columns count UTF-16 units, as editors do. */
export interface Place {
  readonly line: number
  readonly column: number
}

export interface Member {
  readonly key: string
  readonly at: Place
  readonly value: Node
}

export type Node = { readonly at: Place } & (
  | { readonly kind: 'object'; readonly members: readonly Member[] }
  | { readonly kind: 'array'; readonly items: readonly Node[] }
  | { readonly kind: 'scalar'; readonly value: string | number | boolean | null }
)

/** A configuration is some KiB; a host's file is read while somebody waits for a handshake. */
export const MAX_CONFIG_CHARACTERS = 1024 * 1024
/** Stops a file of brackets from using up the stack. */
const MAX_DEPTH = 32

/**
 * @param file name for errors
 * @param repeated told of each key that came before in the same object; the first one counts
 * @throws {GatewayError} CONFIG_INVALID with file, line, column, key and reason in its detail
 */
export function parseJsonTree(
  text: string,
  file: string,
  repeated: (path: string, at: Place) => void = () => {},
): Node {
  if (text.length > MAX_CONFIG_CHARACTERS) {
    throw configError({ file, line: 1, column: 1, reason: `larger than ${MAX_CONFIG_CHARACTERS} characters` })
  }
  const reader = new Reader(withoutComments(text), file, repeated)
  return reader.document()
}

/** The value as `JSON.parse` would give it. */
export function plainValue(node: Node): unknown {
  switch (node.kind) {
    case 'scalar':
      return node.value
    case 'array':
      return node.items.map(plainValue)
    case 'object':
      return Object.fromEntries(node.members.map((member) => [member.key, plainValue(member.value)]))
  }
}

export interface ConfigErrorDetail {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly key?: string
  readonly reason: string
}

export function configError(detail: ConfigErrorDetail): GatewayError {
  return new GatewayError('CONFIG_INVALID', { ...detail })
}

/** Blanks comment lines, so that all positions stay. The text may begin with a byte order mark. */
function withoutComments(text: string): string {
  return text.replace(/^\uFEFF/, ' ').replace(/^[#;/].*$/gm, '')
}

class Reader {
  readonly #text: string
  readonly #file: string
  readonly #repeated: (path: string, at: Place) => void
  /** Offsets at which lines begin. */
  readonly #lines: number[] = [0]
  #at = 0

  constructor(text: string, file: string, repeated: (path: string, at: Place) => void) {
    this.#text = text
    this.#file = file
    this.#repeated = repeated
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#lines.push(at + 1)
  }

  document(): Node {
    const node = this.#value('', 0)
    this.#space()
    if (this.#at < this.#text.length) this.#fail('the end of the file', '')
    return node
  }

  #value(path: string, depth: number): Node {
    this.#space()
    const at = this.#place(this.#at)
    if (depth > MAX_DEPTH) this.#fail(`at most ${MAX_DEPTH} levels`, path)
    const first = this.#text[this.#at]
    if (first === '{') return { kind: 'object', at, members: this.#object(path, depth) }
    if (first === '[') return { kind: 'array', at, items: this.#array(path, depth) }
    if (first === '"') return { kind: 'scalar', at, value: this.#string(path) }
    const word = /(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/y
    word.lastIndex = this.#at
    const match = word.exec(this.#text)
    if (match === null) return this.#fail('a value', path)
    this.#at += match[0].length
    return { kind: 'scalar', at, value: JSON.parse(match[0]) as number | boolean | null }
  }

  #object(path: string, depth: number): Member[] {
    const members = new Map<string, Member>()
    this.#at++
    for (let first = true; ; first = false) {
      this.#space()
      if (this.#take('}')) return [...members.values()]
      if (!first && !this.#take(',')) this.#fail('"," or "}"', path)
      this.#space()
      const at = this.#place(this.#at)
      if (this.#text[this.#at] !== '"') this.#fail('a key in double quotes', path)
      const key = this.#string(path)
      const keyPath = path === '' ? key : `${path}.${key}`
      this.#space()
      if (!this.#take(':')) this.#fail('":"', keyPath)
      const value = this.#value(keyPath, depth + 1)
      if (members.has(key)) this.#repeated(keyPath, at)
      else members.set(key, { key, at, value })
    }
  }

  #array(path: string, depth: number): Node[] {
    const items: Node[] = []
    this.#at++
    for (let first = true; ; first = false) {
      this.#space()
      if (this.#take(']')) return items
      if (!first && !this.#take(',')) this.#fail('"," or "]"', path)
      items.push(this.#value(`${path}[${items.length}]`, depth + 1))
    }
  }

  #string(path: string): string {
    const literal = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y
    literal.lastIndex = this.#at
    const match = literal.exec(this.#text)
    if (match === null) return this.#fail('a string that ends with " on its line', path)
    this.#at += match[0].length
    return JSON.parse(match[0]) as string
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false
    this.#at++
    return true
  }

  #space(): void {
    const space = /[ \t\r\n]*/y
    space.lastIndex = this.#at
    space.exec(this.#text)
    this.#at = space.lastIndex
  }

  #place(offset: number): Place {
    let low = 0
    let high = this.#lines.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#lines[middle]! <= offset) low = middle
      else high = middle - 1
    }
    return { line: low + 1, column: offset - this.#lines[low]! + 1 }
  }

  #fail(expected: string, key: string): never {
    const found = this.#at >= this.#text.length ? 'the end of the file' : JSON.stringify(this.#text[this.#at])
    throw configError({
      file: this.#file,
      ...this.#place(this.#at),
      ...(key === '' ? {} : { key }),
      reason: `expected ${expected}, found ${found}`,
    })
  }
}
