/**
 * What is shown of a message: its headers in words, its texts in order, its attachments. Decides which alternative is
 * the message's body, which images belong into the text and what is only there to be saved. HTML stays as it was
 * written: cleaning it needs a browser's parser (`page/html.ts`).
 */
import { unfoldedValue } from '../../engine/mime/header-block.ts'
import { MAX_LISTED_PARTS } from '../../engine/seal/exactness.ts'
import { named, type Part } from './part-reader.ts'
import { decodeText, decodeWords, parameterOf } from './text.ts'

export interface ShownMessage {
  readonly subject: string
  readonly from: string
  readonly to: string
  readonly cc: string
  /** As written; empty where there is none. */
  readonly date: string
  readonly sections: readonly Section[]
  readonly attachments: readonly Attachment[]
}

export type Section =
  | { readonly kind: 'text'; readonly text: string; readonly complete: boolean; readonly unsealed?: true }
  | {
      readonly kind: 'html'
      /** As the sender wrote it: not to be trusted. */
      readonly html: string
      /** By Content-ID. */
      readonly images: readonly InlineImage[]
      /** The same in plain text, where the sender gave it. */
      readonly text: string | null
      readonly complete: boolean
      /** It is not the sender's: it came in plain. */
      readonly unsealed?: true
    }
  | { readonly kind: 'message'; readonly message: ShownMessage; readonly unsealed?: true }

export interface InlineImage {
  readonly contentId: string
  readonly type: string
  readonly octets: Blob
}

export interface Attachment {
  readonly name: string
  readonly type: string
  readonly octets: Blob
  readonly complete: boolean
  readonly unsealed?: true
}

/** What a browser draws without running anything; SVG is a document. */
const IMAGES: ReadonlySet<string> = new Set([
  'image/png',
  'image/jpeg',
  'image/gif',
  'image/webp',
  'image/bmp',
  'image/avif',
])

/** @param unsealedAt where parts begin that came in plain (`OpenFacts`) */
export function viewOf(root: Part, unsealedAt: readonly number[] = []): ShownMessage {
  const listed = new Set(unsealedAt)
  // What comes behind a full list nobody vouches for: put in first, a thousand empty parts would hide the next.
  const last = unsealedAt.length < MAX_LISTED_PARTS ? Number.POSITIVE_INFINITY : unsealedAt.at(-1)!
  return viewWith(root, (at) => listed.has(at) || at > last)
}

type IsUnsealed = (at: number) => boolean

function viewWith(root: Part, isUnsealed: IsUnsealed): ShownMessage {
  const gathered = new Gathered(isUnsealed)
  gathered.part(root)
  const words = (name: string): string =>
    named(root.fields, name)
      .map((field) => decodeWords(unfoldedValue(field)))
      .join(', ')
  return {
    subject: words('subject'),
    from: words('from'),
    to: words('to'),
    cc: words('cc'),
    date: words('date'),
    sections: gathered.sections,
    attachments: gathered.attachments,
  }
}

class Gathered {
  readonly #isUnsealed: IsUnsealed
  readonly sections: Section[] = []
  readonly attachments: Attachment[] = []

  constructor(isUnsealed: IsUnsealed) {
    this.#isUnsealed = isUnsealed
  }

