/**
 * A sealed message known by its headers alone: the server's structure of it, the headers of its parts, opened, and the
 * sizes it declares of itself (message-format.md §6) or that follow from the ciphertext's length. Answers everything but
 * bodies. Whatever does not fit together makes it null: then the message has to be read.
 *
 * Arithmetic is for base64 leaves, whose line ends are in their layout. What a leaf without an encoding holds is served
 * with other line ends where they are odd (`view/served-octets.ts`): its length is an estimate until it was read.
 *
 * How: the opener is given a skeleton, the sealed headers between their delimiters with one octet for each body; so that
 * banners, injected containers and moved headers are its matter, as for a whole message.
 */
import { GatewayError } from '../../base/errors.ts'
import { laidOutOctets } from '../mime/transfer/base64-layout.ts'
import { openedStreamOctets } from '../seal/chunk-cipher.ts'
import type { AnnouncedEnd } from '../seal/end-record.ts'
import type { ListedPart, SealedSizes } from '../seal/exactness.ts'
import { servedLayout } from '../seal/leaf-range.ts'
import type { OutlinedLeaf } from '../seal/opener.ts'
import { type MessageSizes, withSizes } from './message-sizes.ts'
import { partsInOrder, type SealedPart } from './sealed-structure.ts'
import { type KnownPart, type MessageView, type PartView, type Size, viewFromParts } from './view/message-view.ts'
import { StructureScanner } from './view/scanner.ts'
import { ServedOctets } from './view/served-octets.ts'

/** A leaf of the opened message, and where its ciphertext is. */
export interface OutlineLeaf {
  readonly part: SealedPart
  readonly sealed: OutlinedLeaf['sealed']
  /** The same where its ending is known: what arithmetic and ranges go by. */
  readonly entered: OutlinedLeaf['sealed']
  /** Plaintext octets; null = not known. */
  readonly plainOctets: number | null
}

export interface Outline {
  readonly view: MessageView
  /** RFC822.SIZE and the sizes of BODYSTRUCTURE are exact. */
  readonly sizesKnown: boolean
  readonly totalKnown: boolean
  /** The view has the parts, not only the root's header. */
  readonly hasParts: boolean
  /** Octets of the sealed message as the server has it. */
  readonly sealedSize: number
  /** The leaves of the view in order. */
  readonly leaves: readonly OutlineLeaf[]
}

/** One octet stands for each body. */
const BODY = 'x'

/** The skeleton; `headers` of {@link partsInOrder}, each with its blank line. */
export function skeletonOf(root: SealedPart, headers: readonly Buffer[]): Buffer {
  const out: Buffer[] = []
  let next = 0
  const write = (part: SealedPart): void => {
    out.push(withBlankLine(headers[next++] ?? Buffer.alloc(0)))
    if (part.kind === 'leaf') out.push(Buffer.from(BODY))
    else if (part.kind === 'message') for (const child of part.children) write(child)
    else {
      if (part.boundary === null) throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'boundary' })
      for (const child of part.children) {
        out.push(Buffer.from(`\r\n--${part.boundary}\r\n`, 'latin1'))
        write(child)
      }
      out.push(Buffer.from(`\r\n--${part.boundary}--\r\n`, 'latin1'))
    }
  }
  write(root)
  return Buffer.concat(out)
}

function withBlankLine(header: Buffer): Buffer {
  const text = header.toString('latin1', Math.max(0, header.length - 4))
  if (/(?:^|\n)\r?\n$/.test(text) || header.length === 0) return header.length === 0 ? Buffer.from('\r\n') : header
  return Buffer.concat([header, Buffer.from('\r\n')])
}

/** How the base64 of a sealed leaf ends. */
export interface Tail {
  /** `=` of its last group. */
  readonly padding: number
  /** Line ends beyond the last line's own: they stand for the opened text's (`exactness.ts`, layout `*`). */
  readonly lineEnds: number
}

