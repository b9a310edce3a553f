/**
 * What a part that is to be sealed is: something that can be taken apart, or a leaf (message-format.md §3).
 *
 * Rule: what is taken apart stays readable in plain, so every reader (ours, the C gateway, the provider's IMAP server)
 * must see the same structure in it; where they might not, it is a leaf, sealed whole with its Content-Type.
 */
import { plainContentType, type TransferEncoding, transferEncoding } from '../mime/content-type.ts'
import { type HeaderBlock, type HeaderField, unfoldedValue } from '../mime/header-block.ts'
import { MAX_CONTAINERS, MAX_FIELDS, MAX_LEAVES, MAX_NESTING } from '../mime/limits.ts'
import { INJECTED_BOUNDARY_OCTETS, INJECTED_BOUNDARY_PREFIX } from './format.ts'

export type Judged =
  | {
      readonly kind: 'leaf'
      readonly encoding: TransferEncoding
      /** A multipart or message by its type: RFC 2045 §6.4 allows it no encoding, and what claims one often has none. */
      readonly composite: boolean
      /** The message has had so many parts that this one takes all that follows, delimiters too. */
      readonly takesRest: boolean
    }
  | { readonly kind: 'multipart'; readonly boundary: string; readonly alternative: boolean }
  | { readonly kind: 'message' }

export interface Surroundings {
  /** Open multiparts and messages around the part. */
  readonly depth: number
  /** Multiparts and messages of this message so far. */
  readonly containers: number
  /** Leaves so far. */
  readonly leaves: number
  /** Header fields before those of this part. */
  readonly fields: number
  /** Would the boundary's delimiters be taken for others'? */
  readonly clashes: (boundary: string) => boolean
}

export function judge(block: HeaderBlock, around: Surroundings): Judged {
  const types = block.fields.filter((field) => field.name === 'content-type')
  const encoding = transferEncoding(block.fields.filter((field) => field.name === 'content-transfer-encoding'))
  const composite = types.some((field) => /^\s*(multipart|message)\s*\//i.test(unfoldedValue(field)))
  const takesRest = around.leaves >= MAX_LEAVES - 1 || around.fields > MAX_FIELDS
  // What follows is hardly in the encoding that this part claims.
  const leaf: Judged = { kind: 'leaf', encoding, composite: composite || takesRest, takesRest }
  if (takesRest) return leaf
  if (types.length !== 1 || encoding !== 'identity') return leaf
  if (around.depth >= MAX_NESTING || around.containers >= MAX_CONTAINERS) return leaf
  // It stands in plain where the part is taken apart, and delimiters of a part with such line ends do so too.
  if (!isSteady(types[0]!)) return leaf
  const type = plainContentType(types[0]!)
  if (type === null) return leaf
  if (type.type === 'message/rfc822') return { kind: 'message' }
  if (!type.type.startsWith('multipart/') || type.boundary === null) return leaf
  // A signature is over the very octets: they stay together. So they do for whoever opens with another gateway.
  if (type.type === 'multipart/signed') return leaf
  if (around.clashes(type.boundary) || looksInjected(type.boundary)) return leaf
  return { kind: 'multipart', boundary: type.boundary, alternative: type.type === 'multipart/alternative' }
}

/**
 * May the field stand in plain? A CR that is not of a CRLF, or a NUL, may end it for another reader or hide a whole message
 * in it; and of a CR before a line end the server may drop one.
 */
function isSteady(field: HeaderField): boolean {
  return !/\0|\r(?!\n)/.test(field.bytes.toString('latin1'))
}

const INJECTED_LENGTH = INJECTED_BOUNDARY_PREFIX.length + 2 * INJECTED_BOUNDARY_OCTETS

/** Could the delimiter of an injected container begin with this boundary's? */
function looksInjected(boundary: string): boolean {
  return (
    INJECTED_BOUNDARY_PREFIX.startsWith(boundary) ||
    (boundary.startsWith(INJECTED_BOUNDARY_PREFIX) && boundary.length < INJECTED_LENGTH)
  )
}
