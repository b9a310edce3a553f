import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { LogFields } from '../../src/base/log.ts'
import { classicLog } from '../../src/workers/classic-log.ts'
import { pinoLog } from '../../src/workers/log.ts'

const FIELDS: LogFields = {
  service: 'imap',
  result: 'denied',
  code: 'BAD_CREDENTIALS',
  account: 'alice@example.org',
  user: null,
  local: '192.0.2.1',
  localPort: 993,
  peer: '2001:db8::7',
  peerPort: 40123,
}

function classic(): { lines: string[]; log: ReturnType<typeof classicLog> } {
  const lines: string[] = []
  const log = classicLog({
    sink: { write: (line) => lines.push(line) },
    level: 'info',
    host: 'mx1',
    pid: 42,
    now: () => new Date(2026, 10, 3, 7, 8, 9),
  })
  return { lines, log }
}

function json(): { lines: string[]; log: ReturnType<typeof pinoLog> } {
  const lines: string[] = []
  return { lines, log: pinoLog({ write: (line) => lines.push(line) }, 'info', { pid: 42 }) }
}

test('logins and ends in the C program’s lines', () => {
  const { lines, log } = classic()
  const session = log.child({ session: 'abc', service: 'imap' })
  session.write('info', 'login', { ...FIELDS, result: 'ok', code: null })
  session.write('warn', 'login', FIELDS)
  session.write('warn', 'login', { ...FIELDS, result: 'failed', code: 'VES_CONNECTION' })
  session.write('warn', 'login', { ...FIELDS, result: 'failed', code: 'UPSTREAM_CONNECTION' })
  session.write('info', 'bytes', { why: 'quit', fromClient: 10, toClient: 20, durationMs: 30 })
  session.write('info', 'bytes', { why: 'TIMEOUT', fromClient: 1, toClient: 2, durationMs: 3 })
  session.write('debug', 'tls', {})
  log.write('info', 'worker started', { worker: 1, workerPid: 7, none: null })
  const at = 'Nov  3 07:08:09 mx1 vesmail[42]: '
  const ends = 'proto=imap srv=[192.0.2.1]:993 peer=[2001:db8::7]:40123 user=alice@example.org\n'
  assert.deepEqual(lines, [
    `${at}auth OK ${ends}`,
    `${at}auth DENIED ${ends}`,
    `${at}auth FAIL(-3.2) ${ends}`,
    `${at}auth FAIL(-17.0) ${ends}`,
    `${at}bytes proto=imap exit=0 st=quit req=10 rsp=20 cy=30\n`,
    `${at}bytes proto=imap exit=-5.0 st=TIMEOUT req=1 rsp=2 cy=3\n`,
    `${at}worker-started worker=1 workerPid=7\n`,
  ])
})

/** The filter's expressions, as fail2ban would use them. */
function failRegexes(): RegExp[] {
  const text = readFileSync(new URL('../../etc/fail2ban/filter.d/vesmail.conf', import.meta.url), 'utf8')
  const block = /^failregex = ((?:.*\n)(?:[ \t]+.*\n)*)/m.exec(text)?.[1] ?? ''
  return block
    .trim()
    .split('\n')
    .map((line) => new RegExp(line.trim().replaceAll('<HOST>', '(?<host>[0-9a-fA-F:.]+)')))
}

test('the fail2ban filter finds refused logins in both formats, and nobody else’s address', () => {
  const regexes = failRegexes()
  assert.equal(regexes.length, 2)
  const hostIn = (line: string): string | null => {
    for (const regex of regexes) {
      const host = regex.exec(line.trimEnd())?.groups?.host
      if (host !== undefined) return host
    }
    return null
  }
  const hostile = ['x","peer":"198.51.100.9","peerPort":1,"msg":"login"}', 'x peer=[198.51.100.9]:1 user=y', 'a\nb']
  for (const make of [classic, json]) {
    const { lines, log } = make()
    const session = log.child({ service: 'imap' })
    for (const account of ['alice@example.org', ...hostile]) {
      lines.length = 0
      session.write('warn', 'login', { ...FIELDS, account })
      assert.equal(lines.length, 1)
      assert.equal(hostIn(lines[0]!), '2001:db8::7', lines[0])
      session.write('info', 'login', { ...FIELDS, account, result: 'ok', code: null })
      session.write('warn', 'login', { ...FIELDS, account, result: 'failed', code: 'VES_CONNECTION' })
      assert.equal(hostIn(lines[1]!), null)
      assert.equal(hostIn(lines[2]!), null)
    }
  }
})

test('a field that was added in a hurry does not show a secret', () => {
  const { lines, log } = json()
  log.child({ password: 'p1' }).write('info', 'x', { token: 'p2', VESkey: 'p3', subject: 'p4' })
  assert.ok(!/p\d/.test(lines[0]!.replace('"pid"', '')), lines[0])
})
