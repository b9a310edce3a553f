/**
 * Reads a message as it arrives: header blocks, bodies, delimiters, in order, each octet in exactly one event
 * (RFC 5322, RFC 2046; message-format.md §3 for malformed input). Joining the octets of all events gives the message.
 * How the octets were cut into pushes shows only in how `body` and `text` events are cut.
 *
 * What a part *is* (leaf, multipart, message) the caller says, after each `headers` event: sealing and opening judge
 * differently. No knowledge of encryption here, nothing decoded.
 */
import { GatewayError } from '../../base/errors.ts'
import { BoundarySet } from './boundaries.ts'
import { type Eol, fieldName, type HeaderBlock, type HeaderField, isBlankLine } from './header-block.ts'
import { MAX_BOUNDARY_OCTETS } from './limits.ts'
import { OctetWindow } from './octet-window.ts'

export type PartKind =
  | { readonly kind: 'leaf' /** All that follows is its body, delimiters too. */; readonly takesRest?: boolean }
  | { readonly kind: 'multipart' /** One character an octet. */; readonly boundary: string }
  /** The body is a message of its own: its `headers` event comes next. */
  | { readonly kind: 'message' }

export type MimeEvent =
  /** Answer with {@link MimeReader.enter} before the next call. */
  | { readonly on: 'headers'; readonly block: HeaderBlock }
  /** Of the current leaf. A view. */
  | { readonly on: 'body'; readonly bytes: Buffer }
  /** Preamble, epilogue, or the rest of a delimiter's line. A view. */
  | { readonly on: 'text'; readonly bytes: Buffer }
  | {
      readonly on: 'delimiter'
      /** The line end before it, which belongs to it; empty where the part or preamble before it is empty. */
      readonly eol: Eol
      /** `--boundary` or `--boundary--`; what else is on the line comes as text. */
      readonly line: Buffer
      readonly close: boolean
    }
  /** A part is over; innermost first, before the delimiter that ended it. */
  | { readonly on: 'end'; readonly part: 'leaf' | 'multipart' | 'message' }
  /** In place of `headers`: a delimiter, or the end, follows at once. There is no part here, nor an `end` of one. */
  | {
      readonly on: 'no-part' /** False where the input ends with the delimiter before it, without a line end. */
      readonly lineEnded: boolean
    }
  | { readonly on: 'finished' }

type Frame = { readonly part: 'multipart'; closed: boolean } | { readonly part: 'message' }

type State = 'headers' | 'enter' | 'leaf' | 'text' | 'delimiter-line' | 'ends' | 'finished'

/** `--`, boundary, `--` */
const MAX_DELIMITER_OCTETS = MAX_BOUNDARY_OCTETS + 4

const LF = 0x0a
const COLON = 0x3a
const CR = 0x0d
const DASH = 0x2d
const DASHES = Buffer.from('--', 'latin1')
const NOTHING = Buffer.alloc(0)

