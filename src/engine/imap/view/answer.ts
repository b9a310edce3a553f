/**
 * One item of a FETCH answer for an opened message, as the server prints it for the same message in plain: its name,
 * echoed the server's way, and its value. Not the line around it, nor items that are not about content.
 */
import type { ContentItem, Section } from '../fetch-items.ts'
import { printStructure } from './body-structure.ts'
import { printEnvelope } from './envelope.ts'
import { upperAscii } from './header-fields.ts'
import { type MessageView, maskNuls } from './message-view.ts'
import { type Piece, resolveSection } from './sections.ts'

/** Items that can be answered from a view. */
export type ViewItem = Exclude<ContentItem, { readonly kind: 'binary' | 'binary-size' | 'preview' }>

/**
 * Name, value and nothing around them. Ranges are of the served message; where `view.hasNuls`, whoever sends them masks
 * the NULs ({@link maskNuls}); the octets given here are masked already.
 */
export function answerItem(view: MessageView, item: ViewItem): Piece[] {
  switch (item.kind) {
    case 'size':
      return text(`RFC822.SIZE ${view.size.octets}`)
    case 'envelope':
      return text(`ENVELOPE (${printEnvelope(view.root.fields)})`)
    case 'body':
      return text(`BODY (${printStructure(view.root, false)})`)
    case 'bodystructure':
      return text(`BODYSTRUCTURE (${printStructure(view.root, true)})`)
    case 'section': {
      const { octets, pieces } = resolveSection(view, item.section, item.partial)
      const origin = item.partial === null ? '' : `<${item.partial.start}>`
      const name = item.name === 'BODY' ? `BODY[${echoSection(item.section)}]${origin}` : item.name
      const announced = text(`${name} {${octets}}\r\n`)
      return [...announced, ...pieces.map((piece) => ('bytes' in piece ? { bytes: maskNuls(piece.bytes) } : piece))]
    }
  }
}

/** The section as the server repeats it. */
function echoSection(section: Section): string {
  const words = [...section.part.map(String), ...(section.text === null ? [] : [section.text])].join('.')
  if (section.fields.length === 0) return words
  return `${words} ${section.echo ?? `(${section.fields.map(upperAscii).join(' ')})`}`
}

function text(latin1: string): Piece[] {
  return [{ bytes: Buffer.from(latin1, 'latin1') }]
}
