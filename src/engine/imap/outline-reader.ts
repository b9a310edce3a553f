/**
 * Asks the server for what an {@link Outline} is made of, with commands of our own: structure and root header, then the
 * headers of the parts, at last the ends of leaves whose lengths nobody declares. One message; results may be null:
 * read it whole.
 */
import { asGatewayError, GatewayError } from '../../base/errors.ts'
import { LeafOpener } from '../seal/leaf-opener.ts'
import { Cursor, stringAt } from './cursor.ts'
import { parseSectionSpec, printSection } from './fetch-items.ts'
import { isDistrusted, type MessageSizes } from './message-sizes.ts'
import {
  leavesOf,
  needsEnd,
  needsMeasuring,
  type Outline,
  type OutlineFacts,
  type OutlineLeaf,
  outlineOf,
  rootOutline,
  skeletonOf,
  type Tail,
  withRemembered,
} from './outline.ts'
import { PlainLeaf } from './plain-leaf.ts'
import type { AnswerItem, FetchAnswer } from './response.ts'
import { runTransform } from './run-transform.ts'
import { MAX_OUTLINE_PARTS, parseSealedStructure, partsInOrder, type SealedPart } from './sealed-structure.ts'
import { countLines, type Size } from './view/message-view.ts'
import { ServedOctets } from './view/served-octets.ts'
import type { WorkHost } from './work.ts'

/** Below this a message is read whole rather than part by part: it costs less than another round trip. */
const SMALL_OCTETS = 32 * 1024
/** Of a sealed leaf: its padding says the ciphertext's length; line ends behind it are counted (at most 80, `open-leaf.ts`). */
const TAIL_OCTETS = 176
/** Sealed octets of leaves read for the sizes of one message. */
const MAX_MEASURED_OCTETS = 512 * 1024

/** A section that is no part: the message itself. */
const WHOLE = ''

export interface OutlineWish {
  /** Sequence number, or UID with `uid`. */
  readonly number: number
  readonly uid: boolean
  /** Null: not known. */
  readonly knownUid: number | null
  /** Of the whole structure; else the root's header and RFC822.SIZE only, if they are enough. */
  readonly parts: boolean
  /** Sizes will be told: they may be remembered. */
  readonly sizes: boolean
  readonly isEnough: (outline: Outline) => boolean
}

type Stage = 'root' | 'parts' | 'tails' | 'opening' | 'over'

export class OutlineReader {
  readonly #host: WorkHost
  readonly #wish: OutlineWish
  readonly #done: (result: Outline | null | GatewayError) => void
  #stage: Stage = 'root'
  #tag = ''
  #root: SealedPart | null = null
  #sealedSize = 0
  #headers: Buffer[] = []
  #facts: OutlineFacts | null = null
  readonly #tails = new Map<string, Tail>()
  readonly #measured = new Map<string, Size>()
  readonly #toMeasure = new Map<string, OutlineLeaf>()
  #endTail: Buffer | null = null
  #measuring = 0
  #tailsTagged = false
  #broken: GatewayError | null = null
  #answered = false
  #skeletonOctets = 0
  /** Sizes from the memory of all sessions. */
  #remembered: MessageSizes | null = null
  #recalling = false
  #rootTagged = false
  #parts: boolean

  constructor(host: WorkHost, wish: OutlineWish, done: (result: Outline | null | GatewayError) => void) {
    this.#host = host
    this.#wish = wish
    this.#parts = wish.parts
    this.#done = done
  }

  start(): void {
    const { memory, mailbox } = this.#host
    this.#ask(`UID RFC822.SIZE BODYSTRUCTURE BODY.PEEK[HEADER]`)
    if (!this.#wish.sizes) return
    this.#recalling = true
    memory.recall(mailbox, this.#wish.knownUid, (sizes) => {
      this.#recalling = false
      this.#remembered = sizes
      if (this.#rootTagged) this.#afterRoot()
    })
  }

  dispose(): void {
    this.#stage = 'over'
  }

  /** True: the answer was ours. @param cut there was more of it than is ever read to make an outline */
  fetch(answer: FetchAnswer, bytes: Buffer, cut: boolean): boolean {
    if (this.#answered) return false
    try {
      if (cut) return this.#takeCut(answer)
      switch (this.#stage) {
        case 'root':
          return this.#takeRoot(answer, bytes)
        case 'parts':
          return this.#takeParts(answer, bytes)
        case 'tails':
          return this.#takeTails(answer, bytes)
        default:
          return false
      }
    } catch (error) {
      // The server's own words about its structure cannot be read: the message itself can.
      if (asGatewayError(error).code !== 'SYNTAX') throw error
      this.#root = null
      this.#answered = true
      return true
    }
  }

  /** Then the message is read whole. */
  #takeCut(answer: FetchAnswer): boolean {
    if (!answer.items.some((item) => item.name === 'BODY[')) return false
    this.#root = null
    this.#answered = true
    return true
  }

  tagged(tag: string): void {
    if (tag !== this.#tag) return
    if (!this.#answered || this.#root === null) {
      this.#finish(null)
      return
    }
    switch (this.#stage) {
      case 'root':
        this.#rootTagged = true
        this.#afterRoot()
        break
      case 'parts':
        this.#open(this.#root)
        break
      case 'tails':
        this.#tailsTagged = true
        this.#measuredAll()
        break
      default:
        break
    }
  }

  #ask(items: string): void {
    this.#tag = this.#host.nextTag()
    this.#answered = false
    const { uid, number } = this.#wish
    this.#host.toUpstream(`${this.#tag} ${uid ? 'UID ' : ''}FETCH ${number} (${items})\r\n`)
  }

  #takeRoot(answer: FetchAnswer, bytes: Buffer): boolean {
    const find = (name: string): AnswerItem | undefined => answer.items.find((item) => item.name === name)
    const structure = find('BODYSTRUCTURE')
    const size = find('RFC822.SIZE')
    const header = find('BODY[')
    if (structure === undefined || size === undefined || header === undefined) return false
    this.#answered = true
    this.#root = parseSealedStructure(bytes, structure.value[0])
    this.#sealedSize = new Cursor(bytes, size.value[0]).number()
    this.#headers = [Buffer.from(stringAt(bytes, header.value[0]))]
    return true
  }

