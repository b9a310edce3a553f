/**
 * One header block, sealed (message-format.md §4). Everything is decided with the whole block at hand; what the rules
 * of §5 would not give back goes into the exactness of the block.
 *
 * A draft is made when the block was read; it is finished when what depends on the body is known (how a leaf's text is
 * laid out, the sizes).
 */
import { type Eol, type HeaderBlock, type HeaderField, rawValue, unfoldedValue } from '../mime/header-block.ts'
import { printSealedHeader } from './encrypted-header.ts'
import {
  boundOf,
  type Exactness,
  isNothingSpecial,
  NOTHING_SPECIAL,
  type PlacedHeader,
  printExactness,
} from './exactness.ts'
import { type Encapsulation, ID_SUFFIX, messageIdOf, SEALED_TYPE, sealedMessageId, takesBanners } from './format.ts'
import type { Judged } from './judge.ts'
import { addSealedReferences, dropSealedReferences } from './references.ts'
import { countsInPlain } from './structure.ts'

/** Plain at the root (message-format.md §4). */
const PLAIN_AT_ROOT: ReadonlySet<string> = new Set([
  'date',
  'mime-version',
  'reply-to',
  'return-path',
  'envelope-to',
  'from',
  'in-reply-to',
  'importance',
  'priority',
  'auto-submitted',
  'to',
  'cc',
  'bcc',
])

const FEEDBACK_OCTETS = 16

/** What sealing a root needs beyond what any part needs. */
export interface RootSealing {
  readonly id: MessageIdentity
  /** An added Message-ID is not taken away on opening. */
  readonly addedIdStays: boolean
  readonly subject: string
  readonly xchg: string | null
  readonly verify: string | null
}

/** The id of the message to be, and where it comes from. */
export interface MessageIdentity {
  readonly id: string
  /** The Message-ID field that has it; null = it was made. */
  readonly field: HeaderField | null
  /** The input is an encrypted message itself: its ids are headers like any other. */
  readonly wrapped: boolean
}

/** @param makeId called where the message has no usable id */
export function identify(block: HeaderBlock, makeId: () => string): MessageIdentity {
  if (sealedMessageId(block.fields) !== null || block.fields.some((field) => field.name === 'x-vesmail-id')) {
    return { id: makeId(), field: null, wrapped: true }
  }
  for (const field of block.fields) {
    const id = field.name === 'message-id' ? messageIdOf(field) : null
    if (id !== null) return { id, field, wrapped: false }
  }
  return { id: makeId(), field: null, wrapped: false }
}

export interface SealingKey {
  readonly keyAndSeed: Uint8Array
  readonly random: (octets: number) => Buffer
}

/** How a block is sealed. */
export interface HeaderPlan {
  readonly encapsulation: Encapsulation
  readonly judged: Judged
  /** Boundary of the injected container that goes around the body; null = none. */
  readonly injected: string | null
  readonly root: RootSealing | null
  /**
   * The body is not in the encoding that the header claims, and is sealed as it is: the header is kept from a §5 reader,
   * which would encode the body by it, and comes back by the exactness.
   */
  readonly hideEncoding: boolean
}

export interface HeaderDraft {
  readonly plan: HeaderPlan
  readonly eol: Eol
  readonly lines: readonly Buffer[]
  readonly moved: readonly Buffer[]
  /** Of a root: the fields that count as structure, without their line ends. */
  readonly counted: readonly Buffer[]
  readonly exact: Exactness
  /** There was a header named like ours: ours must be there as well, to be the one that counts. */
  readonly namesake: boolean
}

/** The line end for what is derived from the block as a whole. */
export function blockEol(block: HeaderBlock): Eol {
  const blank = block.blank
  if (blank.length > 0 && blank[blank.length - 1] === 0x0a) {
    return blank.length > 1 && blank[blank.length - 2] === 0x0d ? '\r\n' : '\n'
  }
  return block.fields.findLast((field) => field.eol !== '')?.eol ?? '\r\n'
}

export function draftHeaders(block: HeaderBlock, plan: HeaderPlan, key: SealingKey): HeaderDraft {
  return new Drafting(block, plan, key).draft()
}

