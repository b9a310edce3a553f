import assert from 'node:assert/strict'
import { pbkdf2Sync } from 'node:crypto'
import test from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../../src/base/errors.ts'
import { Secret } from '../../../src/base/secret.ts'
import {
  type ChannelBinding,
  type ClientMechanism,
  chooseMechanism,
  isTokenEndpoint,
  type SaslClient,
  saslClient,
} from '../../../src/engine/sasl/client.ts'

const b64 = (text: string): string => Buffer.from(text).toString('base64')
const text = (base64: string): string => Buffer.from(base64, 'base64').toString()
const NONCE = Buffer.from('rOprNGfwEbeRWgbNEkqO', 'base64url')

function make(mechanism: ClientMechanism, login = 'user', password = 'pencil', binding: ChannelBinding | null = null) {
  const credentials = { login, password: new Secret(password), host: 'smtp.example.com', port: 587 }
  return saslClient(mechanism, credentials, binding, NONCE)
}

/** One challenge, with the derivation done in place. */
function answer(client: SaslClient, challenge: string): string {
  let step = client.next(b64(challenge))
  if (step.do === 'derive-key') {
    const { password, salt, iterations } = step.ask
    step = client.derived(pbkdf2Sync(password.expose(), salt, iterations, 32, 'sha256'))
  }
  assert(step.do === 'respond')
  return text(step.base64)
}

test('PLAIN, LOGIN', () => {
  assert.equal(text(make('PLAIN').initial!), '\0user\0pencil')
  const login = make('LOGIN')
  assert.equal(login.initial, null)
  assert.equal(answer(login, 'Username:'), 'user')
  assert.equal(answer(login, 'Password:'), 'pencil')
  assert.throws(() => login.next(''), { code: 'SASL_SEQUENCE' })
  assert.throws(() => make('PLAIN').next(''), { code: 'SASL_SEQUENCE' })
})

test('XOAUTH2 and OAUTHBEARER; an error challenge is answered by an empty line', () => {
  const xoauth2 = make('XOAUTH2', 'someuser@example.com', 'ya29.vF9dft4qmT')
  assert.equal(text(xoauth2.initial!), 'user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmT\x01\x01')
  assert.equal(answer(xoauth2, '{"status":"401"}'), '')
  assert.throws(() => xoauth2.next(b64('{}')), { code: 'SASL_SEQUENCE' })
  assert.equal(
    text(make('OAUTHBEARER', 'a,b=c', 'tok').initial!),
    'n,a=a=2Cb=3Dc,\x01host=smtp.example.com\x01port=587\x01auth=Bearer tok\x01\x01',
  )
})