export interface OutlineFacts {
  readonly root: SealedPart
  /** What the opener made of the skeleton. */
  readonly opened: Buffer
  readonly leaves: readonly OutlinedLeaf[]
  readonly declared: SealedSizes | null
  /** Blank lines may stand behind it (imap.md §3, synchronous mode). */
  readonly padded: boolean
  /** At its end there are octets that opening does not give, unless somebody has taken them away (`end-record.ts`). */
  readonly end: AnnouncedEnd | null
  /** The last octets of the sealed message, if they were asked for. */
  readonly endTail: Buffer | null
  /** Of the sealed message, as the server tells. */
  readonly sealedSize: number
  readonly sealedHeaderOctets: number
  /** What was given to the opener. */
  readonly skeletonOctets: number
  /** Of sealed leaves whose ends were asked for, by section. */
  readonly tails: ReadonlyMap<string, Tail>
  /** Opened sizes of leaves that were read, by section. */
  readonly measured: ReadonlyMap<string, Size>
}

/** @returns null when the parts do not fit together */
export function outlineOf(facts: OutlineFacts): Outline | null {
  try {
    return fit(facts)
  } catch (error) {
    // The server's idea of the structure is not ours: a header says multipart where there are no parts.
    if (error instanceof RangeError) return null
    throw error
  }
}

function fit(facts: OutlineFacts): Outline | null {
  const { root, leaves } = facts
  // What the server counts is the message and its padding: only the opener can tell one from the other.
  if (facts.padded && totalOf(facts) === null) return null
  const parts = partsInOrder(root)
  const scanned = scan(facts.opened)
  const own = leavesOf(scanned.root)
  // More parts are in it than its headers show.
  if (leaves.some(({ sealed }) => sealed?.exact.takesRest === true)) return null
  if (own.length !== leaves.length || !allEndClearly(scanned.root)) return null
  const known: OutlineLeaf[] = []
  for (const { part: number, sealed } of leaves) {
    const part = parts[number]
    if (part === undefined || part.kind !== 'leaf') return null
    const tail = facts.tails.get(part.section)
    known.push({ part, sealed, entered: enteredAs(sealed, tail), plainOctets: plainOctets(part, tail) })
  }
  const declared = believable(facts, scanned.root, known)
  const sizes = declared ?? known.map((leaf) => sizeOf(leaf, facts.measured))
  const exact = declared !== null
  let next = 0
  let leafNumber = 0
  let complete = true
  const build = (part: PartView): KnownPart => {
    const entry = exact || part.kind === 'leaf' ? (part.kind === 'multipart' ? null : sizes[next++]!) : null
    const children = part.children.map(build)
    const textual = part.kind === 'leaf' && isText(part)
    if (part.kind !== 'multipart') {
      if (entry === null || entry.octets === null || ((textual || part.kind === 'message') && entry.lines === null)) {
        complete = false
      }
    }
    const leaf = part.kind === 'leaf' ? known[leafNumber++] : undefined
    const octets = entry?.octets ?? (leaf === undefined ? 0 : likelyOctets(leaf))
    // Estimates stand in where nothing is known (imap.md §5); whoever takes them asks `sizesKnown` first.
    return { header: part.headerOctets, body: { octets, lines: entry?.lines ?? estimatedLines(octets) }, children }
  }
  const tree = build(scanned.root)
  const end = endOctets(facts)
  const byCounting =
    end === null ? null : computedTotal(facts, scanned, known, end, (leaf) => sizeOf(leaf, facts.measured).octets)
  const total = totalOf(facts) ?? byCounting
  // Where the end does not show, nothing of it is taken off: of a size that is too small a client sees less than all.
  const likely = total ?? computedTotal(facts, scanned, known, end ?? 0, likelyOctets)
  const whole = likely === null ? tree : { ...tree, body: rootBody(scanned.root, tree, likely) }
  return {
    view: withSize(viewFromParts(whole), likely, facts.sealedSize),
    // The last part may be longer, where it is not seen that the message ends as it was sealed.
    sizesKnown: complete && (end !== null || total !== null),
    totalKnown: total !== null,
    hasParts: true,
    sealedSize: facts.sealedSize,
    leaves: known,
  }
}

/** The root alone, from its header: for everything but the structure. @param opened header and one octet */
export function rootOutline(
  facts: Omit<OutlineFacts, 'root' | 'leaves' | 'tails' | 'measured' | 'skeletonOctets' | 'end' | 'endTail'> & {
    readonly remembered: MessageSizes | null
  },
): Outline | null {
  const total = totalOf(facts)
  const scanned = scan(facts.opened)
  if (!endsClearly(scanned.root)) return null
  const view = withSize(scanned, total, facts.sealedSize)
  const { remembered } = facts
  return {
    view: remembered === null ? view : { ...view, size: { octets: remembered.octets, lines: 0 } },
    sizesKnown: false,
    totalKnown: total !== null || remembered !== null,
    hasParts: false,
    sealedSize: facts.sealedSize,
    leaves: [],
  }
}