class Drafting {
  readonly #block: HeaderBlock
  readonly #plan: HeaderPlan
  readonly #key: SealingKey
  readonly #eol: Eol
  readonly #lines: Buffer[] = []
  readonly #moved: Buffer[] = []
  readonly #counted: Buffer[] = []
  /** Names of the headers that opening gives, in order. */
  readonly #kept: string[] = []
  readonly #inserted: { readonly at: number; readonly bytes: Buffer }[] = []
  readonly #replaced: { readonly at: number; readonly bytes: Buffer }[] = []
  #idWritten = false
  #subjectWritten = false
  #dispositionWritten = false
  readonly #dispositionSealed: boolean

  constructor(block: HeaderBlock, plan: HeaderPlan, key: SealingKey) {
    this.#block = block
    this.#plan = plan
    this.#key = key
    this.#eol = blockEol(block)
    this.#dispositionSealed = block.fields.some((f) => f.name === 'content-disposition' && !isBareDisposition(f))
  }

  draft(): HeaderDraft {
    const { fields, blank } = this.#block
    for (const field of fields) this.#field(field)
    const { root } = this.#plan
    if (root !== null && !this.#idWritten) this.#writeMadeId(root)
    const total = this.#kept.length
    const exact: Exactness = {
      ...NOTHING_SPECIAL,
      messageIdAdded: root !== null && root.id.field === null && !root.addedIdStays,
      lastHeaderOpen: fields.at(-1)?.eol === '',
      blank: blank.toString('latin1') === this.#eol ? null : Buffer.from(blank),
      inserted: this.#inserted.map(({ at, bytes }) => ({ back: total - at, bytes })),
      replaced: this.#placeReplaced(),
    }
    const namesake = fields.some((field) => field.name === 'x-vesmail-exact')
    const written = { lines: this.#lines, moved: this.#moved, counted: this.#counted }
    return { plan: this.#plan, eol: this.#eol, ...written, exact, namesake }
  }

  /** Places counted backwards among headers of the same name; in one pass, since there may be thousands of each. */
  #placeReplaced(): PlacedHeader[] {
    const replaced = new Map(this.#replaced.map(({ at, bytes }) => [at, bytes]))
    const seen = new Map<string, number>()
    const placed: PlacedHeader[] = []
    for (let at = this.#kept.length - 1; at >= 0; at--) {
      const name = this.#kept[at]!
      const back = (seen.get(name) ?? 0) + 1
      seen.set(name, back)
      const bytes = replaced.get(at)
      if (bytes !== undefined) placed.push({ back, bytes })
    }
    return placed
  }

  #field(field: HeaderField): void {
    const { root } = this.#plan
    switch (field.name) {
      case 'message-id':
        if (root === null || root.id.wrapped) this.#seal(field)
        else if (field === root.id.field) this.#writeId(root.id.id, field)
        // One without an id is not written at all; opening puts it back.
        else if (root.id.field === null) this.#restore(field)
        else this.#seal(field)
        break
      case 'references':
        if (root === null) this.#seal(field)
        else if (isOneHeader(field)) this.#writeReferences(field)
        else this.#seal(field)
        break
      case 'subject':
        this.#seal(field)
        if (root === null || this.#subjectWritten) break
        this.#subjectWritten = true
        this.#line(`Subject: ${root.subject}`, field)
        break
      case 'content-type':
        this.#writeType(field)
        break
      case 'content-transfer-encoding':
        if (this.#plan.hideEncoding) this.#restore(field)
        // Where it says nothing of the body it may be missed; another reader would not look for it among the encrypted.
        else if (this.#plan.judged.kind !== 'leaf' && !isOneHeader(field)) this.#restore(field)
        else if (this.#plan.judged.kind === 'leaf') this.#seal(field)
        else if (this.#plan.injected === null) this.#plain(field)
        else this.#move(field)
        break
      case 'content-disposition':
        this.#writeDisposition(field)
        break
      default:
        if (root !== null && PLAIN_AT_ROOT.has(field.name) && isOneHeader(field)) this.#plain(field)
        else this.#seal(field)
    }
  }

  #eolOf(field: HeaderField): Eol {
    if (field.eol !== '') return field.eol
    // A CR at the very end would become half of a line end.
    return field.bytes[field.bytes.length - 1] === 0x0d ? '\r\n' : this.#eol
  }

  #line(text: string, field: HeaderField): void {
    this.#lines.push(Buffer.from(text + this.#eolOf(field), 'latin1'))
  }

  #plain(field: HeaderField): void {
    const text = steadyText(field)
    this.#line(text, field)
    this.#keepAs(text, field)
    if (countsInPlain(field.name)) this.#counted.push(Buffer.from(text, 'latin1'))
  }

  #seal(field: HeaderField): void {
    const { root } = this.#plan
    if (root !== null && root.id.field === null && !this.#idWritten) this.#writeMadeId(root)
    const { keyAndSeed, random } = this.#key
    this.#lines.push(printSealedHeader(keyAndSeed, field.bytes, random(FEEDBACK_OCTETS), this.#eolOf(field)))
    this.#kept.push(field.name)
    this.#counted.push(field.bytes)
  }

  /** Into the injected part's header, where opening drops it: it is put back from the exactness. */
  #move(field: HeaderField): void {
    this.#moved.push(Buffer.from(steadyText(field) + this.#eolOf(field), 'latin1'))
    this.#restore(field)
  }

  #restore(field: HeaderField): void {
    this.#inserted.push({ at: this.#kept.length, bytes: withEol(field, field.eol) })
  }

  #writeMadeId(root: RootSealing): void {
    this.#idWritten = true
    this.#idLines(root.id.id, this.#eol)
    if (root.addedIdStays) this.#kept.push('message-id')
  }

  #writeId(id: string, field: HeaderField): void {
    this.#idWritten = true
    this.#idLines(id, this.#eolOf(field))
    this.#keepAs(`Message-ID: <${id}>`, field)
  }

