/**
 * Vault keys: seal a value to a public key, open it with the private one (key-repository.md §2).
 * RSA 2048–4096 (OAEP with SHA-1), ECDH on P-256, P-384, P-521, ML-KEM-512, -768, -1024 (FIPS 203).
 * The cryptography is OpenSSL's; here is only the framing that VES gives it. No I/O, no cache: see `ves/client`.
 *
 * Rule: a key of an algorithm that we don't know is an error that names it; it is never skipped.
 */
import {
  createPrivateKey,
  createPublicKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
  hash,
  type KeyObject,
  constants as opensslConstants,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import { GatewayError } from '../../base/errors.ts'
import { openWhole, sealWhole } from './ciphers.ts'
import type { MessageKey } from './message-key.ts'
import { DER, expectElement, printOid, readElement } from './vault-key-der.ts'
import { decryptPrivateKey, readPem } from './vault-key-pbes2.ts'

/** The repository's names of key algorithms. */
export type KeyAlgo = 'RSA' | 'ECDH' | 'OQS'

/** What decides how a value is sealed: the family and its size. Two ECDH keys of one kind can share an ephemeral key. */
export type KeyKind = 'RSA' | 'P-256' | 'P-384' | 'P-521' | 'ML-KEM-512' | 'ML-KEM-768' | 'ML-KEM-1024'

/** A key that was read and found usable. Structured-cloneable: it may go to a thread. */
export interface VaultKey {
  readonly algo: KeyAlgo
  readonly kind: KeyKind
  readonly key: KeyObject
}

type Curve = 'P-256' | 'P-384' | 'P-521'

const CURVES: Readonly<Record<string, Curve>> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' }

const KEMS: Readonly<Record<string, { readonly kind: KeyKind; readonly octets: number }>> = {
  'ml-kem-512': { kind: 'ML-KEM-512', octets: 768 },
  'ml-kem-768': { kind: 'ML-KEM-768', octets: 1088 },
  'ml-kem-1024': { kind: 'ML-KEM-1024', octets: 1568 },
}

/** Names for what the error says of a key that we cannot use. */
const FOREIGN: Readonly<Record<string, string>> = {
  '1.3.6.1.4.1.53675.3.5': 'OQS of libVES for JavaScript',
  '1.2.840.113549.1.1.10': 'RSA-PSS',
  '1.3.101.110': 'X25519',
  '1.3.101.111': 'X448',
  '1.3.101.112': 'Ed25519',
}

/** Of AES256GCMp: key 32 ‖ iv 12. */
const PADDED_KEY_OCTETS = 44
/** OAEP with SHA-1: twice its 20 octets and 2 more. */
const OAEP_OVERHEAD_OCTETS = 42
const OAEP = { padding: opensslConstants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' } as const

/** @param pem SPKI. @throws GatewayError VES_UNSUPPORTED naming the algorithm, VES_CRYPTO for no key at all */
export function readPublicKey(pem: string): VaultKey {
  const der = readPem(pem, 'PUBLIC KEY')
  return parseKey(der, () => createPublicKey({ key: der, format: 'der', type: 'spki' }), algorithmOfSpki)
}

/**
 * @param pem    encrypted PKCS#8, as the repository keeps it
 * @param veskey raw octets, borrowed
 * @throws GatewayError VES_UNLOCK for a wrong VESkey; VES_UNSUPPORTED, VES_CRYPTO
 */
export function unlockPrivateKey(pem: string, veskey: Uint8Array): VaultKey {
  const pkcs8 = decryptPrivateKey(pem, veskey)
  try {
    // One wrong VESkey in 256 leaves a padding that looks right: then what comes out is no PrivateKeyInfo.
    if (!looksLikePrivateKey(pkcs8)) throw new GatewayError('VES_UNLOCK')
    return parseKey(pkcs8, () => createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }), algorithmOfPkcs8)
  } finally {
    pkcs8.fill(0)
  }
}

/** The public half, e.g. to compare with what the repository says. */
export function publicOf(privateKey: VaultKey): VaultKey {
  return { ...privateKey, key: createPublicKey(privateKey.key) }
}

