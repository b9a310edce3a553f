/**
 * Key operations in the browser (key-repository.md §2): RSA and ECDH are WebCrypto's, ML-KEM is the noble library's.
 * Here is only the framing that VES gives them, the same as `engine/seal/vault-key.ts`, which does it on OpenSSL and at
 * once; `test/viewer/keys.test.ts` opens each with the other.
 *
 * Rule: a key of an algorithm that we don't know is an error that names it.
 */
import { ml_kem512, ml_kem768, ml_kem1024 } from '@noble/post-quantum/ml-kem.js'
import { GatewayError } from '../base/errors.ts'
import { openWhole, sealWhole } from '../engine/seal/ciphers.ts'
import type { KeyJobKind, KeyJobs, KeyOperations, KeyResult } from '../engine/seal/key-job.ts'
import type { MessageKey } from '../engine/seal/message-key.ts'
import type { KeyAlgo, KeyKind, VaultKey } from '../engine/seal/vault-key.ts'
import {
  DER,
  type Element,
  expectElement,
  printOid,
  readElement,
  writeElement,
  writeInteger,
} from '../engine/seal/vault-key-der.ts'
import type { MadeVaultKey } from '../engine/seal/vault-key-make.ts'
import { decryptPrivateKey, encryptPrivateKey, printPem, readPem } from '../engine/seal/vault-key-pbes2.ts'
import { type WebCryptoKey, WebKey } from './web-key.ts'

const KEMS = { 'ML-KEM-512': ml_kem512, 'ML-KEM-768': ml_kem768, 'ML-KEM-1024': ml_kem1024 } as const
type KemKind = keyof typeof KEMS
type Curve = 'P-256' | 'P-384' | 'P-521'

const RSA_OID = '1.2.840.113549.1.1.1'
const EC_OID = '1.2.840.10045.2.1'
const CURVES: Readonly<Record<string, Curve>> = {
  '1.2.840.10045.3.1.7': 'P-256',
  '1.3.132.0.34': 'P-384',
  '1.3.132.0.35': 'P-521',
}
const KEM_OIDS: Readonly<Record<string, KemKind>> = {
  '2.16.840.1.101.3.4.4.1': 'ML-KEM-512',
  '2.16.840.1.101.3.4.4.2': 'ML-KEM-768',
  '2.16.840.1.101.3.4.4.3': 'ML-KEM-1024',
}
/** 2.16.840.1.101.3.4.4.x in DER, without its last octet. */
const KEM_OID_OCTETS = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04]
const BIT_STRING = 0x03
/** `[0]`, the seed alone. */
const SEED = 0x80
const SEED_OCTETS = 64
const PADDED_KEY_OCTETS = 44
const OAEP_OVERHEAD_OCTETS = 42
const RSA = { name: 'RSA-OAEP', hash: 'SHA-1' } as const

export class WebKeyOperations implements KeyOperations {
  readonly #subtle = globalThis.crypto.subtle

  async run<K extends KeyJobKind>(kind: K, job: KeyJobs[K]['job']): Promise<KeyResult<K>> {
    return (await this.#run(kind, job as never)) as KeyResult<K>
  }

  #run(kind: KeyJobKind, job: never): Promise<KeyResult<KeyJobKind>> {
    switch (kind) {
      case 'unlock':
        return this.#unlock(job)
      case 'open':
        return this.#openAll(job)
      case 'seal':
        return this.#sealAll(job)
      case 'reseal':
        return this.#reseal(job)
      case 'make':
        return this.#make(job)
      case 'read':
        return this.#read((job as KeyJobs['read']['job']).publicKey)
    }
  }

