/**
 * The server's BODYSTRUCTURE of a sealed message, read back (RFC 9051 §7.5.2): which sections there are, their octets and
 * boundaries. Only what is needed to ask for headers and bodies; the structure that the client sees is `view/`'s.
 */
import { GatewayError } from '../../base/errors.ts'
import { Cursor, syntax } from './cursor.ts'

export interface SealedPart {
  readonly kind: 'leaf' | 'multipart' | 'message'
  /** Section number of its body: `2.1`; of the root multipart or message: empty. */
  readonly section: string
  /** What to ask for its header: `HEADER`, `2.MIME`, `2.HEADER`. */
  readonly header: string
  /** Octets of the body as the server counts them; of a multipart 0. */
  readonly octets: number
  /** Of a multipart. */
  readonly boundary: string | null
  /** Parts; of a message its inner one. */
  readonly children: readonly SealedPart[]
}

/** As deep as the server's own limit; our parser recurses. */
const MAX_DEPTH = 100
/** With more parts than this a message is read whole. */
export const MAX_OUTLINE_PARTS = 200

type Value = Buffer | null | readonly Value[]

/** @param at of the value of BODYSTRUCTURE. @throws {GatewayError} SYNTAX */
export function parseSealedStructure(bytes: Buffer, at: number): SealedPart {
  const value = parseValue(new Cursor(bytes, at), 0)
  if (!Array.isArray(value)) throw syntax(at)
  return root(value)
}

/** All parts, a part before its children, as their headers stand in the message. */
export function partsInOrder(part: SealedPart): SealedPart[] {
  return [part, ...part.children.flatMap(partsInOrder)]
}

function parseValue(cursor: Cursor, depth: number): Value {
  if (depth > MAX_DEPTH) throw new GatewayError('SYNTAX', { reason: 'nesting' })
  if (cursor.isString) return cursor.string()
  if (!cursor.skip('(')) {
    const word = cursor.atom()
    return word.toUpperCase() === 'NIL' ? null : Buffer.from(word, 'latin1')
  }
  const list: Value[] = []
  while (!cursor.skip(')')) {
    if (cursor.skip(' ')) continue
    list.push(parseValue(cursor, depth + 1))
  }
  return list
}

function root(value: readonly Value[]): SealedPart {
  // A root that is no multipart has its body as part 1.
  return part(value, isMultipart(value) ? '' : '1', 'HEADER', '')
}

/** @param prefix of its children's sections */
function part(value: readonly Value[], section: string, header: string, prefix: string): SealedPart {
  if (isMultipart(value)) return multipart(value, section, header, prefix)
  const type = `${text(value[0])}/${text(value[1])}`.toLowerCase()
  const octets = Number(text(value[6]))
  if (!Number.isSafeInteger(octets)) throw new GatewayError('SYNTAX', { reason: 'octets' })
  const inner = value[8]
  if (type !== 'message/rfc822' || !Array.isArray(inner)) {
    return { kind: 'leaf', section, header, octets, boundary: null, children: [] }
  }
  // The inner message's own parts continue the number; its header is this part's HEADER.
  const child = isMultipart(inner)
    ? part(inner, section, `${section}.HEADER`, `${section}.`)
    : part(inner, `${section}.1`, `${section}.HEADER`, `${section}.`)
  return { kind: 'message', section, header, octets, boundary: null, children: [child] }
}

function multipart(value: readonly Value[], section: string, header: string, prefix: string): SealedPart {
  const bodies = value.filter((each) => Array.isArray(each))
  const subtypeAt = value.findIndex((each) => !Array.isArray(each))
  const children = bodies.slice(0, subtypeAt).map((body, i) => {
    const number = `${prefix}${i + 1}`
    return part(body as readonly Value[], number, `${number}.MIME`, `${number}.`)
  })
  return { kind: 'multipart', section, header, octets: 0, boundary: boundaryOf(value[subtypeAt + 1]), children }
}

function isMultipart(value: readonly Value[]): boolean {
  return Array.isArray(value[0])
}

function boundaryOf(params: Value | undefined): string | null {
  if (!Array.isArray(params)) return null
  for (let i = 0; i + 1 < params.length; i += 2) {
    if (text(params[i]).toLowerCase() === 'boundary') return text(params[i + 1])
  }
  return null
}

function text(value: Value | undefined): string {
  return Buffer.isBuffer(value) ? value.toString('latin1') : ''
}
