/**
 * What the Content-* fields of a part say, for BODY and BODYSTRUCTURE (RFC 2045, 2183, 1864, 3282, 2557). Of each field
 * the first counts. Latin1 strings.
 */
import type { HeaderField } from './header-fields.ts'
import { type MediaType, type Parameter, parseMediaType, parseParameters } from './parameters.ts'
import { NUL_REPLACEMENT } from './strings.ts'
import { Words } from './words.ts'

export interface ContentFields {
  /** Null: no Content-Type. */
  readonly type: MediaType | null
  readonly id: string | null
  readonly description: string | null
  readonly encoding: string | null
  readonly md5: string | null
  readonly disposition: { readonly value: string; readonly parameters: readonly Parameter[] } | null
  readonly languages: readonly string[] | null
  readonly location: string | null
}

export const NO_CONTENT_FIELDS: ContentFields = {
  type: null,
  id: null,
  description: null,
  encoding: null,
  md5: null,
  disposition: null,
  languages: null,
  location: null,
}

export function contentFieldsOf(fields: readonly HeaderField[]): ContentFields {
  const first = <T>(key: string, read: (value: string) => T | null): T | null => {
    for (const field of fields) {
      if (field.key !== key) continue
      const value = read(field.value)
      if (value !== null) return value
    }
    return null
  }
  return {
    type: first('content-type', parseMediaType),
    id: first('content-id', plain),
    description: first('content-description', plain),
    encoding: first('content-transfer-encoding', parseEncoding),
    md5: first('content-md5', plain),
    disposition: parseDisposition(fields),
    languages: first('content-language', parseLanguages),
    location: first('content-location', plain),
  }
}

/** A NUL is shown as U+FFFD. */
function plain(value: string): string {
  return value.replaceAll('\0', NUL_REPLACEMENT)
}

/** One token and nothing else; otherwise the field does not count. */
function parseEncoding(value: string): string | null {
  const words = new Words(value)
  words.skipSpace()
  const out: string[] = []
  const ended = words.token(out)
  const encoding = out.join('')
  return ended === 'end' && encoding !== '' ? encoding : null
}

/** QUIRK: a disposition without parameters is replaced by a later one. */
function parseDisposition(fields: readonly HeaderField[]): ContentFields['disposition'] {
  let found: ContentFields['disposition'] = null
  for (const field of fields) {
    if (field.key !== 'content-disposition') continue
    const words = new Words(field.value)
    words.skipSpace()
    const out: string[] = []
    if (words.token(out) === 'bad') continue
    const parameters = parseParameters(words)
    found = { value: out.join(''), parameters }
    if (parameters.length > 0) break
  }
  return found
}

/** `Language-tag *("," Language-tag)`, as far as it can be read. */
function parseLanguages(value: string): string[] | null {
  const words = new Words(value)
  const tags: string[] = []
  words.skipSpace()
  for (;;) {
    const tag: string[] = []
    if (words.atom(tag) === 'bad') break
    tags.push(tag.join(''))
    if (!words.is(',')) break
    words.at++
    words.skipSpace()
  }
  return tags.length > 0 ? tags : null
}
