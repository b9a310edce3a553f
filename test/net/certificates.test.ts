import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ownCertificate } from '../../src/net/certificates.ts'
import { judgeCertificate } from '../../src/net/judge-certificate.ts'

const DAY_MS = 86_400_000
const folder = mkdtempSync(join(tmpdir(), 'vesmail-cert-'))
after(() => rmSync(folder, { recursive: true }))

test('our own certificate names the host and loopback, and its key is for its owner alone', () => {
  const files = ownCertificate(join(folder, 'a'), 'mail.example.org', Date.now())
  const certificate = new X509Certificate(readFileSync(files.cert))
  for (const name of ['mail.example.org', 'localhost']) assert.ok(certificate.checkHost(name), name)
  for (const address of ['127.0.0.1', '::1']) assert.ok(certificate.checkIP(address), address)
  assert.equal(statSync(files.pkey).mode & 0o777, 0o600)
  assert.deepEqual(judgeCertificate(files, Date.now()).problem, null)
})

test('it is kept while it is good, and made anew a month before its end', () => {
  const directory = join(folder, 'b')
  const first = readFileSync(ownCertificate(directory, 'h.example', Date.now()).cert, 'utf8')
  assert.equal(readFileSync(ownCertificate(directory, 'h.example', Date.now() + 700 * DAY_MS).cert, 'utf8'), first)
  assert.notEqual(readFileSync(ownCertificate(directory, 'h.example', Date.now() + 800 * DAY_MS).cert, 'utf8'), first)
})
