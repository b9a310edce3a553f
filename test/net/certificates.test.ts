import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { judgeCertificate, ownCertificate, selfSigned } from '../../src/net/certificates.ts'

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

test('a foreign key, an expired certificate and a missing file are problems; an open key file is a warning', () => {
  const now = Date.now()
  const files = { cert: join(folder, 'c.pem'), pkey: join(folder, 'k.pem') }
  const { cert, pkey } = selfSigned(['x.example'], now)
  writeFileSync(files.cert, cert)
  writeFileSync(files.pkey, selfSigned(['x.example'], now).pkey)
  assert.match(judgeCertificate(files, now).problem ?? '', /does not belong/)
  writeFileSync(files.pkey, pkey)
  chmodSync(files.pkey, 0o644)
  const state = judgeCertificate(files, now)
  assert.equal(state.problem, null)
  assert.match(state.warnings.join(), /read by everybody/)
  assert.match(judgeCertificate(files, now + 800 * DAY_MS).warnings.join(), /expires in 2\d days/)
  assert.match(judgeCertificate(files, now + 900 * DAY_MS).problem ?? '', /expired/)
  assert.match(judgeCertificate({ ...files, cert: join(folder, 'no.pem') }, now).problem ?? '', /ENOENT/)
})
