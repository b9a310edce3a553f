/**
 * Our own server certificate, where none is configured (`judge-certificate.ts` judges those that are).
 *
 * It is self-signed, RSA 2048 (every mail client takes it), and lives in the state directory; the key
 * file is readable by its owner alone. It is made anew a month before it expires.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname, join } from 'node:path'
import forge from 'node-forge'
import { type CertificateFiles, judgeCertificate } from './judge-certificate.ts'
import { makeFolder } from './make-folder.ts'

const DAY_MS = 86_400_000
/** Apple's systems refuse certificates that live longer, even ones the user trusts. */
const LIFETIME_DAYS = 825
const RENEW_DAYS = 30

/** The files of our own certificate in `directory`, made if they are missing or about to expire. */
export function ownCertificate(directory: string, host: string, nowMs: number): CertificateFiles {
  const files = { cert: join(directory, 'selfsigned-cert.pem'), pkey: join(directory, 'selfsigned-key.pem') }
  if (existsSync(files.cert) && existsSync(files.pkey)) {
    const state = judgeCertificate(files, nowMs)
    if (state.problem === null && state.expiresMs - nowMs > RENEW_DAYS * DAY_MS) return files
  }
  makeFolder(directory, 0o700)
  const { cert, pkey } = selfSigned([host, 'localhost', '127.0.0.1', '::1'], nowMs)
  replaceFile(files.pkey, pkey, 0o600)
  replaceFile(files.cert, cert, 0o644)
  return files
}

/** A self-signed certificate for these names and addresses; the first is the subject. PEM texts. */
export function selfSigned(names: readonly string[], nowMs: number): { cert: string; pkey: string } {
  // Node's own generator: the package's is written in JavaScript and takes a second.
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pkey = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  const key = forge.pki.privateKeyFromPem(pkey) as forge.pki.rsa.PrivateKey
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = forge.pki.rsa.setPublicKey(key.n, key.e)
  // A positive number: the leading octet keeps the sign bit clear.
  certificate.serialNumber = `01${randomBytes(15).toString('hex')}`
  // Clocks of clients differ.
  certificate.validity.notBefore = new Date(nowMs - DAY_MS)
  certificate.validity.notAfter = new Date(nowMs + (LIFETIME_DAYS - 1) * DAY_MS)
  const subject = [{ name: 'commonName', value: names[0] ?? 'localhost' }]
  certificate.setSubject(subject)
  certificate.setIssuer(subject)
  const altNames = [...new Set(names)].map((name) =>
    isIP(name) === 0 ? { type: 2, value: name } : { type: 7, ip: name },
  )
  certificate.setExtensions([
    { name: 'basicConstraints', cA: false, critical: true },
    { name: 'keyUsage', digitalSignature: true, keyEncipherment: true, critical: true },
    { name: 'extKeyUsage', serverAuth: true },
    { name: 'subjectAltName', altNames },
  ])
  certificate.sign(key, forge.md.sha256.create())
  return { cert: forge.pki.certificateToPem(certificate), pkey }
}

/** Never half a file, never a moment in which others may read it. */
function replaceFile(path: string, text: string, mode: number): void {
  const temporary = join(dirname(path), `.${randomBytes(6).toString('hex')}.tmp`)
  try {
    writeFileSync(temporary, text, { mode, flag: 'wx' })
    chmodSync(temporary, mode)
    renameSync(temporary, path)
  } finally {
    rmSync(temporary, { force: true })
  }
}
