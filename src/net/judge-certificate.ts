/**
 * Whether a server certificate, its chain and its key will do: what a client would refuse, what it may refuse, and what
 * to do about it (RFC 8446 §4.4.2: the server's own certificate first, each followed by its issuer). For `vesmail check`
 * and for our own certificate; a handshake does not pass here.
 */

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { getCACertificates } from 'node:tls'
import { messageOf } from '../base/errors.ts'
import { certificatesIn, readPem } from './certificate-file.ts'
import { serverTls } from './tls.ts'

const DAY_MS = 86_400_000
const SOON_DAYS = 30
/** A chain has three or four; a file of all authorities is a mistake. */
const MAX_CHAIN = 20

export interface CertificateFiles {
  readonly cert: string
  readonly pkey: string
}

/** @property of the option to look at */
export interface Finding {
  readonly of: 'cert' | 'pkey'
  readonly text: string
}

/** `problem` stops the start or most clients, `warnings` do not. */
export interface CertificateState {
  readonly subject: string
  readonly expiresMs: number
  readonly problem: Finding | null
  readonly warnings: readonly Finding[]
  /** null where it cannot be read. */
  readonly certificate: X509Certificate | null
}

class Unusable extends Error {
  readonly finding: Finding

  constructor(of: Finding['of'], text: string) {
    super(text)
    this.finding = { of, text }
  }
}

export function judgeCertificate(files: CertificateFiles, nowMs: number): CertificateState {
  const warnings: Finding[] = []
  let leaf: X509Certificate | null = null
  const state = (problem: Finding | null): CertificateState => ({
    subject: leaf === null ? '' : named(leaf.subject),
    expiresMs: leaf === null ? 0 : Date.parse(leaf.validTo),
    problem,
    warnings,
    certificate: leaf,
  })
  try {
    const chain = blamed('cert', () => certificatesIn(files.cert))
    leaf = chain[0]!
    const key = readKey(files.pkey)
    if (!leaf.checkPrivateKey(key)) throw mismatch(files, chain, key)
    checkTime(leaf, files.cert, nowMs)
    const days = Math.floor((Date.parse(leaf.validTo) - nowMs) / DAY_MS)
    if (days < SOON_DAYS) warnings.push({ of: 'cert', text: `${files.cert} expires in ${days} days: renew it` })
    if ((statSync(files.pkey).mode & 0o007) !== 0) {
      warnings.push({ of: 'pkey', text: `${files.pkey} can be read by everybody: chmod 640, and change the key` })
    }
    warnings.push(...checkChain(files.cert, chain, nowMs))
    // What the daemon itself does with it.
    serverTls(readFileSync(files.cert), readFileSync(files.pkey))
    return state(null)
  } catch (error) {
    if (error instanceof Unusable) return state(error.finding)
    return state({ of: 'cert', text: `${files.cert}: ${messageOf(error)}` })
  }
}

function blamed<T>(of: Finding['of'], read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new Unusable(of, messageOf(error))
  }
}

function readKey(path: string): KeyObject {
  const pem = blamed('pkey', () => readPem(path))
  if (/BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(pem)) {
    throw new Unusable('pkey', `${path} has a pass phrase: take it off (openssl pkey)`)
  }
  try {
    return createPrivateKey(pem)
  } catch (error) {
    throw new Unusable('pkey', `${path} holds no private key in PEM form: ${messageOf(error)}`)
  }
}

function mismatch({ cert, pkey }: CertificateFiles, chain: readonly X509Certificate[], key: KeyObject): Unusable {
  const at = chain.findIndex((one) => one.checkPrivateKey(key))
  const text =
    at > 0
      ? `the certificate of ${pkey} is number ${at + 1} in ${cert}: it must be the first`
      : `${pkey} is not the key of the first certificate in ${cert} (${named(chain[0]!.subject)}): take the two that were made together`
  return new Unusable('pkey', text)
}

function checkTime(certificate: X509Certificate, path: string, nowMs: number): void {
  const { validFrom, validTo, subject } = certificate
  const which = `${path} (${named(subject)})`
  if (nowMs > Date.parse(validTo)) throw new Unusable('cert', `${which} has expired (${validTo}): renew it`)
  if (nowMs < Date.parse(validFrom)) {
    throw new Unusable('cert', `${which} is not valid before ${validFrom}: wait, or look at this machine's clock`)
  }
}

/** From the server's own certificate up to one that signed itself, or whose issuer clients have. */
function checkChain(path: string, chain: readonly X509Certificate[], nowMs: number): Finding[] {
  if (chain.length > MAX_CHAIN) {
    return [{ of: 'cert', text: `${path} holds ${chain.length} certificates: only its own chain belongs there` }]
  }
  let at = 0
  let inOrder = true
  for (let steps = 0; steps < chain.length; steps++) {
    const current = chain[at]!
    if (steps > 0) checkTime(current, path, nowMs)
    if (isIssuer(current, current)) {
      return steps > 0
        ? orderOf(path, inOrder)
        : [{ of: 'cert', text: `${path} is self-signed: clients must be told to trust it` }]
    }
    const next = chain.findIndex((one) => one !== current && isIssuer(one, current))
    if (next < 0) return [...incomplete(path, current), ...orderOf(path, inOrder)]
    if (!chain[next]!.ca)
      throw new Unusable('cert', `${path}: certificate ${next + 1} issued another, and is no authority`)
    inOrder &&= next === at + 1
    at = next
  }
  return []
}

function orderOf(path: string, inOrder: boolean): Finding[] {
  const text = `${path}: the certificates are not in order; some clients need each to be followed by its issuer`
  return inOrder ? [] : [{ of: 'cert', text }]
}

function incomplete(path: string, last: X509Certificate): Finding[] {
  if (roots().some((root) => isIssuer(root, last))) return []
  const text = `${path}: the chain is incomplete: "${named(last.issuer)}", which issued "${named(last.subject)}", is neither in the file nor trusted here: append the intermediate certificate ("fullchain"), unless that is a root of your own that clients have`
  return [{ of: 'cert', text }]
}

function isIssuer(issuer: X509Certificate, of: X509Certificate): boolean {
  // A certificate that may not sign others may still have signed itself.
  const fits = issuer === of ? of.subject === of.issuer : of.checkIssued(issuer)
  return fits && of.verify(issuer.publicKey)
}

let known: X509Certificate[] | null = null

/** What this machine trusts, and with it, roughly, clients. */
function roots(): readonly X509Certificate[] {
  known ??= [...new Set([...getCACertificates('default'), ...getCACertificates('system')])].map(
    (pem) => new X509Certificate(pem),
  )
  return known
}

/** One line. */
function named(name: string): string {
  return name.replaceAll('\n', ', ')
}
