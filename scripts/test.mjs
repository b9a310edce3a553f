/**
 * `npm test`: every test but the long ones (`test/long`, npm scripts of their own), by Node's own runner. Arguments
 * name files or folders instead. Ends with the runner's summary.
 */
import { spawn } from 'node:child_process'
import { globSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'

const flags = process.argv.slice(2).filter((arg) => arg.startsWith('-'))
const places = process.argv.slice(2).filter((arg) => !arg.startsWith('-'))
const all = places.length === 0 ? ['test'] : places
const files = all
  .flatMap((place) => (statSync(place).isDirectory() ? globSync(`${place}/**/*.test.ts`) : [place]))
  .filter((file) => places.length > 0 || !file.startsWith('test/long/'))
  .sort()
/** A test that hangs is a failure with a name, not a run without an end. Milliseconds. */
const timeout = '--test-timeout=300000'
const concurrency = `--test-concurrency=${availableParallelism()}`
const runner = spawn(process.execPath, ['--test', concurrency, timeout, '--test-reporter=spec', ...flags, ...files], {
  stdio: 'inherit',
})
runner.on('exit', (code) => process.exit(code ?? 1))
