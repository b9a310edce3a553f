/**
 * The transfer encoding that opening makes again, piece by piece (message-format.md §5). Used by opening, and by sealing
 * where it has to know what opening will make.
 */
import type { Base64Layout } from '../mime/transfer/base64-layout.ts'
import { base64EncodedOctets, maxQuotedPrintable } from '../mime/transfer/codecs.ts'
import { copyOf } from './chunk-cipher.ts'
import { fastPath } from './native.ts'

export type BodyEncoding =
  | { readonly kind: 'none' }
  | { readonly kind: 'base64'; readonly layout: Base64Layout }
  /** The canonical one (`mime/transfer/codecs.ts`). */
  | { readonly kind: 'quoted-printable' }

/** Between two pieces. */
export interface Encoded {
  /** Something was written: a layout's `before` is out. */
  readonly begun: boolean
  /** Characters in the current line. */
  readonly column: number
  /** Plaintext that cannot be encoded yet. */
  readonly unencoded: Uint8Array
}

const NONE = new Uint8Array(0)

export const startEncoding: Encoded = { begun: false, column: 0, unencoded: NONE }

let scratch = Buffer.alloc(0)

type Made = Exclude<BodyEncoding, { kind: 'none' }>

/** @returns the text in memory that the next call writes anew */
export function encodeMore(
  encoding: Made,
  from: Encoded,
  plain: Uint8Array,
  final: boolean,
): { readonly text: Buffer; readonly encoded: Encoded } {
  const room = maxEncodedOctets(encoding, from.unencoded.length + plain.length, from.column, 0)
  if (scratch.length < room) scratch = Buffer.allocUnsafeSlow(room)
  const { octets, encoded } = encodeInto(scratch, encoding, from, plain, final)
  return { text: scratch.subarray(0, octets), encoded }
}

/** @param room see {@link maxEncodedOctets} @returns octets written there, and what to go on with */
export function encodeInto(
  room: Buffer,
  encoding: Made,
  from: Encoded,
  plain: Uint8Array,
  final: boolean,
): { readonly octets: number; readonly encoded: Encoded } {
  const { codecs } = fastPath()
  const octets = from.unencoded.length === 0 ? plain : Buffer.concat([from.unencoded, plain])
  if (encoding.kind === 'quoted-printable') {
    const line = Uint32Array.of(from.column, 0)
    const written = codecs.encodeQuotedPrintable(octets, final, line, room)
    return { octets: written, encoded: { begun: true, column: line[0]!, unencoded: copyOf(octets, line[1]!) } }
  }
  const { before, width, padded, separator, ending } = encoding.layout
  let to = 0
  const begun = from.begun || final || octets.length > 0
  if (begun && !from.begun) to += room.write(before, 'latin1')
  const ready = final ? octets.length : octets.length - (octets.length % 3)
  const piece = octets.subarray(0, ready)
  const line = Uint32Array.of(from.column)
  const between = Buffer.from(separator, 'latin1')
  to += codecs.encodeBase64(piece, final, width, between, padded, line, room.subarray(to))
  // An empty body has no ending of its own (`base64-layout.ts`).
  if (final && line[0]! > 0) to += room.write(ending, to, 'latin1')
  return { octets: to, encoded: { begun, column: line[0]!, unencoded: copyOf(octets, ready) } }
}

/** Room for a text of so many octets. @param pieces into what the first one leaves of it, so many more are written */
export function maxEncodedOctets(encoding: Made, octets: number, column: number, pieces: number): number {
  // Each piece asks for room as if it were alone.
  if (encoding.kind === 'quoted-printable') return maxQuotedPrintable(octets) + pieces * maxQuotedPrintable(0)
  const { width, separator, before, ending } = encoding.layout
  // Padding is counted also where there is none.
  return before.length + base64EncodedOctets(octets, width, separator.length, true, column) + ending.length
}
