/**
 * A FETCH answer that is not held in memory: its pieces are sent as they are opened, from passes over the sealed message
 * or over single leaves of it, and from ranges of leaves. All sizes were known before its first octet; an octet more or
 * less than announced ends the session, since nothing else would be true.
 */
import { GatewayError } from '../../base/errors.ts'
import { LeafOpener } from '../seal/leaf-opener.ts'
import { type LeafRange, leafRange } from '../seal/leaf-range.ts'
import { stringAt } from './cursor.ts'
import { OpenRun } from './open-run.ts'
import type { Outline, OutlineLeaf } from './outline.ts'
import { PlainLeaf } from './plain-leaf.ts'
import type { FetchAnswer } from './response.ts'
import { maskNuls } from './view/message-view.ts'
import type { AnswerPiece } from './view-answer.ts'
import type { LiteralSink, WorkHost } from './work.ts'

export interface LargeStreamOptions {
  readonly host: WorkHost
  readonly pieces: readonly AnswerPiece[]
  /** `UID FETCH 7` or `FETCH 3`. */
  readonly fetch: string
  /** For pieces of leaves. */
  readonly outline: Outline | null
  readonly hasNuls: boolean
  readonly done: () => void
}

interface Pass {
  readonly tag: string
  /** Opened octets seen. */
  position: number
  run: OpenRun | null
  /** Literal octets for a range of a leaf. */
  readonly range: { readonly leafRange: LeafRange; readonly chunks: Buffer[] } | null
  readonly source: number | 'message'
  over: boolean
  tagged: boolean
}

/** Ranges up to this are fetched as such; more is a pass over the leaf. */
const MAX_RANGE_OCTETS = 1024 * 1024

export class LargeStream {
  readonly #options: LargeStreamOptions
  readonly #pieces: AnswerPiece[]
  #pass: Pass | null = null
  /** Octets of the first piece already sent. */
  #sent = 0

  constructor(options: LargeStreamOptions) {
    this.#options = options
    this.#pieces = [...options.pieces]
  }

  get wants(): boolean {
    const pass = this.#pass
    if (pass === null) return true
    // Behind the octets of a pass stands its tagged line: not to be read before all of it is opened.
    return pass.run?.wants !== false
  }

  start(): void {
    this.#go()
  }

  dispose(): void {
    this.#pass?.run?.drop()
    this.#pieces.length = 0
  }

  /** Of the command whose literal is waited for; null: none. */
  get awaits(): string | null {
    const pass = this.#pass
    return pass === null || pass.over || pass.run !== null ? null : pass.tag
  }

  literalSink(): LiteralSink | null {
    const pass = this.#pass
    if (pass === null || pass.over) return null
    return (bytes, last) => this.#take(pass, bytes, last)
  }

  /** True: ours. A short body may come as a quoted string. */
  fetch(answer: FetchAnswer, bytes: Buffer): boolean {
    const pass = this.#pass
    if (pass === null) return false
    const body = answer.items.find((item) => item.name === 'BODY[')
    if (body === undefined) return false
    if (!pass.over && pass.position === 0 && pass.run === null) this.#take(pass, stringAt(bytes, body.value[0]), true)
    return true
  }

  tagged(tag: string): void {
    const pass = this.#pass
    if (pass === null || tag !== pass.tag) return
    pass.tagged = true
    this.#afterPass(pass)
  }

  /** Sends what is at hand, then asks for what is next. */
  #go(): void {
    const { host } = this.#options
    for (let piece = this.#pieces[0]; piece !== undefined; piece = this.#pieces[0]) {
      if (!('bytes' in piece)) {
        if (piece.end > piece.start) break
        this.#pieces.shift()
        continue
      }
      this.#pieces.shift()
      host.stream(piece.bytes)
    }
    const piece = this.#pieces[0]
    if (piece === undefined) {
      host.streamed(true)
      this.#options.done()
    } else if (this.#pass === null && !('bytes' in piece)) this.#begin(piece)
  }

