/**
 * What the gateway's own view of a message answers, without a gateway: the whole FETCH line as the server would print it.
 * Used by `oracle --view` and by the test that records fixtures.
 */
import { Cursor } from '../../src/engine/imap/cursor.ts'
import { type FetchItem, parseFetchItems } from '../../src/engine/imap/fetch-items.ts'
import { answerItem } from '../../src/engine/imap/view/answer.ts'
import { type MessageView, maskNuls } from '../../src/engine/imap/view/message-view.ts'
import { StructureScanner } from '../../src/engine/imap/view/scanner.ts'
import { ServedOctets } from '../../src/engine/imap/view/served-octets.ts'

export interface Viewed {
  readonly served: Buffer
  readonly view: MessageView
}

export function viewOf(octets: Buffer): Viewed {
  const normal = new ServedOctets()
  const served = Buffer.concat([...normal.push(octets), ...normal.end()])
  const scanner = new StructureScanner()
  scanner.push(served)
  return { served, view: scanner.end() }
}

/** Attributes the server prints first, whatever the order asked. */
const FIRST = new Set(['UID', 'RFC822.SIZE'])

/** `* n FETCH (…)`; null when an item is not about content. */
export function expectedLine({ served, view }: Viewed, number: number, uidForm: boolean, items: string): Buffer | null {
  const parsed = parseFetchItems(new Cursor(Buffer.from(items)))
  const wanted: FetchItem[] = uidForm ? [{ kind: 'attribute', text: 'UID' }, ...parsed] : parsed
  const answers = new Map<string, Buffer>()
  for (const [index, item] of wanted.entries()) {
    if (item.kind === 'attribute') {
      if (item.text !== 'UID') return null
      answers.set('UID', Buffer.from(`UID ${number}`))
    } else if (item.kind === 'binary' || item.kind === 'binary-size' || item.kind === 'preview') return null
    else {
      const pieces = answerItem(view, item)
      const octets = pieces.map((piece) =>
        'bytes' in piece ? piece.bytes : maskNuls(served.subarray(piece.start, piece.end)),
      )
      const key = item.kind === 'size' ? 'RFC822.SIZE' : item.kind === 'section' ? `section ${index}` : item.kind
      if (!answers.has(key)) answers.set(key, Buffer.concat(octets))
    }
  }
  const ordered = [...answers].filter(([key]) => FIRST.has(key)).concat([...answers].filter(([key]) => !FIRST.has(key)))
  const words = ordered.flatMap(([, octets], index) => (index === 0 ? [octets] : [Buffer.from(' '), octets]))
  return Buffer.concat([Buffer.from(`* ${number} FETCH (`), ...words, Buffer.from(')\r\n')])
}
