/**
 * Names and rules of the encrypted message that sealing and opening share (message-format.md §1, §3, §4).
 */
import { type HeaderField, unfoldedValue } from '../mime/header-block.ts'

/** Ends the Message-ID of an encrypted message. */
export const ID_SUFFIX = '.m.ves.world'

/** What is written. */
export const SEALED_TYPE = 'application/vnd.ves.encrypted'
/** What is taken as encrypted. */
export const SEALED_TYPES: ReadonlySet<string> = new Set([
  SEALED_TYPE,
  'application/x-ves-encrypted',
  'application/ves-encrypted',
])

export const INJECTED_BOUNDARY_PREFIX = '--VESmail-injected-'
/** Random octets behind the prefix, as hex. */
export const INJECTED_BOUNDARY_OCTETS = 20

export const SEALED_HEADER = 'X-VESmail-Header'
export const EXACT_HEADER = 'X-VESmail-Exact'

/**
 * Where a part stands: `root`; a child of a multipart that is itself root or multi is `alt` in an alternative, `inj`
 * in the injected container, else `multi`; any deeper child is `deep`; the inside of message/rfc822 is `msg`.
 */
export type Encapsulation = 'root' | 'alt' | 'inj' | 'multi' | 'deep' | 'msg'

export function childEncapsulation(
  parent: Encapsulation,
  parentIs: 'alternative' | 'injected' | 'other',
): Encapsulation {
  if (parent !== 'root' && parent !== 'multi') return 'deep'
  return parentIs === 'alternative' ? 'alt' : parentIs === 'injected' ? 'inj' : 'multi'
}

/** May a part of this encapsulation get the injected container, or banners if it is an alternative? */
export function takesBanners(encapsulation: Encapsulation): boolean {
  return encapsulation === 'root' || encapsulation === 'multi'
}

/** Longer ids name no vault item. */
const MAX_ID_OCTETS = 512

/** The id between `<` and `>` where the field holds one that can name an item; null otherwise. */
export function messageIdOf(field: HeaderField): string | null {
  const value = unfoldedValue(field)
  const id = /<([^<>]*)>/.exec(value)?.[1]
  return id !== undefined && isUsableId(id) ? id : null
}

function isUsableId(id: string): boolean {
  return id.length > 0 && id.length <= MAX_ID_OCTETS && /^[\x21-\x7e]+$/.test(id)
}

/**
 * Whether a root header block is that of an encrypted message, and its id: an X-VESmail-ID anywhere wins, since some
 * providers rewrite Message-ID; else a Message-ID that ends with the suffix.
 */
export function sealedMessageId(fields: readonly HeaderField[]): string | null {
  let bySuffix: string | null = null
  for (const field of fields) {
    if (field.name !== 'x-vesmail-id' && field.name !== 'message-id') continue
    const id = messageIdOf(field)
    if (id === null) continue
    if (field.name === 'x-vesmail-id') return id
    if (id.endsWith(ID_SUFFIX) && id.length > ID_SUFFIX.length) bySuffix ??= id.slice(0, -ID_SUFFIX.length)
  }
  return bySuffix
}
