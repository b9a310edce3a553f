/**
 * Where an HTTP/1.1 request ends (RFC 9112), before it goes on to uWebSockets.js: octets in, whole requests out, one
 * after the other. It is strict, and writes the framing anew, so that no server behind can see another border than it
 * does (request smuggling, RFC 9112 §11.2). Not here: what a request means, sockets, clocks.
 *
 * A body is held until it is whole, within its limit; where the method says so it comes in pieces instead.
 */
import { ByteQueue } from '../base/byte-queue.ts'
import { ChunkedBody } from './http-chunked.ts'

export interface FramerLimits {
  /** Request line and headers; more is 413. Octets. */
  readonly maxHeadOctets: number
  /** Of bodies that are held; more is 413. Octets. */
  readonly maxBodyOctets: number
  /** Bodies of these come in pieces, of any size. */
  readonly streams: (method: string, path: string) => boolean
}

/** `closes`: the client wants no further answer on this connection. */
export type RequestPiece =
  | WholeRequest
  /** Head of a streamed one; `body` pieces and one `end` follow. */
  | { readonly on: 'begin'; readonly octets: Buffer; readonly closes: boolean }
  | { readonly on: 'body'; readonly octets: Buffer }
  | { readonly on: 'end'; readonly octets: Buffer }
  /** What follows is no HTTP if the server agrees: {@link RequestFramer.rest}. */
  | { readonly on: 'upgrade'; readonly octets: Buffer }
  /** Final: nothing that follows can be told apart any more. */
  | { readonly on: 'refuse'; readonly status: 400 | 413 | 501 | 505; readonly text: string }

