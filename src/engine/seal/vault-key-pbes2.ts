/**
 * Private keys of vaults under their VESkey: PKCS#8 EncryptedPrivateKeyInfo with PBES2, PBKDF2 and AES-256-CBC
 * (RFC 5958 §3, RFC 8018 appendix A; key-repository.md §2). Only the framing is here; node:crypto does the cryptography.
 *
 * Rule: the key comes from a repository that anybody may write to, so its costs are checked before they are paid.
 */
import { createCipheriv, createDecipheriv, createSecretKey, pbkdf2Sync, randomBytes } from 'node:crypto'
import { GatewayError } from '../../base/errors.ts'
import { DER, expectElement, printOid, readElement, readInteger, writeElement, writeInteger } from './vault-key-der.ts'

/** key-repository.md §2: PEM and encData have at most this many characters. */
export const MAX_PEM_CHARACTERS = 65_535

/** C's rounds. Enough for a VESkey of 32 random characters; for one that a person chose see {@link ROUNDS_FOR_PASSWORDS}. */
export const DEFAULT_ROUNDS = 2048

/**
 * The encrypted private key goes to whoever asks, so a chosen password can be guessed at leisure elsewhere:
 * 17 ms a guess here instead of 0.4.
 */
export const ROUNDS_FOR_PASSWORDS = 100_000

/** Stops a hostile key from burning minutes: at this count PBKDF2 takes about a second (OWASP's highest advice is 1.3 million). */
const MAX_ROUNDS = 2_000_000
/** A long salt costs a hash of its own length once per key: bounded for the same reason. */
const MAX_SALT_OCTETS = 1024
const KEY_OCTETS = 32
const BLOCK_OCTETS = 16

const OID = {
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  aes256cbc: '2.16.840.1.101.3.4.1.42',
} as const

/** RFC 8018 appendix B.1.2. */
const PRFS: Readonly<Record<string, string>> = {
  '1.2.840.113549.2.7': 'sha1',
  '1.2.840.113549.2.9': 'sha256',
  '1.2.840.113549.2.10': 'sha384',
  '1.2.840.113549.2.11': 'sha512',
}

const OID_BYTES = {
  pbes2: Buffer.from('2a864886f70d01050d', 'hex'),
  pbkdf2: Buffer.from('2a864886f70d01050c', 'hex'),
  aes256cbc: Buffer.from('60864801650304012a', 'hex'),
  hmacSha256: Buffer.from('2a864886f70d0209', 'hex'),
} as const

interface Pbes2 {
  readonly salt: Buffer
  readonly rounds: number
  readonly prf: string
  readonly iv: Buffer
  readonly encrypted: Buffer
}

/**
 * @param label of the PEM block, e.g. `PUBLIC KEY`; text around the block and its line ends do not matter
 * @returns the DER octets
 * @throws GatewayError VES_CRYPTO
 */
export function readPem(pem: string, label: string): Buffer {
  if (pem.length > MAX_PEM_CHARACTERS) throw new GatewayError('VES_CRYPTO', { text: 'key too large' })
  const head = `-----BEGIN ${label}-----`
  const from = pem.indexOf(head)
  const to = from < 0 ? -1 : pem.indexOf(`-----END ${label}-----`, from)
  const base64 = to < 0 ? '' : pem.slice(from + head.length, to).replace(/[\r\n\t ]+/g, '')
  if (base64 === '' || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) {
    throw new GatewayError('VES_CRYPTO', { text: `no PEM block ${label}` })
  }
  return Buffer.from(base64, 'base64')
}

export function printPem(der: Buffer, label: string): string {
  const lines = der.toString('base64').replace(/.{1,64}/g, '$&\n')
  return `-----BEGIN ${label}-----\n${lines}-----END ${label}-----\n`
}

/**
 * @param veskey raw octets; borrowed until return
 * @returns PKCS#8 PrivateKeyInfo octets, the caller's to wipe. A wrong VESkey is not always noticed here: the octets are then no key.
 * @throws GatewayError VES_UNLOCK for a wrong VESkey, VES_CRYPTO for a malformed key, VES_UNSUPPORTED for another scheme
 */
export function decryptPrivateKey(pem: string, veskey: Uint8Array): Buffer {
  const { salt, rounds, prf, iv, encrypted } = parseEncryptedKey(readPem(pem, 'ENCRYPTED PRIVATE KEY'))
  const key = pbkdf2Sync(veskey, salt, rounds, KEY_OCTETS, prf)
  const decipher = createDecipheriv('aes-256-cbc', createSecretKey(key), iv)
  try {
    return Buffer.concat([decipher.update(encrypted), decipher.final()])
  } catch (cause) {
    throw new GatewayError('VES_UNLOCK', {}, cause)
  } finally {
    key.fill(0)
  }
}

