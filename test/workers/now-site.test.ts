/** The HTTP side's settings as a tenant has them: every form of the manifest (now.md). */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Config, DEFAULTS } from '../../src/base/config/options.ts'
import { type NowSiteParts, nowSite } from '../../src/workers/now-site.ts'

const scratch = mkdtempSync(join(tmpdir(), 'vm-site-'))
after(() => rmSync(scratch, { recursive: true, force: true }))

/** @returns what is published, and what the log says of it */
function manifest(value: Config['now.manifest']): [string | null, string] {
  let said = ''
  const write = (...[, , facts]: unknown[]): void => {
    said = JSON.stringify(facts)
  }
  const log = { write, child: () => log }
  const config = { ...DEFAULTS, 'now.manifest': value }
  const parts = { config, isSecure: true, ves: { domain: 'x' }, oauthKeys: null, spool: null, log }
  return [nowSite(parts as unknown as NowSiteParts).manifest, said]
}

test('the manifest: an object, literal JSON, or the name of a file', () => {
  const file = join(scratch, 'ves.json')
  writeFileSync(file, '{"of": "a file"}\n')
  assert.deepEqual(manifest({ an: 'object' } as never), ['{"an":"object"}', ''])
  assert.deepEqual(manifest(' {"literal": [1]}'), [' {"literal": [1]}', ''])
  assert.deepEqual(manifest(file), ['{"of": "a file"}\n', ''])
  assert.deepEqual(manifest(null), [null, ''])
})

test('a manifest that is no JSON, or not there, is not published, and the log says why', () => {
  const file = join(scratch, 'broken.json')
  writeFileSync(file, '{"of": ')
  assert.deepEqual(manifest(file), [null, '{"key":"now.manifest","reason":"not JSON"}'])
  assert.deepEqual(manifest('{no'), [null, '{"key":"now.manifest","reason":"not JSON"}'])
  assert.deepEqual(manifest(join(scratch, 'none')), [null, '{"key":"now.manifest","reason":"ENOENT"}'])
})
