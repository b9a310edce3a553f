/**
 * The sizes that a server tells of a message: RFC822.SIZE, and octets and lines of each leaf and nested message. Apart
 * from the message, so that they can be remembered when it is gone, and put on a view whose own sizes are not known.
 */
import type { SealedSizes } from '../seal/exactness.ts'
import type { ContentFields } from './view/content-fields.ts'
import type { HeaderField } from './view/header-fields.ts'
import type { MessageView, PartKind, PartView, Size } from './view/message-view.ts'

export interface MessageSizes {
  /** Of the sealed message, as the server has it: a check that it is the same one. */
  readonly sealedOctets: number
  /** RFC822.SIZE of the opened one. */
  readonly octets: number
  /** Leaves and nested messages in MIME order, a message before its own parts. */
  readonly parts: readonly PartSize[]
}

/** In place of sizes: whatever tells them was found wrong, so that the message has to be read. No message has them. */
export const DISTRUSTED: MessageSizes = { sealedOctets: 0, octets: 0, parts: [] }

export function isDistrusted({ sealedOctets, octets, parts }: MessageSizes): boolean {
  return sealedOctets === 0 && octets === 0 && parts.length === 0
}

interface PartSize {
  readonly kind: 'leaf' | 'message'
  readonly octets: number
  readonly lines: number
}

/** Larger structures are read again. */
const MAX_PARTS = 100

/** @param view whole; or with estimates, which then are what is remembered */
export function sizesOf(view: MessageView, sealedOctets: number): MessageSizes {
  return { sealedOctets, octets: view.size.octets, parts: partSizes(view.root) }
}

export function sameSizes(a: MessageSizes, b: MessageSizes): boolean {
  return (
    a.octets === b.octets &&
    a.parts.length === b.parts.length &&
    a.parts.every((part, i) => samePart(part, b.parts[i]!))
  )
}

/** Does the message itself declare these (message-format.md §6)? Then nobody needs to remember them. */
export function isDeclared(
  { octets, parts }: MessageSizes,
  declared: SealedSizes | null,
  headerOctets: number,
): boolean {
  if (declared?.parts == null || declared.body.octets !== octets - headerOctets) return false
  const { parts: listed } = declared
  return listed.length === parts.length && parts.every((part, i) => samePart(part, listed[i]!))
}

function samePart(a: PartSize, b: { kind: string; octets: number | null; lines: number | null }): boolean {
  return a.kind === b.kind && a.octets === b.octets && a.lines === b.lines
}

/** The view with these sizes. Null: they are of another structure. */
export function withSizes(view: MessageView, sizes: MessageSizes): MessageView | null {
  const parts = [...sizes.parts]
  let fits = true
  const sized = (part: PartView, parent: PartView | null): SizedPart => {
    const own = part.kind === 'multipart' ? null : parts.shift()
    if (own === undefined || (own !== null && own.kind !== part.kind)) fits = false
    const copy = new SizedPart(part, parent, own ?? part.body)
    for (const child of part.children) copy.children.push(sized(child, copy))
    return copy
  }
  const body = sizes.octets - view.root.header.octets
  const root = sized(view.root, null)
  // BODY[] of a multipart goes by it.
  if (root.kind === 'multipart') root.body = { octets: body, lines: 0 }
  if (!fits || parts.length > 0 || body < 0) return null
  return { ...view, root, size: { octets: sizes.octets, lines: view.size.lines } }
}

/** A part with another size. Its body begins where it did: offsets of later parts are not to be used. */
class SizedPart implements PartView {
  readonly kind: PartKind
  readonly parent: PartView | null
  readonly children: PartView[] = []
  readonly start: number
  readonly header: Readonly<Size>
  body: Readonly<Size>
  readonly headerOctets: Buffer
  readonly #of: PartView

  constructor(of: PartView, parent: PartView | null, body: Readonly<Size>) {
    this.kind = of.kind
    this.parent = parent
    this.start = of.start
    this.header = of.header
    this.body = body
    this.headerOctets = of.headerOctets
    this.#of = of
  }

  get fields(): readonly HeaderField[] {
    return this.#of.fields
  }

  get content(): ContentFields {
    return this.#of.content
  }
}

function partSizes(part: PartView): PartSize[] {
  const inner = part.children.flatMap(partSizes)
  if (part.kind === 'multipart') return inner
  return [{ kind: part.kind, octets: part.body.octets, lines: part.body.lines }, ...inner]
}

const LETTERS = { leaf: 'l', message: 'm' } as const

/** For the size memory: `sealed octets l100.2 m30.4 …`. Null: too many parts to be kept. */
export function encodeSizes({ sealedOctets, octets, parts }: MessageSizes): Buffer | null {
  if (parts.length > MAX_PARTS) return null
  const words = parts.map((part) => `${LETTERS[part.kind]}${part.octets}.${part.lines}`)
  return Buffer.from([sealedOctets, octets, ...words].join(' '), 'latin1')
}

/** Null: not readable, so not known. */
export function decodeSizes(value: Buffer): MessageSizes | null {
  const [sealed, octets, ...words] = value.toString('latin1').split(' ')
  const parts = words.map((word): PartSize | null => {
    const match = /^([lm])(\d{1,15})\.(\d{1,15})$/.exec(word)
    if (match === null) return null
    return { kind: match[1] === 'l' ? 'leaf' : 'message', octets: Number(match[2]), lines: Number(match[3]) }
  })
  if (!isCount(sealed) || !isCount(octets) || words.length > MAX_PARTS) return null
  if (!parts.every((part) => part !== null)) return null
  return { sealedOctets: Number(sealed), octets: Number(octets), parts }
}

function isCount(word: string | undefined): word is string {
  return word !== undefined && /^\d{1,15}$/.test(word)
}
