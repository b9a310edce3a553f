/**
 * A message whose key is there, being sealed: the reader's events become output (message-format.md §4). Headers are
 * sealed here, leaves' bodies go through batches, structure passes in plain; banners and the injected container are put
 * around what takes them. The root's header of a gathered message is written last, when its sizes are known.
 */
import type { HeaderBlock } from '../mime/header-block.ts'
import { MAX_PREAMBLE_OCTETS } from '../mime/limits.ts'
import { countLines } from '../mime/lines.ts'
import type { MimeEvent, MimeReader } from '../mime/reader.ts'
import type { MailSettings } from '../settings.ts'
import { bannerParts } from './banner.ts'
import { FEEDBACK_OCTETS, sealedBodyOctets } from './chunk-cipher.ts'
import { keyAndIv } from './ciphers.ts'
import { END_NONCE_OCTETS, endOctets, outermostDelimiter, printEnd } from './end-record.ts'
import { BOUND_OCTETS, MAX_LISTED_PARTS, type SealedSizes } from './exactness.ts'
import {
  childEncapsulation,
  type Encapsulation,
  INJECTED_BOUNDARY_OCTETS,
  INJECTED_BOUNDARY_PREFIX,
  takesBanners,
} from './format.ts'
import { type Judged, judge } from './judge.ts'
import { marked } from './leaf-mark.ts'
import type { SealKeyAnswer } from './message-key.ts'
import { OrderedOutput, type OutputSlot } from './ordered-output.ts'
import {
  type AboutBody,
  draftHeaders,
  finishHeaders,
  type HeaderDraft,
  injectedStart,
  type MessageIdentity,
  type SealingKey,
} from './seal-headers.ts'
import { isCoded, SealLeaf, type SealLeafParts } from './seal-leaf.ts'
import { type LedgerEntry, SizesLedger } from './sizes-ledger.ts'
import { EXACTNESS_PLACE, Structure } from './structure.ts'

export interface SealingOptions {
  /** Cryptographic random octets. */
  readonly random: (octets: number) => Buffer
  readonly settings: Pick<MailSettings, 'subject' | 'banners' | 'viewerUrl' | 'maxbufOctets'>
  /** Octets of the whole message where they are known before (APPEND's literal). */
  readonly totalOctets: number | null
  /**
   * The holder fills the sealed message up with blank lines, to a length that it had to announce (imap.md §3): opening
   * cuts them off. Needs `totalOctets`.
   */
  readonly padded?: boolean
}

export interface SealingParts {
  readonly options: SealingOptions
  readonly reader: MimeReader
  readonly root: HeaderBlock
  readonly identity: MessageIdentity
  /** An id that was made is not taken away on opening. */
  readonly addedIdStays: boolean
  readonly answer: SealKeyAnswer
  /** The whole message is there: its root's header waits for the sizes. */
  readonly isGathered: boolean
  /** As far as is known. A server gives them back otherwise, so what is counted here is not what it will be asked for. */
  readonly hasOddLineEnds: boolean
  readonly askBatch: SealLeafParts['askBatch']
}

/** A multipart or nested message that the current part is in. */
interface Container {
  readonly encapsulation: Encapsulation
  readonly kind: 'multipart' | 'message'
  readonly alternative: boolean
  /** Of the container injected around this message. */
  readonly injected: string | null
  readonly entry: LedgerEntry | null
}

/** A leaf above this is not examined whole, however large the buffer limit: the patch of it has to fit a header. */
const MAX_EXAMINE_OCTETS = 4 << 20