  #begin(piece: Exclude<AnswerPiece, { bytes: Buffer }>): void {
    const { host, fetch } = this.#options
    const tag = host.nextTag()
    const leaf = 'leaf' in piece ? this.#leaf(piece.leaf) : null
    const range = leaf === null ? null : this.#rangeOf(leaf, piece)
    this.#pass = {
      tag,
      position: 0,
      run: null,
      range: range === null ? null : { leafRange: range, chunks: [] },
      source: 'leaf' in piece ? piece.leaf : 'message',
      over: false,
      tagged: false,
    }
    const section = leaf === null ? '' : leaf.part.section
    const partial = range === null ? '' : `<${range.sealedStart}.${range.sealedEnd - range.sealedStart}>`
    host.toUpstream(`${tag} ${fetch} (UID BODY.PEEK[${section}]${partial})\r\n`)
  }

  #leaf(number: number): OutlineLeaf {
    const leaf = this.#options.outline?.leaves[number]
    if (leaf === undefined) throw new GatewayError('INTERNAL', { reason: 'leaf' })
    return leaf
  }

  #rangeOf(leaf: OutlineLeaf, { start, end }: { start: number; end: number }): LeafRange | null {
    const { entered, plainOctets } = leaf
    if (entered === null || plainOctets === null || end - start > MAX_RANGE_OCTETS) return null
    return leafRange(entered, plainOctets, start, end)
  }

  #take(pass: Pass, bytes: Buffer, last: boolean): void {
    if (pass.range !== null) {
      if (bytes.length > 0) pass.range.chunks.push(bytes)
      if (last) this.#openRange(pass, pass.range)
      return
    }
    pass.run ??= this.#run(pass)
    pass.run.push(bytes)
    if (last) pass.run.end()
  }

  #openRange(pass: Pass, { leafRange: range, chunks }: NonNullable<Pass['range']>): void {
    const piece = this.#pieces.shift()
    if (piece === undefined || 'bytes' in piece) throw new GatewayError('INTERNAL', { reason: 'range' })
    pass.over = true
    let octets: Buffer
    try {
      octets = range.open(Buffer.concat(chunks))
    } catch (error) {
      this.#fail(error)
      return
    }
    if (octets.length !== piece.end - piece.start) this.#fail(new GatewayError('SEAL_BROKEN', { what: 'range' }))
    else this.#options.host.stream(this.#masked(octets))
    this.#afterPass(pass)
  }

  #run(pass: Pass): OpenRun {
    const { host } = this.#options
    const sealed = typeof pass.source === 'number' ? this.#leaf(pass.source).sealed : null
    const transform =
      typeof pass.source === 'number' ? (sealed === null ? null : new LeafOpener(sealed)) : host.transforms.opener()
    return new OpenRun(transform ?? new PlainLeaf(), host.out, {
      write: (bytes) => this.#opened(pass, bytes),
      done: () => {
        pass.over = true
        this.#afterPass(pass)
      },
      fail: (error) => this.#fail(error),
    })
  }

  /** Opened octets: those that a piece wants go out, in the order of the pieces. */
  #opened(pass: Pass, bytes: Buffer): void {
    const { host } = this.#options
    const from = pass.position
    pass.position += bytes.length
    for (let piece = this.#pieces[0]; piece !== undefined; piece = this.#pieces[0]) {
      if ('bytes' in piece) {
        this.#pieces.shift()
        host.stream(piece.bytes)
        continue
      }
      const source = 'leaf' in piece ? piece.leaf : 'message'
      // Of another pass; or before what came already: a pass of its own, after this one.
      const at = piece.start + this.#sent
      if (source !== pass.source || at < from) return
      if (at >= pass.position) return
      const end = Math.min(piece.end, pass.position)
      host.stream(this.#masked(bytes.subarray(at - from, end - from)))
      this.#sent += end - at
      if (piece.start + this.#sent < piece.end) return
      this.#pieces.shift()
      this.#sent = 0
    }
  }

  #masked(bytes: Buffer): Buffer {
    return this.#options.hasNuls ? maskNuls(bytes) : bytes
  }

  #afterPass(pass: Pass): void {
    if (!pass.tagged || this.#pass !== pass) return
    if (!pass.over) {
      // The tagged line came first: an answer that was not one, or octets still with a thread.
      if (pass.run === null)
        this.#fail(new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'message gone while it is read' }))
      return
    }
    this.#pass = null
    if (this.#sent > 0) this.#fail(new GatewayError('SEAL_BROKEN', { what: 'shorter than announced' }))
    else this.#go()
  }

  #fail(error: unknown): void {
    const { host } = this.#options
    const code = error instanceof GatewayError ? error.code : 'INTERNAL'
    host.out.log('error', 'answer cut short', { code })
    this.dispose()
    host.streamed(false)
  }
}