/** uWebSockets.js takes 100 lines of a head, the request line included, and answers more in its own way. */
const MAX_FIELDS = 90
/** method SP request-target SP HTTP-version; the target in visible ASCII. RFC 9112 §3. */
const REQUEST_LINE = /^([!#$%&'*+.^_`|~\w-]{1,32}) ([\x21-\x7e]+) HTTP\/(\d\.\d)$/
/** field-name ":" OWS field-value OWS; no folding, no control characters. RFC 9112 §5, RFC 9110 §5.5. */
const FIELD = /^([!#$%&'*+.^_`|~\w-]+):([\t\x20-\x7e\x80-\xff]*)$/
/** uri-host [ ":" port ], or nothing. RFC 9110 §7.2. */
const HOST = /^(?:\[[\w.:~-]+\]|[\w.~!$&'()*+,;=%-]*)(?::\d{0,5})?$/
/** Buffers that may lie in a row before they are made one. */
const COMPACT_EVERY = 64
const LF = 10
const CR = 13
/** Empty lines before a request line that are looked over, as RFC 9112 §2.2 wants; more are no request. */
const MAX_EMPTY_LINES = 4

export interface WholeRequest {
  readonly on: 'request'
  /** As it goes on; may be printed anew each time. */
  readonly octets: Buffer
  readonly closes: boolean
  /** Of a GET without a body, its query left out; else null. */
  readonly path: string | null
  /** The body of a POST to `/`; else null. */
  readonly post: Buffer | null
}

type State =
  | { readonly in: 'head' }
  | { readonly in: 'held'; readonly head: Head; readonly closes: boolean; left: number; readonly parts: Buffer[] }
  | { readonly in: 'streamed'; left: number }
  /** `held` null: streamed. */
  | { readonly in: 'chunks'; readonly body: ChunkedBody; readonly held: Held | null }
  | { readonly in: 'over' }

interface Head {
  readonly method: string
  readonly target: string
  readonly fieldLines: readonly string[]
}

interface Held {
  readonly head: Head
  readonly closes: boolean
  readonly parts: Buffer[]
  octets: number
}

const HEAD: State = { in: 'head' }

class Refused extends Error {
  readonly piece: Extract<RequestPiece, { on: 'refuse' }>

  constructor(status: 400 | 413 | 501 | 505, text: string) {
    super(text)
    this.piece = { on: 'refuse', status, text }
  }
}

export class RequestFramer {
  readonly #limits: FramerLimits
  readonly #queue = new ByteQueue()
  #state: State = HEAD
  /** Where the search for line ends goes on, and where the line began. */
  #searched = 0
  #lineBegin = 0
  #lines = 0
  #emptyLines = 0
  #parts = 0

  constructor(limits: FramerLimits) {
    this.#limits = limits
  }

  /** Is a part of a request here that lacks its end? */
  get isInside(): boolean {
    return this.#state.in !== 'over' && (this.#state.in !== 'head' || this.#queue.length > 0)
  }

  get heldOctets(): number {
    const state = this.#state
    const held = state.in === 'held' ? state.parts : state.in === 'chunks' ? (state.held?.parts ?? []) : []
    return held.reduce((sum, part) => sum + part.length, this.#queue.length)
  }

  /** The buffer is kept. */
  push(octets: Buffer): void {
    if (this.#state.in === 'over') return
    this.#queue.push(octets)
    // Who sends octet by octet shall not make each search long.
    if (++this.#parts % COMPACT_EVERY === 0 && this.#queue.length <= this.#limits.maxHeadOctets) {
      this.#queue.push(this.#queue.takeAll())
    }
  }

  /** null: more octets are needed. */
  next(): RequestPiece | null {
    try {
      return this.#next()
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      this.#queue.takeAll()
      this.#state = { in: 'over' }
      return error.piece
    }
  }

  /** After an upgrade: what came behind it; nothing is framed any more. */
  rest(): Buffer {
    this.#state = { in: 'over' }
    return this.#queue.takeAll()
  }

  #next(): RequestPiece | null {
    const state = this.#state
    switch (state.in) {
      case 'head': {
        const head = this.#takeHead()
        return head === null ? null : this.#begin(head)
      }
      case 'held': {
        if (this.#queue.length === 0 && state.left > 0) return null
        for (let part = this.#take(state); part !== null; part = this.#take(state)) keep(state.parts, part)
        return state.left > 0 ? null : this.#whole(state.head, state.parts, state.closes)
      }
      case 'streamed': {
        const octets = this.#take(state)
        if (octets !== null) return { on: 'body', octets }
        if (state.left > 0) return null
        this.#state = HEAD
        return { on: 'end', octets: Buffer.alloc(0) }
      }
      case 'chunks':
        return this.#chunk(state.body, state.held)
      case 'over':
        return null
    }
  }

  #take(state: { left: number }): Buffer | null {
    if (state.left === 0 || this.#queue.length === 0) return null
    const octets = this.#queue.takeChunk(state.left)
    state.left -= octets.length
    return octets
  }

  #chunk(body: ChunkedBody, held: Held | null): RequestPiece | null {
    for (;;) {
      const piece = body.next(this.#queue)
      if (piece === null) return null
      if (piece === 'bad') throw new Refused(400, 'Bad chunked body')
      if (piece === 'end') {
        if (held !== null) return this.#whole(held.head, held.parts, held.closes)
        this.#state = HEAD
        return { on: 'end', octets: Buffer.from('0\r\n\r\n') }
      }
      if (held === null) {
        const size = `${piece.length.toString(16)}\r\n`
        return { on: 'body', octets: Buffer.concat([Buffer.from(size), piece, Buffer.from('\r\n')]) }
      }
      held.octets += piece.length
      if (held.octets > this.#limits.maxBodyOctets) throw new Refused(413, 'Request body too large')
      keep(held.parts, piece)
    }
  }

  #whole(head: Head, parts: readonly Buffer[], closes: boolean): RequestPiece {
    this.#state = HEAD
    const body = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
    return new RequestWithBody(head, body, closes)
  }

  /** The head, its last empty line included; null: it is not all here. */
  #takeHead(): Buffer | null {
    const queue = this.#queue
    for (;;) {
      const end = queue.indexOf(LF, this.#searched)
      if (end === -1 ? queue.length > this.#limits.maxHeadOctets : end >= this.#limits.maxHeadOctets) {
        throw new Refused(413, 'Request head too large')
      }
      if (end === -1) {
        this.#searched = queue.length
        return null
      }
      const lineOctets = end - this.#lineBegin
      this.#searched = end + 1
      this.#lineBegin = end + 1
      if (lineOctets === 0) throw new Refused(400, 'A line ends without CR')
      if (++this.#lines > MAX_FIELDS + 2) throw new Refused(413, 'Too many header fields')
      // One octet and LF: the empty line, if that octet is CR; which is seen below and in the line patterns.
      if (lineOctets > 1) continue
      this.#searched = 0
      this.#lineBegin = 0
      this.#lines = 0
      const head = queue.take(end + 1)
      if (head.length > 2) {
        this.#emptyLines = 0
        return head
      }
      if (head[0] !== CR || ++this.#emptyLines > MAX_EMPTY_LINES) throw new Refused(400, 'No request')
    }
  }

  #begin(head: Buffer): RequestPiece | null {
    const lines = head.toString('latin1').split('\r\n')
    const line = REQUEST_LINE.exec(lines[0] ?? '')
    if (line === null || lines.at(-2) !== '') throw new Refused(400, 'Bad request line')
    const [, method = '', sent = '', version = ''] = line
    if (version !== '1.1') throw new Refused(505, 'HTTP/1.1 is spoken here')
    // The last two are empty: behind the last field, and behind the empty line.
    const fieldLines = lines.slice(1, -2)
    const fields = fieldsOf(fieldLines)
    const hosts = fields.get('host') ?? []
    if (hosts.length !== 1 || !HOST.test(hosts[0]!)) throw new Refused(400, 'One Host field is needed')
    const target = originForm(method, sent)
    const closes = /(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(fields.get('connection')?.join(',') ?? '')
    const length = lengthOf(fields)
    const path = target.split('?', 1)[0]!
    const isStreamed = this.#limits.streams(method, path)
    if (!isStreamed && length === null) {
      const isAsItWas = target === sent && !fields.has('expect')
      const octets = isAsItWas ? head : Buffer.from(`${headText({ method, target, fieldLines })}\r\n`, 'latin1')
      const isUpgrade = method === 'GET' && fields.has('upgrade')
      return isUpgrade
        ? { on: 'upgrade', octets }
        : { on: 'request', octets, closes, path: method === 'GET' ? path : null, post: null }
    }
    const sentHead = { method, target, fieldLines }
    if (isStreamed) return this.#streamed(headText(sentHead), length ?? 0, fields.has('expect'), closes)
    if (length === 'chunked') {
      this.#state = { in: 'chunks', body: new ChunkedBody(), held: { head: sentHead, closes, parts: [], octets: 0 } }
    } else {
      if (length! > this.#limits.maxBodyOctets) throw new Refused(413, 'Request body too large')
      this.#state = { in: 'held', head: sentHead, closes, left: length!, parts: [] }
    }
    return this.#next()
  }

  #streamed(text: string, length: number | 'chunked', expects: boolean, closes: boolean): RequestPiece {
    this.#state =
      length === 'chunked' ? { in: 'chunks', body: new ChunkedBody(), held: null } : { in: 'streamed', left: length }
    const framing = length === 'chunked' ? 'transfer-encoding: chunked' : `content-length: ${length}`
    // The server behind says `100 Continue` where it is asked to.
    const expect = expects ? 'expect: 100-continue\r\n' : ''
    return { on: 'begin', octets: Buffer.from(`${text}${expect}${framing}\r\n\r\n`, 'latin1'), closes }
  }
}

/** Most are answered in front and never go on, so they are printed when they do. */
class RequestWithBody implements WholeRequest {
  readonly on = 'request'
  readonly path = null
  readonly closes: boolean
  readonly #head: Head
  readonly #body: Buffer

  constructor(head: Head, body: Buffer, closes: boolean) {
    this.#head = head
    this.#body = body
    this.closes = closes
  }

  get post(): Buffer | null {
    return this.#head.method === 'POST' && this.#head.target === '/' ? this.#body : null
  }

  get octets(): Buffer {
    const head = `${headText(this.#head)}content-length: ${this.#body.length}\r\n\r\n`
    return Buffer.concat([Buffer.from(head, 'latin1'), this.#body])
  }
}

/** Who sends octet by octet shall not cost an object each. */
function keep(parts: Buffer[], part: Buffer): void {
  parts.push(part)
  if (parts.length >= COMPACT_EVERY) parts.splice(0, parts.length, Buffer.concat(parts))
}

type Fields = ReadonlyMap<string, readonly string[]>

function fieldsOf(lines: readonly string[]): Fields {
  const fields = new Map<string, string[]>()
  for (const line of lines) {
    const match = FIELD.exec(line)
    if (match === null) throw new Refused(400, 'Bad header field')
    const name = match[1]!.toLowerCase()
    const values = fields.get(name)
    if (values === undefined) fields.set(name, [match[2]!.trim()])
    else values.push(match[2]!.trim())
  }
  return fields
}

/** null: no body is announced. Two lengths are refused even if they agree: servers differ in what they make of them. */
function lengthOf(fields: Fields): number | 'chunked' | null {
  const codings = fields.get('transfer-encoding')
  const lengths = fields.get('content-length')
  if (codings !== undefined) {
    if (lengths !== undefined) throw new Refused(400, 'Content-Length and Transfer-Encoding')
    if (codings.length !== 1) throw new Refused(400, 'Bad Transfer-Encoding')
    if (codings[0]!.toLowerCase() !== 'chunked') throw new Refused(501, 'No transfer coding but chunked')
    return 'chunked'
  }
  if (lengths === undefined) return null
  if (lengths.length !== 1 || !/^\d{1,15}$/.test(lengths[0]!)) throw new Refused(400, 'Bad Content-Length')
  return Number(lengths[0])
}

/** The target as a path; a whole URL is one, too (RFC 9112 §3.2.2), and which host it names is not looked at. */
function originForm(method: string, target: string): string {
  if (target.startsWith('/')) return target
  if (target === '*' && method === 'OPTIONS') return '/'
  const match = /^https?:\/\/[^/?#]+(\/\S*)?$/i.exec(target)
  if (match === null) throw new Refused(400, 'Bad request target')
  return match[1] ?? '/'
}

const FRAMING = /^(?:content-length|transfer-encoding|expect|trailer|te):/i

/** Without framing, and without the empty line. */
function headText({ method, target, fieldLines }: Head): string {
  const kept = fieldLines.filter((line) => !FRAMING.test(line))
  return `${[`${method} ${target} HTTP/1.1`, ...kept].join('\r\n')}\r\n`
}