  #afterRoot(): void {
    const root = this.#root
    if (this.#recalling || root === null || this.#stage !== 'root') return
    if (this.#remembered !== null && isDistrusted(this.#remembered)) {
      this.#finish(null)
      return
    }
    if (this.#remembered?.sealedOctets !== this.#sealedSize) this.#remembered = null
    if (this.#parts) this.#afterRootWithParts(root)
    else this.#open(root)
  }

  #afterRootWithParts(root: SealedPart): void {
    const parts = partsInOrder(root)
    if (this.#sealedSize <= SMALL_OCTETS || parts.length > MAX_OUTLINE_PARTS) this.#finish(null)
    else if (parts.length === 1) this.#open(root)
    else {
      this.#stage = 'parts'
      this.#ask(
        `UID ${parts
          .slice(1)
          .map((part) => `BODY.PEEK[${part.header}]`)
          .join(' ')}`,
      )
    }
  }

  #takeParts(answer: FetchAnswer, bytes: Buffer): boolean {
    const sections = sectionsOf(answer, bytes)
    if (sections.size === 0) return false
    this.#answered = true
    const parts = partsInOrder(this.#root!)
    for (const part of parts.slice(1)) {
      const header = sections.get(part.header)
      if (header === undefined) {
        this.#root = null
        return true
      }
      this.#headers.push(Buffer.from(header))
    }
    // QUIRK: Yahoo, AOL leave all but Content-* fields out of BODY[n.MIME] (imap.md §5, MIME bug).
    const bare = parts.some((part, i) => i > 0 && part.kind === 'leaf' && isBareSealed(this.#headers[i]!))
    if (bare) {
      this.#host.mimeBug = true
      this.#root = null
    }
    return true
  }

  #takeTails(answer: FetchAnswer, bytes: Buffer): boolean {
    const sections = sectionsOf(answer, bytes)
    if (sections.size === 0) return false
    this.#answered = true
    for (const [section, octets] of sections) {
      if (section === WHOLE) {
        this.#endTail = Buffer.from(octets)
        continue
      }
      const leaf = this.#toMeasure.get(section)
      if (leaf === undefined) {
        const tail = tailOf(octets)
        if (tail !== null) this.#tails.set(section, tail)
        continue
      }
      this.#measuring++
      const transform = leaf.sealed === null ? new PlainLeaf() : new LeafOpener(leaf.sealed)
      runTransform(transform, Buffer.from(octets), this.#host.out, (result) => {
        this.#measuring--
        if (result instanceof GatewayError) this.#broken = result
        else this.#measured.set(section, measure(result))
        this.#measuredAll()
      })
    }
    return true
  }

  #measuredAll(): void {
    if (!this.#tailsTagged || this.#measuring > 0 || this.#stage !== 'tails') return
    this.#finish(this.#broken ?? this.#outline())
  }

  #open(root: SealedPart): void {
    this.#stage = 'opening'
    const header = this.#headers[0]!
    const skeleton = this.#parts ? skeletonOf(root, this.#headers) : Buffer.concat([header, Buffer.from('x')])
    this.#skeletonOctets = skeleton.length
    const { transforms, out } = this.#host
    const leaves: OutlineFacts['leaves'][number][] = []
    const opener = transforms.outliner((leaf) => leaves.push(leaf))
    runTransform(opener, skeleton, out, (result) => {
      if (this.#stage !== 'opening') return
      const { declaredSizes: declared, padded, end } = opener.facts
      if (result instanceof GatewayError) this.#finish(result)
      else this.#opened(root, result, { declared, padded, end }, leaves)
    })
  }

  #opened(
    root: SealedPart,
    octets: Buffer,
    says: Pick<OutlineFacts, 'declared' | 'padded' | 'end'>,
    leaves: OutlineFacts['leaves'],
  ): void {
    const common = {
      ...says,
      opened: octets,
      sealedSize: this.#sealedSize,
      sealedHeaderOctets: this.#headers[0]!.length,
    }
    if (!this.#parts) {
      this.#rootOpened(root, rootOutline({ ...common, remembered: this.#remembered }))
      return
    }
    this.#facts = {
      ...common,
      skeletonOctets: this.#skeletonOctets,
      endTail: null,
      root,
      leaves,
      tails: this.#tails,
      measured: this.#measured,
    }
    const outline = this.#outline()
    if (outline === null || (outline.sizesKnown && outline.totalKnown && !this.#wantsEnds)) this.#finish(outline)
    else this.#askLeaves(outline)
  }

  /** A large message's leaves are read in ranges, which go by the length of the ciphertext. */
  get #wantsEnds(): boolean {
    return this.#remembered !== null && this.#sealedSize > this.#host.settings.maxbufOctets
  }

