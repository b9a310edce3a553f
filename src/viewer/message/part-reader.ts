/**
 * An opened message taken apart for reading: octets in, a tree of parts out, bodies decoded. Whatever comes, some tree
 * comes out; what is malformed is read as text. Not what is shown of it: see `view.ts`.
 */
import { GatewayError } from '../../base/errors.ts'
import { type MediaType, parseMediaType, parseParameters } from '../../engine/imap/view/parameters.ts'
import { Words } from '../../engine/imap/view/words.ts'
import { type TransferEncoding, transferEncoding } from '../../engine/mime/content-type.ts'
import { type HeaderBlock, type HeaderField, unfoldedValue } from '../../engine/mime/header-block.ts'
import { MAX_BOUNDARY_OCTETS, MAX_CONTAINERS, MAX_NESTING, MAX_SEALED_HEADER_OCTETS } from '../../engine/mime/limits.ts'
import { type MimeEvent, MimeReader, type PartKind } from '../../engine/mime/reader.ts'
import { maxBase64Decoded } from '../../engine/mime/transfer/codecs.ts'
import { jsCodecs } from '../../engine/mime/transfer/js-codecs.ts'
import { parameterOf } from './text.ts'

export interface Part {
  /** Where its header begins in the message, in octets; null: in a message that came encoded. */
  readonly at: number | null
  /** `type/subtype`, lower case. */
  readonly type: string
  readonly media: MediaType
  readonly fields: readonly HeaderField[]
  /** `inline`, `attachment`, …, lower case; null = nothing is said. */
  readonly disposition: string | null
  readonly fileName: string | null
  /** Without angle brackets. */
  readonly contentId: string | null
  /** Of a multipart; or the one message of a message/rfc822. */
  readonly children: Part[]
  /** Of a leaf: its decoded octets. Of a nested message: the octets of that. Of a multipart: what is in it before any part. */
  readonly content: Uint8Array[]
  /** False: the message ended in the middle of it. */
  complete: boolean
}

/**
 * Messages that came encoded, within each other. An encoding of them is forbidden (RFC 2046 §5.2.1) and used all the same,
 * rarely more than once; each costs a copy, which is what this bounds.
 */
const MAX_ENCODED_MESSAGES = 3

/** Where a reader stands that reads a message out of an encoded part. */
interface Outer {
  readonly depth: number
  readonly containers: number
  readonly encoded: number
}

const OUTERMOST: Outer = { depth: 0, containers: 0, encoded: 0 }

export class PartReader {
  readonly #reader = new MimeReader(MAX_SEALED_HEADER_OCTETS)
  /** The parts that are open, the root first. */
  readonly #open: Part[] = []
  /** Nested messages, whose octets are kept as they are. */
  readonly #messages: Part[] = []
  #root: Part | null = null
  /** Octets read. */
  #octets = 0
  #decode: ((octets: Uint8Array | null) => Uint8Array) | null = null
  readonly #outer: Outer
  /** Those around count: no way to write a message has more of them. */
  #containers: number

  constructor(outer = OUTERMOST) {
    this.#outer = outer
    this.#containers = outer.containers
  }

  /** The buffer is kept. @throws GatewayError MIME_HEADER_TOO_LARGE */
  push(octets: Buffer): void {
    this.#reader.push(octets)
    this.#run()
  }

  /** Of what was pushed, up to the last event; a header that did not end comes behind. */
  get readOctets(): number {
    return this.#octets
  }

