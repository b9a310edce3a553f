/**
 * `npm run bench -- NAME [ROW…] [--json OUT]`: one file per bench, `bench/NAME/NAME.bench.ts`, each exporting `rows()`.
 * ROW: the beginning of a row's name, for benches that measure only what is asked for (engine, smtp); all without one.
 */
import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type Row, report } from './rows.ts'

const { values, positionals } = parseArgs({ allowPositionals: true, options: { json: { type: 'string' } } })
const name = positionals[0] ?? ''
const file = new URL(`./${name}/${name}.bench.ts`, import.meta.url)
if (!/^[a-z]+$/.test(name) || !existsSync(file)) {
  process.stderr.write(`usage: npm run bench -- NAME [--json OUT]; no bench "${name}"\n`)
  process.exit(1)
}
const bench = (await import(file.href)) as { rows(only: readonly string[]): Promise<Row[]> }
report(await bench.rows(positionals.slice(1)), values.json ?? null)