  #outline(): Outline | null {
    const seen = { endTail: this.#endTail, tails: this.#tails, measured: this.#measured }
    const outline = outlineOf({ ...this.#facts!, ...seen })
    if (outline === null || this.#remembered === null) return outline
    return withRemembered(outline, this.#remembered)
  }

  /** The parts may tell what the root does not: of a small message the whole tells it sooner. */
  #rootOpened(root: SealedPart, outline: Outline | null): void {
    if (outline === null || this.#wish.isEnough(outline) || this.#sealedSize <= SMALL_OCTETS) {
      this.#finish(outline)
      return
    }
    this.#parts = true
    this.#afterRootWithParts(root)
  }

  /**
   * The ends of leaves, and small leaves whole where only their content tells what is asked; and the end of a long
   * message, which is to be seen before its size is counted.
   */
  #askLeaves(outline: Outline): void {
    const parts = leavesOf(outline.view.root)
    const items: string[] = []
    let octets = 0
    for (const [i, leaf] of outline.leaves.entries()) {
      const { section } = leaf.part
      const read =
        !outline.sizesKnown && needsMeasuring(leaf, parts[i]!) && octets + leaf.part.octets <= MAX_MEASURED_OCTETS
      if (read) {
        octets += leaf.part.octets
        this.#toMeasure.set(section, leaf)
        items.push(`BODY.PEEK[${section}]`)
      } else if (leaf.sealed !== null) {
        items.push(`BODY.PEEK[${section}]<${Math.max(0, leaf.part.octets - TAIL_OCTETS)}.${TAIL_OCTETS}>`)
      }
    }
    const { end } = this.#facts!
    if (end !== null && this.#remembered === null && needsEnd(this.#facts!)) {
      const { tailOctets } = end
      items.push(`BODY.PEEK[]<${Math.max(0, this.#sealedSize - tailOctets)}.${tailOctets}>`)
    }
    if (items.length === 0) {
      this.#finish(outline)
      return
    }
    this.#stage = 'tails'
    this.#ask(`UID ${items.join(' ')}`)
  }

  #finish(result: Outline | null | GatewayError): void {
    if (this.#stage === 'over') return
    this.#stage = 'over'
    this.#done(result)
  }
}

/** Values of an answer's sections by their name as we asked for them. */
function sectionsOf(answer: FetchAnswer, bytes: Buffer): Map<string, Buffer> {
  const found = new Map<string, Buffer>()
  for (const item of answer.items) {
    if (item.name !== 'BODY[') continue
    const section = printSection(parseSectionSpec(new Cursor(bytes, item.label[0] + item.name.length)))
    found.set(section, stringAt(bytes, item.value[0]))
  }
  return found
}

/** A sealed leaf's header without a single sealed field. */
function isBareSealed(header: Buffer): boolean {
  const text = header.toString('latin1')
  return /^Content-Type:[^\n]*ves[.-]encrypted/im.test(text) && !/^X-VESmail-/im.test(text)
}

/** @returns null where there is more in the body than ciphertext (`seal/late-patch.ts`): its length then tells nothing */
function tailOf(octets: Buffer): Tail | null {
  if (octets.includes(0x20) || octets.includes(0x09)) return null
  const [, padding = '', ending = ''] = /(=*)((?:\r?\n)*)$/.exec(octets.toString('latin1')) ?? []
  return { padding: padding.length, lineEnds: Math.max(0, ending.split('\n').length - 2) }
}

/** As the server would count it. */
function measure(opened: Buffer): Size {
  const served = new ServedOctets()
  const size = { octets: 0, lines: 0 }
  for (const bytes of [...served.push(opened), ...served.end()]) {
    size.octets += bytes.length
    size.lines += countLines(bytes)
  }
  return size
}
