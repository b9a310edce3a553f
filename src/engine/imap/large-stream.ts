/**
 * A FETCH answer that is not held in memory: its pieces are sent as they are opened, from passes over the sealed message
 * or over single leaves of it, from ranges of leaves, and from readers that go on where the last range ended. All sizes were known before its first octet; an octet more or
 * less than announced ends the session, since nothing else would be true.
 */
import { GatewayError } from '../../base/errors.ts'
import { LeafOpener } from '../seal/leaf-opener.ts'
import { type LeafRange, leafRange } from '../seal/leaf-range.ts'
import type { Transform } from '../transform.ts'
import { logChanges } from './changes.ts'
import { stringAt } from './cursor.ts'
import { OpenRun } from './open-run.ts'
import { leavesOf, type Outline, type OutlineLeaf } from './outline.ts'
import { PlainLeaf } from './plain-leaf.ts'
import { RangeReader, type RangeSource } from './range-reader.ts'
import type { FetchAnswer } from './response.ts'
import { type MessageView, maskNuls } from './view/message-view.ts'
import type { AnswerPiece } from './view-answer.ts'
import type { LiteralSink, WorkHost } from './work.ts'

export interface LargeStreamOptions {
  readonly host: WorkHost
  readonly pieces: readonly AnswerPiece[]
  /** `UID FETCH 7` or `FETCH 3`. */
  readonly fetch: string
  /** Null: not known, and nothing is kept for the next range. */
  readonly uid: number | null
  readonly view: MessageView
  /** For pieces of leaves. */
  readonly outline: Outline | null
  readonly hasNuls: boolean
  readonly done: () => void
  /** The message is not as long as was told. */
  readonly sizesBroken: () => void
}

interface Pass {
  readonly tag: string
  /** Opened octets seen. */
  position: number
  run: OpenRun | null
  /** Literal octets for a range of a leaf. */
  readonly range: { readonly leafRange: LeafRange; readonly chunks: Buffer[] } | null
  readonly source: RangeSource
  over: boolean
  tagged: boolean
}

/** A piece of the sealed stream on its way to a reader. */
interface ReaderPiece {
  readonly tag: string
  readonly octets: number
  got: number
  over: boolean
}

type SourcePiece = Exclude<AnswerPiece, { bytes: Buffer }>

/** A reader rather passes over so much than that the leaf is entered anew. */
const MAX_SKIP_OCTETS = 256 * 1024
/** Ranges up to this are fetched as such; more is a pass over the leaf. */
const MAX_RANGE_OCTETS = 1024 * 1024

export class LargeStream {
  readonly #options: LargeStreamOptions
  readonly #pieces: AnswerPiece[]
  #pass: Pass | null = null
  #reader: RangeReader | null = null
  #readerPiece: ReaderPiece | null = null
  /** Octets of the first piece already sent. */
  #sent = 0

  constructor(options: LargeStreamOptions) {
    this.#options = options
    this.#pieces = [...options.pieces]
  }

  get wants(): boolean {
    const pass = this.#pass
    if (pass === null) return this.#reader?.wants !== false
    // Behind the octets of a pass stands its tagged line: not to be read before all of it is opened.
    return pass.run?.wants !== false
  }

  start(): void {
    this.#go()
  }

  dispose(): void {
    this.#pass?.run?.drop()
    this.#leaveReader()
    this.#pieces.length = 0
  }

  /** Of the command whose literal is waited for; null: none. */
  get awaits(): string | null {
    const pass = this.#pass
    const piece = this.#readerPiece
    if (piece !== null) return piece.over || piece.got > 0 ? null : piece.tag
    return pass === null || pass.over || pass.run !== null ? null : pass.tag
  }

  literalSink(): LiteralSink | null {
    const piece = this.#readerPiece
    if (piece !== null) return piece.over ? null : (bytes, last) => this.#takeForReader(piece, bytes, last)
    const pass = this.#pass
    if (pass === null || pass.over) return null
    return (bytes, last) => this.#take(pass, bytes, last)
  }

  /** True: ours. A short body may come as a quoted string. */
  fetch(answer: FetchAnswer, bytes: Buffer): boolean {
    const pass = this.#pass
    const piece = this.#readerPiece
    if (pass === null && piece === null) return false
    const body = answer.items.find((item) => item.name === 'BODY[')
    if (body === undefined) return false
    if (piece !== null) {
      if (!piece.over && piece.got === 0) {
        this.#takeForReader(piece, Buffer.from(stringAt(bytes, body.value[0])), true)
      }
    } else if (pass !== null && !pass.over && pass.position === 0 && pass.run === null)
      this.#take(pass, stringAt(bytes, body.value[0]), true)
    return true
  }

  tagged(tag: string): void {
    const piece = this.#readerPiece
    if (piece?.tag === tag) {
      this.#readerPiece = null
      if (piece.over) this.#advance()
      else this.#fail(new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'message gone while it is read' }))
      return
    }
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
    } else if (this.#pass === null && this.#reader === null && !('bytes' in piece)) this.#begin(piece)
  }

