/** `npm run check`, before each commit: format, lint, layer rule, types, tests, ten seconds of fuzz. Stops at the first failure. */
import { spawnSync } from 'node:child_process'

const STEPS = [
  ['biome', 'check', '.'],
  ['node', 'scripts/layers.mjs'],
  ['tsc', '-p', '.'],
  ['tsc', '-p', 'src/viewer/page'],
  ['node', 'scripts/run.mjs', 'test'],
  ['node', 'scripts/fuzz.ts', '--seconds', '10'],
]

for (const [command, ...args] of STEPS) {
  process.stdout.write(`\n== ${command} ${args.join(' ')}\n`)
  const { status } = spawnSync(command, args, { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
