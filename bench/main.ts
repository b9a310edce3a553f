/**
 * `npm run bench -- NAME [ROW…] [--json OUT]`: one file per bench, `bench/NAME/NAME.bench.ts`, each exporting `rows()`.
 * ROW: the beginning of a row's name, for benches that measure only what is asked for (engine, smtp); all without one.
 */
import { existsSync, readdirSync } from 'node:fs'
import { argumentsOf } from '../scripts/arguments.ts'
import { type Row, report } from './rows.ts'

const BENCHES = readdirSync(import.meta.dirname).filter((name) => existsSync(benchOf(name)))
const usage = `npm run bench -- NAME [ROW…] [--json OUT]; NAME one of: ${BENCHES.join(', ')}`
const { values, positionals } = argumentsOf(usage, { json: { type: 'string' } })
const name = positionals[0] ?? ''
if (!BENCHES.includes(name)) {
  process.stderr.write(`no bench "${name}"\nusage: ${usage}\n`)
  process.exit(1)
}
const bench = (await import(benchOf(name))) as { rows(only: readonly string[]): Promise<Row[]> }
report(await bench.rows(positionals.slice(1)), values.json ?? null)

function benchOf(name: string): string {
  return `${import.meta.dirname}/${name}/${name}.bench.ts`
}
