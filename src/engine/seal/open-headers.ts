/**
 * One header block of an encrypted message, opened (message-format.md §5), and with what its exactness says (§6).
 */
import { GatewayError } from '../../base/errors.ts'
import { type ContentType, lenientContentType, plainContentType, transferEncoding } from '../mime/content-type.ts'
import { type Eol, fieldName, type HeaderBlock, type HeaderField, unfoldedValue } from '../mime/header-block.ts'
import { CANONICAL_BASE64 } from '../mime/transfer/base64-layout.ts'
import type { BodyEncoding } from './body-encoding.ts'
import { openSealedHeader, sealedHeaderOctets } from './encrypted-header.ts'
import { boundOf, type Exactness, NOTHING_SPECIAL, parseExactness } from './exactness.ts'
import { ID_SUFFIX, SEALED_TYPES } from './format.ts'
import type { MessageKey } from './message-key.ts'
import { dropSealedReferences } from './references.ts'
import { countsInPlain, EXACTNESS_PLACE } from './structure.ts'

export interface OpeningKey {
  readonly key: MessageKey
  /** Key and seed of an AES256GCM1K key. */
  readonly keyAndSeed: Uint8Array
}

/** Never part of the opened message. */
const DROPPED: ReadonlySet<string> = new Set(['x-vesmail-part', 'x-vesmail-xchg', 'x-vesmail-id', 'x-vesmail-verify'])

export interface OpenedBlock {
  /** As it was before sealing, its blank line with it. */
  readonly bytes: Buffer
  /** Fields that count as the root's structure (`structure.ts`), without their line ends. */
  readonly counted: readonly Buffer[]
  readonly exact: Exactness
  /** Names the exactness header of this block among others ({@link boundOf}); null: it has none, another gateway sealed it. */
  readonly exactness: Buffer | null
  /** X-VESmail-Part, lower case; '' = none. */
  readonly part: string
  /** The Content-Type that stands in plain; null = none. */
  readonly type: ContentType | null
  /** The body is ciphertext. */
  readonly sealedLeaf: boolean
  /** The transfer encoding to be made again, by the encrypted header. */
  readonly encoding: BodyEncoding
}

interface Entry {
  readonly field: HeaderField
  readonly sealed: boolean
}

/** @param rootId the message's id where this is the root @throws GatewayError SEAL_BROKEN */
export function openHeaders(block: HeaderBlock, rootId: string | null, opening: OpeningKey): OpenedBlock {
  const entries: Entry[] = []
  let exact: Exactness | null = null
  let exactness: Buffer | null = null
  let place = 0
  for (const field of block.fields) {
    if (field.name !== 'x-vesmail-header') {
      entries.push({ field, sealed: false })
      continue
    }
    const sealed = sealedHeaderOctets(unfoldedValue(field))
    const bytes = openSealedHeader(opening.key, opening.keyAndSeed, sealed)
    const parsed = parseExactness(bytes, sealed)
    if (parsed !== null) {
      exact = parsed
      exactness = Buffer.from(boundOf(sealed), 'latin1')
      place = entries.length
    } else entries.push({ field: { name: fieldName(bytes) ?? '', bytes, eol: field.eol }, sealed: true })
  }
  const plain = (name: string) => entries.find(({ field, sealed }) => !sealed && field.name === name)?.field
  const partField = plain('x-vesmail-part')
  const part = partField === undefined ? '' : unfoldedValue(partField).toLowerCase()
  const typeField = plain('content-type')
  const type =
    typeField === undefined ? null : ((exact && plainContentType(typeField)) ?? lenientContentType(typeField))
  const sealedLeaf = type !== null && SEALED_TYPES.has(type.type)
  const filter = new Filter(entries, {
    rootId,
    sealedLeaf,
    injected: part === 'injected',
    added: exact?.messageIdAdded === true,
  })
  const kept = filter.run(place)
  const counted = rootId === null ? [] : countedOf(kept.fields, exact === null ? -1 : kept.place)
  const about = exact ?? NOTHING_SPECIAL
  const sealedEncoding = entries.filter((e) => e.sealed && e.field.name === 'content-transfer-encoding')
  return {
    bytes: Buffer.concat([...restore(kept.fields, kept.place, about), about.blank ?? block.blank]),
    counted,
    exact: about,
    exactness,
    part,
    type,
    sealedLeaf,
    encoding: encodingOf(
      sealedEncoding.map((e) => e.field),
      about,
    ),
  }
}

/** @param place of the exactness header; -1: there is none */
function countedOf(fields: readonly Kept[], place: number): Buffer[] {
  const counted: Buffer[] = []
  for (let i = 0; i <= fields.length; i++) {
    if (i === place) counted.push(EXACTNESS_PLACE)
    const field = fields[i]
    if (field !== undefined && (field.sealed || countsInPlain(field.name))) counted.push(field.bytes)
  }
  return counted
}