  #idLines(id: string, eol: Eol): void {
    this.#lines.push(Buffer.from(`X-VESmail-ID: <${id}>${eol}Message-ID: <${id}${ID_SUFFIX}>${eol}`, 'latin1'))
  }

  #writeReferences(field: HeaderField): void {
    const sealed = addSealedReferences(steadyText(field), this.#eolOf(field))
    this.#line(sealed, field)
    this.#keepAs(dropSealedReferences(sealed), field)
  }

  /** Opening gives `opened` for this field. */
  #keepAs(opened: string, field: HeaderField): void {
    if (opened !== field.bytes.toString('latin1')) {
      this.#replaced.push({ at: this.#kept.length, bytes: Buffer.from(field.bytes) })
    }
    this.#kept.push(field.name)
  }

  #writeType(field: HeaderField): void {
    const { judged, encapsulation, injected } = this.#plan
    if (judged.kind === 'leaf') this.#seal(field)
    else if (judged.kind === 'message' && injected !== null) {
      this.#seal(field)
      this.#moved.push(Buffer.from(steadyText(field) + this.#eolOf(field), 'latin1'))
    } else {
      if (judged.kind === 'multipart' && judged.alternative && takesBanners(encapsulation)) {
        this.#line('X-VESmail-Part: alternative', field)
      }
      this.#plain(field)
    }
  }

  #writeDisposition(field: HeaderField): void {
    const { injected } = this.#plan
    if (!this.#dispositionSealed) {
      if (injected === null) this.#plain(field)
      else this.#move(field)
      return
    }
    this.#seal(field)
    const value = rawValue(field)
    const type = value.slice(0, value.indexOf(';'))
    // Where it is written badly, what stands before a semicolon may be a file name.
    const isToken = TOKEN.test(type.replace(/\r?\n/g, '').trim()) && !STRAY_CR.test(type)
    if (this.#dispositionWritten || !value.includes(';') || !isToken) return
    this.#dispositionWritten = true
    const plain = Buffer.from(`Content-Disposition:${withoutBlankLines(type)}${this.#eolOf(field)}`, 'latin1')
    if (injected === null) this.#lines.push(plain)
    else this.#moved.push(plain)
  }
}

