/** A probe waits 15 s for a provider's next word (now.md), each word gives it so long again, and what follows is told. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ImapProbe } from '../../src/engine/imap/imap-probe.ts'
import type { Action, Session, SessionStart } from '../../src/engine/session.ts'
import { SmtpProbe } from '../../src/engine/smtp/smtp-probe.ts'
import { parseProfile } from '../../src/workers/profile.ts'

const server = { host: 'mail.example', port: 1, login: 'jane', password: 'secret' }
const { profile } = parseProfile(Buffer.from(JSON.stringify({ imap: server, smtp: server })))
const start = {
  random: (octets: number) => Buffer.alloc(octets),
  hostName: 'gateway.example',
} as unknown as SessionStart

const deadlines = (actions: readonly Action[]): number[] =>
  actions.flatMap((one) => (one.do === 'deadline' && one.ms !== null ? [one.ms] : []))
const told = (actions: readonly Action[]): string =>
  actions.map((one) => (one.do === 'send' ? one.bytes.toString('latin1') : '')).join('')

for (const [name, make, outcome] of [
  ['IMAP', () => new ImapProbe(start, profile.imap!), /^probe NO XVES-\d+ /m],
  ['SMTP', () => new SmtpProbe(start, profile.smtp!), /^4\d\d /m],
] as const satisfies readonly (readonly [string, () => Session, RegExp])[]) {
  test(`${name}: 15 s from the beginning and from each word, then it is over`, () => {
    const probe = make()
    assert.deepEqual(deadlines(probe.start()), [15_000])
    assert.deepEqual(deadlines(probe.step({ on: 'bytes', side: 'upstream', bytes: Buffer.from('* ') })), [15_000])
    const last = probe.step({ on: 'deadline' })
    assert.match(told(last), outcome)
    assert.ok(last.some((one) => one.do === 'close'))
    assert.deepEqual(probe.step({ on: 'bytes', side: 'upstream', bytes: Buffer.from('late') }), [])
  })
}
