import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { parseConfigFile } from '../../src/base/config/config-file.ts'
import { programConfig } from '../../src/base/config/merge.ts'
import type { Config } from '../../src/base/config/options.ts'
import { logOf, type OpenLog, pinoLog } from '../../src/workers/log.ts'

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

function openedIn(t: TestContext): {
  readonly opened: OpenLog
  readonly at: (name: string) => string
  read(name: string): string[]
} {
  const directory = mkdtempSync(join(tmpdir(), 'vm-log-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const at = (name: string): string => join(directory, name)
  const read = (name: string): string[] => readFileSync(at(name), 'utf8').trim().split('\n')
  return { opened: logOf(loggingTo(at('a')), { pid: 1 }), at, read }
}

const loggingTo = (file: string, more: object = {}): Config =>
  programConfig(parseConfigFile(JSON.stringify({ '*': { log: file, ...more } }), 'x'))
const descriptors = (): number => readdirSync('/proc/self/fd').length

test('a file that was rotated is opened anew, by children that were made before, too', (t) => {
  const { opened, at, read } = openedIn(t)
  const child = opened.log.child({ session: 7 })
  child.write('info', 'before')
  const before = descriptors()
  renameSync(at('a'), at('a.1'))
  opened.reopen(loggingTo(at('a')))
  child.write('info', 'after')
  assert.match(read('a.1').join(), /"session":7,"msg":"before"/)
  assert.match(read('a').join(), /^\{[^\n]*"session":7,"msg":"after"\}$/)
  assert.equal(read('a.1').length, 1)
  assert.ok(descriptors() <= before + 1)
})

test('another configuration: its file, its format, its level', (t) => {
  const { opened, at, read } = openedIn(t)
  opened.log.write('debug', 'too fine')
  opened.reopen(loggingTo(at('b'), { 'log-format': 'classic', debug: true }))
  opened.log.write('debug', 'fine enough')
  assert.deepEqual(read('a'), [''])
  assert.match(read('b').join(), /^[A-Z][a-z]{2} .* fine-enough$/)
})

test('what cannot be opened leaves the log what it was, and the next one is taken', (t) => {
  const { opened, at, read } = openedIn(t)
  assert.throws(() => opened.reopen(loggingTo(at('absent/a'))), /ENOENT/)
  opened.log.write('info', 'still here')
  assert.match(read('a').join(), /still here/)
  opened.reopen(loggingTo(at('b')))
  opened.log.write('info', 'there')
  assert.match(read('b').join(), /there/)
})
