/**
 * A large mailbox of plain messages, made without a conversation: a Maildir is files, and a hundred thousand names for a
 * few of them are there in seconds, where APPEND takes minutes. Dovecot reads the folder at its first SELECT.
 */
import { chownSync, linkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** File systems bound the names of one file (ext4: 65,000). */
const NAMES_OF_A_FILE = 10_000

/**
 * @param folder of a mailbox that exists: its `cur` is written
 * @param message with CRLF
 */
export function fillMaildir(folder: string, count: number, message: Buffer): void {
  const cur = join(folder, 'cur')
  const { uid, gid } = statSync(cur)
  let first = ''
  for (let i = 0; i < count; i++) {
    // Sizes in the name, as Dovecot itself writes it: it would read each file for them.
    const name = join(cur, `${1_764_000_000 + i}.M${i}P1.bench,S=${message.length},W=${message.length}:2,`)
    if (i % NAMES_OF_A_FILE === 0) {
      first = name
      writeFileSync(name, message)
      chownSync(name, uid, gid)
    } else linkSync(first, name)
  }
}
