/** A certificate authority for tests, and certificates of it that are right, or wrong in one way. */
import { generateKeyPairSync } from 'node:crypto'
import { isIP } from 'node:net'
import forge from 'node-forge'

const DAY_MS = 86_400_000

export interface TestCertificate {
  readonly cert: Buffer
  readonly pkey: Buffer
}

export class TestAuthority {
  readonly ca: Buffer
  readonly #key = rsa()
  readonly #subject: forge.pki.CertificateField[]

  /** @param issuer absent: a root; `days` from and to when it is valid, from now */
  constructor(name: string, issuer: TestAuthority | null = null, days: readonly [number, number] = [-1, 365]) {
    this.#subject = [{ name: 'commonName', value: name }]
    this.ca = Buffer.from(
      certify(this.#subject, (issuer ?? this).#subject, this.#key, (issuer ?? this).#key, days, [
        { name: 'basicConstraints', cA: true, critical: true },
        { name: 'keyUsage', keyCertSign: true, critical: true },
      ]),
    )
  }

  /** @param days from and to when it is valid, from now */
  issue(name: string, days: readonly [number, number] = [-1, 30]): TestCertificate {
    const key = rsa()
    const altName = isIP(name) === 0 ? { type: 2, value: name } : { type: 7, ip: name }
    const cert = certify([{ name: 'commonName', value: name }], this.#subject, key, this.#key, days, [
      { name: 'basicConstraints', cA: false },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames: [altName] },
    ])
    return { cert: Buffer.from(cert), pkey: Buffer.from(key.pem) }
  }
}

interface Key {
  readonly pem: string
  readonly forge: forge.pki.rsa.PrivateKey
}

function rsa(): Key {
  const pem = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
  return { pem: String(pem), forge: forge.pki.privateKeyFromPem(String(pem)) as forge.pki.rsa.PrivateKey }
}

let serial = 1

function certify(
  subject: forge.pki.CertificateField[],
  issuer: forge.pki.CertificateField[],
  key: Key,
  signer: Key,
  days: readonly [number, number],
  extensions: object[],
): string {
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = forge.pki.rsa.setPublicKey(key.forge.n, key.forge.e)
  certificate.serialNumber = `01${(serial++).toString(16).padStart(4, '0')}`
  certificate.validity.notBefore = new Date(Date.now() + days[0] * DAY_MS)
  certificate.validity.notAfter = new Date(Date.now() + days[1] * DAY_MS)
  certificate.setSubject(subject)
  certificate.setIssuer(issuer)
  certificate.setExtensions(extensions)
  certificate.sign(signer.forge, forge.md.sha256.create())
  return forge.pki.certificateToPem(certificate)
}