/** @returns octets of an entry's encData (before base64) */
export function sealToVaultKey(publicKey: VaultKey | string, value: Uint8Array): Buffer {
  return sealToVaultKeys([publicKey], value)[0]!
}

/**
 * One value to many keys, with one ephemeral key per curve: making that is half the cost of an ECDH seal. It is made
 * anew in each call: cipher key and iv derive from the shared secret, so a second value under it would break GCM.
 * @returns in the order of the keys
 */
export function sealToVaultKeys(publicKeys: readonly (VaultKey | string)[], value: Uint8Array): Buffer[] {
  const ephemerals = new Map<KeyKind, Ephemeral>()
  return publicKeys.map((publicKey) => {
    const target = typeof publicKey === 'string' ? readPublicKey(publicKey) : publicKey
    if (target.algo === 'RSA') return sealRsa(target.key, value)
    if (target.algo === 'OQS') {
      const { sharedKey, ciphertext } = encapsulate(target.key)
      return Buffer.concat([ciphertext, sealPadded(cipherKey(sharedKey), value)])
    }
    const ephemeral = ephemerals.get(target.kind) ?? makeEphemeral(target.kind as Curve)
    ephemerals.set(target.kind, ephemeral)
    const shared = diffieHellman({ privateKey: ephemeral.privateKey, publicKey: target.key })
    return Buffer.concat([ephemeral.spki, sealPadded(cipherKey(shared), value)])
  })
}

/** @throws GatewayError VES_CRYPTO for what was altered, cut or sealed to another key */
export function openFromVaultKey(privateKey: VaultKey, sealed: Buffer): Buffer {
  try {
    switch (privateKey.algo) {
      case 'RSA':
        return openRsa(privateKey.key, sealed)
      case 'ECDH':
        return openEcdh(privateKey, sealed)
      case 'OQS':
        return openKem(privateKey.key, sealed)
    }
  } catch (cause) {
    if (cause instanceof GatewayError && cause.code !== 'SEAL_BROKEN') throw cause
    throw new GatewayError('VES_CRYPTO', { text: 'value altered, or sealed to another key' }, cause)
  }
}

function sealRsa(key: KeyObject, value: Uint8Array): Buffer {
  const modulus = modulusOctets(key)
  if (value.length + OAEP_OVERHEAD_OCTETS <= modulus || value.length <= PADDED_KEY_OCTETS) {
    return publicEncrypt({ key, ...OAEP }, value)
  }
  const inner = randomBytes(PADDED_KEY_OCTETS)
  return Buffer.concat([publicEncrypt({ key, ...OAEP }, inner), sealPadded(inner, value)])
}

function openRsa(key: KeyObject, sealed: Buffer): Buffer {
  const modulus = modulusOctets(key)
  const head = privateDecrypt({ key, ...OAEP }, sealed.subarray(0, modulus))
  if (sealed.length <= modulus) return head
  if (head.length !== PADDED_KEY_OCTETS) throw new GatewayError('VES_CRYPTO', { text: 'bad inner key' })
  return openPadded(head, sealed.subarray(modulus))
}

function openEcdh(privateKey: VaultKey, sealed: Buffer): Buffer {
  const { end } = expectElement(sealed, 0, DER.sequence)
  const ephemeral = createPublicKey({ key: sealed.subarray(0, end), format: 'der', type: 'spki' })
  // A point on another (weaker, invalid) curve would leak the private key bit by bit.
  if (kindOf(ephemeral)?.kind !== privateKey.kind) throw new GatewayError('VES_CRYPTO', { text: 'curves differ' })
  const shared = diffieHellman({ privateKey: privateKey.key, publicKey: ephemeral })
  return openPadded(cipherKey(shared), sealed.subarray(end))
}

function openKem(key: KeyObject, sealed: Buffer): Buffer {
  const octets = KEMS[key.asymmetricKeyType as string]!.octets
  if (sealed.length <= octets) throw new GatewayError('VES_CRYPTO', { text: 'value cut short' })
  return openPadded(cipherKey(decapsulate(key, sealed.subarray(0, octets))), sealed.subarray(octets))
}

/** @param key cipher key and iv, for this one value and no other */
function sealPadded(key: Buffer, value: Uint8Array): Buffer {
  return sealWhole(padded(key), value, randomBytes)
}

