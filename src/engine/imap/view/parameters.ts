/**
 * Media type and parameters of Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2183, RFC 2231 §3) as Dovecot 2.3
 * shows them in BODYSTRUCTURE: continuations are joined, values stay encoded. Works on latin1 strings.
 */
import { lowerAscii } from './header-fields.ts'
import { Words } from './words.ts'

export interface Parameter {
  readonly name: string
  readonly value: string
}

export interface MediaType {
  /** Both empty when the field is broken. */
  readonly type: string
  /** Empty also when there is none: `Content-Type: text`. */
  readonly subtype: string
  readonly parameters: readonly Parameter[]
}

const BROKEN: MediaType = { type: '', subtype: '', parameters: [] }

/** `type "/" subtype *(";" parameter)`. QUIRK: a type alone will do, with anything behind it the field is broken. */
export function parseMediaType(value: string): MediaType {
  const words = new Words(value)
  const type: string[] = []
  if (words.skipSpace() !== 'more') return BROKEN
  words.token(type)
  if (words.done) return { type: type.join(''), subtype: '', parameters: [] }
  if (type[0] === '' || !words.is('/')) return BROKEN
  words.at++
  const subtype: string[] = []
  if (words.skipSpace() !== 'more' || words.token(subtype) === 'bad') return BROKEN
  if (subtype[0] === '' || (!words.done && !words.is(';'))) return BROKEN
  return { type: type.join(''), subtype: subtype.join(''), parameters: parseParameters(words) }
}

interface Piece {
  readonly name: string
  readonly index: number
  /** The name ended in `*`: the value is percent-encoded. */
  readonly encoded: boolean
  readonly value: string
}

/** Parameters from here to the end: ordinary ones in order, then those of RFC 2231 by name, joined. */
export function parseParameters(words: Words): Parameter[] {
  const found: Parameter[] = []
  const pieces: Piece[] = []
  let index = 0
  while (!words.done) {
    const parameter = readParameter(words)
    if (parameter === null) {
      // Broken: go on behind the character that stopped us.
      if (words.done) break
      words.at++
      continue
    }
    const { name, value } = parameter
    const match = /^([^*]*)\*(.*)$/s.exec(name)
    if (match === null) {
      found.push(parameter)
      continue
    }
    const [, base = '', number = ''] = match
    // QUIRK: `name*` has the number of the parameter before it.
    if (number !== '') index = Number(BigInt(/^\d*/.exec(number)?.[0] || '0') & 0xffffffffn)
    if (/^\d*\*?$/.test(number)) pieces.push({ name: base, index, encoded: !/^\d+$/.test(number), value })
    else found.push(parameter)
  }
  if (pieces.length > 0) joinPieces(pieces, found)
  return found
}

/** `";" attribute "=" value`; null when broken. */
function readParameter(words: Words): Parameter | null {
  if (!words.is(';')) return null
  words.at++
  if (words.skipSpace() !== 'more') return null
  const name: string[] = []
  if (words.token(name) !== 'more' || !words.is('=')) return null
  words.at++
  const value: string[] = []
  let ended = words.skipSpace()
  if (ended === 'more') {
    if (words.is('"')) ended = words.quotedString(value)
    // QUIRK: `name==?utf-8?b?...?=` (several mailers): all up to the next space.
    else if (words.is('=')) value.push(readUntilSpace(words))
    else ended = words.token(value)
  }
  return ended === 'bad' ? null : { name: name.join(''), value: value.join('') }
}

function readUntilSpace(words: Words): string {
  const from = words.at
  while (!words.done && !/[; \t\r\n]/.test(words.next)) words.at++
  return words.text.slice(from, words.at)
}

function joinPieces(pieces: Piece[], found: Parameter[]): void {
  pieces.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.index - b.index))
  for (let i = 0; i < pieces.length; ) {
    const group: Piece[] = []
    const key = lowerAscii(pieces[i]!.name)
    while (i < pieces.length && lowerAscii(pieces[i]!.name) === key) group.push(pieces[i++]!)
    if (group.every((piece, n) => piece.index === n)) found.push(joinGroup(group))
    // Missing numbers: not RFC 2231 after all.
    else for (const p of group) found.push({ name: `${p.name}*${p.index}${p.encoded ? '*' : ''}`, value: p.value })
  }
}

function joinGroup(group: readonly Piece[]): Parameter {
  const anyEncoded = group.some((piece) => piece.encoded)
  const first = group[0]!
  if (!anyEncoded) return { name: first.name, value: group.map((piece) => piece.value).join('') }
  const values = group.map((piece) => (piece.encoded ? piece.value : piece.value.replaceAll('%', '%25')))
  return { name: `${first.name}*`, value: (first.encoded ? '' : "''") + values.join('') }
}
