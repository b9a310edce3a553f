/**
 * Whole quoted-printable texts, for who has the body in one piece (the exactness code, tests). Linear.
 */
import { maxQuotedPrintable, type TransferCodecs } from './codecs.ts'

export function decodeQuotedPrintableText(codecs: TransferCodecs, text: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(text.length)
  return out.subarray(0, codecs.decodeQuotedPrintable(text, true, new Uint32Array(1), out))
}

/** The canonical encoding of these octets. */
export function encodeQuotedPrintableText(codecs: TransferCodecs, octets: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(maxQuotedPrintable(octets.length))
  return out.subarray(0, codecs.encodeQuotedPrintable(octets, true, new Uint32Array(2), out))
}
