/**
 * Statements whose text is made once: building a query with kysely takes ten times as long as SQLite takes to run it.
 *
 * The query is built with places instead of values, and where they went in its parameters is remembered. On PostgreSQL
 * it then goes the usual way, with its text prepared per connection; a store that can run it at once does so.
 */
import type { CompiledQuery } from 'kysely'
import type { Db } from './schema.ts'

export type Value = string | number | null

/** Runs a statement at once. @returns its rows; none for what gives none */
export type RunAtOnce = (sql: string, values: readonly Value[]) => readonly unknown[]

const atOnce = new WeakMap<Db, RunAtOnce>()

/** From now on prepared statements on `db` run by `run`, past kysely's drivers and their turns. */
export function runsAtOnce(db: Db, run: RunAtOnce): void {
  atOnce.set(db, run)
}

/** Statements with more values than this are built anew each time: lists of any length would fill the memory. */
const MAX_VALUES = 48

interface Template {
  readonly compiled: CompiledQuery
  /** Of each parameter: the place of the value that goes there, or what stands there always. */
  readonly parameters: readonly (Place | Value)[]
}

class Place {
  readonly at: number
  constructor(at: number) {
    this.at = at
  }
}

/**
 * @param build the query for these values. Which values they are must not change its text, only how many: no value may
 *   be looked at, nor be left out where it is null
 */
export function prepared<V extends readonly Value[], R>(
  build: (db: Db, ...values: V) => { compile(): CompiledQuery<R> },
): (db: Db, ...values: V) => Promise<readonly R[]> {
  const templates = new WeakMap<Db, Map<number, Template>>()
  const templateOf = (db: Db, count: number): Template => {
    let known = templates.get(db)
    if (known === undefined) {
      known = new Map()
      templates.set(db, known)
    }
    let template = known.get(count)
    if (template === undefined) {
      const places = Array.from({ length: count }, (_, at) => new Place(at))
      const compiled = build(db, ...(places as unknown as V)).compile()
      template = { compiled, parameters: compiled.parameters as readonly (Place | Value)[] }
      known.set(count, template)
    }
    return template
  }
  return async (db, ...values) => {
    if (values.length > MAX_VALUES) return (await db.executeQuery<R>(build(db, ...values).compile())).rows
    const { compiled, parameters } = templateOf(db, values.length)
    const filled = parameters.map((one) => (one instanceof Place ? values[one.at]! : one))
    const run = atOnce.get(db)
    if (run !== undefined) return run(compiled.sql, filled) as readonly R[]
    return (await db.executeQuery<R>({ ...(compiled as CompiledQuery<R>), parameters: filled })).rows
  }
}
