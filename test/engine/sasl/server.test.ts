import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { GatewayError } from '../../../src/base/errors.ts'
import { saslServer, serverMechanisms } from '../../../src/engine/sasl/server.ts'

const b64 = (text: string): string => Buffer.from(text).toString('base64')

/** Runs an exchange; the initial response is null or the first of `responses`. */
function exchange(mechanism: string, initial: string | null, ...responses: string[]) {
  const server = saslServer(mechanism, true)
  assert(server !== null)
  const challenges: string[] = []
  let step = server.start(initial)
  for (; step.is === 'challenge'; step = server.next(responses.shift() ?? assert.fail('asks for more'))) {
    challenges.push(Buffer.from(step.base64, 'base64').toString())
  }
  const { account, password, bearer } = step.credentials
  return { challenges, account, password: password.expose().toString(), bearer: bearer === true }
}

test('PLAIN, RFC 4616 §4', () => {
  const expected = { account: 'tim', password: 'tanstaaftanstaaf', bearer: false }
  assert.deepEqual(exchange('PLAIN', b64('\0tim\0tanstaaftanstaaf')), { challenges: [], ...expected })
  assert.deepEqual(exchange('plain', null, b64('\0tim\0tanstaaftanstaaf')), { challenges: [''], ...expected })
  assert.deepEqual(exchange('PLAIN', b64('tim\0tim\0tanstaaftanstaaf')).account, 'tim')
})

test('LOGIN, with and without the user name at once', () => {
  const expected = { account: 'acme@example.com', password: 'p w', bearer: false }
  assert.deepEqual(exchange('LOGIN', null, b64('acme@example.com'), b64('p w')), {
    challenges: ['Username:', 'Password:'],
    ...expected,
  })
  assert.deepEqual(exchange('LOGIN', b64('acme@example.com'), b64('p w')), { challenges: ['Password:'], ...expected })
})

test('XOAUTH2 and OAUTHBEARER', () => {
  const expected = { challenges: [], account: 'user@example.com', password: 'vF9dft4qmT', bearer: true }
  assert.deepEqual(exchange('XOAUTH2', b64('user=user@example.com\x01auth=Bearer vF9dft4qmT\x01\x01')), expected)
  // RFC 7628 §4.1
  const rfc = 'n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmT\x01\x01'
  assert.deepEqual(exchange('OAUTHBEARER', b64(rfc)), expected)
  assert.equal(exchange('OAUTHBEARER', b64('n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01')).account, 'a,b=c')
})

test('passwords are octets, empty and non-ASCII ones too', () => {
  assert.equal(exchange('PLAIN', b64('\0a\0')).password, '')
  assert.equal(exchange('PLAIN', b64('\0a\0žlutý')).password, 'žlutý')
  const server = saslServer('PLAIN', false)!
  const step = server.start(Buffer.from([0, 0x61, 0, 0xff, 0xfe]).toString('base64'))
  assert.deepEqual(step.is === 'done' && [...step.credentials.password.expose()], [0xff, 0xfe])
})

test('the OAuth mechanisms are not there without a key', () => {
  assert.deepEqual(serverMechanisms(false), ['PLAIN', 'LOGIN'])
  assert.equal(saslServer('XOAUTH2', false), null)
  assert.equal(saslServer('CRAM-MD5', true), null)
  assert.equal(saslServer('', true), null)
})

const REFUSED: [string, string, string][] = [
  ['PLAIN', '*', 'SASL_CANCELLED'],
  ['PLAIN', 'no base64!', 'SYNTAX'],
  ['PLAIN', 'AGEAYg=', 'SYNTAX'],
  ['PLAIN', b64('one'), 'SASL_SEQUENCE'],
  ['PLAIN', '=', 'SASL_SEQUENCE'],
  ['PLAIN', b64('\0a\0b\0c'), 'SASL_SEQUENCE'],
  ['PLAIN', b64('other\0a\0b'), 'SASL_SEQUENCE'],
  ['PLAIN', b64('\0\0b'), 'SASL_SEQUENCE'],
  ['PLAIN', Buffer.from([0, 0xff, 0, 0x61]).toString('base64'), 'SASL_SEQUENCE'],
  ['LOGIN', '=', 'SASL_SEQUENCE'],
  ['LOGIN', '*', 'SASL_CANCELLED'],
  ['XOAUTH2', b64('auth=Bearer x\x01\x01'), 'SASL_SEQUENCE'],
  ['XOAUTH2', b64('user=a\x01auth=Basic x\x01\x01'), 'SASL_SEQUENCE'],
  ['XOAUTH2', b64('user=a\x01\x01'), 'SASL_SEQUENCE'],
  ['OAUTHBEARER', b64('user=a\x01auth=Bearer x\x01\x01'), 'SASL_SEQUENCE'],
  ['OAUTHBEARER', b64('n,,\x01auth=Bearer x\x01\x01'), 'SASL_SEQUENCE'],
]
for (const [mechanism, response, code] of REFUSED) {
  test(`${mechanism} ${response} is refused`, () => {
    assert.throws(() => exchange(mechanism, response), { code })
  })
}

test('the password shows nowhere', () => {
  const step = saslServer('PLAIN', false)!.start(b64('\0tim\0tanstaaf'))
  assert(!JSON.stringify(step).includes('tanstaaf'))
})

test('any response: credentials, a challenge or a GatewayError', () => {
  const line = fc.oneof(fc.string(), fc.base64String(), fc.string().map(b64))
  fc.assert(
    fc.property(fc.constantFrom(...serverMechanisms(true)), line, line, (mechanism, first, second) => {
      try {
        const server = saslServer(mechanism, true)!
        if (server.start(first).is === 'challenge') server.next(second)
      } catch (error) {
        assert(error instanceof GatewayError, String(error))
      }
    }),
  )
})
