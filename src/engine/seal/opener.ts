/**
 * Opens one message (message-format.md §5, §6): octets in, octets out. What is not encrypted passes untouched.
 *
 * Rule: of an encrypted message nothing leaves before its key is there, and no octet of a sealed part that was not
 * authenticated. What fails throws; what was written until then is not a whole message.
 *
 * Structure, and parts that someone else put in plain into a sealed message, pass as they are: the format does not
 * authenticate them.
 */
import { GatewayError } from '../../base/errors.ts'
import { type HeaderBlock, unfoldedValue } from '../mime/header-block.ts'
import { MAX_NESTING, MAX_SEALED_HEADER_OCTETS } from '../mime/limits.ts'
import { countLines } from '../mime/lines.ts'
import { type MimeEvent, MimeReader } from '../mime/reader.ts'
import type { Transform, TransformAction } from '../transform.ts'
import type { BodyEncoding } from './body-encoding.ts'
import { keyAndIv } from './ciphers.ts'
import { AnnouncedEnd, type EndReader } from './end-record.ts'
import { type Exactness, MAX_LISTED_PARTS, type SealedSizes } from './exactness.ts'
import { childEncapsulation, type Encapsulation, sealedMessageId, takesBanners } from './format.ts'
import type { MessageKey } from './message-key.ts'
import { type OpenedBlock, type OpeningKey, openHeaders } from './open-headers.ts'
import { OpenLeaf } from './open-leaf.ts'
import { OpenedText } from './opened-text.ts'
import { OrderedOutput } from './ordered-output.ts'
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

export interface OpenFacts {
  /** Null until the root's header was read. */
  readonly encrypted: boolean | null
  readonly messageId: string | null
  /** What the sender's gateway says about sizes; known once the key is. To be believed while the sealed octets agree. */
  readonly declaredSizes: SealedSizes | null
  /** Blank lines may stand behind the sealed message that are none of it. */
  readonly padded: boolean
  /** What was read so far; whole when it is done. */
  readonly sizes: SealedSizes
  /** When it is done: sealed parts that were taken out of the message on its way, as far as its sender says what is in it. */
  readonly missingParts: number
  /**
   * When it is done: the record of its end, which its sender promises, is not there, or was altered. Parts may have been
   * taken off the end, or just white space out of it. Counts as one of {@link missingParts}.
   */
  readonly endMissing: boolean
  /** Octets that sealing put at its end, beside what opening gives, are counted in no part's size. Known with the key. */
  readonly end: AnnouncedEnd | null
  /** When it is done: long leaves whose layout did not come back, since what describes it was taken away on the way. */
  readonly layoutLost: number
}

