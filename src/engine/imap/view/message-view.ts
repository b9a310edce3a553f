/**
 * A message as the server sees it: the tree of its parts with offsets, sizes and headers, but without bodies. Made by
 * {@link StructureScanner} from the octets, or by {@link viewFromParts} from what is known without them.
 * Offsets and octets count the *served* message: as a FETCH of BODY[] gives it, every line ended by CRLF.
 */
import { type ContentFields, contentFieldsOf, NO_CONTENT_FIELDS } from './content-fields.ts'
import { type HeaderField, lowerAscii, parseHeaderFields } from './header-fields.ts'
import { parseMediaType } from './parameters.ts'

export interface Size {
  octets: number
  /** Line ends. */
  lines: number
}

/** `multipart`: children are its parts (perhaps none). `message`: message/rfc822, its one child is the message inside. */
export type PartKind = 'leaf' | 'multipart' | 'message'

export interface PartView {
  readonly kind: PartKind
  readonly parent: PartView | null
  readonly children: readonly PartView[]
  /** Offset of the header's first octet. */
  readonly start: number
  /** The blank line included, where it belongs to the part. */
  readonly header: Readonly<Size>
  readonly body: Readonly<Size>
  /**
   * The header block: its first `header.octets` octets are the part's own. Where a delimiter ended it, what follows up to
   * the next blank line is here too, because the server selects fields from it as well.
   */
  readonly headerOctets: Buffer
  /** Parsed anew at each access: views are kept for long, and asked seldom. */
  readonly fields: readonly HeaderField[]
  readonly content: ContentFields
}

export interface MessageView {
  readonly root: PartView
  /** The whole message: RFC822.SIZE. */
  readonly size: Readonly<Size>
  /** It holds NULs, which no literal may (RFC 9051 §4.3): {@link maskNuls} what is sent of it. */
  readonly hasNuls: boolean
}

/** What a header block says about the part it heads. */
export interface HeaderMeaning {
  readonly kind: PartKind
  /** There is a MIME-Version or Content-Type (or the part is in a multipart): the Content-* fields count. */
  readonly isMime: boolean
  /** Children without a Content-Type are messages (RFC 2046 §5.1.5). */
  readonly isDigest: boolean
  /** Delimiter of a multipart, without its dashes; null: none could be read. */
  readonly boundary: string | null
}

/** Longer boundaries are cut, as the server does: RFC 2046 §5.1.1 allows 70, and each line is compared with all of them. */
export const MAX_BOUNDARY_OCTETS = 80

/**
 * @param inMultipart the part is a child of a multipart
 * @param inDigest    that one is multipart/digest
 */
export function meaningOf(fields: readonly HeaderField[], inMultipart: boolean, inDigest: boolean): HeaderMeaning {
  const contentType = fields.find((field) => field.key === 'content-type')
  const isMime = inMultipart || contentType !== undefined || fields.some((field) => field.key === 'mime-version')
  if (contentType === undefined) {
    return { kind: inDigest ? 'message' : 'leaf', isMime, isDigest: false, boundary: null }
  }
  const media = parseMediaType(contentType.value)
  const type = lowerAscii(media.type)
  const subtype = lowerAscii(media.subtype)
  if (type === 'message' && subtype === 'rfc822') return { kind: 'message', isMime, isDigest: false, boundary: null }
  if (type !== 'multipart' || subtype === '') return { kind: 'leaf', isMime, isDigest: false, boundary: null }
  const boundary = media.parameters.find(({ name }) => lowerAscii(name) === 'boundary')?.value ?? null
  return {
    kind: 'multipart',
    isMime,
    isDigest: subtype === 'digest',
    boundary: boundary === null ? null : boundary.slice(0, MAX_BOUNDARY_OCTETS),
  }
}

/** A part under construction. Only its maker changes it; later it is read as a {@link PartView}. */
export class PartNode implements PartView {
  kind: PartKind = 'leaf'
  readonly parent: PartNode | null
  readonly children: PartNode[] = []
  start = 0
  readonly header: Size = { octets: 0, lines: 0 }
  readonly body: Size = { octets: 0, lines: 0 }
  headerOctets: Buffer = Buffer.alloc(0)
  isMime = false
  isDigest = false
  /** Parts above it, itself included. */
  readonly depth: number

  constructor(parent: PartNode | null) {
    this.parent = parent
    this.depth = parent === null ? 1 : parent.depth + 1
  }

  get fields(): HeaderField[] {
    return parseHeaderFields(this.headerOctets.subarray(0, this.header.octets))
  }

  get content(): ContentFields {
    return this.isMime ? contentFieldsOf(this.fields) : NO_CONTENT_FIELDS
  }
}

/** A part as it is known without its content: from its own header and from sizes told elsewhere (message-format.md §6). */
export interface KnownPart {
  /** The opened header block, blank line included; served octets, kept. */
  readonly header: Buffer
  /** Octets and lines of the opened body. Of a multipart they are not shown anywhere: any number will do. */
  readonly body: Readonly<Size>
  /** Parts of a multipart in order; the message inside a message/rfc822. Empty for a leaf. */
  readonly children: readonly KnownPart[]
  /** Offset of the header in the opened message; only {@link resolveSection} of bodies needs it. Default 0. */
  readonly start?: number
}

/**
 * A view without the octets: RFC822.SIZE, ENVELOPE, BODY, BODYSTRUCTURE and all header sections can be answered from it.
 * What a part is (leaf, multipart, message) is read from its header, as the scanner would.
 * @throws RangeError when children are given to a leaf, or a message has not exactly one: the caller knows the structure
 */
export function viewFromParts(root: KnownPart): MessageView {
  const node = nodeOf(root, null)
  const size = { octets: node.header.octets + node.body.octets, lines: node.header.lines + node.body.lines }
  return { root: node, size, hasNuls: false }
}

function nodeOf(known: KnownPart, parent: PartNode | null): PartNode {
  const node = new PartNode(parent)
  node.headerOctets = known.header
  node.header.octets = known.header.length
  node.header.lines = countLines(known.header)
  node.body.octets = known.body.octets
  node.body.lines = known.body.lines
  node.start = known.start ?? 0
  const meaning = meaningOf(node.fields, parent?.kind === 'multipart', parent?.isDigest ?? false)
  node.kind = meaning.kind
  node.isMime = meaning.isMime
  node.isDigest = meaning.isDigest
  const fits =
    node.kind === 'leaf' ? known.children.length === 0 : node.kind === 'multipart' || known.children.length === 1
  if (!fits) throw new RangeError(`${node.kind} with ${known.children.length} children`)
  for (const child of known.children) node.children.push(nodeOf(child, node))
  return node
}

const LF = 0x0a

/** Line ends in `bytes`. */
export function countLines(bytes: Buffer, from = 0, to = bytes.length): number {
  let lines = 0
  for (let at = bytes.indexOf(LF, from); at >= 0 && at < to; at = bytes.indexOf(LF, at + 1)) lines++
  return lines
}

/** A copy with every NUL as 0x80, as the server sends it; the buffer itself when it has none. */
export function maskNuls(bytes: Buffer): Buffer {
  if (!bytes.includes(0)) return bytes
  const out = Buffer.from(bytes)
  for (let at = out.indexOf(0); at >= 0; at = out.indexOf(0, at + 1)) out[at] = 0x80
  return out
}
