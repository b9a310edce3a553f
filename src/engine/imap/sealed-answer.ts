/**
 * The answer for one sealed message of a FETCH: asks the server for the message and, as a pattern, for the client's own
 * items in light form; opens the one, fills the other. A message that cannot be opened gives nothing of its content.
 */
import { GatewayError } from '../../base/errors.ts'
import type { SealedSizes } from '../seal/exactness.ts'
import type { Place } from './client-output.ts'
import { stringAt } from './cursor.ts'
import { type FetchCommand, isContent, setsSeen } from './fetch-command.ts'
import { ATTRIBUTES, type ContentItem, type FetchItem } from './fetch-items.ts'
import { LargeStream } from './large-stream.ts'
import { isDeclared, sameSizes, sizesOf, withSizes } from './message-sizes.ts'
import type { OpenRun } from './open-run.ts'
import { type Opened, openWhole } from './opened.ts'
import type { Outline } from './outline.ts'
import { OutlineReader } from './outline-reader.ts'
import { placeholder } from './placeholder.ts'
import type { AnswerItem, FetchAnswer } from './response.ts'
import { changedFlags, lightItems, match, render, unasked } from './template.ts'
import type { MessageView } from './view/message-view.ts'
import { type AnswerPiece, answerContent, outlinePieces, piecesOf } from './view-answer.ts'
import type { LiteralSink, WorkHost } from './work.ts'

/** Where the answer belongs, and the server's own to the client's items as it stood there. */
export interface AnswerPlace {
  readonly place: Place
  readonly pattern: { readonly answer: FetchAnswer; readonly bytes: Buffer }
}

export class SealedAnswer {
  readonly #host: WorkHost
  readonly #fetch: FetchCommand
  /** Sequence number, or UID in UID FETCH, as we ask for it. */
  readonly #number: number
  readonly #uid: number | null
  readonly #budget: { octets: number }
  /** Called once: `emit` may be called. */
  readonly #done: () => void
  #contentTag: string | null = null
  #patternTag: string | null = null
  #patternAsked = false
  #pattern: AnswerPlace['pattern'] | null = null
  /** Null: it is told wherever it is ready. */
  #place: Place | null = null
  /** Attributes that were told after the pattern, as they stand in an answer. */
  readonly #news = new Map<string, Buffer>()
  /** Sequence number as it is now; 0 = expunged meanwhile. */
  #sequence = 0
  #opening: OpenRun | null = null
  /** Known without having read the content. */
  #known: Outline | null = null
  #stream: LargeStream | null = null
  #opened: Opened | GatewayError | null
  #outline: OutlineReader | null = null
  /** Octets of it that were given to be opened. */
  #sealedOctets = 0
  #gone = false
  #ready = false
  #over = false

  /**
   * @param placed null: the server is asked for a pattern
   * @param budget octets that this command has read to learn sizes
   */
  constructor(
    host: WorkHost,
    fetch: FetchCommand,
    {
      number,
      uid,
      placed,
    }: { readonly number: number; readonly uid: number | null; readonly placed: AnswerPlace | null },
    budget: { octets: number },
    done: () => void,
  ) {
    this.#budget = budget
    this.#host = host
    this.#fetch = fetch
    this.#number = number
    this.#uid = uid
    this.#done = done
    if (placed !== null) {
      this.#place = placed.place
      this.#pattern = placed.pattern
      this.#patternAsked = true
    }
    this.#opened = uid === null ? null : host.opened.get(uid)
  }

  get wants(): boolean {
    return this.#opening?.wants !== false && this.#stream?.wants !== false
  }

  /** All is there that `emit` needs. */
  get ready(): boolean {
    return this.#ready
  }