  #begin(piece: SourcePiece): void {
    const { host, fetch } = this.#options
    const leaf = 'leaf' in piece ? this.#leaf(piece.leaf) : null
    const range = leaf === null ? null : this.#rangeOf(leaf, piece)
    const reader = range === null || this.#goesOn(piece) ? this.#readerFor(piece) : null
    if (reader !== null) {
      this.#reader = reader
      reader.onProgress = () => this.#advance()
      this.#advance()
      return
    }
    // A pass needs the memory.
    if (range === null) host.opened.readers.clear()
    const tag = host.nextTag()
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

  /**
   * A leaf that could be entered in the middle: read from its beginning, or where a reader stands? Then that is better,
   * since its pieces don't overlap: for each that does, the server looks for its place from the beginning.
   */
  #goesOn(piece: SourcePiece): boolean {
    const { uid, host } = this.#options
    if (piece.start === 0) return true
    const reader =
      uid === null ? null : host.opened.readers.find(uid, 'leaf' in piece ? piece.leaf : 'message', piece.start)
    return reader !== null && piece.start <= reader.position + MAX_SKIP_OCTETS
  }

  /** Null: the client reads all of it, or to its end: then it comes in one go. */
  #readerFor(piece: SourcePiece): RangeReader | null {
    const { uid, host } = this.#options
    if (uid === null) return null
    const { readers } = host.opened
    const source = 'leaf' in piece ? piece.leaf : 'message'
    const octets = this.#octetsOf(source)
    const found = piece.start === 0 && piece.end >= octets ? null : readers.find(uid, source, piece.start)
    if (found !== null || piece.end >= octets) return found
    const reader = new RangeReader(uid, source, this.#transform(source), host.out)
    readers.add(reader)
    return reader
  }

  /** Sends what the reader has, and fetches for it what it lacks. */
  #advance(): void {
    const { host, fetch } = this.#options
    const reader = this.#reader
    const [piece] = this.#pieces
    if (reader === null || piece === undefined || 'bytes' in piece) return
    if (reader.failure !== null) {
      this.#fail(reader.failure)
      return
    }
    for (const bytes of reader.slices(piece.start + this.#sent, piece.end)) {
      host.stream(this.#masked(bytes))
      this.#sent += bytes.length
    }
    reader.seek(piece.start + this.#sent)
    // What is on its way belongs to this command, though it be read ahead.
    if (this.#readerPiece !== null) return
    if (piece.start + this.#sent === piece.end) {
      if (reader.complete && reader.position !== this.#octetsOf(reader.source)) {
        this.#wrongLength('longer than announced')
        return
      }
      this.#leaveReader()
      this.#pieces.shift()
      this.#sent = 0
      this.#go()
      return
    }
    if (reader.complete) this.#wrongLength('shorter than announced')
    if (reader.complete || reader.busy) return
    const tag = host.nextTag()
    const octets = reader.nextPiece(piece.end)
    this.#readerPiece = { tag, octets, got: 0, over: false }
    const section = 'leaf' in piece ? this.#leaf(piece.leaf).part.section : ''
    host.toUpstream(`${tag} ${fetch} (UID BODY.PEEK[${section}]<${reader.sealedAt}.${octets}>)\r\n`)
  }

  #takeForReader(piece: ReaderPiece, bytes: Buffer, last: boolean): void {
    const reader = this.#reader
    if (reader === null) return
    piece.got += bytes.length
    if (bytes.length > 0) reader.push(bytes)
    if (!last) return
    piece.over = true
    reader.endPiece(piece.got < piece.octets)
  }

  /** It stays for the next range. */
  #leaveReader(): void {
    if (this.#reader !== null) this.#reader.onProgress = () => {}
    this.#reader = null
  }

  /** As it was told. */
  #octetsOf(source: RangeSource): number {
    const { view } = this.#options
    return source === 'message' ? view.size.octets : (leavesOf(view.root)[source]?.body.octets ?? 0)
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
    const opener = pass.source === 'message' ? host.transforms.opener() : null
    return new OpenRun(opener ?? this.#transform(pass.source), host.out, {
      write: (bytes) => this.#opened(pass, bytes),
      done: () => {
        if (opener !== null) logChanges(host.out, opener, this.#options.uid)
        pass.over = true
        this.#afterPass(pass)
      },
      fail: (error) => this.#fail(error),
    })
  }

  #transform(source: RangeSource): Transform {
    if (source === 'message') return this.#options.host.transforms.opener()
    const { sealed } = this.#leaf(source)
    return sealed === null ? new PlainLeaf() : new LeafOpener(sealed)
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
    // A pass is over all of its source, though a range of it was asked for.
    if (pass.range === null && pass.position !== this.#octetsOf(pass.source)) {
      this.#wrongLength(this.#sent > 0 ? 'shorter than announced' : 'not as long as announced')
    } else this.#go()
  }

  #wrongLength(what: string): void {
    this.#options.sizesBroken()
    this.#fail(new GatewayError('SEAL_BROKEN', { what }))
  }

  #fail(error: unknown): void {
    const { host } = this.#options
    const code = error instanceof GatewayError ? error.code : 'INTERNAL'
    host.out.log('error', 'answer cut short', { code })
    this.dispose()
    host.opened.readers.clear()
    host.streamed(false)
  }
}
