/**
 * Opens one message (message-format.md §5, §6): octets in, octets out. What is not encrypted passes untouched.
 *
 * Rule: of an encrypted message nothing leaves before its key is there, and no octet of a sealed part that was not
 * authenticated. What fails throws; what was written until then is not a whole message.
 *
 * Structure, and parts that someone else put in plain into a sealed message, pass as they are: what of it is not as it
 * was sealed is told when all was read (`arrival.ts`).
 */
import { GatewayError } from '../../base/errors.ts'
import { type HeaderBlock, unfoldedValue } from '../mime/header-block.ts'
import { MAX_NESTING, MAX_SEALED_HEADER_OCTETS } from '../mime/limits.ts'
import { countLines } from '../mime/lines.ts'
import { type MimeEvent, MimeReader } from '../mime/reader.ts'
import type { Transform, TransformAction } from '../transform.ts'
import { Arrival, type Changes, NOTHING_CHANGED } from './arrival.ts'
import type { BodyEncoding } from './body-encoding.ts'
import { keyAndIv } from './ciphers.ts'
import { AnnouncedEnd, type EndReader } from './end-record.ts'
import type { Exactness, SealedSizes } from './exactness.ts'
import { childEncapsulation, type Encapsulation, sealedMessageId, takesBanners } from './format.ts'
import type { MessageKey } from './message-key.ts'
import { type OpenedBlock, type OpeningKey, openHeaders } from './open-headers.ts'
import { OpenLeaf } from './open-leaf.ts'
import { OpenedText } from './opened-text.ts'
import { OrderedOutput } from './ordered-output.ts'
import { Padding } from './padding.ts'
import { hasText, type PlainPart, PlainParts } from './plain-parts.ts'
import { type LedgerEntry, SizesLedger } from './sizes-ledger.ts'
import { TransformAsking } from './transform-asking.ts'

export interface OpenerOptions {
  /** Octets that may wait for the key. */
  readonly maxbufOctets: number
  /** Headers only: bodies of leaves pass as they come, sealed or not; what becomes of each is told here, in order. */
  readonly outline?: (leaf: OutlinedLeaf) => void
}

/** What opening a leaf would take. */
export interface OutlinedLeaf {
  /** Parts whose header was read before this one's, the root as 0, banners and injected containers counted. */
  readonly part: number
  /** Null: it is in plain, and passes as it is. */
  readonly sealed: { readonly key: MessageKey; readonly encoding: BodyEncoding; readonly exact: Exactness } | null
}

/** What is said of {@link Changes} is known when it is done. */
export interface OpenFacts extends Changes {
  /** Null until the root's header was read. */
  readonly encrypted: boolean | null
  readonly messageId: string | null
  /** What the sender's gateway says about sizes; known once the key is. To be believed while the sealed octets agree. */
  readonly declaredSizes: SealedSizes | null
  /** Blank lines may stand behind the sealed message that are none of it. */
  readonly padded: boolean
  /** What was read so far; whole when it is done. */
  readonly sizes: SealedSizes
  /** Octets that sealing put at its end, beside what opening gives, are counted in no part's size. Known with the key. */
  readonly end: AnnouncedEnd | null
  /** Where parts in plain begin in what was given out so far, in octets: their headers, as far as these come out; of the first MAX_LISTED_PARTS. */
  readonly unsealedAt: readonly number[]
  /** When it is done: long leaves whose layout did not come back, since what describes it was taken away on the way. */
  readonly layoutLost: number
  /** So far, also of a message that is broken further on. */
  readonly unsealedParts: number
}

interface Frame {
  readonly kind: 'multipart' | 'message'
  readonly encapsulation: Encapsulation
  readonly inside: 'alternative' | 'injected' | 'other'
  /** Of an injected container: what its part is about. */
  readonly about: { readonly encoding: BodyEncoding; readonly exact: Exactness } | null
  /** Of an injected container: its one part was seen. */
  hasBody: boolean
  /** Its closing delimiter came. */
  closed: boolean
  /** Of an injected container: something stands behind its closing delimiter. */
  hasEpilogue: boolean
  /** Line end of the first delimiter that went with a banner. */
  droppedEol: string | null
  readonly entry: LedgerEntry | null
}

