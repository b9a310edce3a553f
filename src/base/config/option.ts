/**
 * What one configuration option is: its type, check, default and one line of manual, in one place (style.md 2.6).
 */
import { z } from 'zod'
import { parsePort } from './ports.ts'

/**
 * Where an option may stand. process: only for all (`*` or top level), it concerns the program. listener: also in a
 * service's or daemon's block. host: also in a host's SNI file.
 */
export type Scope = 'process' | 'listener' | 'host'

export interface Option<T> {
  readonly schema: z.ZodType<T>
  /** Completes "expected …". */
  readonly expected: string
  readonly default: T
  readonly scope: Scope
  readonly doc: string
}

interface Given {
  readonly scope?: Scope
  readonly doc: string
}

const option = <T>(schema: z.ZodType<T>, expected: string, value: T, given: Given): Option<T> => ({
  schema,
  expected,
  default: value,
  scope: given.scope ?? 'host',
  doc: given.doc,
})

/** A string that may be absent. */
export function text(given: Given & { readonly maxCharacters?: number }): Option<string | null> {
  const max = given.maxCharacters ?? 4096
  // A line end would split a header or a log line.
  const schema = z
    .string()
    .min(1)
    .max(max)
    .regex(/^[^\r\n\0]*$/)
  return option<string | null>(schema.nullable(), 'a string on one line', null, given)
}

export function textOr(value: string, given: Given): Option<string> {
  return option(
    z
      .string()
      .min(1)
      .max(4096)
      .regex(/^[^\r\n\0]*$/),
    'a string on one line',
    value,
    given,
  )
}

/** A string or a list of strings. */
export function list(given: Given & { readonly default?: readonly string[] | null }): Option<readonly string[] | null> {
  const one = z
    .string()
    .min(1)
    .max(4096)
    .regex(/^[^\r\n\0]*$/)
  const schema = z.union([one.transform((single): readonly string[] => [single]), z.array(one).max(1000), z.null()])
  return option<readonly string[] | null>(
    schema as never,
    'a string or a list of strings',
    given.default ?? null,
    given,
  )
}

export function flag(value: boolean, given: Given): Option<boolean> {
  return option(z.boolean(), 'true or false', value, given)
}

export function oneOf<const T extends string>(values: readonly T[], value: T, given: Given): Option<T> {
  const schema = z.enum(values as readonly [T, ...T[]]) as unknown as z.ZodType<T>
  return option(schema, `one of ${values.join(', ')}`, value, given)
}

interface Range extends Given {
  readonly default: number
  readonly min?: number
  readonly max?: number
}

const number = (unit: string, schema: z.ZodNumber, given: Range): Option<number> => {
  const min = given.min ?? 0
  const max = given.max ?? Number.MAX_SAFE_INTEGER
  const limits = given.max === undefined ? `${min} or more` : `${min} to ${max}`
  return option(schema.min(min).max(max), `${unit}, ${limits}`, given.default, given)
}

export const count = (given: Range): Option<number> => number('a whole number', z.int(), given)
export const octets = (given: Range): Option<number> => number('a whole number of octets', z.int(), given)
/** Fractions are allowed: tests and impatient people use them. */
export const seconds = (given: Range): Option<number> => number('seconds', z.number(), given)
export const factor = (given: Range): Option<number> => number('a number', z.number(), given)

/** `host:port`, `[v6]:port`, or a bare port (loopback then). */
export function address(given: Given): Option<{ readonly host: string; readonly port: number } | null> {
  const schema = z.union([z.string(), z.number()]).transform((value, context) => {
    const parsed = parseAddress(String(value))
    if (parsed === null) context.addIssue({ code: 'custom', message: 'no address' })
    return parsed ?? z.NEVER
  })
  return option<{ readonly host: string; readonly port: number } | null>(
    schema.nullable() as never,
    'host:port, e.g. "127.0.0.1:9090"',
    null,
    given,
  )
}

export function parseAddress(value: string): { host: string; port: number } | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]:|([^:[\]]+):)?([\w-]+)$/.exec(value)
  const port = match === null ? null : parsePort(match[3]!)
  return port === null ? null : { host: match![1] ?? match![2] ?? '127.0.0.1', port }
}

/** Any other shape, checked by a schema. */
export function shaped<T>(schema: z.ZodType<T>, expected: string, value: T, given: Given): Option<T> {
  return option(schema, expected, value, given)
}
