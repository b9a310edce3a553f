/**
 * Reads a message once, in any chunks, and learns its {@link MessageView}: where the server puts each part, and its sizes.
 * It holds headers and the beginning of one line, never bodies. Not the gateway's MIME reader (`engine/mime`), which
 * follows message-format.md §3: this one follows Dovecot 2.3, because BODYSTRUCTURE must be what the server says.
 * Source: RFC 2046 §5.1; what the server does with broken mail (test/engine/imap/view/fixtures). The rules beyond the RFC:
 * - a delimiter line only has to begin with `--` and the boundary; of several that fit the longest counts, then the innermost;
 * - delimiters count in headers too, and end them;
 * - the line end before a delimiter belongs to the multipart, also when it is the blank line of an empty part;
 * - a multipart without boundary, or whose header has no blank line, has no parts.
 */
import { GatewayError } from '../../../base/errors.ts'
import { parseHeaderFields } from './header-fields.ts'
import { countLines, MAX_BOUNDARY_OCTETS, type MessageView, meaningOf, PartNode, type Size } from './message-view.ts'

/** Deeper multiparts and messages are leaves: the server's own limit, and the printers recurse. */
const MAX_DEPTH = 100
/** With this many parts the last one takes all that follows: the server's own limit. */
const MAX_PARTS = 10_000

export type { MessageView } from './message-view.ts'

export interface ScanLimits {
  /** Of one header block (message-format.md §3). */
  readonly maxHeaderOctets: number
  /** Of all header blocks together: they are kept in the view. */
  readonly maxHeadersOctets: number
}

const MiB = 1024 * 1024
/** What is kept behind cut headers at a time; a blank line comes sooner, or it is no mail. */
const MAX_CUT_OCTETS = MiB
export const SCAN_LIMITS: ScanLimits = { maxHeaderOctets: MiB, maxHeadersOctets: 4 * MiB }

/** What the next octet belongs to. `header`, `header-end` and `line` stand at a line start and must see its beginning first. */
type Where =
  | 'header'
  | 'header-line'
  /** Behind the blank line: a delimiter here takes the blank line along. */
  | 'header-end'
  | 'line'
  | 'in-line'
  | 'delimiter'
  /** No boundary is open: all of it is body. */
  | 'rest'

interface Boundary {
  readonly part: PartNode
  readonly octets: Buffer
}

interface Delimiter {
  /** Place in the list of open boundaries. */
  readonly index: number
  readonly closes: boolean
}

/** Enough of a line to know whether it is a delimiter: dashes, boundary, dashes, CRLF. */
const HEAD_OCTETS = 2 + MAX_BOUNDARY_OCTETS + 2 + 2
const CRLF = Buffer.from('\r\n')
const DASH = 0x2d
const LF = 0x0a
const CR = 0x0d

export class StructureScanner {
  readonly #limits: ScanLimits
  readonly #root = new PartNode(null)
  #part = this.#root
  /** Innermost first. */
  #boundaries: Boundary[] = []
  #where: Where = 'header'
  /** The beginning of a line, until there is enough of it. */
  #held: Buffer = Buffer.alloc(0)
  #headerPieces: Buffer[] = []
  /** The header of the part above was cut just here, and lost its last line end. */
  #afterCut = false
  /** Octets of the header's last line end. */
  #lastLineEnd = 0
  /** The blank line of the current header was seen: its boundary is open already. */
  #meant = false
  /** The line end before the current line, given to no part yet: it may belong to a delimiter. */
  #openLineEnd = false
  #parts = 1
  #headersOctets = 0
  /** Headers that a delimiter cut, and what follows them, to the next blank line. */
  readonly #cut = new CutHeaders()
  #hasNuls = false

  constructor(limits: ScanLimits = SCAN_LIMITS) {
    this.#limits = limits
  }

