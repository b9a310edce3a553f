/**
 * Content-Type and Content-Transfer-Encoding, as far as they decide how a message is taken apart (RFC 2045 §5, §6).
 *
 * Two readings. The *plain* one accepts only what every reader takes the same way: no comments, no RFC 2231, no
 * backslashes, nothing doubled. What it refuses is sealed whole. The *lenient* one reads what others wrote, the way
 * the C gateway does (message-format.md §3).
 */
import { type HeaderField, unfoldedValue } from './header-block.ts'
import { MAX_BOUNDARY_OCTETS, MAX_PARAMETERS } from './limits.ts'

export interface ContentType {
  /** `type/subtype`, lower case. */
  readonly type: string
  /** Null where there is none that can be used. */
  readonly boundary: string | null
}

const TYPE = /^([!#$%&'*+.^_`{|}~0-9a-z-]+\/[!#$%&'*+.^_`{|}~0-9a-z-]+)[ \t]*/i
/** A value in quotes has no backslash and no semicolon; one without has nothing that any reader treats specially. */
const PARAMETER = /;[ \t]*(?:([!#$%&*+.^_`{|}~0-9a-z-]+)=(?:"([^"\\;]*)"|([^ \t;"'()\\,][^ \t;"()\\]*))[ \t]*)?/iy

/** @returns null where readers may differ about it */
export function plainContentType(field: HeaderField): ContentType | null {
  const value = unfoldedValue(field)
  if (/[^\t\x20-\x7e]/.test(value)) return null
  const type = TYPE.exec(value)
  if (type === null) return null
  let boundary: string | null = null
  let parameters = 0
  PARAMETER.lastIndex = type[0].length
  for (let at = type[0].length; at < value.length; at = PARAMETER.lastIndex) {
    const parameter = PARAMETER.exec(value)
    if (parameter === null || ++parameters > MAX_PARAMETERS) return null
    const name = parameter[1]?.toLowerCase()
    if (name === undefined) continue
    if (name.startsWith('boundary*') || (name === 'boundary' && boundary !== null)) return null
    if (name === 'boundary') boundary = parameter[2] ?? parameter[3]!
  }
  if (boundary !== null && !isPlainBoundary(boundary)) return null
  return { type: type[1]!.toLowerCase(), boundary }
}

function isPlainBoundary(boundary: string): boolean {
  if (boundary.length === 0 || boundary.length > MAX_BOUNDARY_OCTETS) return false
  return !/^[\s']|\s$/.test(boundary)
}

/** As the C gateway reads it: white space out of unquoted values, `'…'` quotes too, backslashes and comments are text. */
export function lenientContentType(field: HeaderField): ContentType {
  const value = unfoldedValue(field)
  const [type = '', ...parameters] = splitParameters(value)
  let boundary: string | null = null
  for (const parameter of parameters) {
    const equals = parameter.indexOf('=')
    if (equals < 0 || parameter.slice(0, equals).trim().toLowerCase() !== 'boundary' || boundary !== null) continue
    const raw = parameter.slice(equals + 1).trim()
    const quoted = /^(["'])(.*?)\1/.exec(raw)
    const text = quoted === null ? raw.replace(/[ \t]+/g, '') : quoted[2]!
    if (text.length > 0 && text.length <= MAX_BOUNDARY_OCTETS) boundary = text
  }
  return { type: type.replace(/[ \t]+/g, '').toLowerCase(), boundary }
}

/** At semicolons outside of quotes; linear. */
function splitParameters(value: string): string[] {
  const found: string[] = []
  let from = 0
  let quote = ''
  for (let at = 0; at < value.length && found.length <= MAX_PARAMETERS; at++) {
    const char = value[at]!
    if (quote !== '') {
      if (char === quote) quote = ''
    } else if (char === '"') quote = char
    else if (char === ';') {
      found.push(value.slice(from, at))
      from = at + 1
    }
  }
  found.push(value.slice(from))
  return found
}

export type TransferEncoding = 'identity' | 'base64' | 'quoted-printable' | 'other'

/** @param fields all Content-Transfer-Encoding fields of a block. `other` = unknown, odd, or contradicting each other */
export function transferEncoding(fields: readonly HeaderField[]): TransferEncoding {
  let found: TransferEncoding | null = null
  for (const field of fields) {
    const encoding = oneEncoding(unfoldedValue(field).toLowerCase())
    if (found !== null && found !== encoding) return 'other'
    found = encoding
  }
  return found ?? 'identity'
}

function oneEncoding(value: string): TransferEncoding {
  switch (value) {
    case 'base64':
    case 'quoted-printable':
      return value
    case '7bit':
    case '8bit':
    case 'binary':
      return 'identity'
    default:
      return 'other'
  }
}
