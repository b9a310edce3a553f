/**
 * What stands for a message whose key is not shared with this account (profile `unavailable: placeholder`, imap.md §5): a
 * short text, the same for every message, so that its size is stable. Clients that ask for ever for a body that does not
 * come get one.
 */
import type { Opened } from './opened.ts'
import { StructureScanner } from './view/scanner.ts'

const TEXT = [
  'From: VESmail <>',
  'Subject: Encrypted message, not yet available',
  'MIME-Version: 1.0',
  'Content-Type: text/plain; charset=us-ascii',
  '',
  'This message is encrypted, and its key is not shared with your account yet.',
  'It will be shown here once the sender has shared it.',
  '',
].join('\r\n')

let made: Opened | null = null

export function placeholder(): Opened {
  if (made === null) {
    const content = Buffer.from(TEXT, 'latin1')
    const scanner = new StructureScanner()
    scanner.push(content)
    made = { content, view: scanner.end() }
  }
  return made
}
