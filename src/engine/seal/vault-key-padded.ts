/**
 * AES256GCMp: one whole value under a key of its own (message-format.md §2). Vault entries and session tokens use it.
 *
 * `p ‖ data ‖ p zero octets`, p in 0..31 so that the total is a multiple of 32; AES-256-GCM; the tag of 16 octets behind.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { GatewayError } from '../../base/errors.ts'

/** Key 32 ‖ iv 12. */
export const PADDED_KEY_OCTETS = 44
const KEY_OCTETS = 32
const BLOCK_OCTETS = 32
const TAG_OCTETS = 16

/** @param key {@link PADDED_KEY_OCTETS} octets, for this one value and no other; borrowed */
export function sealPadded(key: Buffer, value: Uint8Array): Buffer {
  const padding = (BLOCK_OCTETS - ((1 + value.length) % BLOCK_OCTETS)) % BLOCK_OCTETS
  const cipher = createCipheriv('aes-256-gcm', key.subarray(0, KEY_OCTETS), key.subarray(KEY_OCTETS, PADDED_KEY_OCTETS))
  return Buffer.concat([
    cipher.update(Buffer.of(padding)),
    cipher.update(value),
    cipher.update(Buffer.alloc(padding)),
    cipher.final(),
    cipher.getAuthTag(),
  ])
}

/** @param key as for {@link sealPadded}. @throws GatewayError VES_CRYPTO for what was altered, cut or sealed with another key */
export function openPadded(key: Buffer, sealed: Uint8Array): Buffer {
  const end = sealed.length - TAG_OCTETS
  if (end < BLOCK_OCTETS || end % BLOCK_OCTETS !== 0) throw new GatewayError('VES_CRYPTO', { text: 'value cut short' })
  const decipher = createDecipheriv(
    'aes-256-gcm',
    key.subarray(0, KEY_OCTETS),
    key.subarray(KEY_OCTETS, PADDED_KEY_OCTETS),
    { authTagLength: TAG_OCTETS },
  )
  decipher.setAuthTag(sealed.subarray(end))
  let plain: Buffer
  try {
    plain = Buffer.concat([decipher.update(sealed.subarray(0, end)), decipher.final()])
  } catch (cause) {
    throw new GatewayError('VES_CRYPTO', { text: 'value altered, or sealed to another key' }, cause)
  }
  const padding = plain[0]!
  if (padding >= BLOCK_OCTETS) throw new GatewayError('VES_CRYPTO', { text: 'bad padding' })
  return plain.subarray(1, plain.length - padding)
}
