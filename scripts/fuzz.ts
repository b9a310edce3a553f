/**
 * `npm run fuzz -- [TARGET] --seconds N [--cases N] [--seed S] [--json OUT]`: cases from a seed, one after the other,
 * until the time is up, or so many cases have run (without --seconds: however long that takes). A failing case is run
 * again alone with `--seed S --seconds 0`; where it ended, the next run may go on. Exit 0 only if none failed.
 */
import { randomInt } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { diceOf } from '../test/engine/seal/generate.ts'
import { argumentsOf } from './arguments.ts'
import { HTTP_TARGETS } from './fuzz/http.ts'
import { MAIL_TARGETS } from './fuzz/mail.ts'
import { SMTP_TARGETS } from './fuzz/smtp.ts'
import type { FuzzTarget } from './fuzz/target.ts'

const TARGETS: readonly FuzzTarget[] = [...MAIL_TARGETS, ...SMTP_TARGETS, ...HTTP_TARGETS]

interface Failure {
  readonly target: string
  readonly seed: number
  readonly detail: string
}

const MAX_FAILURES = 20
const DEFAULT_SECONDS = 10
/** As good as none. */
const NO_END_SECONDS = 365 * 86_400
const MIB = 1 << 20
/** What memory in use may grow by after the first cases: cases are small, so more is a leak. */
const MAX_GROWTH_MIB = 64
const SETTLED_CASES = 2000

/** After a collection; resident memory would count what the allocator keeps for later, too. */
function usedMib(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / MIB
}

const { values, positionals } = argumentsOf(
  `npm run fuzz -- [TARGET…] [--seconds N] [--cases N] [--seed S] [--json OUT]; targets: ${TARGETS.map(({ name }) => name).join(', ')}`,
  { seconds: { type: 'string' }, cases: { type: 'string' }, seed: { type: 'string' }, json: { type: 'string' } },
)
const chosen = positionals.length === 0 ? TARGETS : TARGETS.filter(({ name }) => positionals.includes(name))
if (chosen.length === 0) {
  console.error(`unknown target; one of: ${TARGETS.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}
const first = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed)
const wanted = values.cases === undefined ? Number.POSITIVE_INFINITY : Number(values.cases)
const seconds = Number(values.seconds ?? (values.cases === undefined ? DEFAULT_SECONDS : NO_END_SECONDS))
if (![first, seconds].every((n) => Number.isFinite(n) && n >= 0) || !(wanted > 0)) {
  console.error('--seconds, --cases and --seed take numbers')
  process.exit(1)
}
const end = Date.now() + seconds * 1000
const failures: Failure[] = []
let cases = 0
let settledMib = 0
console.log(`seed ${first}; targets ${chosen.map(({ name }) => name).join(', ')}`)
let seed = first
for (; ; seed++) {
  for (const target of chosen) {
    try {
      target.run(diceOf(seed), seed)
    } catch (error) {
      failures.push({ target: target.name, seed, detail: error instanceof Error ? error.message : String(error) })
      console.log(`failed: ${target.name} --seed ${seed} --seconds 0: ${failures.at(-1)?.detail}`)
    }
    cases++
  }
  if (Math.floor(cases / chosen.length) === SETTLED_CASES) settledMib = usedMib()
  if (cases >= wanted || Date.now() >= end || failures.length >= MAX_FAILURES) break
}
const grownMib = settledMib === 0 ? 0 : usedMib() - settledMib
if (grownMib > MAX_GROWTH_MIB) {
  failures.push({ target: 'memory', seed: first, detail: `grew by ${grownMib.toFixed(0)} MiB` })
}
console.log(
  `${cases} cases to seed ${seed}, ${failures.length} failures, memory grew by ${Math.max(0, grownMib).toFixed(0)} MiB`,
)
const from = process.env.INIT_CWD ?? process.cwd()
if (values.json !== undefined) writeFileSync(resolve(from, values.json), JSON.stringify({ cases, failures }))
process.exitCode = failures.length > 0 ? 1 : 0
