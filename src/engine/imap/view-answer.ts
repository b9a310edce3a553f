/** Content items of an opened message, as the server would print them; and for large ones, what they are made of. */
import { GatewayError } from '../../base/errors.ts'
import type { ContentItem } from './fetch-items.ts'
import { leavesOf, type Outline } from './outline.ts'
import { answerItem, type ViewItem } from './view/answer.ts'
import { type MessageView, maskNuls } from './view/message-view.ts'
import { findPart } from './view/sections.ts'

/** Octets to send in order: at hand; of the opened message; or of one of its leaves. `end` exclusive. */
export type AnswerPiece =
  | { readonly bytes: Buffer }
  | { readonly start: number; readonly end: number }
  | { readonly leaf: number; readonly start: number; readonly end: number }

/** Name and value as one buffer, of a message that is held whole. */
export function answerContent(view: MessageView, content: Buffer, item: ContentItem): Buffer {
  const pieces = answerItem(view, viewItem(item)).map((piece) => {
    if ('bytes' in piece) return piece.bytes
    const octets = content.subarray(piece.start, piece.end)
    return view.hasNuls ? maskNuls(octets) : octets
  })
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
}

/** From the whole view, offsets known. */
export function piecesOf(view: MessageView, item: ContentItem): AnswerPiece[] {
  return answerItem(view, viewItem(item))
}

/** From an outline, where no offsets are known but the root's; null: it does not say enough. */
export function outlinePieces(outline: Outline, item: ContentItem): AnswerPiece[] | null {
  const { view } = outline
  if (item.kind === 'size') return outline.totalKnown ? answerItem(view, item) : null
  if (item.kind === 'body' || item.kind === 'bodystructure') return outline.sizesKnown ? answerItem(view, item) : null
  if (item.kind !== 'section') return answerItem(view, viewItem(item))
  const { part: path, text } = item.section
  if (path.length === 0 && (text === null || text === 'TEXT')) {
    return outline.totalKnown && outline.hasParts ? answerItem(view, item) : null
  }
  if (path.length === 0) return answerItem(view, item)
  if (!outline.hasParts) return null
  if (text !== null && text !== 'TEXT') return answerItem(view, item)
  const part = findPart(view.root, path)
  if (part === null) return answerItem(view, item)
  if (text === 'TEXT' || part.kind !== 'leaf' || !outline.sizesKnown) return null
  const leaf = leavesOf(view.root).indexOf(part)
  const bodyAt = part.start + part.header.octets
  return answerItem(view, item).map((piece) =>
    'bytes' in piece ? piece : { leaf, start: piece.start - bodyAt, end: piece.end - bodyAt },
  )
}

/** @throws {GatewayError} INTERNAL for items that are refused before */
function viewItem(item: ContentItem): ViewItem {
  if (item.kind === 'binary' || item.kind === 'binary-size' || item.kind === 'preview') {
    throw new GatewayError('INTERNAL', { item: item.kind })
  }
  return item
}
