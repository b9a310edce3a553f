/** Signatures survive: S/MIME, OpenPGP/MIME, DKIM, made and verified by openssl, gpg and mailauth. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { dkimSign } from 'mailauth/lib/dkim/sign.js'
import { dkimVerify } from 'mailauth/lib/dkim/verify.js'
import { signDkim, verifyDkim } from './dkim.ts'
import { open, seal } from './through.ts'

const folder = mkdtempSync(join(tmpdir(), 'vesmail-signatures-'))
after(() => rmSync(folder, { recursive: true }))
const path = (name: string) => join(folder, name)

function run(program: string, args: readonly string[], input: Buffer | string = ''): Buffer {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    input,
    env: { ...process.env, GNUPGHOME: folder },
  })
  if (error !== undefined) throw error
  assert.equal(status, 0, `${program} ${args.join(' ')}: ${stderr.toString()}`)
  return stdout
}

/** Bodies whose form a re-encoding would change. */
const BODIES = {
  base64: `Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n${'QUJD'.repeat(15)}\r\nQQ==`,
  'quoted-printable':
    'Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nl=6fwer =e2=9c=93 =\r\nbroken=20\r\n',
  'mixed 8-bit':
    'Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\n\r\n\xe9\t \r\n\r\n--in\r\nContent-Type: text/html\r\n\r\n<p>\r\n--in--\r\n',
}

const HEAD =
  'From: a@example.com\r\nTo: b@example.com\r\nMessage-Id: <s@example.com>\r\nSubject:  signed\r\nMIME-Version: 1.0\r\n'

/** As signed; and forwarded, inside other parts. */
function arrangements(message: string): Buffer[] {
  const forwarded = `${HEAD}Content-Type: multipart/mixed; boundary=fw\r\n\r\n--fw\r\n\r\nsee\r\n--fw\r\nContent-Type: message/rfc822\r\n\r\n${message}\r\n--fw--\r\n`
  return [message, forwarded].map((text) => Buffer.from(text, 'latin1'))
}

const afterRoundTrip = (message: Buffer) => open(seal(message))

test('S/MIME: openssl verifies what it signed, clear and opaque', () => {
  run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    path('key.pem'),
    '-out',
    path('cert.pem'),
    '-subj',
    '/CN=a',
    '-addext',
    'subjectAltName=email:a@example.com',
    '-addext',
    'keyUsage=digitalSignature',
  ]) // prettier-ignore
  for (const [name, body] of Object.entries(BODIES)) {
    for (const opaque of [false, true]) {
      const sign = ['smime', '-sign', '-signer', path('cert.pem'), '-inkey', path('key.pem'), '-binary', '-crlfeol']
      const signed = run('openssl', [...sign, ...(opaque ? ['-nodetach'] : [])], Buffer.from(body, 'latin1'))
      const message = Buffer.concat([Buffer.from(HEAD.replace('MIME-Version: 1.0\r\n', '')), signed])
      const [opened, forwarded] = arrangements(message.toString('latin1')).map(afterRoundTrip)
      assert.ok(forwarded!.includes(message))
      const check = ['smime', '-verify', '-CAfile', path('cert.pem'), '-binary', '-purpose', 'any']
      const content = run('openssl', check, opened!)
      assert.ok(content.equals(Buffer.from(body, 'latin1')), `${name}, opaque ${opaque}`)
    }
  }
})

const hasGpg = spawnSync('gpg', ['--version']).error === undefined

test('OpenPGP/MIME: gpg verifies what it signed', { skip: !hasGpg && 'gpg is not installed' }, () => {
  run('gpg', ['--batch', '--quiet', '--passphrase', '', '--quick-generate-key', 'a@example.com', 'rsa2048', 'sign'])
  for (const [name, body] of Object.entries(BODIES)) {
    const signature = run('gpg', ['--batch', '--quiet', '--armor', '--detach-sign'], Buffer.from(body, 'latin1'))
    const armor = signature.toString('latin1').replace(/\n/g, '\r\n')
    const message =
      `${HEAD}Content-Type: multipart/signed; micalg=pgp-sha512;\r\n\tprotocol="application/pgp-signature"; boundary=sig\r\n\r\n` +
      `--sig\r\n${body}\r\n--sig\r\nContent-Type: application/pgp-signature\r\n\r\n${armor}\r\n--sig--\r\n`
    for (const opened of arrangements(message).map(afterRoundTrip)) {
      // Taken apart as a mail client does (RFC 3156 §5).
      const [, part, sig] = opened.toString('latin1').split(/(?:\r\n)?--sig(?:--)?\r\n/)
      writeFileSync(path('part'), Buffer.from(part!, 'latin1'))
      writeFileSync(path('part.asc'), sig!.slice(sig!.indexOf('-----BEGIN')))
      assert.ok(readFileSync(path('part')).equals(Buffer.from(body, 'latin1')), name)
      run('gpg', ['--batch', '--quiet', '--verify', path('part.asc'), path('part')])
    }
  }
})

test('DKIM, canonicalized simple: every octet of header and body counts', () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  for (const [name, body] of Object.entries(BODIES)) {
    const message = signDkim(`${HEAD}${body}`, privateKey)
    assert.ok(verifyDkim(message, publicKey), `${name}: not signed well`)
    assert.ok(verifyDkim(afterRoundTrip(message), publicKey), `${name}: broken by the round trip`)
    for (const change of [/Subject: {2}/, /$/]) {
      const altered = message.toString('latin1').replace(change, (found) => (found === '' ? 'x' : 'Subject: '))
      assert.ok(!verifyDkim(Buffer.from(altered, 'latin1'), publicKey))
    }
  }
})

test('DKIM, relaxed and simple: mailauth verifies what it signed', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const key = publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  const signer = {
    signingDomain: 'example.com',
    selector: 's',
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
  const resolver = async () => [[`v=DKIM1; k=rsa; p=${key}`]]
  const results = async (message: Buffer) => {
    const { results: all } = await dkimVerify(message, { resolver })
    return all.map(({ status }) => status.result)
  }
  for (const canonicalization of ['relaxed/relaxed', 'simple/simple'] as const) {
    for (const [name, body] of Object.entries(BODIES)) {
      const text = Buffer.from(`${HEAD}${body}`, 'latin1')
      const { signatures } = await dkimSign(text, {
        canonicalization,
        ...signer,
        // The package's types ask for one signer, its code for a list.
        signatureData: [signer],
      } as Parameters<typeof dkimSign>[1])
      const message = Buffer.concat([Buffer.from(signatures, 'latin1'), text])
      assert.deepEqual(await results(message), ['pass'], `${name}: not signed well`)
      assert.deepEqual(await results(afterRoundTrip(message)), ['pass'], `${name}: broken by the round trip`)
      const altered = Buffer.from(message)
      altered[altered.length - 5]! ^= 1
      assert.deepEqual(await results(altered), ['neutral'], 'an altered body is told apart')
    }
  }
})