  /** @param cut the message goes on, but not here @returns the root; null where there was nothing at all */
  end(cut: boolean): Part | null {
    if (cut) {
      for (const part of this.#open) part.complete = false
      if (this.#decode !== null) this.#endLeaf(this.#open.at(-1)!, true)
      return this.#root
    }
    this.#reader.end()
    this.#run()
    return this.#root
  }

  #run(): void {
    for (let event = this.#reader.next(); event !== null; event = this.#reader.next()) {
      if (event.on === 'finished') return
      this.#take(event)
    }
  }

  #take(event: Exclude<MimeEvent, { on: 'finished' }>): void {
    switch (event.on) {
      case 'headers':
        this.#keep(event.block.bytes)
        this.#enter(event.block)
        this.#octets += event.block.bytes.length
        break
      case 'body':
        this.#keep(event.bytes)
        this.#octets += event.bytes.length
        this.#open.at(-1)!.content.push(this.#decode!(event.bytes))
        break
      case 'text': {
        this.#keep(event.bytes)
        this.#octets += event.bytes.length
        const part = this.#open.at(-1)
        // Where no delimiter comes, this is all that there is to read.
        if (part !== undefined && part.children.length === 0) part.content.push(event.bytes)
        break
      }
      case 'delimiter':
        this.#keep(Buffer.from(event.eol, 'latin1'))
        this.#keep(event.line)
        this.#octets += event.eol.length + event.line.length
        break
      case 'end': {
        const part = this.#open.pop()!
        if (this.#decode !== null) this.#endLeaf(part, false)
        this.#decode = null
        if (part === this.#messages.at(-1)) this.#messages.pop()
        break
      }
      case 'no-part':
        break
    }
  }

  #endLeaf(part: Part, cut: boolean): void {
    part.content.push(this.#decode!(null))
    if (isMessage(part) && encodingOf(part) !== 'other') this.#readWithin(part, cut)
  }

  /** A message that came encoded is read when it is whole, and is what its part holds, as if it were not. */
  #readWithin(part: Part, cut: boolean): void {
    const depth = this.#outer.depth + this.#reader.depth + 1
    const encoded = this.#outer.encoded + 1
    if (encoded > MAX_ENCODED_MESSAGES || depth >= MAX_NESTING || this.#containers >= MAX_CONTAINERS) return
    const within = new PartReader({ depth, containers: ++this.#containers, encoded })
    try {
      within.push(Buffer.concat(part.content))
      const root = within.end(cut)
      if (root !== null) part.children.push(root)
    } catch (error) {
      // It stays what it is without: a file to save.
      if (!(error instanceof GatewayError)) throw error
    }
    this.#containers = within.#containers
  }

  #keep(octets: Uint8Array): void {
    if (octets.length > 0) for (const message of this.#messages) message.content.push(octets)
  }

  #enter(block: HeaderBlock): void {
    const parent = this.#open.at(-1)
    const at = this.#outer === OUTERMOST ? this.#octets : null
    const part = partOf(block.fields, parent, at)
    parent?.children.push(part)
    this.#root ??= part
    this.#open.push(part)
    const kind = this.#kindOf(part)
    if (kind.kind === 'leaf') this.#decode = decoderOf(part)
    else this.#containers++
    if (kind.kind === 'message') this.#messages.push(part)
    this.#reader.enter(kind)
  }

  #kindOf(part: Part): PartKind {
    const { type, media } = part
    if (this.#outer.depth + this.#reader.depth >= MAX_NESTING || this.#containers >= MAX_CONTAINERS)
      return { kind: 'leaf' }
    if (isMessage(part)) return { kind: encodingOf(part) === 'identity' ? 'message' : 'leaf' }
    // An encoding of a multipart is forbidden, written all the same, and means nothing (RFC 2045 §6.4).
    const boundary = type.startsWith('multipart/')
      ? media.parameters.find(({ name }) => name.toLowerCase() === 'boundary')?.value
      : undefined
    const usable = boundary !== undefined && boundary !== '' && boundary.length <= MAX_BOUNDARY_OCTETS
    return usable ? { kind: 'multipart', boundary } : { kind: 'leaf' }
  }
}

function isMessage({ type }: Part): boolean {
  return type === 'message/rfc822' || type === 'message/global'
}

function encodingOf({ fields }: Part): TransferEncoding {
  return transferEncoding(named(fields, 'content-transfer-encoding'))
}

export function named(fields: readonly HeaderField[], name: string): HeaderField[] {
  return fields.filter((field) => field.name === name)
}

function partOf(fields: readonly HeaderField[], parent: Part | undefined, at: number | null): Part {
  const value = (name: string): string | null => {
    const [field] = named(fields, name)
    return field === undefined ? null : unfoldedValue(field)
  }
  const media = parseMediaType(value('content-type') ?? '')
  const fallback = parent?.type === 'multipart/digest' ? 'message/rfc822' : 'text/plain'
  const type = media.type === '' || media.subtype === '' ? fallback : `${media.type}/${media.subtype}`.toLowerCase()
  const disposition = value('content-disposition')
  const words = new Words(disposition ?? '')
  const kind: string[] = []
  words.skipSpace()
  words.token(kind)
  return {
    at,
    type,
    media,
    fields,
    disposition: disposition === null ? null : kind.join('').toLowerCase(),
    fileName: parameterOf(parseParameters(words), 'filename') ?? parameterOf(media.parameters, 'name'),
    contentId: value('content-id')?.replace(/^<(.*)>$/, '$1') ?? null,
    children: [],
    content: [],
    complete: true,
  }
}

/** Pieces of a body in, decoded octets out; null at its end. */
function decoderOf(part: Part): (octets: Uint8Array | null) => Uint8Array {
  switch (encodingOf(part)) {
    case 'base64':
      return base64Decoder()
    case 'quoted-printable':
      return quotedPrintableDecoder()
    default:
      return (octets) => octets ?? new Uint8Array(0)
  }
}

function base64Decoder(): (octets: Uint8Array | null) => Uint8Array {
  const carry = new Uint32Array(2)
  return (octets) => {
    const input = octets ?? new Uint8Array(0)
    const out = new Uint8Array(maxBase64Decoded(input.length))
    return out.subarray(0, jsCodecs.decodeBase64(input, carry, octets === null, out))
  }
}

function quotedPrintableDecoder(): (octets: Uint8Array | null) => Uint8Array {
  const consumed = new Uint32Array(1)
  let held: Uint8Array = new Uint8Array(0)
  return (octets) => {
    const input = Buffer.concat([held, octets ?? new Uint8Array(0)])
    const out = new Uint8Array(input.length)
    const written = jsCodecs.decodeQuotedPrintable(input, octets === null, consumed, out)
    held = Uint8Array.from(input.subarray(consumed[0]))
    return out.subarray(0, written)
  }
}
