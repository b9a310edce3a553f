/**
 * The little of DER (ITU-T X.690) that vault keys need: step through definite-length elements, write a few.
 * Not a general parser: what is not plain DER of single-octet tags is refused. Keys themselves are read by OpenSSL.
 */
import { GatewayError } from '../../base/errors.ts'

export const DER = { integer: 0x02, octets: 0x04, nil: 0x05, oid: 0x06, sequence: 0x30 } as const

export interface Element {
  readonly tag: number
  /** View of the content octets. */
  readonly content: Buffer
  /** Position after the element, octets from the start of what was given. */
  readonly end: number
}

/** One element at `at`. @throws GatewayError VES_CRYPTO */
export function readElement(bytes: Buffer, at: number): Element {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) throw malformed()
  let length = first
  let start = at + 2
  if (first >= 0x80) {
    const octets = first & 0x7f
    // Three octets of length hold 16 MiB, far above the 65,535 characters that a key may have.
    if (octets === 0 || octets > 3 || start + octets > bytes.length) throw malformed()
    length = bytes.readUIntBE(start, octets)
    start += octets
  }
  if (start + length > bytes.length) throw malformed()
  return { tag, content: bytes.subarray(start, start + length), end: start + length }
}

/** One element of that tag at `at`. @throws GatewayError VES_CRYPTO */
export function expectElement(bytes: Buffer, at: number, tag: number): Element {
  const element = readElement(bytes, at)
  if (element.tag !== tag) throw malformed()
  return element
}

/** A non-negative INTEGER below 2^48. @throws GatewayError VES_CRYPTO */
export function readInteger(content: Buffer): number {
  if (content.length === 0 || content.length > 6 || content.readInt8(0) < 0) throw malformed()
  return content.readUIntBE(0, content.length)
}

/** `2.16.840.1.101.3.4.4.2`. @throws GatewayError VES_CRYPTO */
export function printOid(content: Buffer): string {
  // 32 octets: longer ones name nothing that exists, and would make long error texts.
  if (content.length === 0 || content.length > 32) throw malformed()
  const arcs: number[] = []
  let arc = 0
  for (const octet of content) {
    arc = arc * 128 + (octet & 0x7f)
    if (arc > Number.MAX_SAFE_INTEGER) throw malformed()
    if (octet < 0x80) {
      arcs.push(arc)
      arc = 0
    }
  }
  const [head = 0, ...rest] = arcs
  const top = Math.min(2, Math.floor(head / 40))
  return [top, head - top * 40, ...rest].join('.')
}

/** An element; lengths below 64 KiB. */
export function writeElement(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  const n = content.length
  const head = n < 0x80 ? [tag, n] : n < 0x100 ? [tag, 0x81, n] : [tag, 0x82, n >> 8, n & 0xff]
  return Buffer.concat([Buffer.from(head), content])
}

/** A non-negative INTEGER below 2^31. */
export function writeInteger(value: number): Buffer {
  const bytes = Buffer.alloc(5)
  bytes.writeUInt32BE(value, 1)
  let skip = 0
  while (skip < 4 && bytes[skip] === 0 && bytes[skip + 1]! < 0x80) skip++
  return writeElement(DER.integer, bytes.subarray(skip))
}

function malformed(): GatewayError {
  return new GatewayError('VES_CRYPTO', { text: 'malformed key' })
}
