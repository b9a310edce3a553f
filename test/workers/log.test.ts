import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pinoLog } from '../../src/workers/log.ts'

function written(write: (log: ReturnType<typeof pinoLog>) => void): Record<string, unknown>[] {
  const lines: string[] = []
  write(pinoLog({ write: (line: string) => void lines.push(line) }, 'debug', { pid: 1 }))
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
}

test('over-long texts are cut, wherever they stand, and their length is told', () => {
  const name = 'n'.repeat(1024 * 1024)
  const [line, child] = written((log) => {
    log.write('warn', 'login', { account: name, octets: 5, code: null, keyIds: ['1', name], peer: '::1' })
    log.child({ host: name }).write('info', 'session', { tls: true })
  })
  const shown = `${'n'.repeat(1024)}… (1048576 characters)`
  assert.deepEqual([line!.account, line!.octets, line!.code, line!.peer], [shown, 5, null, '::1'])
  assert.deepEqual(line!.keyIds, ['1', shown])
  assert.deepEqual([child!.host, child!.tls, child!.pid], [shown, true, 1])
})

test('a thousand recipients stay a thousand', () => {
  const recipients = Array.from({ length: 1000 }, (_, i) => `ves://vesmail/user${i}@example.org/`)
  const [line] = written((log) => log.write('info', 'sealed', { recipients }))
  assert.deepEqual(line!.recipients, recipients)
})

test('fields of forbidden names are not shown', () => {
  const [line] = written((log) => log.write('info', 'x', { password: 'p', VESkey: 'v', subject: 's', reason: 'r' }))
  assert.deepEqual(
    [line!.password, line!.VESkey, line!.subject, line!.reason],
    ['[secret]', '[secret]', '[secret]', 'r'],
  )
})
