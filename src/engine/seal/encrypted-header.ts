/**
 * One encrypted header, `X-VESmail-Header: base64…` (message-format.md §4): the plaintext is the header's octets
 * without its last line end, a stream of its own.
 */
import type { Eol } from '../mime/header-block.ts'
import { openStream, openWhole, sealStream } from './ciphers.ts'
import { SEALED_HEADER } from './format.ts'
import type { MessageKey } from './message-key.ts'

const FIRST_OCTETS = 45
const MORE_OCTETS = 51

/** @param fb0 16 random octets, never used twice @param eol of the header, used for folding too */
export function printSealedHeader(keyAndSeed: Uint8Array, plain: Uint8Array, fb0: Uint8Array, eol: Eol): Buffer {
  const sealed = sealStream(keyAndSeed, plain, fb0)
  let text = `${SEALED_HEADER}: ${sealed.toString('base64', 0, FIRST_OCTETS)}`
  for (let at = FIRST_OCTETS; at < sealed.length; at += MORE_OCTETS) {
    text += `${eol}\t${sealed.toString('base64', at, at + MORE_OCTETS)}`
  }
  return Buffer.from(text + eol, 'latin1')
}

/** The ciphertext of such a header's value. Linear. */
export function sealedHeaderOctets(value: string): Buffer {
  return Buffer.from(value, 'base64')
}

/** @throws GatewayError SEAL_BROKEN */
export function openSealedHeader(key: MessageKey, keyAndSeed: Uint8Array, sealed: Buffer): Buffer {
  return key.algo === 'AES256GCM1K' ? openStream(keyAndSeed, sealed) : openWhole(key, sealed)
}