test('SCRAM-SHA-256, RFC 7677 §3', () => {
  const client = make('SCRAM-SHA-256')
  assert.equal(text(client.initial!), 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO')
  const first = 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'
  assert.equal(
    answer(client, first),
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  )
  assert.equal(answer(client, 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='), '')
  client.succeeded(null)
})

const FIRST = 'r=rOprNGfwEbeRWgbNEkqOxyz,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096'

test('a provider that says yes without the proof is not believed', () => {
  const client = make('SCRAM-SHA-256')
  assert.throws(() => client.succeeded(null), { code: 'SASL_SEQUENCE' })
  answer(client, FIRST)
  assert.throws(() => client.succeeded(null), { code: 'SASL_SEQUENCE' })
  assert.throws(() => client.next(b64(`v=${Buffer.alloc(32).toString('base64')}`)), { code: 'SASL_SEQUENCE' })
  assert.throws(() => client.next(b64('e=invalid-proof')), { code: 'SASL_SEQUENCE' })
  assert.throws(() => client.succeeded(b64('v=AAAA')), { code: 'SASL_SEQUENCE' })
})

test('server-first messages that are refused', () => {
  for (const first of [
    '',
    'r=other,s=QSXCR+Q6sek8bf92,i=4096',
    'r=rOprNGfwEbeRWgbNEkqO,s=QSXCR+Q6sek8bf92,i=4096',
    'r=rOprNGfwEbeRWgbNEkqOxyz,s=QSXCR+Q6sek8bf92,i=4095',
    'r=rOprNGfwEbeRWgbNEkqOxyz,s=QSXCR+Q6sek8bf92,i=1000001',
    'r=rOprNGfwEbeRWgbNEkqOxyz,s=QSXCR+Q6sek8bf92,i=99999999999999',
    'm=ext,r=rOprNGfwEbeRWgbNEkqOxyz,s=QSXCR+Q6sek8bf92,i=4096',
    `r=rOprNGfwEbeRWgbNEkqO${'x'.repeat(1100)},s=QSXCR+Q6sek8bf92,i=4096`,
  ]) {
    assert.throws(() => make('SCRAM-SHA-256').next(b64(first)), { code: 'SASL_SEQUENCE' }, first)
  }
})

test('SCRAM channel binding: p=, y and n (RFC 5802 §6, RFC 9266)', () => {
  const binding: ChannelBinding = { name: 'tls-exporter', data: Buffer.alloc(32, 7) }
  const bound = make('SCRAM-SHA-256-PLUS', 'user', 'pencil', binding)
  assert.match(text(bound.initial!), /^p=tls-exporter,,n=user,/)
  const final = answer(bound, FIRST)
  const c = Buffer.from(/^c=([^,]+)/.exec(final)![1]!, 'base64')
  assert.deepEqual(c, Buffer.concat([Buffer.from('p=tls-exporter,,'), binding.data]))
  assert.match(text(make('SCRAM-SHA-256', 'user', 'pencil', binding).initial!), /^y,,/)
  assert.throws(() => make('SCRAM-SHA-256-PLUS'), { code: 'SASL_SEQUENCE' })
})

test('SCRAM names and passwords are prepared', () => {
  assert.match(text(make('SCRAM-SHA-256', 'a,b=c').initial!), /n=a=2Cb=3Dc,/)
  // RFC 4013 §3, examples 1 and 4
  assert.match(text(make('SCRAM-SHA-256', 'I\u00adX').initial!), /n=IX,/)
  assert.match(text(make('SCRAM-SHA-256', '\u00aa').initial!), /n=a,/)
})

test('the first of the provider that we know, by the kind of password', () => {
  const gmail = ['LOGIN', 'PLAIN', 'XOAUTH2', 'PLAIN-CLIENTTOKEN', 'OAUTHBEARER', 'XOAUTH']
  assert.equal(chooseMechanism(gmail, null, false, true), 'LOGIN')
  assert.equal(chooseMechanism(gmail, null, true, true), 'XOAUTH2')
  assert.equal(chooseMechanism(['XOAUTH2', 'PLAIN'], null, false, true), 'PLAIN')
  assert.equal(chooseMechanism(['XOAUTH2'], null, false, true), 'XOAUTH2')
  assert.equal(chooseMechanism(['cram-md5', 'plain'], null, false, true), 'PLAIN')
  assert.equal(chooseMechanism(['SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'], null, false, true), 'SCRAM-SHA-256-PLUS')
  assert.equal(chooseMechanism(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'], null, false, false), 'SCRAM-SHA-256')
  assert.equal(chooseMechanism([], 'LOGIN', false, false), 'LOGIN')
})

test('no mechanism that goes with the password', () => {
  const refused: [string[], string | null, boolean][] = [
    [[], null, false],
    [['GSSAPI', 'CRAM-MD5'], null, false],
    // A token endpoint must not travel as a password, whatever the profile says.
    [['PLAIN', 'LOGIN'], null, true],
    [['PLAIN', 'XOAUTH2'], 'PLAIN', true],
    [['PLAIN'], 'plain', false],
    [['GSSAPI'], 'GSSAPI', false],
    [['SCRAM-SHA-256-PLUS'], null, false],
  ]
  for (const [offered, wanted, endpoint] of refused) {
    assert.throws(() => chooseMechanism(offered, wanted, endpoint, false), { code: 'SASL_SEQUENCE' })
  }
})

test('token endpoints', () => {
  assert(isTokenEndpoint(new Secret('https://login.example.com/token#grant_type=refresh_token')))
  assert(!isTokenEndpoint(new Secret('http://x')))
  assert(!isTokenEndpoint(new Secret('pencil')))
})

test('any challenge: a step or a GatewayError', () => {
  const mechanisms: ClientMechanism[] = ['PLAIN', 'LOGIN', 'XOAUTH2', 'OAUTHBEARER', 'SCRAM-SHA-256']
  const challenge = fc.oneof(
    fc.string(),
    fc.string().map(b64),
    fc.string().map((s) => b64(`${FIRST}${s}`)),
  )
  fc.assert(
    fc.property(fc.constantFrom(...mechanisms), fc.array(challenge, { maxLength: 4 }), (mechanism, challenges) => {
      const client = make(mechanism)
      try {
        for (const line of challenges) {
          const step = client.next(line)
          if (step.do === 'derive-key') client.derived(Buffer.alloc(32))
        }
      } catch (error) {
        assert(error instanceof GatewayError, String(error))
      }
    }),
  )
})
