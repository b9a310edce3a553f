/**
 * What every bench prints (commands.md, "Rows of a bench"): measuring in turns, medians, the table and the JSON.
 */
import { writeFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'

/** One row; `direct` = the same without us, `limit` = the floor under us, `ratio` = value / direct or value / limit. */
export interface Row {
  readonly bench: string
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly direct?: number
  readonly limit?: number
  readonly ratio?: number
  readonly p50?: number
  readonly p99?: number
  readonly note?: string
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** @param q 0..1 */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}

/**
 * Runs the candidates in turns, `rounds` times after one round to warm up, so that noise hits all alike.
 * @returns median milliseconds of each
 */
export async function inTurns(rounds: number, ...candidates: (() => unknown)[]): Promise<number[]> {
  const times: number[][] = candidates.map(() => [])
  for (let round = -1; round < rounds; round++) {
    for (const [i, candidate] of candidates.entries()) {
      const begin = performance.now()
      await candidate()
      if (round >= 0) times[i]!.push(performance.now() - begin)
    }
  }
  return times.map(median)
}

/** The table for a person, on stdout; and the rows as JSON where a file is named. */
export function report(rows: readonly Row[], jsonFile: string | null): void {
  const columns = ['name', 'value', 'unit', 'direct', 'limit', 'ratio', 'p50', 'p99', 'note'] as const
  const cells = rows.map((row) => columns.map((column) => show(row[column])))
  const widths = columns.map((column, i) => Math.max(column.length, ...cells.map((cell) => cell[i]!.length)))
  const line = (cell: readonly string[]) =>
    cell
      .map((text, i) => text.padEnd(widths[i]!))
      .join('  ')
      .trimEnd()
  process.stdout.write(`${[line(columns), ...cells.map(line)].join('\n')}\n`)
  if (jsonFile !== null) writeFileSync(jsonFile, `${JSON.stringify(rows, null, 1)}\n`)
}

function show(value: string | number | undefined): string {
  if (value === undefined) return ''
  if (typeof value === 'string') return value
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3)
}