export class Sealing {
  readonly #parts: SealingParts
  readonly #reader: MimeReader
  readonly #key: SealingKey
  readonly #banners: readonly Buffer[]
  readonly #output = new OrderedOutput()
  readonly #ledger = new SizesLedger()
  readonly #structure = new Structure()
  readonly #containers: Container[] = []
  #bannerAdded = false
  #containerCount = 0
  /** A multipart of which it does not show yet whether it has parts. */
  #undecided: { readonly block: HeaderBlock; readonly encapsulation: Encapsulation; readonly judged: Judged } | null =
    null
  /** Header fields of the parts so far. */
  #fieldCount = 0
  #leaf: SealLeaf | null = null
  /** The root's header, while it waits for the sizes. */
  #rootWaits: { readonly slot: OutputSlot; readonly draft: HeaderDraft; readonly about: AboutBody } | null = null
  #finished = false
  /** Of a message that is not gathered, and may lose parts off its end. */
  #endRecord: { readonly nonce: Buffer; readonly delimiter: string } | null = null
  /** The first octets of each leaf's stream, as far as the root's header is to list them. */
  readonly #bounds: Buffer[] = []
  #leafCount = 0
  /** Leaves whose output is not complete. */
  readonly #bodies = new Set<SealLeaf>()
  #leafInjected: string | null = null
  /** What was read last is a delimiter, or the headers of a nested message, and no part behind it. */
  #noPart: Extract<MimeEvent, { on: 'no-part' }> | null = null
  /** An injected container at the end has a line end before it that is none of the message's. */
  #endsOpen = false
  /** Nested messages that end in an open delimiter: the line end that sealing puts behind it is read as theirs. */
  #endedOpen: LedgerEntry[] = []
  /** Sealed parts that end with a line end which a delimiter without one of its own would take. */
  #justEnded: LedgerEntry[] = []

  constructor(parts: SealingParts) {
    this.#parts = parts
    this.#reader = parts.reader
    const { settings, random } = parts.options
    this.#key = { keyAndSeed: keyAndIv(parts.answer.key), random }
    this.#banners = bannerParts(settings.banners, settings.viewerUrl, parts.identity.id)
    this.#enterPart(parts.root, 'root')
  }

  /** Of what was read so far. */
  get sizes(): SealedSizes {
    return this.#ledger.sizes()
  }

  /** Octets that wait, for threads or for the sizes. */
  get heldOctets(): number {
    let octets = this.#output.heldOctets
    for (const body of this.#bodies) octets += body.heldOctets
    return octets
  }

  /** The input was read to its end, and all of the output was given. */
  get isDone(): boolean {
    return this.#finished && this.#bodies.size === 0 && this.#output.isEmpty
  }

  /** Reads what there is. @returns what may leave, in order */
  run(): Buffer[] {
    while (!this.#finished && this.#decide()) {
      const event = this.#reader.next()
      if (event === null) break
      if (event.on === 'finished') {
        this.#finished = true
        this.#closeOutermost()
      } else this.#event(event)
    }
    if (this.#finished && this.#bodies.size === 0) this.#finish()
    return this.#output.take()
  }

  #event(event: Exclude<MimeEvent, { on: 'finished' }>): void {
    if (event.on !== 'end' && event.on !== 'delimiter') this.#justEnded = []
    if (event.on !== 'end') this.#noPart = event.on === 'no-part' ? event : null
    switch (event.on) {
      case 'headers': {
        const top = this.#containers.at(-1)
        if (top === undefined) throw new Error('only the root stands alone')
        const { bytes } = event.block
        this.#pass(bytes)
        const inside = top.alternative ? 'alternative' : 'other'
        this.#enterPart(event.block, top.kind === 'message' ? 'msg' : childEncapsulation(top.encapsulation, inside))
        break
      }
      case 'body':
        this.#leaf!.push(event.bytes)
        break
      case 'text':
        this.#pass(event.bytes)
        this.#write(event.bytes)
        break
      case 'delimiter':
        this.#delimiter(event)
        break
      case 'no-part':
        this.#ledger.add('leaf')
        break
      case 'end':
        this.#end(event.part)
        break
    }
  }

  /** Of the original what is no leaf's body. */
  #pass(bytes: Buffer): void {
    this.#ledger.countOpened(bytes.length, countLines(bytes))
    this.#structure.push(bytes)
  }

