/**
 * Grammar of SMTP commands (RFC 5321 §4.1): one whole line in, its meaning out. Nothing goes on to a provider as it
 * came: it is printed from what was understood here, so that the provider cannot understand another address than the
 * one that got the key.
 */
import { isUtf8 } from 'node:buffer'
import { GatewayError } from '../../base/errors.ts'

export interface Command {
  /** Upper case. */
  readonly verb: string
  /** What follows, trimmed. */
  readonly args: string
}

export interface Parameter {
  /** Upper case. */
  readonly name: string
  readonly value: string | null
}

export interface Path {
  /** As it goes to the provider, `<…>`, source routes taken out. */
  readonly text: string
  /** The mailbox, quotes of its local part undone; null for the null path `<>`. */
  readonly address: string | null
}

export interface PathCommand {
  readonly path: Path
  readonly parameters: readonly Parameter[]
}

/** RFC 5321 §4.5.3.1.3 says 256; the address goes into a vault's name too. Octets. */
const MAX_PATH_OCTETS = 512
const MAX_PARAMETERS = 16

/** @throws GatewayError SYNTAX for control characters and bytes that are no UTF-8 */
export function parseCommand(line: Buffer): Command {
  const text = line.toString('utf8')
  if (!isUtf8(line) || /[\x00-\x08\x0a-\x1f\x7f]/.test(text)) throw new GatewayError('SYNTAX', { reason: 'octets' })
  const form = /^([A-Za-z0-9-]{0,32})(?:[ \t]+|$)/.exec(text)
  if (form === null) return { verb: '', args: '' }
  // An expression that looks for blanks at the end takes quadratic time. Of white space a line has these two only.
  return { verb: form[1]!.toUpperCase(), args: trimEnd(text.slice(form[0].length)) }
}

function trimEnd(text: string): string {
  let end = text.length
  while (end > 0 && (text[end - 1] === ' ' || text[end - 1] === '\t')) end--
  return text.slice(0, end)
}

/** Domain or address literal of EHLO and HELO. Ours goes to the provider, so it has to be one token. @throws GatewayError SYNTAX */
export function parseHelloName(args: string): string {
  if (!/^[^\s<>()"\\,;]{1,255}$/.test(args)) throw new GatewayError('SYNTAX', { reason: 'name' })
  return args
}

/**
 * "FROM:" Reverse-path [SP Mail-parameters], "TO:" Forward-path [SP Rcpt-parameters]
 * @param args what follows `MAIL` or `RCPT`
 * @throws GatewayError SYNTAX
 */
export function parsePathCommand(args: string, keyword: 'FROM' | 'TO'): PathCommand {
  const head = new RegExp(`^${keyword}[ \t]*:[ \t]*`, 'i').exec(args)
  if (head === null) throw syntax(`${keyword}: expected`)
  const rest = args.slice(head[0].length)
  const { path, length } = parsePath(rest)
  if (keyword === 'TO' && path.address === null) throw syntax('recipient expected')
  return { path, parameters: parseParameters(rest.slice(length)) }
}

export function printParameters(parameters: readonly Parameter[]): string {
  return parameters.map(({ name, value }) => (value === null ? ` ${name}` : ` ${name}=${value}`)).join('')
}

const ATOM = String.raw`[^\x00-\x20\x7f()<>\[\]:;@\\,"]+`
// Dots anywhere: RFC 5321 forbids two in a row, some of Japan's oldest addresses have them.
const QUOTED = String.raw`"(?:[^\x00-\x1f\x7f"\\]|\\[\x20-\x7e])*"`
const DOMAIN = String.raw`(?:[^\x00-\x20\x7f()<>\[\]:;@\\,"/]+|\[[A-Za-z0-9:.-]+\])`
const MAILBOX = `(${ATOM}|${QUOTED})(?:@(${DOMAIN}))?`
const BRACKETED = new RegExp(`^<(?:@${DOMAIN}(?:,@${DOMAIN})*:)?${MAILBOX}>(?=[ \\t]|$)`, 'u')
/** QUIRK: scripts and small devices leave the brackets out; RFC 5321 §4.1.1.2 wants them. */
const BARE = new RegExp(`^${MAILBOX}(?=[ \\t]|$)`, 'u')

/** Their lower case is ASCII's: `\u212a` would find the vault of somebody else's `k` (U+0130: `i` and a dot above). */
const LOOKALIKE = /[\u0130\u212a]/u

function parsePath(text: string): { path: Path; length: number } {
  const empty = /^<>(?=[ \t]|$)/.exec(text)
  if (empty !== null) return { path: { text: '<>', address: null }, length: 2 }
  const form = BRACKETED.exec(text) ?? BARE.exec(text)
  if (form === null || Buffer.byteLength(form[0]) > MAX_PATH_OCTETS || LOOKALIKE.test(form[0])) throw syntax('address')
  const [whole, local = '', domain] = form
  const at = domain === undefined ? '' : `@${domain}`
  const plain = local.startsWith('"') ? local.slice(1, -1).replace(/\\(.)/g, '$1') : local
  return { path: { text: `<${local}${at}>`, address: `${plain}${at}` }, length: whole.length }
}

/** esmtp-param = esmtp-keyword ["=" esmtp-value] (RFC 5321 §4.1.2) */
function parseParameters(text: string): Parameter[] {
  const words = text.split(/[ \t]+/).filter((word) => word !== '')
  if (words.length > MAX_PARAMETERS) throw syntax('too many parameters')
  const parameters: Parameter[] = []
  for (const word of words) {
    const form = /^([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?$/u.exec(word)
    const name = form?.[1]?.toUpperCase()
    if (name === undefined || parameters.some((other) => other.name === name)) throw syntax('parameter')
    parameters.push({ name, value: form?.[2] ?? null })
  }
  return parameters
}

function syntax(reason: string): GatewayError {
  return new GatewayError('SYNTAX', { reason })
}
