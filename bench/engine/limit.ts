/**
 * The floor under the engine: the same octets through one large AES-256-GCM stream and Buffer's base64, in blocks with
 * reused buffers. No chunks of their own ivs, no line ends, no MIME, no quoted-printable (Buffer has none: what is
 * decoded is taken as given).
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const key = randomBytes(32)
const iv = randomBytes(12)
/** A multiple of 3 and of 4, about 64 KiB. */
const BLOCK = 65_520

const scratch = Buffer.allocUnsafeSlow(BLOCK)
const text = Buffer.allocUnsafeSlow((BLOCK / 3) * 4)

/** @param body as in the mail; @param decode base64 first */
export function limitSeal(body: Buffer, decode: boolean): void {
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  for (let at = 0; at < body.length; at += BLOCK) {
    const block = body.subarray(at, at + BLOCK)
    const plain = decode ? scratch.subarray(0, scratch.write(block.toString('latin1'), 0, 'base64')) : block
    text.write(cipher.update(plain).toString('base64'), 0, 'latin1')
  }
  cipher.final()
}

/** @param sealed base64 of `limitSeal`'s kind; @param encode base64 at the end */
export function limitOpen(sealed: Buffer, encode: boolean): void {
  const decipher = createDecipheriv('aes-256-gcm', key, iv)
  for (let at = 0; at < sealed.length; at += BLOCK) {
    const octets = scratch.write(sealed.toString('latin1', at, Math.min(at + BLOCK, sealed.length)), 0, 'base64')
    const plain = decipher.update(scratch.subarray(0, octets))
    if (encode) text.write(plain.toString('base64'), 0, 'latin1')
  }
}
