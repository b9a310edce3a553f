/**
 * BODY and BODYSTRUCTURE (RFC 9051 §7.5.2) of a part tree, in the style of Dovecot 2.3. Latin1 strings.
 */
import { type ContentFields, NO_CONTENT_FIELDS } from './content-fields.ts'
import { printEnvelope } from './envelope.ts'
import { lowerAscii } from './header-fields.ts'
import type { PartView } from './message-view.ts'
import type { MediaType, Parameter } from './parameters.ts'
import { printString, printUnfolded } from './strings.ts'

/** Stands for a multipart that has no part. */
const EMPTY_BODY = '("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)'
const EMPTY_STRUCTURE = '("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)'

/** `body`, without the outer parentheses. Recursion is bounded by the scanner's depth limit. */
export function printStructure(part: PartView, extended: boolean): string {
  return part.kind === 'multipart' ? printMultipart(part, extended) : printSingle(part, extended)
}

function printMultipart(part: PartView, extended: boolean): string {
  const { content } = part
  const parts = part.children.map((child) => `(${printStructure(child, extended)})`).join('')
  const body = `${parts || (extended ? EMPTY_STRUCTURE : EMPTY_BODY)} ${printString(content.type?.subtype ?? '')}`
  if (!extended) return body
  return `${body} ${printParameters(content.type?.parameters ?? [], false)} ${printCommon(content)}`
}

function printSingle(part: PartView, extended: boolean): string {
  const { body } = part
  const content = part.parent === null && isPlain7bit(part) ? NO_CONTENT_FIELDS : part.content
  const message = part.kind === 'message'
  const type = content.type !== null && isContainer(content.type) ? { ...content.type, ...OPAQUE } : content.type
  const text = !message && (type === null || lowerAscii(type.type) === 'text')
  const words = [
    message
      ? '"message" "rfc822"'
      : type === null
        ? '"text" "plain"'
        : `${printString(type.type)} ${printString(type.subtype)}`,
    printParameters(type?.parameters ?? [], text),
    printUnfolded(content.id),
    printUnfolded(content.description),
    content.encoding === null ? '"7bit"' : printString(content.encoding),
    String(body.octets),
  ]
  if (text) words.push(String(body.lines))
  const inner = part.children[0]
  if (message && inner !== undefined) {
    words.push(`(${printEnvelope(inner.fields)})`, `(${printStructure(inner, extended)})`, String(body.lines))
  }
  if (extended) words.push(printUnfolded(content.md5), printCommon(content))
  return words.join(' ')
}

/** A multipart or message that is none of ours: past the limits. */
const OPAQUE = { type: 'application', subtype: 'octet-stream' }

function isContainer({ type, subtype }: MediaType): boolean {
  const name = lowerAscii(type)
  return name === 'multipart' || (name === 'message' && lowerAscii(subtype) === 'rfc822')
}

/** QUIRK: of such a message the server remembers just that it is plain, and prints everything in lower case. */
function isPlain7bit({ kind, content }: PartView): boolean {
  const { type, encoding, disposition } = content
  if (kind !== 'leaf') return false
  const plain = type === null || (lowerAscii(type.type) === 'text' && lowerAscii(type.subtype) === 'plain')
  const [charset, more] = type?.parameters ?? []
  const ascii =
    charset === undefined || (lowerAscii(charset.name) === 'charset' && lowerAscii(charset.value) === 'us-ascii')
  if (!plain || !ascii || more !== undefined || (encoding !== null && lowerAscii(encoding) !== '7bit')) return false
  return [content.id, content.description, content.md5, disposition, content.languages, content.location].every(
    (field) => field === null,
  )
}

/** Disposition, languages, location. */
function printCommon({ disposition, languages, location }: ContentFields): string {
  return [
    disposition === null
      ? 'NIL'
      : `(${printString(disposition.value)} ${printParameters(disposition.parameters, false)})`,
    languages === null ? 'NIL' : `(${languages.map(printString).join(' ')})`,
    printUnfolded(location),
  ].join(' ')
}

/** @param charset text: a missing charset is shown as us-ascii (RFC 2045 §5.2) */
function printParameters(parameters: readonly Parameter[], charset: boolean): string {
  const words = parameters.flatMap(({ name, value }) => [printString(name), printString(value)])
  if (charset && !parameters.some(({ name }) => lowerAscii(name) === 'charset')) words.push('"charset" "us-ascii"')
  return words.length === 0 ? 'NIL' : `(${words.join(' ')})`
}