/**
 * Writes as C does: HMAC-SHA-256, and no PBKDF2 keyLength, on which JS clients break.
 * @param pkcs8 PrivateKeyInfo octets, borrowed
 * @param veskey raw octets, borrowed
 */
export function encryptPrivateKey(pkcs8: Buffer, veskey: Uint8Array, rounds: number = DEFAULT_ROUNDS): string {
  const salt = randomBytes(16)
  const iv = randomBytes(BLOCK_OCTETS)
  const key = pbkdf2Sync(veskey, salt, rounds, KEY_OCTETS, 'sha256')
  const cipher = createCipheriv('aes-256-cbc', createSecretKey(key), iv)
  const encrypted = Buffer.concat([cipher.update(pkcs8), cipher.final()])
  key.fill(0)
  const { oid, octets, nil, sequence } = DER
  const prf = writeElement(sequence, writeElement(oid, OID_BYTES.hmacSha256), writeElement(nil))
  const kdf = writeElement(sequence, writeElement(octets, salt), writeInteger(rounds), prf)
  const scheme = writeElement(
    sequence,
    writeElement(sequence, writeElement(oid, OID_BYTES.pbkdf2), kdf),
    writeElement(sequence, writeElement(oid, OID_BYTES.aes256cbc), writeElement(octets, iv)),
  )
  const algorithm = writeElement(sequence, writeElement(oid, OID_BYTES.pbes2), scheme)
  return printPem(writeElement(sequence, algorithm, writeElement(octets, encrypted)), 'ENCRYPTED PRIVATE KEY')
}

/**
 * ```
 * EncryptedPrivateKeyInfo ::= SEQUENCE { SEQUENCE { id-PBES2, SEQUENCE { keyDerivation, encryption } }, OCTET STRING }
 * PBKDF2-params ::= SEQUENCE { salt OCTET STRING, iterationCount INTEGER, keyLength INTEGER OPTIONAL, prf DEFAULT hmacWithSHA1 }
 * ```
 */
function parseEncryptedKey(der: Buffer): Pbes2 {
  const { sequence, oid, octets, integer } = DER
  const outer = expectElement(der, 0, sequence).content
  const algorithm = expectElement(outer, 0, sequence)
  const encrypted = expectElement(outer, algorithm.end, octets).content
  const schemeOid = expectElement(algorithm.content, 0, oid)
  expectOid(schemeOid.content, OID.pbes2)
  const scheme = expectElement(algorithm.content, schemeOid.end, sequence).content
  const derivation = expectElement(scheme, 0, sequence)
  const encryption = expectElement(scheme, derivation.end, sequence).content

  const kdfOid = expectElement(derivation.content, 0, oid)
  expectOid(kdfOid.content, OID.pbkdf2)
  const params = expectElement(derivation.content, kdfOid.end, sequence).content
  const salt = expectElement(params, 0, octets)
  const count = expectElement(params, salt.end, integer)
  let at = count.end
  if (at < params.length && readElement(params, at).tag === integer) {
    const keyLength = readElement(params, at)
    if (readInteger(keyLength.content) !== KEY_OCTETS) throw unsupported('PBKDF2 key length')
    at = keyLength.end
  }
  let prf: string | undefined = 'sha1'
  if (at < params.length) {
    const prfOid = expectElement(expectElement(params, at, sequence).content, 0, oid)
    const name = printOid(prfOid.content)
    prf = PRFS[name]
    if (prf === undefined) throw unsupported(`PBKDF2 with ${name}`)
  }
  const rounds = readInteger(count.content)
  if (rounds < 1 || rounds > MAX_ROUNDS) throw unsupported(`PBKDF2 with ${rounds} rounds`)
  if (salt.content.length > MAX_SALT_OCTETS) throw unsupported('PBKDF2 salt length')

  const cipherOid = expectElement(encryption, 0, oid)
  expectOid(cipherOid.content, OID.aes256cbc)
  const iv = expectElement(encryption, cipherOid.end, octets).content
  if (iv.length !== BLOCK_OCTETS || encrypted.length === 0 || encrypted.length % BLOCK_OCTETS !== 0) {
    throw new GatewayError('VES_CRYPTO', { text: 'malformed key' })
  }
  return { salt: salt.content, rounds, prf, iv, encrypted }
}

function expectOid(content: Buffer, wanted: string): void {
  const name = printOid(content)
  if (name !== wanted) throw unsupported(`private key encryption ${name}`)
}

function unsupported(text: string): GatewayError {
  return new GatewayError('VES_UNSUPPORTED', { text })
}
