/**
 * ENVELOPE (RFC 9051 §7.5.2) from a header block, in the words of Dovecot 2.3. Strings stay as they are in the header:
 * encoded words are not decoded.
 */
import { type Address, parseAddressList } from './addresses.ts'
import type { HeaderField } from './header-fields.ts'
import { NUL_REPLACEMENT, printNstring, printText, printUnfolded } from './strings.ts'

/** The ten fields in order, without parentheses; latin1, one character an octet. */
export function printEnvelope(fields: readonly HeaderField[]): string {
  const from = addressesOf(fields, 'from')
  const or = (addresses: readonly Address[]): readonly Address[] => (addresses.length > 0 ? addresses : from)
  const subject = lastOf(fields, 'subject')
  return [
    printUnfolded(lastOf(fields, 'date')),
    subject === null ? 'NIL' : printText(subject),
    printAddresses(from),
    printAddresses(or(addressesOf(fields, 'sender'))),
    printAddresses(or(addressesOf(fields, 'reply-to'))),
    printAddresses(addressesOf(fields, 'to')),
    printAddresses(addressesOf(fields, 'cc')),
    printAddresses(addressesOf(fields, 'bcc')),
    printUnfolded(lastOf(fields, 'in-reply-to')),
    printUnfolded(lastOf(fields, 'message-id')),
  ].join(' ')
}

/** QUIRK: of a field that stands there twice the server takes the last (RFC 5322 §3.6 allows one). */
function lastOf(fields: readonly HeaderField[], key: string): string | null {
  return fields.findLast((field) => field.key === key)?.value.replaceAll('\0', NUL_REPLACEMENT) ?? null
}

/** Address fields that stand there twice are joined. */
function addressesOf(fields: readonly HeaderField[], key: string): Address[] {
  return fields.filter((field) => field.key === key).flatMap((field) => parseAddressList(field.value))
}

function printAddresses(addresses: readonly Address[]): string {
  if (addresses.length === 0) return 'NIL'
  const printed = addresses.map(
    ({ name, route, mailbox, domain }) =>
      `(${name === null ? 'NIL' : printText(name)} ${printNstring(route)} ${printNstring(mailbox)} ${printNstring(domain)})`,
  )
  return `(${printed.join('')})`
}