  /** Of the command whose literal is waited for, where this may be it; null: none. @param text up to the literal */
  awaits(text: Buffer): string | null {
    if (this.#stream !== null) return this.#stream.awaits
    return this.#opening === null && announcesWholeBody(text) ? this.#contentTag : null
  }

  /** Is this the message of an answer that begins so? null: that does not show yet. */
  owns({ number, uid }: Pick<FetchAnswer, 'number' | 'uid'>): boolean | null {
    if (!this.#fetch.uid) return number === this.#number
    if (uid !== null) return uid === this.#number
    return this.#sequence > 0 ? number === this.#sequence : null
  }

  start(): void {
    // A large message read once already may still be known better by its outline: leaves, and ranges of them.
    const held = this.#opened !== null && !(this.#opened instanceof GatewayError) && this.#opened.content !== null
    if (!held && this.#startOutline()) return
    this.#startContent()
  }

  /** Bodies are not asked for where headers will do. False: they won't. */
  #startOutline(): boolean {
    const { items, uid } = this.#fetch
    const known = this.#uid === null ? null : this.#host.outlines.get(this.#uid)
    const large = (known?.sealedSize ?? this.#sealedSize) > this.#host.settings.maxbufOctets
    // Small messages whose bodies are asked for are read at once; large ones never without knowing their sizes.
    const depth = outlineDepth(items) ?? (large ? 'parts' : null)
    if (depth === null || this.#host.mimeBug) return false
    if (this.#opened !== null && known === null) return false
    if (known !== null && this.#suffices(known)) {
      this.#useOutline(known)
      this.#askPattern(lightItems(items))
      return true
    }
    const wish = {
      number: this.#number,
      uid,
      knownUid: this.#uid,
      parts: depth === 'parts',
      sizes: large || items.some((item) => isContent(item) && isSize(item)),
      isEnough: (outline: Outline) => this.#suffices(outline),
    }
    this.#outline = new OutlineReader(this.#host, wish, (result) => this.#outlined(result))
    this.#outline.start()
    return true
  }

  #outlined(result: Outline | null | GatewayError): void {
    this.#outline = null
    if (result instanceof GatewayError) {
      this.#opened = result
      this.#settle()
      return
    }
    if (result !== null && this.#uid !== null) this.#host.outlines.put(this.#uid, result)
    if (result === null || !(this.#suffices(result) || this.#mayEstimate(result))) {
      this.#startContent()
      return
    }
    this.#useOutline(result)
    this.#settle()
  }

  /** What this session has told of the message's sizes and must go on to tell; null: the item is no size, or nothing yet. */
  #asTold(item: ContentItem, view: MessageView): AnswerPiece[] | null {
    const { memory, mailbox } = this.#host
    const sizes = this.#uid === null || !isSize(item) ? null : memory.told(mailbox, this.#uid)
    if (sizes === null) return null
    const { octets } = sizes
    const told = item.kind === 'size' ? { ...view, size: { ...view.size, octets } } : withSizes(view, sizes)
    return told === null ? null : piecesOf(told, item)
  }

  #suffices(outline: Outline): boolean {
    return this.#fetch.items.every((item) => !isContent(item) || this.#pieceOf(outline, item) !== null)
  }

  #pieceOf(outline: Outline, item: ContentItem): AnswerPiece[] | null {
    return this.#asTold(item, outline.view) ?? outlinePieces(outline, item)
  }

  /**
   * Nothing but reading the message would tell its sizes: within the command's budget it is read; beyond, estimates
   * stand in, and stay for this UID (imap.md §5).
   */
  #mayEstimate(outline: Outline): boolean {
    const { exactSizes, memory, mailbox, settings } = this.#host
    if (exactSizes || this.#uid === null || !outline.hasParts) return false
    const others = this.#fetch.items.filter((item) => isContent(item) && !isSize(item)) as ContentItem[]
    if (!others.every((item) => outlinePieces(outline, item) !== null)) return false
    if (this.#host.sizes === 'auto' && this.#budget.octets + outline.sealedSize <= settings.sizeBudgetOctets) {
      this.#budget.octets += outline.sealedSize
      return false
    }
    return memory.tell(mailbox, this.#uid, sizesOf(outline.view, outline.sealedSize))
  }

  #useOutline(outline: Outline): void {
    this.#known = outline
    this.#opened = { view: outline.view, content: null }
  }

  get #sealedSize(): number {
    return this.#uid === null ? 0 : this.#host.mailbox.sealedSize(this.#uid)
  }

  #startContent(): void {
    if (this.#opened === null) {
      this.#contentTag = this.#ask('UID BODY.PEEK[]', '')
      // \Seen must not be set for a message that cannot be shown: then the pattern waits for the content.
      if (this.#fetch.items.some(setsSeen)) return
    }
    this.#askPattern(lightItems(this.#fetch.items))
  }

  /** Where a literal goes that is awaited, and of this message. */
  literalSink(): LiteralSink | null {
    if (this.#stream !== null) return this.#stream.literalSink()
    const opening = this.#open()
    return (bytes, last) => {
      this.#sealedOctets += bytes.length
      if (bytes.length > 0) opening.push(bytes)
      if (last) opening.end()
    }
  }

  fetch(answer: FetchAnswer, bytes: Buffer, cut: boolean): boolean {
    const mine = this.#fetch.uid ? answer.uid === this.#number : answer.number === this.#number
    if (!mine) return false
    // Numbers may not shift during FETCH (RFC 9051 §7.5.1): a server that does it would have one message opened as another.
    if (this.#uid !== null && answer.uid !== null && answer.uid !== this.#uid) {
      throw new GatewayError('UPSTREAM_UNEXPECTED', { reason: 'another UID than asked for' })
    }
    const isTaken = this.#stream?.fetch(answer, bytes) ?? this.#outline?.fetch(answer, bytes, cut)
    if (this.#stream !== null && isTaken !== true) return false
    if (isTaken === true) {
      const news = changedFlags(answer, bytes)
      if (news !== null) this.#host.toClient(news)
      return true
    }
    if (this.#contentTag !== null) {
      const body = answer.items.find((item) => isWholeBody(item, bytes))
      if (body !== undefined) {
        if (this.#opening === null) {
          // QUIRK: a short message may come as a quoted string, an empty one as NIL; RFC 9051 §9 nstring.
          this.literalSink()?.(Buffer.from(stringAt(bytes, body.value[0])), true)
        }
        const rest = unasked(answer, bytes, (item) => item === body || item.name === 'UID')
        if (rest !== null) this.#host.toClient(rest)
        return true
      }
    }
    // The client gets it behind the place.
    if (this.#place !== null) return false
    if (this.#pattern !== null) {
      // Newer flags than the pattern has: an answer with the old ones must not follow them.
      for (const { name, label, value } of answer.items) {
        if (ATTRIBUTES.has(name)) this.#news.set(name, Buffer.from(bytes.subarray(label[0], value[1])))
      }
      return false
    }
    if (this.#patternTag === null || !this.#isPattern(answer, bytes)) return false
    this.#pattern = { answer, bytes }
    this.#sequence = answer.number
    return true
  }

  tagged(tag: string): void {
    this.#outline?.tagged(tag)
    this.#stream?.tagged(tag)
    if (tag === this.#contentTag) {
      this.#contentTag = null
      // No answer: expunged by somebody else. Then there is nothing to tell, as the server itself would not.
      if (this.#opening === null && this.#opened === null) this.#gone = true
    } else if (tag === this.#patternTag) this.#patternTag = null
    this.#settle()
  }

  expunged(number: number): void {
    if (this.#sequence > number) this.#sequence--
    else if (this.#sequence === number) this.#sequence = 0
  }

  vanished(ranges: readonly (readonly [number, number])[]): void {
    if (this.#uid === null || this.#sequence === 0) return
    let before = 0
    for (const [low, high] of ranges) {
      if (low <= this.#uid && this.#uid <= high) {
        this.#sequence = 0
        return
      }
      if (high < this.#uid) before += high - low + 1
    }
    this.#sequence = Math.max(0, this.#sequence - before)
  }

  dispose(): void {
    this.#over = true
    this.#opening?.drop()
    this.#outline?.dispose()
    this.#stream?.dispose()
  }

  #ask(items: string, modifiers: string): string {
    const tag = this.#host.nextTag()
    const verb = this.#fetch.uid ? 'UID FETCH' : 'FETCH'
    this.#host.toUpstream(`${tag} ${verb} ${this.#number} (${items})${modifiers}\r\n`)
    return tag
  }

  /** The place is none any more: what the client was told since may be newer than the pattern. */
  placeGivenUp(): void {
    if (this.#place === null) return
    this.#place = null
    this.#pattern = null
    this.#patternAsked = false
    this.#ready = false
    this.#settle()
  }

  #askPattern(items: string): void {
    if (this.#pattern !== null) {
      this.#settle()
      return
    }
    this.#patternAsked = true
    this.#patternTag = this.#ask(items, this.#fetch.partModifiers)
  }

  #open(): OpenRun {
    const { transforms, out, settings, opened } = this.#host
    const opener = transforms.opener()
    const opening = openWhole(opener, this.#uid, out, settings.maxbufOctets, (result) => {
      this.#opened = result
      if (!(result instanceof GatewayError) && this.#uid !== null) {
        opened.put(this.#uid, result)
        this.#learnSizes(this.#uid, result.view, opener.facts.declaredSizes)
      }
      this.#settle()
    })
    this.#opening = opening
    return opening
  }

  /** The truth about its sizes: for other sessions, if the message itself does not tell it. */
  #learnSizes(uid: number, view: MessageView, declared: SealedSizes | null): void {
    const { memory, mailbox, outlines } = this.#host
    const sizes = sizesOf(view, this.#sealedOctets)
    if (isDeclared(sizes, declared, view.root.header.octets)) return
    memory.keep(mailbox, uid, sizes)
    // It lied: this session goes on to tell what it told.
    const before = outlines.get(uid)
    if (before?.sizesKnown !== true || !before.totalKnown || memory.told(mailbox, uid) !== null) return
    const was = sizesOf(before.view, before.sealedSize)
    if (!sameSizes(was, sizes)) memory.tell(mailbox, uid, was)
  }

  /** Is this the answer to our pattern, and not news about the same message? */
  #isPattern(answer: FetchAnswer, bytes: Buffer): boolean {
    const { items } = this.#fetch
    if (!(this.#opened instanceof GatewayError)) return match(answer, bytes, items).some((item) => item !== null)
    return items.every(
      (item) =>
        item.kind !== 'attribute' || answer.items.some((each) => each.name === item.text || item.text === 'UID'),
    )
  }

  /** Goes on as far as what is there allows. */
  #settle(): void {
    if (this.#over || this.#ready || this.#outline !== null || this.#contentTag !== null || this.#patternTag !== null)
      return
    const opened = this.#opened
    if (opened === null && !this.#gone) return
    if (opened instanceof GatewayError && opened.code === 'ITEM_UNAVAILABLE' && this.#host.placeholder) {
      this.#opened = placeholder()
      this.#settle()
      return
    }
    if (!this.#patternAsked && opened !== null) {
      const { items } = this.#fetch
      const asked = opened instanceof GatewayError ? items.filter((item) => !isContent(item)) : items
      if (asked.length > 0) {
        this.#askPattern(lightItems(asked))
        return
      }
    }
    this.#ready = true
    this.#done()
  }

  /**
   * Gives the client its answer, once.
   * @param next is called when it is given, at once unless the answer is large. Gets what stands in the way of a plain OK
   */
  emit(next: (failure: GatewayError | null) => void): void {
    const opened = this.#opened
    const failure = opened instanceof GatewayError ? opened : null
    const pieces = this.#pieces(opened)
    const isLarge = pieces?.some((piece) => !('bytes' in piece)) === true
    if (isLarge && opened !== null && !(opened instanceof GatewayError)) {
      this.#startStream(pieces, opened.view, () => next(null))
      return
    }
    this.#over = true
    const bytes =
      pieces === null ? null : Buffer.concat(pieces.map((piece) => ('bytes' in piece ? piece.bytes : NOTHING)))
    if (this.#place !== null) this.#place.fill(bytes)
    else if (bytes !== null) this.#host.toClient(bytes)
    // A key that is not shared yet is no failure: the message appears once it is (imap.md §5).
    if (failure === null || failure.code === 'ITEM_UNAVAILABLE') {
      next(null)
      return
    }
    this.#host.out.log('warn', 'message not opened', { code: failure.code, uid: this.#uid })
    next(failure)
  }

  #pieces(opened: Opened | GatewayError | null): AnswerPiece[] | null {
    if (opened === null || this.#pattern === null) return null
    // At its place the message had the number that the pattern has, whatever was expunged since.
    const number = this.#place === null ? this.#sequence : this.#pattern.answer.number
    if (number === 0) return null
    return render({
      number,
      ...this.#pattern,
      items: this.#fetch.items,
      news: this.#news,
      value: (item) => {
        if (opened instanceof GatewayError) return null
        this.#countBeyondEnd(item, opened)
        const told = this.#asTold(item, opened.view)
        if (told !== null) return told
        if (this.#known !== null) return outlinePieces(this.#known, item)
        const { view, content } = opened
        return content === null ? piecesOf(view, item) : [{ bytes: answerContent(view, content, item) }]
      },
    })
  }

  /** A client that believes an estimate asks for ever beyond the end: then no more of them (imap.md §5). */
  #countBeyondEnd(item: ContentItem, { view }: Opened): void {
    if (item.kind !== 'section' || item.partial === null || this.#host.exactSizes) return
    if (item.partial.start < view.size.octets) return
    if (++this.#host.beyondEnd >= MAX_BEYOND_END) this.#host.exactSizes = true
  }

  #startStream(pieces: AnswerPiece[], view: MessageView, done: () => void): void {
    this.#stream = new LargeStream({
      host: this.#host,
      pieces,
      uid: this.#uid,
      view,
      fetch: `${this.#fetch.uid ? 'UID FETCH' : 'FETCH'} ${this.#number}`,
      outline: this.#known,
      // An outline knows nothing of the content.
      hasNuls: this.#known !== null || view.hasNuls,
      sizesBroken: () => this.#host.memory.distrust(this.#host.mailbox, this.#uid),
      done: () => {
        this.#over = true
        done()
      },
    })
    this.#stream.start()
  }
}

const NOTHING = Buffer.alloc(0)

/** How much of the structure answers these items without bodies; null = they ask for bodies. */
function outlineDepth(items: readonly FetchItem[]): 'root' | 'parts' | null {
  let depth: 'root' | 'parts' = 'root'
  for (const item of items) {
    // RFC822.SIZE often follows from the root's header; where not, the parts are asked for next.
    if (item.kind === 'body' || item.kind === 'bodystructure') depth = 'parts'
    if (item.kind !== 'section') continue
    const { part, text } = item.section
    if (text === null || text === 'TEXT') return null
    if (part.length > 0) depth = 'parts'
  }
  return depth
}

const MAX_BEYOND_END = 16

function isSize(item: ContentItem): boolean {
  return item.kind === 'size' || item.kind === 'body' || item.kind === 'bodystructure'
}

/** `… BODY[] {123}` at the end of what came so far. */
function announcesWholeBody(text: Buffer): boolean {
  const tail = text.toString('latin1', Math.max(0, text.length - 40))
  return /[ (]BODY\[\] ~?\{\d+\}\r?\n$/i.test(tail)
}

function isWholeBody(item: AnswerItem, bytes: Buffer): boolean {
  return item.name === 'BODY[' && bytes.toString('latin1', item.label[0], item.label[1]).toUpperCase() === 'BODY[]'
}