const TOKEN = /^[A-Za-z0-9-]+$/
const STRAY_CR = /\r(?!\n)/

function isBareDisposition(field: HeaderField): boolean {
  return TOKEN.test(unfoldedValue(field)) && isOneHeader(field)
}

/** A CR inside of a line, or a NUL, may end the header for another reader, or hide a whole message in it (CR as line end). */
function isOneHeader(field: HeaderField): boolean {
  return !/\0|\r(?![\r\n]|$)/.test(field.bytes.toString('latin1'))
}

/**
 * What stands in plain of a field that is one header: without CRs too many in front of its line ends, of which a server
 * may drop some, and without lines of nothing but white space. Linear, since in such a field every run of CRs ends a line.
 */
function steadyText(field: HeaderField): string {
  return withoutBlankLines(field.bytes.toString('latin1').replace(/\r+(?=\r\n|$)/g, ''))
}

/** A continuation of white space only ends the whole header where a server trims it, and for some readers as it is. */
function withoutBlankLines(text: string): string {
  return text.replace(/\r?\n[ \t\v\f]+(?=\r?\n|$)/g, '')
}

function withEol(field: HeaderField, eol: Eol): Buffer {
  return Buffer.concat([field.bytes, Buffer.from(eol, 'latin1')])
}

/** Of the body, what the exactness header says. */
export type AboutBody = Partial<
  Pick<
    Exactness,
    | 'takesRest'
    | 'layout'
    | 'endingCounted'
    | 'patch'
    | 'lateNonce'
    | 'place'
    | 'leaves'
    | 'leafCount'
    | 'endNonce'
    | 'bareDelimiter'
    | 'structureSoFar'
    | 'structure'
    | 'sizes'
    | 'padded'
  >
>

export interface FinishedHeaders {
  /** The part's own block, to its blank line. */
  readonly bytes: Buffer
  /** What names the exactness header among others ({@link boundOf}); null: there is none. */
  readonly exactness: Buffer | null
}

export function finishHeaders(draft: HeaderDraft, about: AboutBody, key: SealingKey): FinishedHeaders {
  const { eol } = draft
  const { root, injected } = draft.plan
  const out = [...draft.lines]
  const exact: Exactness = { ...draft.exact, ...about }
  let exactness: Buffer | null = null
  if (root !== null || draft.namesake || !isNothingSpecial(exact)) {
    const fb0 = key.random(FEEDBACK_OCTETS)
    exactness = Buffer.from(boundOf(fb0), 'latin1')
    out.push(printSealedHeader(key.keyAndSeed, printExactness(exact, fb0, eol), fb0, eol))
  }
  if (root !== null && root.xchg !== null) out.push(Buffer.from(`X-VESmail-Xchg: ${root.xchg}\r\n`, 'latin1'))
  if (root !== null && root.verify !== null) out.push(Buffer.from(`X-VESmail-Verify: ${root.verify}\r\n`, 'latin1'))
  const type =
    injected === null
      ? leafLines(draft)
      : `X-VESmail-Part: injected${eol}Content-Type: multipart/alternative;${eol}\tboundary="${injected}"${eol}`
  out.push(Buffer.from(type + eol, 'latin1'))
  return { bytes: Buffer.concat(out), exactness }
}

/** Delimiter and header of the part in the injected container; null where there is none. */
export function injectedStart(draft: HeaderDraft): Buffer | null {
  const { injected } = draft.plan
  if (injected === null) return null
  const start = Buffer.from(`\r\n--${injected}\r\n`, 'latin1')
  return Buffer.concat([start, ...draft.moved, Buffer.from(leafLines(draft) + draft.eol, 'latin1')])
}

function leafLines({ eol, plan }: HeaderDraft): string {
  if (plan.judged.kind !== 'leaf') return ''
  const body = plan.injected !== null || plan.encapsulation === 'alt' ? `X-VESmail-Part: body${eol}` : ''
  return `${body}Content-Type: ${SEALED_TYPE}${eol}Content-Transfer-Encoding: base64${eol}`
}
