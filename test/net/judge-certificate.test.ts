/** Certificates, chains and keys of real files, each wrong in one way. */
import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { selfSigned } from '../../src/net/certificates.ts'
import { type CertificateState, judgeCertificate } from '../../src/net/judge-certificate.ts'
import { TestAuthority } from './authority.ts'

const DAY_MS = 86_400_000
const folder = mkdtempSync(join(tmpdir(), 'vesmail-judge-'))
after(() => rmSync(folder, { recursive: true }))

const root = new TestAuthority('Judge Root')
const middle = new TestAuthority('Judge Intermediate', root)
const leaf = middle.issue('mail.example')
/** After its keys were made, which may take seconds: its thirty days have begun. */
const NOW = Date.now()

let count = 0
/** Puts both into files of their own. */
function files(cert: Buffer | string, pkey: Buffer | string = leaf.pkey): { cert: string; pkey: string } {
  const names = { cert: join(folder, `${++count}.crt`), pkey: join(folder, `${count}.key`) }
  writeFileSync(names.cert, cert)
  writeFileSync(names.pkey, pkey, { mode: 0o600 })
  return names
}
const judge = (cert: Buffer | string, pkey?: Buffer | string): CertificateState =>
  judgeCertificate(files(cert, pkey), NOW)
const chain = (...certificates: Buffer[]): Buffer => Buffer.concat(certificates)
const warned = ({ warnings }: CertificateState): string => warnings.map(({ text }) => text).join('; ')

test('a whole chain with its key is well, with the subject and the end of the first', () => {
  const state = judge(chain(leaf.cert, middle.ca, root.ca))
  assert.equal(state.problem, null)
  assert.deepEqual(warned(state), `${join(folder, `${count}.crt`)} expires in 29 days: renew it`)
  assert.equal(state.subject, 'CN=mail.example')
  assert.ok(Math.abs(state.expiresMs - (NOW + 30 * DAY_MS)) < DAY_MS)
})

test('before its first day and after its last, the first certificate and those behind it', () => {
  const pair = files(chain(leaf.cert, middle.ca, root.ca))
  const early = judgeCertificate(pair, NOW - 2 * DAY_MS).problem
  assert.match(
    early?.text ?? '',
    /crt \(CN=mail\.example\) is not valid before .*: wait, or look at this machine's clock/,
  )
  assert.match(
    judgeCertificate(pair, NOW + 31 * DAY_MS).problem?.text ?? '',
    /mail\.example\) has expired \(.*: renew it/,
  )
  const future = middle.issue('mail.example', [1, 30])
  assert.match(judge(chain(future.cert, middle.ca), future.pkey).problem?.text ?? '', /not valid before/)
  for (const [days, expected] of [
    [[-30, -1], /CN=Old\) has expired/],
    [[1, 30], /CN=Old\) is not valid before/],
  ] as const) {
    const old = new TestAuthority('Old', root, days)
    const { cert, pkey } = old.issue('mail.example')
    assert.match(judge(chain(cert, old.ca, root.ca), pkey).problem?.text ?? '', expected)
  }
})

test('a chain that ends too early is told, with who is missing', () => {
  assert.match(
    warned(judge(leaf.cert)),
    /chain is incomplete: "CN=Judge Intermediate", which issued "CN=mail\.example".*append the intermediate/,
  )
  assert.match(
    warned(judge(chain(leaf.cert, middle.ca))),
    /incomplete: "CN=Judge Root", which issued "CN=Judge Intermediate"/,
  )
  assert.match(warned(judge(chain(leaf.cert, root.ca))), /incomplete: "CN=Judge Intermediate"/)
})

test('out of order, or of an issuer that is none', () => {
  assert.match(warned(judge(chain(leaf.cert, root.ca, middle.ca))), /not in order/)
  assert.doesNotMatch(warned(judge(chain(leaf.cert, middle.ca, root.ca))), /order/)
  const same = new TestAuthority('Judge Intermediate', root)
  assert.match(warned(judge(chain(leaf.cert, same.ca, root.ca))), /incomplete/, 'the right name, and another key')
  assert.match(warned(judge(chain(leaf.cert, ...Array.from({ length: 20 }, () => root.ca)))), /holds 21 certificates/)
})

test('a key of another certificate; of one that is not the first', () => {
  const other = middle.issue('other.example')
  const { problem } = judge(chain(leaf.cert, middle.ca), other.pkey)
  assert.equal(problem?.of, 'pkey')
  assert.match(problem.text, /\.key is not the key of the first certificate in .*\.crt \(CN=mail\.example\)/)
  assert.match(judge(chain(middle.ca, leaf.cert)).problem?.text ?? '', /is number 2 in .*: it must be the first/)
})

test('files that are no certificate, no key, locked, absent, or for everybody', () => {
  const text = (state: CertificateState): string => `${state.problem?.of}: ${state.problem?.text}`
  assert.match(text(judge('nothing')), /^cert: .*holds no certificate in PEM form/)
  assert.match(text(judge(new X509Certificate(leaf.cert).raw)), /^cert: .*holds no certificate in PEM form/)
  const damaged = `${leaf.cert}`.replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA')
  assert.match(text(judge(chain(leaf.cert, Buffer.from(damaged)))), /^cert: .*certificate 2 is damaged/)
  assert.match(text(judge(leaf.cert, 'nothing')), /^pkey: .*holds no private key in PEM form/)
  const locked = createPrivateKey(leaf.pkey).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'x',
  })
  assert.match(text(judge(leaf.cert, locked)), /^pkey: .*has a pass phrase: take it off/)
  const { cert, pkey } = files(leaf.cert)
  assert.match(
    text(judgeCertificate({ cert: join(folder, 'no'), pkey }, NOW)),
    /^cert: .*cannot be read \(ENOENT\): correct the path/,
  )
  assert.match(
    text(judgeCertificate({ cert, pkey: join(folder, 'no') }, NOW)),
    /^pkey: .*cannot be read \(ENOENT\): correct the path/,
  )
  chmodSync(pkey, 0o644)
  assert.match(warned(judgeCertificate({ cert, pkey }, NOW)), /can be read by everybody/)
})

test('one that signed itself is told as such', () => {
  const { cert, pkey } = selfSigned(['x.example'], NOW)
  const state = judge(cert, pkey)
  assert.equal(state.problem, null)
  assert.match(warned(state), /is self-signed/)
})
