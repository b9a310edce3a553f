import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parseConfigFile } from '../../../src/base/config/config-file.ts'
import { daemonConfig, programConfig } from '../../../src/base/config/merge.ts'
import { OPTION_NAMES, OPTIONS } from '../../../src/base/config/options.ts'

const text = readFileSync(new URL('../../../etc/vesmail.conf', import.meta.url), 'utf8')

test('the sample configuration is one, without a warning', () => {
  const file = parseConfigFile(text, 'vesmail.conf')
  assert.deepEqual(file.warnings, [])
  assert.deepEqual(
    file.daemons.map(({ service, port }) => [service, port]),
    [
      ['imap', 143],
      ['imap', 993],
      ['smtp', 587],
      ['smtp', 465],
    ],
  )
  assert.equal(programConfig(file)['workers.count'], 2)
  assert.equal(daemonConfig(file, file.daemons[1]!)['tls.persist'], true)
})

test('so it is with its comments taken away', () => {
  const file = parseConfigFile(text.replace(/^#( {2}.*| "repository".*)$/gm, '$1'), 'vesmail.conf')
  assert.deepEqual(file.warnings, [])
  assert.equal(programConfig(file)['sni.prefix'], '/etc/vesmail/hosts/')
  assert.notEqual(programConfig(file)['repository.listen'], null)
})

test('each option’s default passes its own check, and has a line of manual', () => {
  for (const name of OPTION_NAMES) {
    const { schema, doc, expected, default: value } = OPTIONS[name]
    assert.ok(doc.length > 10 && expected.length > 3, name)
    assert.ok(value === null || schema.safeParse(value).success, name)
  }
})