  /** Of a part that is the sender's: nothing. */
  #mark(part: Part): { readonly unsealed?: true } {
    return this.#isPutIn(part) ? { unsealed: true } : {}
  }

  /** Listed are parts without parts: one around nothing else was put in with them. */
  #isPutIn({ at, children }: Part): boolean {
    if (at !== null && this.#isUnsealed(at)) return true
    return children.length > 0 && children.every((child) => this.#isPutIn(child))
  }

  /** What came in plain is never chosen in place of what the sender wrote, nor as another form of it: it is shown behind. */
  #apart(children: readonly Part[]): { readonly own: readonly Part[]; readonly putIn: readonly Part[] } {
    const putIn = children.filter((child) => this.#isPutIn(child))
    if (putIn.length === children.length) return { own: children, putIn: [] }
    return { own: children.filter((child) => !putIn.includes(child)), putIn }
  }

  part(part: Part): void {
    if (part.type.startsWith('multipart/')) this.#multipart(part)
    else if (part.disposition === 'attachment') this.#attach(part)
    else if (part.type === 'text/html') this.#html(part, [], null)
    else if (part.type === 'text/plain') this.#text(part)
    else this.#attach(part)
  }

  #multipart(part: Part): void {
    // Without parts: what is there in their place, since nothing may be lost.
    if (part.children.length === 0) this.#text(part)
    else if (part.type === 'multipart/alternative') this.#alternative(part)
    else if (part.type === 'multipart/related') this.#related(part, null)
    else for (const child of part.children) this.part(child)
  }

  #text(part: Part): void {
    const text = textOf(part)
    if (text.trim() !== '') this.sections.push({ kind: 'text', text, complete: part.complete, ...this.#mark(part) })
  }

  /** The richest that can be shown, which stands last; the others of its texts are that text. */
  #alternative(part: Part): void {
    const { own: children, putIn } = this.#apart(part.children)
    const plain = children.find(({ type }) => type === 'text/plain')
    const rich = children.findLast((child) => child.type === 'text/html' || isRelatedHtml(child))
    const chosen = rich ?? children.findLast((child) => child.type.startsWith('multipart/')) ?? plain ?? children.at(-1)
    for (const child of children) {
      if (child === chosen) {
        const text = plain === undefined ? null : textOf(plain)
        if (child.type === 'text/html') this.#html(child, [], text)
        else if (child.type === 'multipart/related') this.#related(child, text)
        else this.part(child)
      } else if (!child.type.startsWith('text/') || child.type === 'text/calendar') {
        if (!child.type.startsWith('multipart/')) this.#attach(child)
      }
    }
    for (const child of putIn) this.part(child)
  }

  #related({ children }: Part, text: string | null): void {
    const [root, ...others] = children
    if (root === undefined) return
    if (root.type === 'text/html') this.#html(root, others, text)
    else {
      if (root.type === 'multipart/alternative') {
        const { own, putIn } = this.#apart(root.children)
        const html = own.findLast(({ type }) => type === 'text/html')
        const plain = own.find(({ type }) => type === 'text/plain')
        if (html !== undefined) {
          this.#html(html, others, plain === undefined ? text : textOf(plain))
          for (const child of putIn) this.part(child)
          return
        }
      }
      for (const child of children) this.part(child)
    }
  }

  #html(part: Part, beside: readonly Part[], text: string | null): void {
    const html = textOf(part)
    const images: InlineImage[] = []
    const others: Part[] = []
    const isOwn = !this.#isPutIn(part)
    for (const child of beside) {
      const isForeign = isOwn && this.#isPutIn(child)
      const shown =
        !isForeign && child.contentId !== null && IMAGES.has(child.type) && html.includes(`cid:${child.contentId}`)
      if (shown) images.push({ contentId: child.contentId!, type: child.type, octets: blobOf(child) })
      else others.push(child)
    }
    this.sections.push({ kind: 'html', html, images, text, complete: part.complete, ...this.#mark(part) })
    for (const child of others) this.part(child)
  }

  #attach(part: Part): void {
    const [message] = part.children
    if (message !== undefined && part.type.startsWith('message/')) {
      this.sections.push({ kind: 'message', message: viewWith(message, this.#isUnsealed), ...this.#mark(part) })
    }
    this.attachments.push({
      name: safeName(part.fileName ?? '') || nameOf(part),
      type: part.type,
      octets: blobOf(part),
      complete: part.complete,
      ...this.#mark(part),
    })
  }
}

function isRelatedHtml({ type, children: [root] }: Part): boolean {
  return type === 'multipart/related' && (root?.type === 'text/html' || root?.type === 'multipart/alternative')
}

function textOf(part: Part): string {
  return decodeText(Buffer.concat(part.content), parameterOf(part.media.parameters, 'charset'))
}

function blobOf(part: Part): Blob {
  // Never the sender's type: a blob of text/html that is opened in a tab would be a page of ours.
  const type = IMAGES.has(part.type) ? part.type : 'application/octet-stream'
  return new Blob(part.content as Uint8Array<ArrayBuffer>[], { type })
}

const EXTENSIONS: Readonly<Record<string, string>> = {
  'message/rfc822': '.eml',
  'text/plain': '.txt',
  'text/html': '.html',
  'text/calendar': '.ics',
  'application/pdf': '.pdf',
  'image/jpeg': '.jpg',
}

function nameOf(part: Part): string {
  const [inner] = part.children
  const subject =
    inner === undefined ? '' : named(inner.fields, 'subject').map((field) => decodeWords(unfoldedValue(field)))[0]
  const name = safeName(subject ?? '') || 'attachment'
  const subtype = /^[a-z0-9]{1,8}$/.exec(part.type.split('/')[1] ?? '')
  return name + (EXTENSIONS[part.type] ?? (subtype === null ? '' : `.${subtype[0]}`))
}

/** No folders, nothing that turns a name around or hides its end, no names that a system keeps for itself. */
export function safeName(name: string): string {
  const plain = name
    .replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g, '')
    .replace(/[/\\:*?"<>|]/g, '_')
    .replace(/^[. ]+|[. ]+$/g, '')
  return plain.slice(-150)
}