interface Frame {
  readonly kind: 'multipart' | 'message'
  readonly encapsulation: Encapsulation
  readonly inside: 'alternative' | 'injected' | 'other'
  /** Of an injected container: what its part is about. */
  readonly about: { readonly encoding: BodyEncoding; readonly exact: Exactness } | null
  /** Of an injected container: its one part was seen. */
  hasBody: boolean
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
  /** Opened octets of the sealed leaves, in order, as far as the sender lists them. */
  readonly #sealedLeaves: LedgerEntry[] = []
  #missingParts = 0
  #layoutLost = 0
  /** The leaves that the root lists; empty: those that say themselves which they are. Null: an older message. */
  #listed: readonly string[] | null = null
  /** How many leaves there are at least, as far as headers say. */
  #leafCount = 0
  #endRecord: EndReader | null = null
  #announcedEnd: AnnouncedEnd | null = null
  #endMissing = false
  /** Of the sealed leaf that came last. */
  #ordinal = 0
  #sealedCount = 0
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
  /** What may still be given out; behind it there is padding. */
  #octetsLeft = Number.POSITIVE_INFINITY
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
      missingParts: this.#missingParts,
      endMissing: this.#endMissing,
      end: this.#announcedEnd,
      layoutLost: this.#layoutLost,
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
      this.#checkOrder()
      this.#phase = 'done'
      this.#asking.push({ do: 'done' })
    }
    return this.#asking.takeActions()
  }

  /**
   * Each leaf is authentic, but all have the same key: that they are the message's leaves in the message's order, its
   * root says. One that is not there may have been taken out by a filter, and what is left is to be read.
   * @throws GatewayError SEAL_BROKEN where one stands twice, or in another's place
   */
  #checkOrder(): void {
    if (this.#listed !== null) {
      const leaves = this.#endRecord?.end?.leaves ?? null
      if (leaves !== null && leaves < this.#ordinal) {
        throw new GatewayError('SEAL_BROKEN', { what: 'parts that are none of the message' })
      }
      const known = Math.max(this.#listed.length, this.#leafCount, this.#ordinal, leaves ?? 0)
      this.#endMissing = this.#endRecord !== null && leaves === null
      this.#missingParts = known - this.#sealedCount + (this.#endMissing ? 1 : 0)
      return
    }
    const listed = this.#declared?.parts ?? null
    if (listed === null || this.#options.outline !== undefined) return
    // One without sealed octets is no part, but a place where none is.
    const expected = listed.filter(({ kind, sealedOctets }) => kind === 'leaf' && sealedOctets !== 0)
    let at = 0
    for (const { octets } of this.#sealedLeaves) {
      while (at < expected.length && (expected[at]!.octets ?? octets) !== octets) at++
      if (at === expected.length) throw new GatewayError('SEAL_BROKEN', { what: 'parts repeated or exchanged' })
      at++
    }
    this.#missingParts = expected.length - this.#sealedLeaves.length
  }

  /**
   * @param bound the first octets of a sealed leaf's stream
   * @throws GatewayError SEAL_BROKEN where it is none of the message's, or not behind the one before it
   */
  #place(exact: Exactness, bound: Buffer): void {
    if (this.#listed === null) return
    const ordinal = exact.place?.ordinal ?? this.#listed.indexOf(bound.toString('hex'), this.#ordinal) + 1
    if (ordinal <= this.#ordinal) throw new GatewayError('SEAL_BROKEN', { what: 'parts repeated or exchanged' })
    this.#ordinal = ordinal
    this.#sealedCount++
  }

  #give(bytes: Buffer): void {
    const kept = bytes.subarray(0, this.#octetsLeft)
    this.#octetsLeft -= kept.length
    if (kept.length > 0) this.#asking.push({ do: 'write', bytes: kept })
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
    const opened = openHeaders(this.#rootBlock!, this.#messageId, this.#opening!)
    this.#rootBlock = null
    this.#isExact = opened.isExact
    this.#declared = opened.exact.sizes
    this.#listed = boundsOf(opened.exact.leaves)
    this.#leafCount = opened.exact.leafCount ?? 0
    this.#awaitEnd(opened)
    const body = this.#declared?.body.octets ?? null
    this.#padded = opened.exact.padded
    if (this.#padded && body !== null) this.#octetsLeft = opened.bytes.length + body
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
    // Its body may be cut off.
    this.#leafCount = Math.max(this.#leafCount, exact.place?.ordinal ?? 0)
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
        bound: (bound) => this.#place(exact, bound),
        done: () => {
          this.#bodies.delete(open)
          if (open.layoutLost) this.#layoutLost++
        },
      })
      this.#bodies.add(open)
      if (this.#sealedLeaves.length <= MAX_LISTED_PARTS) this.#sealedLeaves.push(open.entry)
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
        hasEpilogue: false,
        droppedEol: null,
        entry,
      })
      this.#reader.enter({ kind: 'message' })
    } else {
      this.#reader.enter({ kind: 'leaf' })
      this.#leaf = { open: null, drop: false, entry: this.#ledger.add('leaf'), bare: false }
      outline?.({ part: this.#partNumber, sealed: null })
    }
  }

  #body(bytes: Buffer): void {
    const leaf = this.#leaf!
    if (leaf.open !== null) {
      leaf.open.push(bytes)
      return
    }
    this.#ledger.countSealed(bytes.length)
    if (leaf.drop) return
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
      leaf.open?.end()
      if (leaf.bare) this.#bareDelimiter = true
      return
    }
    this.#givePending()
    const frame = this.#frames.pop()!
    if (part === 'message') this.#ledger.leave()
    if (frame.inside !== 'injected') return
    // An outline may be of the root's header alone.
    if (!frame.hasBody && this.#options.outline === undefined) {
      throw new GatewayError('SEAL_BROKEN', { what: 'injected part missing' })
    }
    // The container ends with a line end of its own: without another one, the part it replaces had none.
    if (!frame.hasEpilogue) this.#bareDelimiter = true
  }
}

function boundsOf(leaves: Buffer | null): readonly string[] | null {
  return leaves === null ? null : (leaves.toString('hex').match(/.{8}/g) ?? [])
}

/** Sealing adds at most one level to {@link MAX_NESTING}; other gateways may not stop there. */
const MAX_DEPTH = 2 * MAX_NESTING
