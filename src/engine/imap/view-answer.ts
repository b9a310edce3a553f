/** A content item of an opened message that is held whole: name and value as one buffer, as the server would print them. */
import { GatewayError } from '../../base/errors.ts'
import type { ContentItem } from './fetch-items.ts'
import type { Opened } from './opened.ts'
import { answerItem } from './view/answer.ts'
import { maskNuls } from './view/message-view.ts'

export function answerContent({ view, content }: Opened, item: ContentItem): Buffer {
  if (item.kind === 'binary' || item.kind === 'binary-size' || item.kind === 'preview') {
    throw new GatewayError('INTERNAL', { item: item.kind })
  }
  const pieces = answerItem(view, item).map((piece) => {
    if ('bytes' in piece) return piece.bytes
    const octets = content.subarray(piece.start, piece.end)
    return view.hasNuls ? maskNuls(octets) : octets
  })
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
}