/**
 * @throws GatewayError SEAL_BROKEN where the body's exactness is about another encoding: the header that tells it was
 * taken away, or is another part's, and the patches would be put into a text that they were not made for
 */
function encodingOf(fields: readonly HeaderField[], exact: Exactness): BodyEncoding {
  const encoding = transferEncoding(fields)
  const isPatched = exact.patch !== null || exact.lateNonce !== null
  const isCoded = encoding === 'base64' || encoding === 'quoted-printable'
  if ((isPatched && !isCoded) || (exact.layout !== null && encoding !== 'base64')) {
    throw new GatewayError('SEAL_BROKEN', { what: 'encoding of a part' })
  }
  switch (encoding) {
    case 'base64':
      return { kind: 'base64', layout: exact.layout ?? CANONICAL_BASE64 }
    case 'quoted-printable':
      return { kind: 'quoted-printable' }
    default:
      return { kind: 'none' }
  }
}

interface Kept {
  readonly name: string
  readonly sealed: boolean
  bytes: Buffer
  readonly eol: Eol
}

interface FilterRules {
  readonly rootId: string | null
  readonly sealedLeaf: boolean
  readonly injected: boolean
  /** The Message-ID is sealing's own. */
  readonly added: boolean
}

/** Leaves out what sealing wrote, and turns back what it changed. */
class Filter {
  readonly #entries: readonly Entry[]
  readonly #rules: FilterRules
  readonly #sealedNames: ReadonlySet<string>

  constructor(entries: readonly Entry[], rules: FilterRules) {
    this.#entries = entries
    this.#rules = rules
    this.#sealedNames = new Set(entries.filter((e) => e.sealed).map((e) => e.field.name))
  }

  /** @param place index among all entries @returns the headers kept, and the index among them */
  run(place: number): { readonly fields: Kept[]; readonly place: number } {
    const fields: Kept[] = []
    let keptPlace = 0
    for (const [i, { field, sealed }] of this.#entries.entries()) {
      if (i === place) keptPlace = fields.length
      const bytes = sealed ? field.bytes : this.#plain(field)
      if (bytes !== null) fields.push({ name: field.name, sealed, bytes, eol: field.eol })
    }
    if (place === this.#entries.length) keptPlace = fields.length
    return { fields, place: keptPlace }
  }

  #plain(field: HeaderField): Buffer | null {
    const { rootId, sealedLeaf, injected, added } = this.#rules
    const { name, bytes } = field
    if (DROPPED.has(name)) return null
    if ((name === 'subject' || name === 'content-disposition') && this.#sealedNames.has(name)) return null
    if (name === 'content-type' && (sealedLeaf || injected)) return null
    if (name === 'content-transfer-encoding' && sealedLeaf) return null
    if (rootId === null) return bytes
    if (name === 'references') return Buffer.from(dropSealedReferences(bytes.toString('latin1')), 'latin1')
    if (name !== 'message-id') return bytes
    if (added) return null
    const text = bytes.toString('latin1')
    const own = `<${rootId}${ID_SUFFIX}>`
    // A provider may have put another id here; ours is in X-VESmail-ID.
    return Buffer.from(
      text.includes(own) ? text.replace(own, () => `<${rootId}>`) : `Message-ID: <${rootId}>`,
      'latin1',
    )
  }
}

/** Puts back what the exactness header says. Linear in the fields and its entries. */
function restore(fields: Kept[], place: number, exact: Exactness): Buffer[] {
  if (exact.replaced.length > 0) {
    const places = new Map<string, number[]>()
    for (let i = place - 1; i >= 0; i--) {
      const { name } = fields[i]!
      const list = places.get(name)
      if (list === undefined) places.set(name, [i])
      else list.push(i)
    }
    for (const { back, bytes } of exact.replaced) {
      const at = places.get(fieldName(bytes) ?? '')?.[back - 1]
      if (at !== undefined) fields[at]!.bytes = bytes
    }
  }
  const inserted = new Map<number, Buffer[]>()
  for (const { back, bytes } of exact.inserted) {
    const at = Math.max(0, place - back)
    const list = inserted.get(at)
    if (list === undefined) inserted.set(at, [bytes])
    else list.push(bytes)
  }
  const out: Buffer[] = []
  for (let i = 0; i <= fields.length; i++) {
    for (const bytes of inserted.get(i) ?? []) out.push(bytes)
    const field = fields[i]
    if (field === undefined) break
    // One that was put back has its line end, or none, in itself.
    const isOpen = exact.lastHeaderOpen && i === place - 1 && !inserted.has(place)
    out.push(isOpen ? field.bytes : Buffer.concat([field.bytes, Buffer.from(field.eol, 'latin1')]))
  }
  return out
}