/** With sizes that another session learned by reading the message; as it is, where they do not fit. */
export function withRemembered(outline: Outline, sizes: MessageSizes): Outline {
  const view = withSizes(outline.view, sizes)
  return view === null ? outline : { ...outline, view, sizesKnown: true, totalKnown: true }
}

/**
 * Does the header end where everybody says so? Where it ends at a line without a colon, or a blank one with white space,
 * the server's idea of the opened message is another than ours, and only the whole shows it.
 */
function endsClearly(part: PartView): boolean {
  const text = part.headerOctets.toString('latin1', Math.max(0, part.headerOctets.length - 4))
  return text === '\r\n\r\n' && !/(?:^|\n)[ \t]+\r?\n/.test(part.headerOctets.toString('latin1'))
}

function allEndClearly(part: PartView): boolean {
  // A part without any header has just its blank line.
  const clear = endsClearly(part) || (part.parent !== null && part.headerOctets.toString('latin1') === '\r\n')
  return clear && (part.kind !== 'leaf' || part.body.octets === BODY.length) && part.children.every(allEndClearly)
}

/** Octets and lines of the body behind the root's header, as the message declares them; null when they can't be right. */
function totalOf({
  declared,
  sealedSize,
  sealedHeaderOctets,
}: Pick<OutlineFacts, 'declared' | 'sealedSize' | 'sealedHeaderOctets'>): { octets: number; lines: number } | null {
  if (declared === null) return null
  const { octets, lines, sealedOctets } = declared.body
  if (octets === null || lines === null || sealedOctets !== sealedSize - sealedHeaderOctets) return null
  return { octets, lines }
}

/**
 * The same by counting: what of the sealed message is neither header, delimiter nor leaf is text between parts, which
 * opening keeps. Not where a leaf's length is unknown, or delimiters moved. Lines are not known this way.
 */
function computedTotal(
  { root, sealedSize, skeletonOctets, opened }: OutlineFacts,
  scanned: MessageView,
  known: readonly OutlineLeaf[],
  endOctets: number,
  octetsOf: (leaf: OutlineLeaf) => number | null,
): { octets: number; lines: number } | null {
  const leaves = partsInOrder(root).filter((part) => part.kind === 'leaf')
  const sealedLeaves = leaves.reduce((sum, part) => sum + part.octets, 0)
  const between = sealedSize - endOctets - (skeletonOctets - leaves.length * BODY.length) - sealedLeaves
  let octets = scanned.size.octets - known.length * BODY.length + between
  for (const leaf of known) {
    const own = octetsOf(leaf)
    if (own === null || leaf.sealed?.exact.bareDelimiter === true) return null
    octets += own
  }
  // A container that sealing injected shares a line end with the delimiter behind it; more than that is no message of ours.
  if (between < -2 * partsInOrder(root).length || opened.length === 0) return null
  return { octets: octets - scanned.root.header.octets, lines: 0 }
}

/** Octets at the end that opening does not give; null: nobody has seen them there. */
function endOctets({ end, endTail }: OutlineFacts): number | null {
  if (end === null) return 0
  return endTail === null ? null : end.octetsIn(endTail)
}

/** Would the last octets of the message tell its size? */
export function needsEnd(facts: OutlineFacts): boolean {
  return facts.end !== null && facts.endTail === null && totalOf(facts) === null
}

function rootBody(root: PartView, tree: KnownPart, total: { octets: number; lines: number }): KnownPart['body'] {
  if (root.kind === 'leaf') return tree.body
  // Of a nested message that declares nothing the lines are not known.
  return root.kind === 'multipart' ? total : { octets: total.octets, lines: tree.body.lines }
}

/** RFC822.SIZE, as far as it is known; else the sealed one stands in. */
function withSize(view: MessageView, total: { octets: number; lines: number } | null, sealedSize: number): MessageView {
  const { header } = view.root
  const octets = total === null ? sealedSize : header.octets + total.octets
  return { ...view, size: { octets, lines: total === null ? 0 : header.lines + total.lines } }
}

