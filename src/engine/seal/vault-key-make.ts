/** Makes vault keys and VESkeys (key-repository.md §2). What new keys should be is the setting `ves.newKeys`. */
import { generateKeyPairSync, type KeyObject, randomInt } from 'node:crypto'
import { unreachable } from '../../base/errors.ts'
import type { KeyAlgo, KeyKind } from './vault-key.ts'
import { DEFAULT_ROUNDS, encryptPrivateKey } from './vault-key-pbes2.ts'

export interface MadeVaultKey {
  readonly algo: KeyAlgo
  /** PEM SPKI. */
  readonly publicKey: string
  /** PEM PKCS#8, encrypted with the VESkey. */
  readonly privateKey: string
}

/** What each of the repository's names means for a new key. */
export const KIND_OF_NEW: Readonly<Record<KeyAlgo, KeyKind>> = { RSA: 'RSA', ECDH: 'P-521', OQS: 'ML-KEM-768' }

/** Nothing that a shell, a form or an option parser would treat specially. */
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const VESKEY_CHARACTERS = 32

/** 32 random characters: 190 bits. The octets are ASCII. */
export function makeVeskey(): Buffer {
  return Buffer.from(Array.from({ length: VESKEY_CHARACTERS }, () => ALPHABET.charCodeAt(randomInt(ALPHABET.length))))
}

/**
 * @param veskey raw octets, borrowed
 * @param rounds of PBKDF2; the default suits VESkeys of {@link makeVeskey} only
 */
export function makeVaultKey(kind: KeyKind, veskey: Uint8Array, rounds: number = DEFAULT_ROUNDS): MadeVaultKey {
  const { algo, publicKey, privateKey } = generate(kind)
  // ML-KEM: OpenSSL writes seed and expanded key both, as C with older liboqs needs it.
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' })
  try {
    return {
      algo,
      publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      privateKey: encryptPrivateKey(pkcs8, veskey, rounds),
    }
  } finally {
    pkcs8.fill(0)
  }
}

function generate(kind: KeyKind): { algo: KeyAlgo; publicKey: KeyObject; privateKey: KeyObject } {
  switch (kind) {
    case 'RSA':
      // 2048: what libVES makes, and what a login costs grows with the cube.
      return { algo: 'RSA', ...generateKeyPairSync('rsa', { modulusLength: 2048 }) }
    case 'P-256':
    case 'P-384':
    case 'P-521':
      return { algo: 'ECDH', ...generateKeyPairSync('ec', { namedCurve: kind }) }
    case 'ML-KEM-512':
      return { algo: 'OQS', ...generateKeyPairSync('ml-kem-512') }
    case 'ML-KEM-768':
      return { algo: 'OQS', ...generateKeyPairSync('ml-kem-768') }
    case 'ML-KEM-1024':
      return { algo: 'OQS', ...generateKeyPairSync('ml-kem-1024') }
    default:
      return unreachable(kind)
  }
}
