/** The codings in JavaScript, as one object. */
import { decodeBase64, encodeBase64 } from './base64.ts'
import type { TransferCodecs } from './codecs.ts'
import { decodeQuotedPrintable, encodeQuotedPrintable } from './quoted-printable.ts'

const LF = 0x0a

export const jsCodecs: TransferCodecs = {
  decodeBase64,
  encodeBase64,
  decodeQuotedPrintable,
  encodeQuotedPrintable,
  countLineFeeds(octets) {
    let lines = 0
    for (let at = 0; at < octets.length; at++) if (octets[at] === LF) lines++
    return lines
  },
}