  /**
   * Served octets: each LF has its CR (see `served-octets.ts`). The buffer is borrowed until return, but for headers,
   * which hold on to it until they end.
   * @throws {GatewayError} MIME_HEADER_TOO_LARGE
   */
  push(chunk: Buffer): void {
    if (chunk.length === 0) return
    if (!this.#hasNuls) this.#hasNuls = chunk.includes(0)
    let from = 0
    if (this.#held.length > 0) {
      const held = this.#held.length
      const joined = Buffer.concat([this.#held, chunk.subarray(0, HEAD_OCTETS)])
      const done = this.#scan(joined, 0, false)
      if (done < held) {
        this.#held = joined
        return
      }
      this.#held = Buffer.alloc(0)
      from = done - held
    }
    const done = this.#scan(chunk, from, false)
    if (done < chunk.length) this.#held = Buffer.from(chunk.subarray(done))
  }

  /** End of the message. @throws {GatewayError} MIME_HEADER_TOO_LARGE */
  end(): MessageView {
    this.#scan(this.#held, 0, true)
    this.#held = Buffer.alloc(0)
    this.#cut.end()
    while (this.#where === 'header' || this.#where === 'header-line' || this.#where === 'header-end') this.#endHeader()
    this.#giveLineEnd(this.#part)
    while (this.#part.parent !== null) this.#closePart(this.#part.parent)
    const { header, body } = this.#root
    const size = { octets: header.octets + body.octets, lines: header.lines + body.lines }
    return { root: this.#root, size, hasNuls: this.#hasNuls }
  }

  /** Goes on from `at`; returns where it needs more to see. With `last` it takes everything. */
  #scan(bytes: Buffer, at: number, last: boolean): number {
    while (at < bytes.length) {
      const from = at
      switch (this.#where) {
        case 'header':
        case 'header-end':
        case 'line': {
          const head = bytes.subarray(at, at + HEAD_OCTETS)
          // Most body lines show with their first octet that they are no delimiter.
          const plain = this.#where === 'line' && head[0] !== DASH
          if (!plain && !last && head.length < HEAD_OCTETS && !head.includes(LF)) return at
          this.#lineStart(head)
          break
        }
        case 'header-line':
          at = this.#headerLine(bytes, at)
          break
        case 'in-line':
          at = this.#bodyLine(bytes, at)
          break
        case 'delimiter':
          at = this.#delimiterLine(bytes, at)
          break
        case 'rest':
          this.#part.body.octets += bytes.length - at
          this.#part.body.lines += countLines(bytes, at)
          at = bytes.length
          break
      }
      if (at > from) this.#cut.follow(bytes, from, at)
    }
    return at
  }

  /** Decides what the line is; consumes nothing of it. */
  #lineStart(head: Buffer): void {
    if (this.#where === 'header') {
      const blank = isBlank(head)
      // The own boundary counts from here on: a delimiter may be of both, and then the longer one decides.
      if (blank) this.#meanHeader()
      if (!blank && this.#findDelimiter(head) !== null) this.#cutHeader()
      else this.#where = 'header-line'
      return
    }
    const delimiter = this.#findDelimiter(head)
    if (this.#where === 'header-end') {
      const others = delimiter !== null && this.#boundaries[delimiter.index]!.part !== this.#part
      if (others) this.#cutHeader()
      else this.#endHeader()
      return
    }
    if (delimiter === null) {
      this.#giveLineEnd(this.#part)
      this.#where = 'in-line'
      return
    }
    this.#closeUpTo(delimiter)
  }

  #headerLine(bytes: Buffer, at: number): number {
    this.#afterCut = false
    const lf = bytes.indexOf(LF, at)
    const end = lf < 0 ? bytes.length : lf + 1
    const piece = bytes.subarray(at, end)
    const { header } = this.#part
    header.octets += piece.length
    this.#headersOctets += piece.length
    if (header.octets > this.#limits.maxHeaderOctets || this.#headersOctets > this.#limits.maxHeadersOctets) {
      throw new GatewayError('MIME_HEADER_TOO_LARGE', { octets: header.octets, all: this.#headersOctets })
    }
    this.#headerPieces.push(piece)
    if (lf < 0) return end
    header.lines++
    this.#lastLineEnd = 2
    this.#where = this.#meant ? 'header-end' : 'header'
    return end
  }

  #bodyLine(bytes: Buffer, at: number): number {
    const lf = bytes.indexOf(LF, at)
    const { body } = this.#part
    if (lf < 0) {
      body.octets += bytes.length - at
      return bytes.length
    }
    // Its CRLF waits for what the next line is; the CR may have been counted with an earlier chunk.
    body.octets += lf + 1 - at - 2
    this.#openLineEnd = true
    this.#where = 'line'
    return lf + 1
  }

  #delimiterLine(bytes: Buffer, at: number): number {
    const lf = bytes.indexOf(LF, at)
    const end = lf < 0 ? bytes.length : lf + 1
    this.#part.body.octets += end - at
    if (lf < 0) return end
    this.#part.body.lines++
    if (this.#boundaries[0]?.part === this.#part) this.#openPart()
    else this.#where = this.#boundaries.length > 0 ? 'line' : 'rest'
    return end
  }

  #meanHeader(): void {
    this.#meant = true
    const { kind, boundary } = this.#meaning()
    if (kind === 'multipart' && boundary !== null && this.#mayContain()) {
      this.#boundaries.unshift({ part: this.#part, octets: Buffer.from(boundary, 'latin1') })
    }
  }

  #meaning() {
    const { parent } = this.#part
    const fields = parseHeaderFields(Buffer.concat(this.#headerPieces))
    return meaningOf(fields, parent?.kind === 'multipart', parent?.isDigest ?? false)
  }

  /** Within the server's limits of depth and number. */
  #mayContain(): boolean {
    return this.#part.depth < MAX_DEPTH && this.#parts < MAX_PARTS
  }

  /** A delimiter of a multipart around ends the header, and takes the line end before it. */
  #cutHeader(): void {
    const { header, parent } = this.#part
    // The message inside a part that was cut begins at the line end that was taken: for the server, a blank line.
    if (this.#afterCut) this.#headerPieces.push(CRLF)
    else if (this.#where === 'header') this.#cut.add(this.#part)
    this.#afterCut = this.#lastLineEnd > 0
    if (this.#afterCut && parent !== null) move(this.#lastLineEnd, header, parent.body)
    this.#endHeader()
  }

  #endHeader(): void {
    const part = this.#part
    const { kind, isMime, isDigest } = this.#meaning()
    part.headerOctets = Buffer.concat(this.#headerPieces)
    part.isMime = isMime
    const contains = kind === 'leaf' || this.#mayContain()
    part.kind = contains ? kind : 'leaf'
    part.isDigest = isDigest && contains
    this.#headerPieces = []
    this.#lastLineEnd = 0
    this.#meant = false
    this.#openLineEnd = false
    if (part.kind === 'message') this.#openPart()
    else this.#where = this.#boundaries.length > 0 ? 'line' : 'rest'
  }

  #openPart(): void {
    const parent = this.#part
    const part = new PartNode(parent)
    part.start = parent.start + parent.header.octets + parent.body.octets
    parent.children.push(part)
    this.#parts++
    this.#part = part
    if (this.#parts >= MAX_PARTS) this.#boundaries = []
    this.#openLineEnd = false
    this.#where = 'header'
  }

  #closePart(parent: PartNode): void {
    add(parent.body, this.#part.header)
    add(parent.body, this.#part.body)
    this.#part = parent
  }

  #closeUpTo({ index, closes }: Delimiter): void {
    const boundary = this.#boundaries[index]!
    this.#afterCut = false
    while (this.#part !== boundary.part && this.#part.parent !== null) this.#closePart(this.#part.parent)
    // Boundaries inside it that were never closed are forgotten.
    this.#boundaries.splice(0, closes ? index + 1 : index)
    this.#giveLineEnd(this.#part)
    this.#where = 'delimiter'
  }

  #giveLineEnd(part: PartNode): void {
    if (!this.#openLineEnd) return
    part.body.octets += 2
    part.body.lines++
    this.#openLineEnd = false
  }

  #findDelimiter(head: Buffer): Delimiter | null {
    if (head[0] !== DASH || head[1] !== DASH) return null
    const lf = head.indexOf(LF)
    let end = lf < 0 ? head.length : lf
    if (lf > 0 && head[lf - 1] === CR) end--
    const line = head.subarray(2, end)
    const dashed = line.length > 2 && line[line.length - 1] === DASH && line[line.length - 2] === DASH
    let best = -1
    for (const [index, { octets }] of this.#boundaries.entries()) {
      const length = octets.length
      if (length > line.length || (best >= 0 && length <= this.#boundaries[best]!.octets.length)) continue
      if (octets.compare(line, 0, length) !== 0) continue
      best = index
      if (length === line.length || (dashed && length === line.length - 2)) break
    }
    if (best < 0) return null
    const behind = 2 + this.#boundaries[best]!.octets.length
    return { index: best, closes: head[behind] === DASH && head[behind + 1] === DASH }
  }
}

/** A cut header is still read on by the server when it selects fields from it: see {@link PartView.headerOctets}. */
class CutHeaders {
  #nodes: { readonly node: PartNode; readonly from: number }[] = []
  #pieces: Buffer[] = []
  #octets = 0
  /** Octets of the current line so far. */
  #line = 0

  /** From the next octet on; a line begins there. */
  add(node: PartNode): void {
    this.#nodes.push({ node, from: this.#octets })
  }

  follow(bytes: Buffer, from: number, to: number): void {
    while (this.#nodes.length > 0 && from < to) {
      const lf = bytes.indexOf(LF, from)
      const end = lf < 0 || lf >= to ? to : lf + 1
      this.#pieces.push(bytes.subarray(from, end))
      this.#octets += end - from
      this.#line += end - from
      from = end
      if (bytes[end - 1] !== LF) continue
      if (this.#line <= 2 || this.#octets > MAX_CUT_OCTETS) this.end()
      this.#line = 0
    }
  }

  end(): void {
    const all = Buffer.concat(this.#pieces)
    for (const { node, from } of this.#nodes) node.headerOctets = Buffer.concat([node.headerOctets, all.subarray(from)])
    this.#nodes = []
    this.#pieces = []
    this.#octets = 0
  }
}

function isBlank(head: Buffer): boolean {
  return head[0] === LF || (head[0] === CR && head[1] === LF)
}

function add(to: Size, from: Size): void {
  to.octets += from.octets
  to.lines += from.lines
}

/** One line end changes its owner. */
function move(octets: number, from: Size, to: Size): void {
  from.octets -= octets
  from.lines--
  to.octets += octets
  to.lines++
}
