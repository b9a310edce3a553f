/**
 * The messages the oracle asks about: files as they are, every bare LF made CRLF, which APPEND needs.
 */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Message {
  readonly file: string
  /** Ready for an APPEND literal. */
  readonly octets: Buffer
}

/** Each for things that servers do beyond the RFCs. */
export const OWN_MESSAGES = fileURLToPath(new URL('../../test/engine/imap/view/fixtures', import.meta.url))

/** Not messages, though they lie beside them. */
const NO_MESSAGES = /^README\.md$|^(?:vector-)?answers\.json$/

/** A folder means all messages below it, in order of their names. */
export async function expandFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = []
  for (const path of paths) {
    if (!(await stat(path)).isDirectory()) files.push(path)
    else {
      const entries = await readdir(path, { recursive: true, withFileTypes: true })
      const below = entries.filter((entry) => entry.isFile() && !NO_MESSAGES.test(entry.name))
      files.push(...below.map((entry) => join(entry.parentPath, entry.name)).sort())
    }
  }
  return files
}

export async function readMessage(file: string): Promise<Message> {
  return { file, octets: withCrlf(await readFile(file)) }
}

const LF = 0x0a
const CR = 0x0d

export function withCrlf(bytes: Buffer): Buffer {
  const out: Buffer[] = []
  let from = 0
  for (let lf = bytes.indexOf(LF); lf >= 0; lf = bytes.indexOf(LF, lf + 1)) {
    if (bytes[lf - 1] === CR) continue
    out.push(bytes.subarray(from, lf), Buffer.from('\r\n'))
    from = lf + 1
  }
  out.push(bytes.subarray(from))
  return Buffer.concat(out)
}
