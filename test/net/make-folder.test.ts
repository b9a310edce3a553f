/** Folders that the configuration names. The dangerous one would keep this process for ever: it is made in another. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeFolder } from '../../src/net/make-folder.ts'

test('a folder is made with those above it, and left where it is', (t) => {
  const top = mkdtempSync(join(tmpdir(), 'make-folder-'))
  t.after(() => rmSync(top, { recursive: true }))
  const path = join(top, 'a/b/c')
  makeFolder(path, 0o700)
  makeFolder(path, 0o755)
  assert.deepEqual([statSync(path).mode & 0o777, statSync(join(top, 'a')).mode & 0o777], [0o700, 0o700])
  writeFileSync(join(top, 'file'), '')
  assert.throws(() => makeFolder(join(top, 'file'), 0o700), { code: 'EEXIST' })
  assert.throws(() => makeFolder(join(top, 'file/below'), 0o700), /file/)
})

test('where no folder can be made this is an error, and not the end of the process', () => {
  const program = `
    import { makeFolder } from ${JSON.stringify(new URL('../../src/net/make-folder.ts', import.meta.url).href)}
    import { DirectorySpool } from ${JSON.stringify(new URL('../../src/net/now/spool-directory.ts', import.meta.url).href)}
    for (const path of ['/proc/vesmail', '/proc/vesmail/below']) {
      try { makeFolder(path, 0o700) } catch (error) { console.log(error.code) }
    }
    const spool = new DirectorySpool('/proc/vesmail', { maxAgeMs: null, maxTotalOctets: null, maxOctets: null })
    await spool.create({ creator: 'a@b.test', messageId: 'x' }).catch((error) => console.log(error.code))`
  const { stdout, signal } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  assert.deepEqual([stdout, signal], ['ENOENT\nENOENT\nENOENT\n', null])
})