export class MimeReader {
  readonly #maxHeaderOctets: number
  readonly #window = new OctetWindow()
  readonly #boundaries = new BoundarySet()
  readonly #frames: Frame[] = []
  #state: State = 'headers'
  #ended = false
  /** The window begins at the beginning of a line. */
  #atLineStart = true
  /** Octets of the window that were searched already. */
  #searched = 0
  /** The header lines found so far, as offsets in the window. */
  #lines: { readonly at: number; readonly name: string }[] = []
  /** Where the next header line begins. */
  #lineEnd = 0
  #leaf = false
  /** Nothing ends the leaf but the end. */
  #takesRest = false
  /** In what was read of the header line at hand. */
  #colonSeen = false
  /** The delimiter given out last closes its multipart. */
  #closing = false
  /** A delimiter that was found: parts end first, then it is given out. */
  #delimiter: {
    readonly frame: number
    readonly eol: number
    readonly octets: number
    readonly close: boolean
  } | null = null

  /** @param maxHeaderOctets of one block; the sender picks the size, we the memory */
  constructor(maxHeaderOctets: number) {
    this.#maxHeaderOctets = maxHeaderOctets
  }

  /** Open multiparts and messages around the current part. */
  get depth(): number {
    return this.#frames.length
  }

  /** May a multipart with this boundary stand here, or would its delimiters be taken for another's? */
  clashes(boundary: string): boolean {
    return this.#boundaries.clashes(boundary)
  }

  /**
   * Before {@link enter}: does a delimiter of this boundary begin within so many octets, not the closing one, and none of
   * a multipart around it before? Null: push more, or end.
   */
  hasParts(boundary: string, octets: number): boolean | null {
    const bytes = this.#window.view()
    const delimiter = Buffer.from(`--${boundary}`, 'latin1')
    const isKnown = this.#ended || bytes.length >= octets + MAX_DELIMITER_OCTETS
    // The beginning is the beginning of a line.
    for (let at = this.#searched; at < octets; ) {
      const to = at + delimiter.length
      if (bytes.subarray(at, to).equals(delimiter)) {
        if (!this.#ended && bytes.length < to + DASHES.length) return null
        return !bytes.subarray(to, to + DASHES.length).equals(DASHES)
      }
      const match = this.#boundaries.match(bytes, at, bytes.length, this.#ended)
      if (match.found === 'yes') return false
      if (!isKnown && bytes.length - at < MAX_DELIMITER_OCTETS) return null
      const lf = bytes.indexOf(LF, at)
      if (lf < 0) return isKnown ? false : null
      at = lf + 1
      this.#searched = at
    }
    return false
  }

  /** The buffer is kept. */
  push(bytes: Buffer): void {
    this.#window.push(bytes)
  }

  end(): void {
    this.#ended = true
  }

  /** At an `end` event: the delimiter that ends the part has no line end before it, since the part is empty. */
  get delimiterIsBare(): boolean {
    return this.#delimiter !== null && this.#delimiter.eol === 0
  }

  /** What was pushed and not given out yet; the reader is not to be used after. */
  takeRest(): Buffer {
    return this.#window.take(this.#window.length)
  }

  /** Says what the part is whose headers just came. */
  enter(kind: PartKind): void {
    if (this.#state !== 'enter') throw new Error('enter() answers a headers event')
    this.#atLineStart = true
    this.#searched = 0
    if (kind.kind === 'leaf') {
      this.#leaf = true
      this.#takesRest = kind.takesRest === true
      this.#state = 'leaf'
    } else if (kind.kind === 'message') {
      this.#frames.push({ part: 'message' })
      this.#state = 'headers'
    } else {
      this.#boundaries.open(kind.boundary, this.#frames.length)
      this.#frames.push({ part: 'multipart', closed: false })
      this.#state = 'text'
    }
  }

  /** The next event; null = push more, or end. @throws GatewayError MIME_HEADER_TOO_LARGE */
  next(): MimeEvent | null {
    for (;;) {
      switch (this.#state) {
        case 'headers':
          return this.#headers()
        case 'leaf':
        case 'text': {
          const event = this.#content()
          if (event === 'again') continue
          return event
        }
        case 'ends':
          return this.#endPart()
        case 'delimiter-line': {
          const event = this.#delimiterLine()
          if (event === 'again') continue
          return event
        }
        case 'enter':
          throw new Error('a headers event waits for enter()')
        case 'finished':
          return null
      }
    }
  }

  // ── headers ──

  #headers(): MimeEvent | null {
    const window = this.#window
    for (;;) {
      const bytes = window.view()
      const start = this.#lineEnd
      const from = Math.max(this.#searched, start)
      const lf = bytes.indexOf(LF, from)
      const complete = lf >= 0
      const max = this.#maxHeaderOctets
      // Of a line that long without a colon this much is enough to know that it is no header, but body.
      if (!this.#colonSeen)
        this.#colonSeen = bytes.subarray(from, Math.min(complete ? lf : bytes.length, start + max)).includes(COLON)
      if (!complete && !this.#ended) {
        this.#searched = bytes.length
        // A delimiter need not wait for its line's end: that may never come.
        const match = this.#boundaries.match(bytes, start, bytes.length, false)
        if (match.found === 'yes') return this.#endHeaders(start, start, match)
        if (bytes.length > max && (this.#colonSeen || this.#continues(bytes[start]!)))
          throw this.#tooLarge(bytes.length)
        if (bytes.length - start > max) return this.#endHeaders(start, start, null)
        return null
      }
      const end = complete ? lf + 1 : bytes.length
      this.#searched = end
      if (end === start) return this.#endHeaders(start, start, null)
      const line = bytes.subarray(start, end)
      const first = line[0]!
      const colonSeen = this.#colonSeen
      this.#colonSeen = false
      if (this.#continues(first)) {
        if (end > max) throw this.#tooLarge(end)
        this.#lineEnd = end
        continue
      }
      if (line.length > max && !colonSeen) return this.#endHeaders(start, start, null)
      if (isBlankLine(line)) {
        if (end > max) throw this.#tooLarge(end)
        return this.#endHeaders(start, end, null)
      }
      const match = this.#boundaries.match(bytes, start, bytes.length, true)
      if (match.found === 'yes') return this.#endHeaders(start, start, match)
      const name = first === 0x20 || first === 0x09 ? null : fieldName(line)
      if (name === null) return this.#endHeaders(start, start, null)
      if (end > max) throw this.#tooLarge(end)
      this.#lines.push({ at: start, name })
      this.#lineEnd = end
    }
  }

  /** Does a line that begins so belong to the field before it? */
  #continues(first: number): boolean {
    return (first === 0x20 || first === 0x09) && this.#lines.length > 0
  }

  #tooLarge(octets: number): GatewayError {
    return new GatewayError('MIME_HEADER_TOO_LARGE', { octets, maxOctets: this.#maxHeaderOctets })
  }

  /** @param fieldsEnd where the last field ends @param end where the block ends, the blank line with it */
  #endHeaders(
    fieldsEnd: number,
    end: number,
    match: { readonly frame: number; readonly octets: number; readonly close: boolean } | null,
  ): MimeEvent {
    const view = this.#window.view()
    const fields: HeaderField[] = this.#lines.map(({ at, name }, i) => {
      const to = this.#lines[i + 1]?.at ?? fieldsEnd
      const eol: Eol = view[to - 1] !== LF ? '' : to - at > 1 && view[to - 2] === CR ? '\r\n' : '\n'
      return { name, bytes: view.subarray(at, to - eol.length), eol }
    })
    const block = { fields, blank: view.subarray(fieldsEnd, end), bytes: view.subarray(0, end) }
    const nothing = end === 0 && (match !== null || this.#window.length === 0) && this.#frames.length > 0
    this.#window.drop(end)
    this.#lines = []
    this.#lineEnd = 0
    this.#searched = 0
    this.#colonSeen = false
    if (nothing) {
      this.#atLineStart = true
      this.#state = 'text'
      return { on: 'no-part', lineEnded: true }
    }
    this.#state = 'enter'
    return { on: 'headers', block }
  }

  // ── bodies, preambles, epilogues ──

  #content(): MimeEvent | null | 'again' {
    const window = this.#window
    const bytes = window.view()
    if (this.#boundaries.size === 0 || this.#takesRest) {
      if (bytes.length > 0) return this.#give(bytes.length)
      return this.#ended ? this.#allEnd() : null
    }
    if (this.#atLineStart) {
      const match = this.#boundaries.match(bytes, 0, bytes.length, this.#ended)
      if (match.found === 'maybe') return null
      if (match.found === 'yes') return this.#found(match, 0)
      this.#atLineStart = false
      this.#searched = 0
    }
    let from = this.#searched
    for (;;) {
      const lf = nextCandidate(bytes, from)
      if (lf < 0) break
      const match = this.#boundaries.match(bytes, lf + 1, bytes.length, this.#ended)
      if (match.found !== 'no') {
        const eol = lf > 0 && bytes[lf - 1] === CR ? 2 : 1
        const contentEnd = lf + 1 - eol
        if (contentEnd > 0) {
          // The candidate is looked at again from its own beginning.
          this.#searched = 0
          return this.#give(contentEnd)
        }
        if (match.found === 'maybe') return null
        return this.#found(match, eol)
      }
      from = lf + 1
    }
    if (this.#ended) {
      if (bytes.length > 0) return this.#give(bytes.length)
      return this.#allEnd()
    }
    const held = heldAtEnd(bytes)
    const ready = bytes.length - held
    this.#searched = 0
    return ready > 0 ? this.#give(ready) : null
  }

  #give(octets: number): MimeEvent {
    const bytes = this.#window.take(octets)
    return this.#leaf ? { on: 'body', bytes } : { on: 'text', bytes }
  }

  #found(match: { readonly frame: number; readonly octets: number; readonly close: boolean }, eol: number): 'again' {
    this.#delimiter = { frame: match.frame, eol, octets: match.octets, close: match.close }
    this.#state = 'ends'
    return 'again'
  }

  #allEnd(): 'again' {
    this.#delimiter = null
    this.#state = 'ends'
    return 'again'
  }

  /** Ends what the delimiter (or the end of input) ends, one part a call. */
  #endPart(): MimeEvent {
    const stop = this.#delimiter === null ? 0 : this.#delimiter.frame + 1
    if (this.#leaf) {
      this.#leaf = false
      return { on: 'end', part: 'leaf' }
    }
    if (this.#frames.length > stop) {
      const frame = this.#frames.pop()!
      if (frame.part === 'multipart' && !frame.closed) this.#boundaries.close(this.#frames.length)
      return { on: 'end', part: frame.part }
    }
    if (this.#delimiter === null) {
      this.#state = 'finished'
      return { on: 'finished' }
    }
    return this.#giveDelimiter()
  }

  #giveDelimiter(): MimeEvent {
    const { frame: index, eol, octets, close } = this.#delimiter!
    const frame = this.#frames[index]
    if (frame?.part !== 'multipart') throw new Error('a delimiter without its multipart')
    const eolBytes = eol === 0 ? NOTHING : this.#window.take(eol)
    const line = this.#window.take(octets)
    if (close) {
      frame.closed = true
      this.#boundaries.close(index)
    }
    this.#closing = close
    this.#state = 'delimiter-line'
    return { on: 'delimiter', eol: eolBytes.toString('latin1') as Eol, line, close }
  }

  /**
   * What else is on a delimiter's line. The line end of a closing one belongs to what follows: to the epilogue, or to
   * the delimiter of the multipart around it.
   */
  #delimiterLine(): MimeEvent | null | 'again' {
    const bytes = this.#window.view()
    const lf = bytes.indexOf(LF)
    let octets = lf < 0 ? bytes.length : lf + 1
    if (lf >= 0) {
      this.#atLineStart = !this.#closing
      this.#searched = 0
      if (this.#closing) octets -= lf > 0 && bytes[lf - 1] === CR ? 2 : 1
      this.#state = this.#closing ? 'text' : 'headers'
    } else if (this.#ended) {
      // The input ends with the delimiter: no part begins.
      if (octets === 0) {
        this.#state = 'text'
        this.#atLineStart = false
        return this.#closing ? 'again' : { on: 'no-part', lineEnded: false }
      }
    } else if (octets > 0 && bytes[octets - 1] === CR) octets--
    if (octets > 0) return { on: 'text', bytes: this.#window.take(octets) }
    return lf >= 0 ? 'again' : null
  }
}

/**
 * The LF before the next line that begins with two dashes, at or after `from`; -1 = none. Dashes are rarer than line
 * ends, and base64 has none: it is they that are looked for.
 */
function nextCandidate(bytes: Buffer, from: number): number {
  let at = bytes.indexOf(DASHES, from + 1)
  while (at >= 0) {
    if (bytes[at - 1] === LF) return at - 1
    // A rule of dashes is passed in one go.
    let end = at + DASHES.length
    while (bytes[end] === DASH) end++
    at = bytes.indexOf(DASHES, end)
  }
  return -1
}

/** Octets at the end that may belong to a delimiter: `CRLF`, `CRLF -`, or a CR. Candidates with `--` were tried before. */
function heldAtEnd(bytes: Buffer): number {
  let at = bytes.length
  if (at > 0 && bytes[at - 1] === CR) return 1
  if (at > 1 && bytes[at - 1] === DASH && bytes[at - 2] === LF) at--
  if (at === 0 || bytes[at - 1] !== LF) return 0
  at--
  if (at > 0 && bytes[at - 1] === CR) at--
  return bytes.length - at
}
