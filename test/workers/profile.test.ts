import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../src/base/errors.ts'
import { parseProfile } from '../../src/workers/profile.ts'

const parse = (value: unknown) => parseProfile(Buffer.from(JSON.stringify(value)))

test('a whole profile', () => {
  const { profile, overrides } = parse({
    imap: {
      host: 'imap.example.org',
      port: 'imaps',
      login: 'alice',
      password: 'secret',
      sasl: 'PLAIN',
      tls: { level: 'medium', persist: true },
      calc: true,
      override: 'https://o.example/',
    },
    smtp: { host: 'smtp.example.org', port: '587', login: 'alice', password: 'secret', mode: 'high' },
    other: 1,
  })
  assert.deepEqual(
    { ...profile.imap, password: profile.imap?.password.expose() },
    {
      host: 'imap.example.org',
      port: 993,
      tls: { level: 'medium', persist: true },
      login: 'alice',
      password: 'secret',
      sasl: 'PLAIN',
      sizes: 'exact',
    },
  )
  assert.equal(profile.smtp?.port, 587)
  assert.equal(profile.smtp?.mode, 'HIGH')
  assert.deepEqual(overrides, { imap: 'https://o.example/', smtp: null })
})

test('what is absent or unknown is the safe thing', () => {
  const { profile } = parse({ imap: { host: 'h' }, smtp: { host: 'h', tls: { level: 'HIGH' }, mode: 'whatever' } })
  assert.equal(profile.imap?.port, 143)
  assert.equal(profile.smtp?.port, 25)
  assert.deepEqual(profile.imap?.tls, { level: 'high', persist: false })
  assert.deepEqual(profile.smtp?.tls, { level: 'high', persist: false })
  assert.equal(profile.smtp?.mode, null)
  assert.equal(profile.imap?.sizes, null)
  assert.deepEqual(parse({}).profile, { imap: null, smtp: null })
})

test('what cannot be used says where, and quotes nothing', () => {
  for (const [value, where] of [
    [{ imap: { port: 1 } }, 'imap.host'],
    [{ imap: { host: 'h', port: 70000 } }, 'imap.port'],
    [{ smtp: { host: 'h', port: 'nonsense' } }, 'smtp.port'],
    [{ imap: 'x' }, 'imap.'],
    [{ imap: { host: 'a\r\nb' } }, 'imap.host'],
    [{ imap: { host: 'h', login: 'a\r\nMAIL' } }, 'imap.login'],
    [[], 'no object'],
  ] as const) {
    assert.throws(
      () => parse(value),
      (error) => {
        assert.ok(error instanceof GatewayError)
        assert.deepEqual([error.code, error.detail.where], ['PROFILE_INVALID', where])
        return true
      },
    )
  }
  for (const text of ['{"password": "geheim"', '', 'x'.repeat(70_000)]) {
    assert.throws(
      () => parseProfile(Buffer.from(text)),
      (error) => {
        assert.ok(error instanceof GatewayError)
        assert.equal(error.code, 'PROFILE_INVALID')
        assert.equal(error.cause, undefined, 'a JSON error quotes the text')
        return true
      },
    )
  }
})

test('anything is a profile or PROFILE_INVALID', () => {
  const server = fc.dictionary(
    fc.constantFrom('host', 'port', 'login', 'password', 'tls', 'sasl', 'mode'),
    fc.jsonValue(),
  )
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), fc.record({ imap: server, smtp: server })), (value) => {
      try {
        parse(value)
      } catch (error) {
        assert.ok(error instanceof GatewayError && error.code === 'PROFILE_INVALID', String(error))
      }
    }),
  )
})
