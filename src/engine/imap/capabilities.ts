/**
 * What we advertise: an allow-list, its intersection with what the server offers (docs/imap-extensions.md). An unknown
 * extension may move messages past us, so it is never advertised.
 */

/** Extensions that are not about message content, or that we take care of. */
const PASSED: ReadonlySet<string> = new Set([
  'IMAP4REV1',
  'ID',
  'IDLE',
  'UIDPLUS',
  'MOVE',
  'UNSELECT',
  'ENABLE',
  'NAMESPACE',
  'CHILDREN',
  'SPECIAL-USE',
  'CREATE-SPECIAL-USE',
  'LIST-EXTENDED',
  'LIST-STATUS',
  'LIST-MYRIGHTS',
  'LIST-METADATA',
  'ACL',
  'METADATA',
  'METADATA-SERVER',
  'QUOTA',
  'QUOTASET',
  'STATUS=SIZE',
  'CONDSTORE',
  'QRESYNC',
  'ESEARCH',
  'SEARCHRES',
  'WITHIN',
  'CONTEXT=SEARCH',
  'PARTIAL',
  'MULTIAPPEND',
  'OBJECTID',
  'SAVEDATE',
  'INPROGRESS',
  'LANGUAGE',
  'I18NLEVEL=1',
  'I18NLEVEL=2',
  'SASL-IR',
])

const PASSED_PREFIXES: readonly string[] = ['RIGHTS=', 'QUOTA=RES-']

/** Sealing adds at most this factor and this much (imap-extensions.md, APPENDLIMIT). */
const SEALED_FACTOR = 1.4
const SEALED_CONSTANT = 8192

/** What of a message of `limit` sealed octets is certain to fit when it is sealed. */
export function appendLimit(limit: number): number {
  return Math.max(0, Math.floor((limit - SEALED_CONSTANT) / SEALED_FACTOR))
}

/** The server's list (the words after CAPABILITY) as we tell it; IMAP4rev1, LITERAL+ and XVES are ours. */
export function filterCapabilities(words: readonly string[]): string[] {
  const out: string[] = []
  for (const word of words) {
    const name = word.toUpperCase()
    if (PASSED.has(name) || PASSED_PREFIXES.some((prefix) => name.startsWith(prefix))) out.push(word)
    else if (name === 'APPENDLIMIT') out.push(word)
    else if (name.startsWith('APPENDLIMIT=')) out.push(`APPENDLIMIT=${appendLimit(Number(name.slice(12)) || 0)}`)
  }
  out.push('LITERAL+', 'XVES')
  return out
}

/** A line `* CAPABILITY …` or one with the code `[CAPABILITY …]`: the words, and where they stand. */
export function findCapabilities(line: Buffer): { words: string[]; from: number; to: number } | null {
  const text = line.toString('latin1')
  const untagged = /^\* CAPABILITY((?: [^\r\n]*)?)/i.exec(text)
  const code = untagged === null ? /^[^\s[]+ [A-Za-z]+ \[CAPABILITY([^\]\r\n]*)\]/i.exec(text) : null
  const found = untagged ?? code
  if (found === null) return null
  const to = found[0].length - (code === null ? 0 : 1)
  const from = to - found[1]!.length
  return { words: found[1]!.split(' ').filter((word) => word !== ''), from, to }
}

/** The line with its capability list filtered; the same buffer when it has none. */
export function filterLine(line: Buffer): Buffer {
  const found = findCapabilities(line)
  if (found === null) return line
  const words = Buffer.from(` ${filterCapabilities(found.words).join(' ')}`, 'latin1')
  return Buffer.concat([line.subarray(0, found.from), words, line.subarray(found.to)])
}

/** Arguments of ENABLE that may go upstream. UTF8=ACCEPT and IMAP4rev2 would change what FETCH answers look like. */
export const ENABLEABLE: ReadonlySet<string> = new Set(['CONDSTORE', 'QRESYNC'])

/** Capabilities before login (imap.md §2). */
export function greetingCapabilities(options: { startTls: boolean; mechanisms: readonly string[] }): string {
  const { startTls, mechanisms } = options
  return [
    'IMAP4rev1 LITERAL+ SASL-IR ID',
    ...(startTls ? ['STARTTLS'] : []),
    ...(mechanisms.length === 0 ? ['LOGINDISABLED'] : mechanisms.map((name) => `AUTH=${name}`)),
    'XVES',
  ].join(' ')
}
