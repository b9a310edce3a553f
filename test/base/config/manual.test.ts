import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { printManual } from '../../../src/base/config/manual.ts'
import { OPTION_NAMES } from '../../../src/base/config/options.ts'

test('the manual of keys is what the program prints: vesmail check --keys > docs/configuration.md', () => {
  const manual = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8')
  assert.equal(manual, printManual())
  for (const name of OPTION_NAMES) assert.ok(manual.includes(`\n| \`${name}\``), name)
})
