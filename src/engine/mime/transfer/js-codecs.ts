/** The codings in JavaScript, as one object. */
import { decodeBase64, encodeBase64 } from './base64.ts'
import type { TransferCodecs } from './codecs.ts'
import { decodeQuotedPrintable, encodeQuotedPrintable } from './quoted-printable.ts'

export const jsCodecs: TransferCodecs = { decodeBase64, encodeBase64, decodeQuotedPrintable, encodeQuotedPrintable }