function openPadded(key: Buffer, sealed: Uint8Array): Buffer {
  return openWhole(padded(key), sealed)
}

function padded(keyString: Buffer): MessageKey {
  return { algo: 'AES256GCMp', keyString }
}

interface Ephemeral {
  readonly privateKey: KeyObject
  readonly spki: Buffer
}

function makeEphemeral(namedCurve: Curve): Ephemeral {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve })
  return { privateKey, spki: publicKey.export({ type: 'spki', format: 'der' }) }
}

/** `diffieHellman` pads x to the size of the field already. */
function cipherKey(shared: Uint8Array): Buffer {
  return hash('sha384', shared, 'buffer').subarray(0, PADDED_KEY_OCTETS)
}

function modulusOctets(key: KeyObject): number {
  return Math.ceil(key.asymmetricKeyDetails!.modulusLength! / 8)
}

function parseKey(der: Buffer, load: () => KeyObject, algorithmOf: (der: Buffer) => string): VaultKey {
  let key: KeyObject
  try {
    key = load()
  } catch (cause) {
    const oid = algorithmOf(der)
    // What OpenSSL cannot load, though we know its algorithm, is damaged; anything else is not ours to judge.
    if (KNOWN_OIDS.has(oid)) throw new GatewayError('VES_CRYPTO', { text: 'malformed key' }, cause)
    throw unknownAlgorithm(FOREIGN[oid] ?? oid, cause)
  }
  const kind = kindOf(key)
  if (kind === null) throw unknownAlgorithm(describe(key, algorithmOf(der)))
  return { ...kind, key }
}

const KNOWN_OIDS: ReadonlySet<string> = new Set([
  '1.2.840.113549.1.1.1',
  '1.2.840.10045.2.1',
  '2.16.840.1.101.3.4.4.1',
  '2.16.840.1.101.3.4.4.2',
  '2.16.840.1.101.3.4.4.3',
])

/** null = no key that VES uses, or of a size that it doesn't. */
function kindOf(key: KeyObject): { algo: KeyAlgo; kind: KeyKind } | null {
  const type = key.asymmetricKeyType as string
  if (type === 'rsa') {
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
    return bits >= 2048 && bits <= 4096 ? { algo: 'RSA', kind: 'RSA' } : null
  }
  if (type === 'ec') {
    const kind = CURVES[key.asymmetricKeyDetails?.namedCurve ?? '']
    return kind === undefined ? null : { algo: 'ECDH', kind }
  }
  const kem = KEMS[type]
  return kem === undefined ? null : { algo: 'OQS', kind: kem.kind }
}

function describe(key: KeyObject, oid: string): string {
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {}
  if (modulusLength !== undefined && key.asymmetricKeyType === 'rsa') return `RSA of ${modulusLength} bits`
  if (key.asymmetricKeyType === 'ec') return `ECDH on ${namedCurve ?? 'a curve without name'}`
  return FOREIGN[oid] ?? oid
}

/** SubjectPublicKeyInfo ::= SEQUENCE { SEQUENCE { algorithm OID, … }, … } (RFC 5280 §4.1). */
function algorithmOfSpki(der: Buffer): string {
  return algorithmAt(expectElement(der, 0, DER.sequence).content, 0)
}

/** PrivateKeyInfo ::= SEQUENCE { version INTEGER, SEQUENCE { algorithm OID, … }, … } (RFC 5958 §2). */
function algorithmOfPkcs8(der: Buffer): string {
  const outer = expectElement(der, 0, DER.sequence).content
  return algorithmAt(outer, expectElement(outer, 0, DER.integer).end)
}

function algorithmAt(outer: Buffer, at: number): string {
  return printOid(expectElement(expectElement(outer, at, DER.sequence).content, 0, DER.oid).content)
}

function looksLikePrivateKey(der: Buffer): boolean {
  try {
    algorithmOfPkcs8(der)
    return readElement(der, 0).end === der.length
  } catch (error) {
    if (error instanceof GatewayError) return false
    throw error
  }
}

function unknownAlgorithm(name: string, cause?: unknown): GatewayError {
  return new GatewayError('VES_UNSUPPORTED', { text: `unknown key algorithm ${name}` }, cause)
}
