/** Which outcomes of a login count for abuse protection, and for whom (daemon.md §5). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLog } from '../../src/base/log.ts'
import type { Metrics } from '../../src/workers/metrics.ts'
import type { Protection } from '../../src/workers/protection.ts'
import { SessionLog } from '../../src/workers/session-log.ts'

const OUTCOMES: readonly [string | null, string | null][] = [
  [null, 'success'],
  ['UPSTREAM_REFUSED', 'refused'],
  ['UPSTREAM_TLS', 'unreachable'],
  ['UPSTREAM_UNEXPECTED', 'unreachable'],
  ['BAD_CREDENTIALS', 'wrong-veskey'],
  // Nobody's guess at a password: trouble of a server, a profile that is wrong, who was counted already.
  ...['UPSTREAM_BUSY', 'UPSTREAM_DNS', 'UPSTREAM_CONNECTION', 'VES_CONNECTION', 'PROFILE_INVALID', 'ACCESS_DENIED'].map(
    (code): [string, null] => [code, null],
  ),
  ...['ABUSE', 'TOO_MANY', 'SASL_SEQUENCE', 'OVERRIDE', 'INTERNAL'].map((code): [string, null] => [code, null]),
]

test('logins that count, each as what it is, to the peer and to the account once it is known', () => {
  for (const [code, event] of OUTCOMES) {
    const counted: unknown[] = []
    const log = new SessionLog(silentLog, {
      metrics: { login: () => {} } as unknown as Metrics,
      protection: { count: (...what: unknown[]) => void counted.push(what) } as unknown as Protection,
      service: 'smtp',
      sense: 7,
      client: { address: '192.0.2.1', port: 1 },
      local: { address: '192.0.2.2', port: 587 },
    })
    const fields = code === null ? { result: 'ok' } : { result: 'denied', code }
    log.write('info', 'login', fields)
    log.user('jane', 'jane@x.org')
    log.write('info', 'login', fields)
    const of = (account: string | null): unknown => [event, 7, { peer: '192.0.2.1', account }]
    assert.deepEqual(counted, event === null ? [] : [of(null), of('jane@x.org')], String(code))
  }
})