  async #unlock({ privateKey, veskey, sealed }: KeyJobs['unlock']['job']): Promise<KeyResult<'unlock'>> {
    const pkcs8 = decryptPrivateKey(privateKey, veskey)
    try {
      // One wrong VESkey in 256 leaves a padding that looks right: then what comes out is no PrivateKeyInfo.
      const parts = privateKeyParts(pkcs8)
      if (parts === null) throw new GatewayError('VES_UNLOCK')
      const key = vaultKey(await this.#importPrivate(kindOf(parts.algorithm), pkcs8, parts.key))
      return { key, values: await Promise.all(sealed.map((one) => this.#open(key, one))) }
    } finally {
      pkcs8.fill(0)
    }
  }

  async #openAll({ key, sealed }: KeyJobs['open']['job']): Promise<KeyResult<'open'>> {
    return { values: await Promise.all(sealed.map((one) => this.#open(key, one))) }
  }

  async #sealAll({ keys, value }: KeyJobs['seal']['job']): Promise<KeyResult<'seal'>> {
    return { sealed: await Promise.all(keys.map((key) => this.#seal(key, value))) }
  }

  async #reseal({ from, to, sealed }: KeyJobs['reseal']['job']): Promise<KeyResult<'reseal'>> {
    const anew = sealed.map(async (one) => {
      const value = await this.#open(from, one).catch((error: unknown) => {
        if (error instanceof GatewayError && error.code === 'VES_CRYPTO') return null
        throw error
      })
      return value === null ? null : this.#seal(to, value)
    })
    return { sealed: await Promise.all(anew) }
  }

  // ── values ──

  async #seal(target: VaultKey | string, value: Uint8Array): Promise<Uint8Array> {
    const { kind, publicKey } = webKeyOf(typeof target === 'string' ? await this.#read(target) : target)
    if (kind === 'RSA') return this.#sealRsa(publicKey as WebCryptoKey, value)
    if (isKem(kind)) {
      const { cipherText, sharedSecret } = KEMS[kind].encapsulate(publicKey as Uint8Array)
      return Buffer.concat([cipherText, sealPadded(await this.#cipherKey(sharedSecret), value)])
    }
    // Made anew for each value: cipher key and iv derive from it, so a second value under it would break GCM.
    const ephemeral = await this.#subtle.generateKey({ name: 'ECDH', namedCurve: kind }, false, ['deriveBits'])
    const spki = await this.#subtle.exportKey('spki', ephemeral.publicKey)
    const shared = await this.#agree(ephemeral.privateKey, publicKey as WebCryptoKey)
    return Buffer.concat([new Uint8Array(spki), sealPadded(await this.#cipherKey(shared), value)])
  }

  async #open(key: VaultKey, sealed: Uint8Array): Promise<Uint8Array> {
    const { kind, privateKey } = webKeyOf(key)
    try {
      if (kind === 'RSA') return await this.#openRsa(privateKey as WebCryptoKey, sealed)
      if (isKem(kind)) return await this.#openKem(kind, privateKey as Uint8Array, sealed)
      return await this.#openEcdh(kind, privateKey as WebCryptoKey, asBuffer(sealed))
    } catch (cause) {
      if (cause instanceof GatewayError && cause.code !== 'SEAL_BROKEN') throw cause
      throw new GatewayError('VES_CRYPTO', { text: 'value altered, or sealed to another key' }, cause)
    }
  }

  async #sealRsa(key: WebCryptoKey, value: Uint8Array): Promise<Uint8Array> {
    const encrypt = async (octets: Uint8Array) =>
      new Uint8Array(await this.#subtle.encrypt({ name: 'RSA-OAEP' }, key, octets.slice()))
    if (value.length + OAEP_OVERHEAD_OCTETS <= modulusOctets(key) || value.length <= PADDED_KEY_OCTETS) {
      return encrypt(value)
    }
    const inner = Buffer.from(globalThis.crypto.getRandomValues(new Uint8Array(PADDED_KEY_OCTETS)))
    return Buffer.concat([await encrypt(inner), sealPadded(inner, value)])
  }

  async #openRsa(key: WebCryptoKey, sealed: Uint8Array): Promise<Uint8Array> {
    const octets = modulusOctets(key)
    const head = Buffer.from(await this.#subtle.decrypt({ name: 'RSA-OAEP' }, key, sealed.slice(0, octets)))
    if (sealed.length <= octets) return head
    if (head.length !== PADDED_KEY_OCTETS) throw new GatewayError('VES_CRYPTO', { text: 'bad inner key' })
    return openPadded(head, sealed.subarray(octets))
  }

  async #openKem(kind: KemKind, key: Uint8Array, sealed: Uint8Array): Promise<Uint8Array> {
    const octets = KEMS[kind].lengths.cipherText!
    if (sealed.length <= octets) throw new GatewayError('VES_CRYPTO', { text: 'value cut short' })
    const shared = KEMS[kind].decapsulate(sealed.subarray(0, octets), key)
    return openPadded(await this.#cipherKey(shared), sealed.subarray(octets))
  }

  async #openEcdh(curve: Curve, key: WebCryptoKey, sealed: Buffer): Promise<Uint8Array> {
    const { content, end } = expectElement(sealed, 0, DER.sequence)
    if (kindOf(expectElement(content, 0, DER.sequence)) !== curve) {
      throw new GatewayError('VES_CRYPTO', { text: 'curves differ' })
    }
    const ephemeral = await this.#importPublic(curve, sealed.subarray(0, end), null)
    const shared = await this.#agree(key, ephemeral.publicKey as WebCryptoKey)
    return openPadded(await this.#cipherKey(shared), sealed.subarray(end))
  }

  /** The shared x, padded to the size of the field. */
  async #agree(privateKey: WebCryptoKey, publicKey: WebCryptoKey): Promise<Uint8Array> {
    const bits = await this.#subtle.deriveBits({ name: 'ECDH', public: publicKey }, privateKey, null)
    return new Uint8Array(bits)
  }

  async #cipherKey(shared: Uint8Array): Promise<Buffer> {
    return Buffer.from(await this.#subtle.digest('SHA-384', shared.slice())).subarray(0, PADDED_KEY_OCTETS)
  }

  // ── keys ──

  async #read(pem: string): Promise<VaultKey> {
    const der = readPem(pem, 'PUBLIC KEY')
    const outer = expectElement(der, 0, DER.sequence).content
    const algorithm = expectElement(outer, 0, DER.sequence)
    const bits = expectElement(outer, algorithm.end, BIT_STRING).content
    return vaultKey(await this.#importPublic(kindOf(algorithm), der, bits.subarray(1)))
  }

  /** @param bits what the SPKI holds; only ML-KEM needs it */
  async #importPublic(kind: KeyKind, spki: Uint8Array, bits: Uint8Array | null): Promise<WebKey> {
    if (isKem(kind)) {
      if (bits === null || bits.length !== KEMS[kind].lengths.publicKey) throw malformed()
      return new WebKey(kind, Uint8Array.from(bits), null)
    }
    const ecdh = { name: 'ECDH', namedCurve: kind }
    const imported = kind === 'RSA' ? RSA : ecdh
    const usages = kind === 'RSA' ? (['encrypt'] as const) : []
    const key = await this.#subtle.importKey('spki', spki.slice(), imported, true, [...usages]).catch((cause) => {
      throw malformed(cause)
    })
    checkModulus(key)
    return new WebKey(kind, key, null)
  }

  async #importPrivate(kind: KeyKind, pkcs8: Buffer, inner: Buffer): Promise<WebKey> {
    if (isKem(kind)) {
      const secret = kemSecret(kind, inner)
      return new WebKey(kind, KEMS[kind].getPublicKey(secret), secret)
    }
    try {
      const algorithm = kind === 'RSA' ? RSA : { name: 'ECDH', namedCurve: kind }
      const usage = kind === 'RSA' ? 'decrypt' : 'deriveBits'
      // Taken out once, for its public half; what is kept cannot be.
      const open = await this.#subtle.importKey('pkcs8', pkcs8.slice(), algorithm, true, [usage])
      const { kty, n, e, crv, x, y } = await this.#subtle.exportKey('jwk', open)
      const half = kind === 'RSA' ? { kty, n, e } : { kty, crv, x, y }
      const usages = kind === 'RSA' ? (['encrypt'] as const) : []
      const publicKey = await this.#subtle.importKey('jwk', half as never, algorithm, true, [...usages])
      const kept = await this.#subtle.importKey('pkcs8', pkcs8.slice(), algorithm, false, [usage])
      checkModulus(kept)
      return new WebKey(kind, publicKey, kept)
    } catch (cause) {
      throw cause instanceof GatewayError ? cause : malformed(cause)
    }
  }

  async #make({ kind, veskey, rounds }: KeyJobs['make']['job']): Promise<MadeVaultKey> {
    const { spki, pkcs8 } = isKem(kind) ? makeKem(kind) : await this.#makeCurve(kind)
    try {
      const privateKey = encryptPrivateKey(pkcs8, veskey, rounds ?? undefined)
      return { algo: algoOf(kind), publicKey: printPem(spki, 'PUBLIC KEY'), privateKey }
    } finally {
      pkcs8.fill(0)
    }
  }

  async #makeCurve(kind: KeyKind): Promise<{ spki: Buffer; pkcs8: Buffer }> {
    if (kind === 'RSA') throw new GatewayError('VES_UNSUPPORTED', { text: 'new RSA keys are not made in a browser' })
    const pair = await this.#subtle.generateKey({ name: 'ECDH', namedCurve: kind }, true, ['deriveBits'])
    return {
      spki: Buffer.from(await this.#subtle.exportKey('spki', pair.publicKey)),
      pkcs8: Buffer.from(await this.#subtle.exportKey('pkcs8', pair.privateKey)),
    }
  }
}

function isKem(kind: KeyKind): kind is KemKind {
  return kind in KEMS
}

function algoOf(kind: KeyKind): KeyAlgo {
  return kind === 'RSA' ? 'RSA' : isKem(kind) ? 'OQS' : 'ECDH'
}

/** The engine hands these on and never looks into them. */
function vaultKey(key: WebKey): VaultKey {
  return { algo: algoOf(key.kind), kind: key.kind, key: key as unknown as VaultKey['key'] }
}

function webKeyOf({ key }: VaultKey): WebKey {
  return key as unknown as WebKey
}

/** AlgorithmIdentifier ::= SEQUENCE { algorithm OID, parameters ANY OPTIONAL } (RFC 5280 §4.1.1.2). */
function kindOf({ content }: Element): KeyKind {
  const { content: octets, end } = expectElement(content, 0, DER.oid)
  const oid = printOid(octets)
  if (oid === RSA_OID) return 'RSA'
  const kem = KEM_OIDS[oid]
  if (kem !== undefined) return kem
  const parameters = end < content.length ? readElement(content, end) : null
  const named = oid === EC_OID && parameters?.tag === DER.oid ? CURVES[printOid(parameters.content)] : undefined
  if (named !== undefined) return named
  throw new GatewayError('VES_UNSUPPORTED', { text: `unknown key algorithm ${oid}` })
}

/** PrivateKeyInfo ::= SEQUENCE { version INTEGER, AlgorithmIdentifier, OCTET STRING, … } (RFC 5958 §2); null: it is none. */
function privateKeyParts(der: Buffer): { readonly algorithm: Element; readonly key: Buffer } | null {
  try {
    const outer = expectElement(der, 0, DER.sequence)
    if (outer.end !== der.length) return null
    const version = expectElement(outer.content, 0, DER.integer)
    const algorithm = expectElement(outer.content, version.end, DER.sequence)
    printOid(expectElement(algorithm.content, 0, DER.oid).content)
    return { algorithm, key: expectElement(outer.content, algorithm.end, DER.octets).content }
  } catch (error) {
    if (error instanceof GatewayError) return null
    throw error
  }
}

/** ML-KEM-PrivateKey ::= CHOICE { seed [0], expandedKey OCTET STRING, both SEQUENCE { seed, expandedKey } }. */
function kemSecret(kind: KemKind, der: Buffer): Uint8Array {
  const element = readElement(der, 0)
  const seed = element.tag === DER.sequence ? expectElement(element.content, 0, DER.octets).content : element.content
  if (element.tag === SEED || element.tag === DER.sequence) {
    if (seed.length !== SEED_OCTETS) throw malformed()
    return KEMS[kind].keygen(Uint8Array.from(seed)).secretKey
  }
  if (element.tag !== DER.octets || element.content.length !== KEMS[kind].lengths.secretKey) throw malformed()
  return Uint8Array.from(element.content)
}

/** Written with both, as C with older liboqs needs it. */
function makeKem(kind: KemKind): { spki: Buffer; pkcs8: Buffer } {
  const seed = globalThis.crypto.getRandomValues(new Uint8Array(SEED_OCTETS))
  const { publicKey, secretKey } = KEMS[kind].keygen(seed)
  const last = Number(
    Object.entries(KEM_OIDS)
      .find(([, name]) => name === kind)![0]
      .at(-1),
  )
  const { sequence, octets, oid } = DER
  const algorithm = writeElement(sequence, writeElement(oid, Uint8Array.from([...KEM_OID_OCTETS, last])))
  const both = writeElement(sequence, writeElement(octets, seed), writeElement(octets, secretKey))
  seed.fill(0)
  return {
    spki: writeElement(sequence, algorithm, writeElement(BIT_STRING, Uint8Array.of(0), publicKey)),
    pkcs8: writeElement(sequence, writeInteger(0), algorithm, writeElement(octets, both)),
  }
}

function sealPadded(key: Buffer, value: Uint8Array): Buffer {
  return sealWhole(padded(key), value, () => {
    throw new Error('this cipher needs no random octets')
  })
}

function openPadded(key: Buffer, sealed: Uint8Array): Buffer {
  return openWhole(padded(key), sealed)
}

function padded(keyString: Buffer): MessageKey {
  return { algo: 'AES256GCMp', keyString }
}

function modulusOctets(key: WebCryptoKey): number {
  return Math.ceil((key.algorithm as unknown as { modulusLength: number }).modulusLength / 8)
}

/** As the gateway takes them; null for what is no RSA key. */
function checkModulus(key: WebCryptoKey): void {
  if (key.algorithm.name !== 'RSA-OAEP') return
  const octets = modulusOctets(key)
  if (octets < 256 || octets > 512) throw new GatewayError('VES_UNSUPPORTED', { text: `RSA of ${octets * 8} bits` })
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function malformed(cause?: unknown): GatewayError {
  return new GatewayError('VES_CRYPTO', { text: 'malformed key' }, cause)
}
