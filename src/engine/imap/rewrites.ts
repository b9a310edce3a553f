/** Commands and responses that pass with a word changed: ENABLE, what tells of APPENDLIMIT, REFERRAL. */
import { appendLimit, ENABLEABLE } from './capabilities.ts'
import type { ClientCommand } from './command-reader.ts'
import { parseCode } from './response.ts'

/** ENABLE with what we cannot keep taken out; an ENABLE of nothing is refused as unknown capabilities are: by silence. */
export function filterEnable(command: ClientCommand): ClientCommand {
  const words = command.text.toString('latin1', command.argsAt).trim().split(/ +/)
  const kept = words.filter((word) => ENABLEABLE.has(word.toUpperCase()))
  if (kept.length === words.length) return command
  // RFC 5161 §3.1: unknown extensions are ignored, so the server is asked for one that changes nothing.
  const args = kept.length > 0 ? kept.join(' ') : 'X-VES-NOTHING'
  return { ...command, text: Buffer.from(`${command.tag} ENABLE ${args}\r\n`, 'latin1') }
}

/** STATUS (APPENDLIMIT): of the message as the client sees it (RFC 7889 §3.2). */
export function rescaleAppendLimit(line: Buffer): Buffer {
  const text = line.toString('latin1')
  if (!/APPENDLIMIT \d/i.test(text)) return line
  const scaled = text.replace(
    /(APPENDLIMIT )(\d+)/i,
    (_, name: string, limit: string) => `${name}${appendLimit(Number(limit))}`,
  )
  return Buffer.from(scaled, 'latin1')
}

/** `[REFERRAL …]` would send the client round the proxy, with the proxy's password (RFC 2221, RFC 2193). @param line of status, tagged or not */
export function withoutReferral(line: Buffer): Buffer {
  const code = parseCode(line)
  if (code?.name !== 'REFERRAL') return line
  return Buffer.concat([line.subarray(0, code.from), line.subarray(code.to + (line[code.to] === 0x20 ? 1 : 0))])
}
