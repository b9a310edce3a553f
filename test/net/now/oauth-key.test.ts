import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { GatewayError } from '../../../src/base/errors.ts'
import { Secret } from '../../../src/base/secret.ts'
import { sealToVaultKey } from '../../../src/engine/seal/vault-key.ts'
import { makeVaultKey } from '../../../src/engine/seal/vault-key-make.ts'
import { OAuthKeys } from '../../../src/net/now/oauth-key.ts'

const folder = mkdtempSync(join(tmpdir(), 'vesmail-oauth-'))
after(() => rmSync(folder, { recursive: true }))

const bearerFor = (publicKey: string, veskey: string): Secret<Buffer> =>
  new Secret(Buffer.from(sealToVaultKey(publicKey, Buffer.from(veskey)).toString('base64')))
const failsAs = (code: string) => (error: unknown) => error instanceof GatewayError && error.code === code

test('made once, for its owner alone; what is encrypted to it is opened', () => {
  const file = join(folder, 'state', 'oauth.pem')
  const keys = new OAuthKeys([file])
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const made = readFileSync(file, 'utf8')
  assert.equal(new OAuthKeys([file]).publicKey, keys.publicKey)
  assert.equal(readFileSync(file, 'utf8'), made)
  assert.equal(keys.open(bearerFor(keys.publicKey, 'a VESkey')).expose().toString(), 'a VESkey')
})

test('rotation with overlap: the first is published, all open', () => {
  const [fresh, old] = [join(folder, 'new.pem'), join(folder, 'old.pem')]
  const before = new OAuthKeys([old])
  const both = new OAuthKeys([fresh, old])
  assert.notEqual(both.publicKey, before.publicKey)
  for (const key of [before.publicKey, both.publicKey]) {
    assert.equal(both.open(bearerFor(key, 'v')).expose().toString(), 'v')
  }
  assert.throws(() => new OAuthKeys([fresh]).open(bearerFor(before.publicKey, 'v')), failsAs('BAD_CREDENTIALS'))
})

test('anything else is no bearer', () => {
  const keys = new OAuthKeys([join(folder, 'c.pem')])
  const foreign = bearerFor(makeVaultKey('P-521', Buffer.from('x')).publicKey, 'v')
  for (const bearer of [
    foreign,
    ...['', '!', 'AAAA', 'A'.repeat(10_000)].map((text) => new Secret(Buffer.from(text))),
  ]) {
    assert.throws(() => keys.open(bearer), failsAs('BAD_CREDENTIALS'))
  }
})

test('a key of another kind serves too; a file that is no key is named', () => {
  const rsa = join(folder, 'rsa.pem')
  writeFileSync(rsa, makeVaultKey('RSA', Buffer.from('oauth')).privateKey, { mode: 0o644 })
  const keys = new OAuthKeys([rsa])
  assert.equal(keys.open(bearerFor(keys.publicKey, 'v')).expose().toString(), 'v')
  assert.deepEqual(keys.warnings, [rsa])
  const none = join(folder, 'none.pem')
  writeFileSync(none, 'hello')
  assert.throws(() => new OAuthKeys([none]), failsAs('CONFIG_INVALID'))
})