/** Output that waits for threads before the input is asked to stop. */
const MAX_HELD_OCTETS = 2 << 20

export class Opener implements Transform {
  readonly #options: OpenerOptions
  readonly #reader = new MimeReader(MAX_SEALED_HEADER_OCTETS)
  readonly #asking = new TransformAsking()
  readonly #output = new OrderedOutput()
  readonly #ledger = new SizesLedger()
  readonly #text = new OpenedText(this.#output, this.#ledger)
  readonly #frames: Frame[] = []
  #phase: 'header' | 'key' | 'pass' | 'run' | 'finishing' | 'done' = 'header'
  #ended = false
  #encrypted: boolean | null = null
  #messageId: string | null = null
  #rootBlock: HeaderBlock | null = null
  #opening: OpeningKey | null = null
  #declared: SealedSizes | null = null
  /** Sealed by this gateway or one like it: read by our rules. */
  #isExact = false
  #waitingOctets = 0
  /** Leaves whose output is not complete. */
  readonly #bodies = new Set<OpenLeaf>()
  #arrival: Arrival | null = null
  #changes = NOTHING_CHANGED
  #layoutLost = 0
  /** The root's header came to its end, and all containers that sealing injected did so far. */
  #wellEnded = true
  #endRecord: EndReader | null = null
  #announcedEnd: AnnouncedEnd | null = null
  /** What the current leaf's octets are to become. */
  #leaf: {
    readonly open: OpenLeaf | null
    readonly drop: boolean
    readonly entry: LedgerEntry | null
    readonly bare: boolean
  } | null = null
  /** A delimiter that waits to see whether a banner follows. */
  #pending: { readonly eol: string; readonly bytes: Buffer[] } | null = null
  /** The next delimiter given out had no line end before it. */
  #bareDelimiter = false
  #padding: Padding | null = null
  /** By what is given out before padding is cut off. */
  readonly #plainParts = new PlainParts()
  /** The current leaf is in plain, and nothing but white space came of it. */
  #blankLeaf: PlainPart | null = null
  #padded = false
  /** Of the header read last. */
  #partNumber = 0

  constructor(options: OpenerOptions) {
    this.#options = options
  }

  get facts(): OpenFacts {
    return {
      encrypted: this.#encrypted,
      messageId: this.#messageId,
      declaredSizes: this.#declared,
      padded: this.#padded,
      sizes: this.#ledger.sizes(),
      end: this.#announcedEnd,
      unsealedAt: this.#plainParts.places,
      layoutLost: this.#layoutLost,
      ...this.#changes,
      unsealedParts: this.#arrival?.unsealedParts ?? 0,
    }
  }

  get wants(): boolean {
    if (this.#phase === 'key') return this.#waitingOctets < this.#options.maxbufOctets
    if (this.#phase !== 'run') return true
    let held = this.#output.heldOctets
    for (const body of this.#bodies) held += body.heldOctets
    return held < MAX_HELD_OCTETS
  }

  push(bytes: Buffer): TransformAction[] {
    if (this.#phase === 'pass') return bytes.length === 0 ? [] : [{ do: 'write', bytes }]
    if (this.#phase === 'key') this.#waitingOctets += bytes.length
    this.#reader.push(bytes)
    return this.#step()
  }

  hasten(): TransformAction[] {
    // A leaf that has ended goes on by itself.
    this.#leaf?.open?.hasten()
    return this.#step()
  }

  end(): TransformAction[] {
    this.#ended = true
    if (this.#phase === 'pass') {
      this.#phase = 'done'
      return [{ do: 'done' }]
    }
    this.#reader.end()
    return this.#step()
  }

  answer(id: number, answer: unknown): TransformAction[] {
    this.#asking.settle(id, answer)
    return this.#step()
  }

  #step(): TransformAction[] {
    if (this.#phase === 'header') this.#readRoot()
    if (this.#phase === 'run') this.#run()
    for (const bytes of this.#output.take()) this.#give(bytes)
    if (this.#phase === 'finishing' && this.#bodies.size === 0) {
      this.#finish()
      this.#phase = 'done'
      this.#asking.push({ do: 'done' })
    }
    return this.#asking.takeActions()
  }

  /** @throws GatewayError SEAL_BROKEN, see {@link Arrival.finish} */
  #finish(): void {
    // Of an outline there is nothing but headers.
    if (this.#arrival === null || this.#options.outline !== undefined) return
    this.#changes = this.#arrival.finish({
      record: this.#endRecord === null ? undefined : this.#endRecord.end,
      ended: this.#wellEnded,
      sizes: this.#ledger.sizes(),
      layoutLost: this.#layoutLost,
    })
  }

  #give(bytes: Buffer): void {
    this.#plainParts.give(bytes)
    for (const kept of this.#padding?.take(bytes) ?? [bytes]) this.#asking.push({ do: 'write', bytes: kept })
  }

  // ── the root's header, and the key ──

  #readRoot(): void {
    const event = this.#reader.next()
    if (event === null) return
    if (event.on !== 'headers') throw new Error('a message begins with its headers')
    const { block } = event
    this.#messageId = sealedMessageId(block.fields)
    this.#encrypted = this.#messageId !== null
    if (this.#messageId === null) {
      this.#output.write(block.bytes)
      this.#output.write(this.#reader.takeRest())
      this.#phase = this.#ended ? 'finishing' : 'pass'
      return
    }
    this.#rootBlock = block
    this.#phase = 'key'
    const xchg = block.fields.find((field) => field.name === 'x-vesmail-xchg')
    this.#asking.ask(
      'open-key',
      { messageId: this.#messageId, xchg: xchg === undefined ? null : unfoldedValue(xchg) },
      ({ key }) => {
        this.#opening = { key, keyAndSeed: key.algo === 'AES256GCM1K' ? keyAndIv(key) : Buffer.alloc(0) }
        this.#start()
      },
    )
  }

  #start(): void {
    const block = this.#rootBlock!
    const opened = openHeaders(block, this.#messageId, this.#opening!)
    // What is sealed always has a blank line there: opening takes it out where there was none.
    this.#wellEnded = block.blank.length > 0
    this.#rootBlock = null
    this.#isExact = opened.exactness !== null
    this.#declared = opened.exact.sizes
    this.#arrival = new Arrival(opened, this.#opening!)
    this.#text.tell(this.#arrival)
    this.#awaitEnd(opened)
    const body = this.#declared?.body.octets ?? null
    this.#padded = opened.exact.padded
    if (this.#padded && body !== null) this.#padding = new Padding(opened.bytes.length + body)
    this.#output.write(opened.bytes)
    this.#ledger.start()
    this.#phase = 'run'
    this.#enter(opened, 'root')
  }

  #awaitEnd({ exact: { endNonce }, part, type }: OpenedBlock): void {
    const { key, keyAndSeed } = this.#opening!
    if (endNonce === null || key.algo !== 'AES256GCM1K') return
    this.#announcedEnd = new AnnouncedEnd(keyAndSeed, endNonce, type?.boundary ?? null, part !== 'injected')
    // Bodies of an outline are none, nor is what stands between them.
    if (this.#options.outline !== undefined) return
    this.#endRecord = this.#announcedEnd.reader()
    this.#text.expect(this.#endRecord)
  }

  // ── events ──

  #run(): void {
    for (;;) {
      const event = this.#reader.next()
      if (event === null) return
      if (event.on === 'finished') {
        this.#text.finish()
        this.#phase = 'finishing'
        return
      }
      this.#event(event)
    }
  }

  #event(event: Exclude<MimeEvent, { on: 'finished' }>): void {
    const frame = this.#frames.at(-1)
    switch (event.on) {
      case 'headers':
        this.#headers(event.block, frame!)
        break
      case 'body':
        this.#body(event.bytes)
        break
      case 'text':
        this.#between(event.bytes, frame!)
        break
      case 'delimiter':
        this.#delimiter(event, frame!)
        break
      case 'no-part':
        this.#givePending()
        if (frame?.inside !== 'injected') this.#ledger.add('leaf')
        break
      case 'end':
        this.#end(event.part)
        break
    }
  }

  #headers(block: HeaderBlock, frame: Frame): void {
    this.#partNumber++
    this.#ledger.countSealed(block.bytes.length)
    const opened = openHeaders(block, null, this.#opening!)
    const encapsulation = frame.kind === 'message' ? 'msg' : childEncapsulation(frame.encapsulation, frame.inside)
    const mayBeBanner = encapsulation === 'alt' || encapsulation === 'inj'
    if (mayBeBanner && opened.part === 'banner') {
      if (this.#pending !== null) frame.droppedEol ??= this.#pending.eol
      this.#pending = null
      this.#dropPart()
      return
    }
    this.#givePending()
    if (frame.inside !== 'injected') {
      this.#text.emit(opened.bytes)
      this.#arrival!.headers(opened)
      this.#enter(opened, encapsulation)
      return
    }
    // The container's one part: its headers are outside, with what they say about the body.
    if (frame.hasBody) {
      this.#dropPart()
      return
    }
    frame.hasBody = true
    this.#enter({ ...opened, ...frame.about!, part: '' }, encapsulation)
  }

  #dropPart(): void {
    this.#reader.enter({ kind: 'leaf' })
    this.#leaf = { open: null, drop: true, entry: null, bare: false }
  }

  #enter(opened: OpenedBlock, encapsulation: Encapsulation): void {
    const { type, exact, encoding } = opened
    const deep = this.#reader.depth >= MAX_DEPTH
    const { outline } = this.#options
    if (opened.sealedLeaf && outline !== undefined) {
      this.#reader.enter({ kind: 'leaf' })
      this.#leaf = { open: null, drop: false, entry: this.#ledger.add('leaf'), bare: false }
      outline({ part: this.#partNumber, sealed: { key: this.#opening!.key, encoding, exact } })
    } else if (opened.sealedLeaf) {
      this.#reader.enter({ kind: 'leaf' })
      this.#text.release()
      const open = new OpenLeaf({
        key: this.#opening!.key,
        encoding,
        exact,
        ledger: this.#ledger,
        output: this.#output,
        askBatch: (job, answered) => this.#asking.ask('batch', job, answered),
        began: (feedback) => this.#arrival!.place(exact, feedback),
        done: () => {
          this.#bodies.delete(open)
          if (open.layoutLost) this.#layoutLost++
        },
      })
      this.#bodies.add(open)
      this.#arrival!.sealedLeaf(open.entry)
      this.#leaf = { open, drop: false, entry: open.entry, bare: exact.bareDelimiter }
    } else if (type?.type.startsWith('multipart/') && type.boundary !== null) {
      if (deep) throw new GatewayError('SEAL_BROKEN', { what: 'nesting', depth: this.#reader.depth })
      const injected = opened.part === 'injected'
      this.#frames.push({
        kind: 'multipart',
        encapsulation,
        inside: injected ? 'injected' : type.type === 'multipart/alternative' ? 'alternative' : 'other',
        about: injected ? { encoding, exact } : null,
        hasBody: false,
        closed: false,
        hasEpilogue: false,
        droppedEol: null,
        entry: null,
      })
      this.#reader.enter({ kind: 'multipart', boundary: type.boundary })
    } else if (type?.type === 'message/rfc822') {
      if (deep) throw new GatewayError('SEAL_BROKEN', { what: 'nesting', depth: this.#reader.depth })
      const entry = this.#ledger.add('message')
      this.#ledger.enter(entry)
      this.#frames.push({
        kind: 'message',
        encapsulation,
        inside: 'other',
        about: null,
        hasBody: false,
        closed: false,
        hasEpilogue: false,
        droppedEol: null,
        entry,
      })
      this.#reader.enter({ kind: 'message' })
    } else {
      this.#reader.enter({ kind: 'leaf' })
      // Behind a root's header that was cut short there is no part.
      if (this.#wellEnded || encapsulation !== 'root') {
        // The part of an injected container has no header that comes out.
        const isPart = encapsulation !== 'inj'
        this.#blankLeaf = this.#plainParts.begin(isPart ? opened.bytes : null)
        if (!isPart || encapsulation === 'root' || hasText(opened.bytes)) this.#countUnsealed(this.#blankLeaf)
      }
      this.#leaf = { open: null, drop: false, entry: this.#ledger.add('leaf'), bare: false }
      outline?.({ part: this.#partNumber, sealed: null })
    }
  }

  #countUnsealed(part: PlainPart): void {
    this.#blankLeaf = null
    this.#arrival!.unsealedLeaf()
    this.#plainParts.count(part)
  }

  #body(bytes: Buffer): void {
    const leaf = this.#leaf!
    if (leaf.open !== null) {
      leaf.open.push(bytes)
      return
    }
    this.#ledger.countSealed(bytes.length)
    if (leaf.drop) return
    if (this.#blankLeaf !== null && hasText(bytes)) this.#countUnsealed(this.#blankLeaf)
    const entry = leaf.entry!
    entry.octets += bytes.length
    entry.sealedOctets += bytes.length
    entry.lines += countLines(bytes)
    this.#text.emit(bytes)
  }

  #between(text: Buffer, frame: Frame): void {
    this.#ledger.countSealed(text.length)
    const bytes = this.#text.take(text)
    if (bytes.length === 0) return
    if (this.#pending !== null) this.#pending.bytes.push(bytes)
    else if (frame.inside === 'injected') frame.hasEpilogue = true
    else this.#text.emit(bytes)
  }

  #delimiter(event: Extract<MimeEvent, { on: 'delimiter' }>, frame: Frame): void {
    this.#ledger.countSealed(event.eol.length + event.line.length)
    frame.hasEpilogue = false
    if (event.close) frame.closed = true
    const isOutermost = event.close && this.#frames.length === 1
    if (frame.inside === 'injected') {
      if (isOutermost) this.#text.close([])
      return
    }
    const eol = this.#bareDelimiter ? '' : this.#isExact && frame.droppedEol !== null ? frame.droppedEol : event.eol
    this.#bareDelimiter = false
    const bytes = [Buffer.from(eol, 'latin1'), event.line]
    if (!event.close && frame.inside === 'alternative' && takesBanners(frame.encapsulation)) {
      this.#pending = { eol, bytes }
      return
    }
    frame.droppedEol = null
    if (isOutermost) this.#text.close(bytes)
    else for (const piece of bytes) this.#text.emit(piece)
  }

  #givePending(): void {
    if (this.#pending === null) return
    for (const piece of this.#pending.bytes) this.#text.emit(piece)
    this.#pending = null
  }

  #end(part: 'leaf' | 'multipart' | 'message'): void {
    if (part === 'leaf') {
      const leaf = this.#leaf!
      this.#leaf = null
      this.#blankLeaf = null
      leaf.open?.end()
      if (leaf.bare) this.#bareDelimiter = true
      return
    }
    this.#givePending()
    const frame = this.#frames.pop()!
    if (part === 'message') this.#ledger.leave()
    if (frame.inside !== 'injected') return
    if (!frame.closed) this.#wellEnded = false
    // An outline may be of the root's header alone.
    if (!frame.hasBody && this.#options.outline === undefined) {
      throw new GatewayError('SEAL_BROKEN', { what: 'injected part missing' })
    }
    // The container ends with a line end of its own: without another one, the part it replaces had none.
    if (!frame.hasEpilogue) this.#bareDelimiter = true
  }
}

/** Sealing adds at most one level to {@link MAX_NESTING}; other gateways may not stop there. */
const MAX_DEPTH = 2 * MAX_NESTING