  #write(bytes: Buffer): void {
    this.#ledger.countSealed(bytes.length)
    this.#output.write(bytes)
  }

  #enterPart(block: HeaderBlock, encapsulation: Encapsulation): void {
    const judged = judge(block, {
      depth: this.#reader.depth,
      containers: this.#containerCount,
      leaves: this.#leafCount,
      fields: this.#fieldCount,
      clashes: (boundary) => this.#reader.clashes(boundary) || this.#banners.some((b) => b.includes(`\n--${boundary}`)),
    })
    this.#fieldCount += block.fields.length
    this.#undecided = { block, encapsulation, judged }
    this.#decide()
  }

  /** @returns false: more of the message is needed to know what the part is whose headers came last */
  #decide(): boolean {
    if (this.#undecided === null) return true
    const { block, encapsulation, judged } = this.#undecided
    const hasParts = judged.kind !== 'multipart' || this.#reader.hasParts(judged.boundary, MAX_PREAMBLE_OCTETS)
    if (hasParts === null) return false
    this.#undecided = null
    this.#enterJudged(block, encapsulation, hasParts ? judged : PARTLESS)
    return true
  }

  #enterJudged(block: HeaderBlock, encapsulation: Encapsulation, judged: Judged): void {
    const inject = judged.kind !== 'multipart' && takesBanners(encapsulation) && !this.#bannerAdded
    const injected = inject
      ? INJECTED_BOUNDARY_PREFIX + this.#parts.options.random(INJECTED_BOUNDARY_OCTETS).toString('hex')
      : null
    if (inject) this.#bannerAdded = true
    const isRoot = encapsulation === 'root'
    const { identity: id, addedIdStays, answer, options } = this.#parts
    const { subject } = options.settings
    const root = isRoot ? { id, addedIdStays, subject, xchg: answer.xchg, verify: answer.verify } : null
    const draft = (hideEncoding: boolean) =>
      draftHeaders(block, { encapsulation, judged, injected, root, hideEncoding }, this.#key)
    if (isRoot) this.#ledger.start()
    if (judged.kind === 'leaf') {
      const { takesRest } = judged
      this.#reader.enter({ kind: 'leaf', takesRest })
      this.#leafInjected = injected
      this.#leaf = this.#startLeaf(judged, (about, hideEncoding) =>
        this.#writeHeaders(draft(hideEncoding), takesRest ? { ...about, takesRest } : about),
      )
      return
    }
    this.#containerCount++
    this.#writeHeaders(draft(false), {})
    if (judged.kind === 'message') {
      const entry = this.#ledger.add('message')
      this.#ledger.enter(entry)
      this.#containers.push({ encapsulation, kind: 'message', alternative: false, injected, entry })
      this.#reader.enter({ kind: 'message' })
    } else {
      const { boundary, alternative } = judged
      this.#containers.push({ encapsulation, kind: 'multipart', alternative, injected: null, entry: null })
      this.#reader.enter({ kind: 'multipart', boundary })
    }
  }

  #startLeaf(judged: Extract<Judged, { kind: 'leaf' }>, begin: SealLeafParts['begin']): SealLeaf {
    const { settings, random } = this.#parts.options
    const leaf = new SealLeaf({
      encoding: judged.encoding,
      composite: judged.composite,
      maxExamineOctets: Math.min(settings.maxbufOctets, MAX_EXAMINE_OCTETS),
      key: this.#parts.answer.key,
      random,
      feedback: () => marked(this.#key.keyAndSeed, random(FEEDBACK_OCTETS)),
      ledger: this.#ledger,
      output: this.#output,
      askBatch: this.#parts.askBatch,
      placed: (bound) => this.#placed(bound),
      begin,
      done: () => this.#bodies.delete(leaf),
    })
    this.#bodies.add(leaf)
    return leaf
  }

  /** The root's header of a gathered message lists its leaves; of others, each leaf says which it is. */
  #placed(bound: Buffer): Pick<AboutBody, 'place' | 'structureSoFar'> {
    this.#leafCount++
    if (!this.#parts.isGathered || this.#bounds.length === MAX_LISTED_PARTS) {
      return { place: { ordinal: this.#leafCount, bound }, structureSoFar: this.#structure.digest }
    }
    this.#bounds.push(bound)
    return {}
  }

  /** Writes a part's headers; the root's of a gathered message waits for the sizes. */
  #writeHeaders(draft: HeaderDraft, about: AboutBody): void {
    const start = injectedStart(draft)
    if (draft.plan.root === null) {
      const { bytes, exactness } = finishHeaders(draft, about, this.#key)
      if (exactness !== null) this.#structure.pushField(exactness)
      this.#write(bytes)
    } else this.#writeRoot(draft, about, start)
    if (start !== null) this.#write(start)
  }

  #writeRoot(draft: HeaderDraft, about: AboutBody, start: Buffer | null): void {
    for (const field of [...draft.counted, EXACTNESS_PLACE]) this.#structure.pushField(field)
    if (this.#parts.isGathered) {
      this.#rootWaits = { slot: this.#output.reserve(), draft, about }
      return
    }
    const padded = this.#parts.options.padded === true
    const sizes = this.#declarable(this.#sizesBeforehand(draft, start), padded)
    const endNonce = this.#announceEnd(draft.plan.judged)
    const structureSoFar = this.#structure.digest
    const said = { ...about, sizes, padded, leaves: Buffer.alloc(0), endNonce, structureSoFar }
    this.#output.write(finishHeaders(draft, said, this.#key).bytes)
  }

  /** A single leaf cannot lose its end unnoticed. */
  #announceEnd(judged: Judged): Buffer | null {
    if (judged.kind === 'leaf') return null
    const nonce = this.#key.random(END_NONCE_OCTETS)
    this.#endRecord = { nonce, delimiter: outermostDelimiter(judged.kind === 'multipart' ? judged.boundary : null) }
    return nonce
  }

  /** Sizes that do not hold for what is served are left out, but for the octets where padding has to be cut off. */
  #declarable(sizes: SealedSizes | null, padded: boolean): SealedSizes | null {
    if (sizes === null || !this.#parts.hasOddLineEnds) return sizes
    return padded ? { body: { octets: sizes.body.octets, lines: null, sealedOctets: null }, parts: null } : null
  }

  /** Of a message that is not gathered: what its total tells (message-format.md §6). */
  #sizesBeforehand({ plan }: HeaderDraft, start: Buffer | null): SealedSizes | null {
    if (this.#parts.options.totalOctets === null) return null
    const octets = this.#parts.options.totalOctets - this.#parts.root.bytes.length
    const { judged, injected, hideEncoding } = plan
    const isIdentity = judged.kind === 'leaf' && (hideEncoding || !isCoded(judged.encoding))
    if (!isIdentity) return { body: { octets, lines: null, sealedOctets: null }, parts: null }
    const leafOctets = sealedBodyOctets(octets)
    const around =
      (start?.length ?? 0) + (injected === null ? 0 : this.#injectedEnd(injected, false).length + CRLF.length)
    return {
      body: { octets, lines: null, sealedOctets: around + leafOctets },
      parts: [{ kind: 'leaf', octets, lines: null, sealedOctets: leafOctets }],
    }
  }

  #delimiter(event: Extract<MimeEvent, { on: 'delimiter' }>): void {
    const top = this.#containers.at(-1)!
    const { eol, line, close } = event
    this.#pass(Buffer.concat([Buffer.from(eol, 'latin1'), line]))
    if (eol === '') for (const entry of this.#justEnded) entry.sealedOctets -= CRLF.length
    this.#justEnded = []
    if (close && top.alternative && takesBanners(top.encapsulation)) {
      this.#bannerAdded = true
      const first = Buffer.concat([Buffer.from(eol, 'latin1'), line.subarray(0, line.length - 2), CRLF])
      this.#write(this.#bannersBehind(first))
      this.#write(Buffer.concat([this.#banners.length > 0 ? CRLF : Buffer.from(eol, 'latin1'), line]))
    } else this.#write(Buffer.concat([Buffer.from(eol, 'latin1'), line]))
    if (close && this.#containers.length === 1) this.#write(this.#takeEndRecord())
  }

  /** @param first the delimiter in front of the first banner, with the line end before it if it has one */
  #bannersBehind(first: Buffer): Buffer {
    const next = Buffer.concat([CRLF, first.subarray(first.indexOf('--'))])
    return Buffer.concat(this.#banners.flatMap((banner, i) => [i === 0 ? first : next, banner]))
  }

  #end(part: 'leaf' | 'multipart' | 'message'): void {
    if (part === 'leaf') {
      const leaf = this.#leaf!
      this.#leaf = null
      leaf.end(this.#reader.delimiterIsBare)
      if (this.#leafInjected === null) this.#justEnded.push(leaf.entry)
      else this.#closeInjected(this.#leafInjected)
      return
    }
    const container = this.#containers.pop()!
    if (part === 'multipart') return
    const ended = this.#ledger.leave()
    if (this.#noPart?.lineEnded === false) this.#endedOpen.push(ended)
    if (container.injected !== null) {
      this.#closeInjected(container.injected)
      this.#justEnded = []
    } else if (this.#justEnded.length > 0) this.#justEnded.push(container.entry!)
  }

  /**
   * Where no part begins, there is no line end to give to the delimiter: it would be read as a part's blank line. And a
   * delimiter at the very end of the input gets one here that opening has to cut off.
   */
  #closeInjected(boundary: string): void {
    const atLineStart = this.#noPart?.lineEnded === true
    if (this.#noPart?.lineEnded === false) this.#endsOpen = true
    this.#write(this.#injectedEnd(boundary, atLineStart))
    this.#countLineEnd()
    if (this.#containers.length === 0) this.#write(this.#takeEndRecord())
    this.#write(CRLF)
  }

  #countLineEnd(): void {
    for (const entry of this.#endedOpen) entry.sealedOctets += CRLF.length
    this.#endedOpen = []
  }

  #injectedEnd(boundary: string, atLineStart: boolean): Buffer {
    const delimiter = Buffer.from(`${atLineStart ? '' : '\r\n'}--${boundary}\r\n`, 'latin1')
    const lineEnd = this.#banners.length === 0 && atLineStart ? '' : '\r\n'
    return Buffer.concat([this.#bannersBehind(delimiter), Buffer.from(`${lineEnd}--${boundary}--`, 'latin1')])
  }

  /** Where an announced record has no place, the outermost multipart being open, it gets one. */
  #closeOutermost(): void {
    if (this.#endRecord === null) return
    const { delimiter } = this.#endRecord
    const added = Buffer.from(this.#noPart?.lineEnded === true ? delimiter : `\r\n${delimiter}`, 'latin1')
    this.#write(Buffer.concat([added, this.#takeEndRecord(added), CRLF]))
    this.#countLineEnd()
  }

  /** What stands behind the outermost closing delimiter. @param added it, and the line end before it, where it is none of the message's */
  #takeEndRecord(added: Buffer | null = null): Buffer {
    if (this.#endRecord === null) return Buffer.alloc(0)
    const { nonce, delimiter } = this.#endRecord
    this.#endRecord = null
    const lineEndAdded = this.#noPart?.lineEnded === false
    const end = { leaves: this.#leafCount, delimiterAdded: added !== null, lineEndAdded }
    const around = (added === null ? 0 : added.length + CRLF.length) + (this.#endsOpen ? CRLF.length : 0)
    return printEnd(this.#key.keyAndSeed, nonce, end, endOctets(delimiter) - around)
  }

  /** The root's header comes last where it waited. */
  #finish(): void {
    if (this.#rootWaits === null) return
    const { slot, draft, about } = this.#rootWaits
    const padded = this.#endsOpen || this.#parts.options.padded === true
    const leaves = Buffer.concat(this.#bounds, BOUND_OCTETS * this.#bounds.length)
    const leafCount = this.#leafCount > this.#bounds.length ? this.#leafCount : null
    const sizes = this.#declarable(this.#ledger.sizes(), padded)
    const rest = { sizes, padded, leaves, leafCount, structure: this.#structure.whole }
    slot.write(finishHeaders(draft, { ...about, ...rest }, this.#key).bytes)
    slot.close()
    this.#rootWaits = null
  }
}

const CRLF = Buffer.from('\r\n', 'latin1')
/** A multipart whose delimiters are not there: what it holds would stand in plain. */
const PARTLESS: Judged = { kind: 'leaf', encoding: 'identity', composite: true, takesRest: false }