function estimatedLines(octets: number): number {
  return Math.floor(octets / 48) + 1
}

/** The declared sizes of the parts, where each agrees with what the server counts of its sealed form. */
function believable(facts: OutlineFacts, root: PartView, known: readonly OutlineLeaf[]): readonly ListedPart[] | null {
  const { declared } = facts
  if (declared?.parts == null || totalOf(facts) === null) return null
  const kinds = kindsOf(root)
  if (kinds.length !== declared.parts.length) return null
  let leaf = 0
  for (const [i, part] of declared.parts.entries()) {
    if (part.kind !== kinds[i]) return null
    if (part.kind === 'leaf' && part.sealedOctets !== known[leaf++]!.part.octets) return null
  }
  return declared.parts
}

/** Leaves and nested messages in MIME order, a message before its own. */
function kindsOf(part: PartView): ('leaf' | 'message')[] {
  const inner = part.children.flatMap(kindsOf)
  return part.kind === 'multipart' ? inner : [part.kind, ...inner]
}

/** Text parts have a line count in BODYSTRUCTURE; without a type a part is text. */
function isText(part: PartView): boolean {
  const { type } = part.content
  return type === null || type.type.toLowerCase() === 'text'
}

export function leavesOf(part: PartView): PartView[] {
  return part.kind === 'leaf' ? [part] : part.children.flatMap(leavesOf)
}

function sizeOf(
  leaf: OutlineLeaf,
  measured: OutlineFacts['measured'],
): { octets: number | null; lines: number | null } {
  return measured.get(leaf.part.section) ?? { octets: byArithmetic(leaf), lines: null }
}

/** Must this leaf be read to know what is told of it: its lines, or octets that depend on its content? */
export function needsMeasuring(leaf: OutlineLeaf, part: PartView): boolean {
  if (isText(part)) return true
  const { sealed } = leaf
  if (sealed === null) return false
  return sealed.encoding.kind !== 'base64' || sealed.exact.patch !== null
}

/** What stands in where nobody knows: right for all but odd line ends where there is no encoding. */
function likelyOctets(leaf: OutlineLeaf): number {
  const { sealed, entered, plainOctets: plain, part } = leaf
  const isPlain = sealed?.encoding.kind === 'none' && entered?.exact.patch === null
  return byArithmetic(leaf) ?? (isPlain ? plain : null) ?? part.octets
}

/** Octets of the opened leaf where they follow from the ciphertext's length (imap.md §5). */
function byArithmetic({ sealed, entered, plainOctets: plain, part }: OutlineLeaf): number | null {
  if (sealed === null) return part.octets
  if (plain === null || entered === null || entered.exact.patch !== null || entered.exact.endingCounted) return null
  if (entered.encoding.kind !== 'base64') return null
  return laidOutOctets(servedLayout(entered.encoding.layout), plain)
}

/** A layout whose ending is counted, with that ending. */
function enteredAs(sealed: OutlinedLeaf['sealed'], tail: Tail | undefined): OutlinedLeaf['sealed'] {
  if (sealed === null || tail === undefined || !sealed.exact.endingCounted || sealed.encoding.kind !== 'base64')
    return sealed
  const { layout } = sealed.encoding
  const separator = layout.separator === '' ? '\r\n' : layout.separator
  const ending = layout.ending + separator.repeat(tail.lineEnds)
  return {
    ...sealed,
    encoding: { kind: 'base64', layout: { ...layout, ending } },
    exact: { ...sealed.exact, endingCounted: false },
  }
}

/** Lines of 76 characters and CRLF, the last one too (message-format.md §4). */
const LINE_OCTETS = 78

function plainOctets(part: SealedPart, tail: Tail | undefined): number | null {
  if (tail === undefined || part.octets === 0) return null
  const octets = part.octets - 2 * tail.lineEnds
  const characters = octets - 2 * Math.ceil(octets / LINE_OCTETS)
  if (characters % 4 !== 0) return null
  return openedStreamOctets((characters / 4) * 3 - tail.padding)
}

function scan(opened: Buffer): MessageView {
  const scanner = new StructureScanner()
  const served = new ServedOctets()
  for (const bytes of [...served.push(opened), ...served.end()]) scanner.push(bytes)
  return scanner.end()
}
